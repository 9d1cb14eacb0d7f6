"""Volumes from volumes, from nothing and from themselves; files and real block devices, full of old bytes."""

import os
from contextlib import ExitStack

import pytest

from dataimportcron.errors import TransientError
from dataimportcron.importer.report import Phase
from dataimportcron.importer.volumes import VolumeRequest, make_volume
from tests.importer.conftest import patchwork
from tests.support.importing import run
from tests.support.storage import loop_device

MIB = 1 << 20
SIZE = 8 * MIB
DISK = patchwork(5 * MIB, 11).ljust(SIZE - 513, b"\0") + b"the end" + bytes(506)


@pytest.fixture
def volume(tmp_path):
    """Makes volumes: a folder with a disk.img, or a device."""
    with ExitStack() as stack:

        def make(name, kind, content):
            if kind == "folder":
                folder = tmp_path / name
                folder.mkdir()
                if content:
                    (folder / "disk.img").write_bytes(content)
                return folder
            backing = tmp_path / f"{name}.backing"
            backing.write_bytes(content)
            return stack.enter_context(loop_device(backing))

        yield make


def disk_of(path):
    return (path / "disk.img" if path.is_dir() else path).read_bytes()


KINDS = pytest.mark.parametrize(
    ("source", "target"),
    [("folder", "folder"), ("folder", "device"), ("device", "folder"), ("device", "device")],
    ids=lambda kind: kind,
)


@KINDS
def test_a_copy_has_the_bytes_then_zeros(volume, source, target):
    made = volume("source", source, DISK)
    old = b"" if target == "folder" else os.urandom(SIZE + MIB)
    place = volume("target", target, old)
    code, progress, result = run("--source", f"volume:{made}", "--target", place, "--size", SIZE + MIB)
    assert (code, result.phase, result.bytes_read, result.virtual_size) == (0, "Succeeded", SIZE, SIZE)
    assert {it.phase for it in progress} == {Phase.COPYING, Phase.SYNCING}
    assert all(it.bytes_total == SIZE for it in progress)
    assert disk_of(place) == DISK.ljust(SIZE + MIB, b"\0")
    assert disk_of(made) == DISK


def test_holes_and_zeros_take_no_space(volume):
    made = volume("source", "folder", b"begin".ljust(2 * MIB, b"\0"))
    os.truncate(made / "disk.img", 1 << 30)
    target = volume("target", "folder", b"")
    code, _, result = run("--source", f"volume:{made}", "--target", target, "--size", 1 << 30)
    assert (code, result.bytes_written) == (0, 4096)
    assert (target / "disk.img").stat().st_size == 1 << 30
    assert (target / "disk.img").stat().st_blocks * 512 < MIB
    assert [it.name for it in target.iterdir()] == ["disk.img"]


def test_what_looks_like_another_format_is_copied_as_it_is(volume):
    disk = b"QFI\xfb" + os.urandom(MIB - 4)
    target = volume("target", "folder", b"")
    assert run("--source", f"volume:{volume('source', 'folder', disk)}", "--target", target, "--size", MIB)[0] == 0
    assert disk_of(target) == disk


def test_a_disk_whose_size_is_no_whole_sector(volume):
    disk = os.urandom(MIB + 1)
    target = volume("target", "folder", b"")
    assert run("--source", f"volume:{volume('source', 'folder', disk)}", "--target", target, "--size", MIB + 1)[0] == 0
    assert disk_of(target) == disk


def test_a_file_that_does_not_fit_leaves_the_target_as_it_was(volume):
    target = volume("target", "device", old := os.urandom(MIB))
    source = volume("source", "folder", DISK)
    code, _, result = run("--source", f"volume:{source}", "--target", target, "--size", SIZE)
    assert (code, result.reason) == (2, "VolumeTooSmall")
    assert result.message.startswith(f"The disk of {SIZE} bytes is larger than the reported available storage {MIB}")
    assert disk_of(target) == old


@pytest.mark.parametrize("data_at", [None, 0, MIB - 4096, 2 * MIB - 4097])
def test_a_device_that_is_larger_than_its_disk(volume, data_at):
    # It ends in the middle of what is read at once.
    disk, tail = bytes(4096) + DISK, bytearray(2 * MIB - 4096)
    if data_at is not None:
        tail[data_at] = 1
    source, target = volume("source", "device", disk + tail), volume("target", "folder", b"")
    code, _, result = run("--source", f"volume:{source}", "--target", target, "--size", len(disk))
    if data_at is not None:
        assert (code, result.reason) == (2, "VolumeTooSmall")
        assert disk_of(target) == b""
    else:
        assert (code, disk_of(target)) == (0, disk)


@pytest.mark.parametrize("wanted", [SIZE + 12345, SIZE, MIB])
def test_a_volume_that_is_its_own_source_only_grows(volume, wanted):
    made = volume("source", "folder", DISK)
    code, _, result = run("--source", f"volume:{made}", "--target", made, "--size", wanted)
    assert (code, result.virtual_size) == (0, max(wanted, SIZE))
    assert disk_of(made) == DISK.ljust(wanted, b"\0")


def test_a_device_cannot_grow(volume):
    made = volume("source", "device", DISK)
    assert run("--source", f"volume:{made}", "--target", made, "--size", SIZE)[0] == 0
    code, _, result = run("--source", f"volume:{made}", "--target", made, "--size", SIZE + 1)
    assert (code, result.reason) == (2, "VolumeTooSmall")
    assert disk_of(made) == DISK


@pytest.mark.parametrize("kind", ["folder", "device"])
def test_a_blank_disk(volume, kind):
    target = volume("target", kind, os.urandom(SIZE))
    code, _, result = run("--source", "blank:", "--target", target, "--size", SIZE)
    assert (code, result.virtual_size, result.bytes_written) == (0, SIZE, 0)
    assert disk_of(target) == bytes(SIZE)


def test_without_holes(volume):
    target = volume("target", "folder", b"")
    assert run("--source", "blank:", "--target", target, "--size", SIZE, "--preallocate")[0] == 0
    assert (target / "disk.img").stat().st_blocks * 512 >= SIZE


@pytest.mark.parametrize(("source", "reason"), [("volume:", "InvalidSpec"), ("volume:/nowhere", "MissingDependency")])
def test_a_source_that_is_none(volume, source, reason):
    code, _, result = run("--source", source, "--target", volume("target", "folder", b""), "--size", SIZE)
    assert (code, result.reason) == (2, reason)


@pytest.mark.parametrize(("size", "said"), [(MIB, "the source ends within"), (4 * MIB, "the source changed its size")])
def test_a_source_that_changes_while_it_is_copied(volume, size, said):
    source, target = volume("source", "folder", os.urandom(3 * MIB)), volume("target", "folder", b"")
    request = VolumeRequest(source=source, target=target, size=SIZE)
    with pytest.raises(TransientError, match=said):
        make_volume(request, lambda _: os.truncate(source / "disk.img", size))
    assert disk_of(target) == b""
