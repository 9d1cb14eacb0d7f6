"""Imports to real block devices, full of old bytes."""

import fcntl
import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from dataimportcron.errors import InvalidImageError, MissingDependencyError, TargetBusyError, VolumeTooSmallError
from dataimportcron.importer.run import Request, run_import
from dataimportcron.importer.targets import device
from dataimportcron.importer.targets.lock import lock, place
from tests.importer.conftest import MemoryImage, patchwork, qcow2_of, raw_of, tar_of
from tests.support.importing import run, start, until_read
from tests.support.storage import loop_device, mounted

MIB = 1 << 20
SIZE = 12 * MIB
RAW = patchwork(9 * MIB + 512, 5)


@pytest.fixture(params=[512, 4096], ids=lambda size: f"sectors of {size}")
def block(request, tmp_path):
    """A device."""
    backing = tmp_path / "backing"
    backing.write_bytes(os.urandom(SIZE))
    with loop_device(backing, "--sector-size", str(request.param)) as found:
        yield found


@pytest.fixture
def backing(tmp_path):
    path = tmp_path / "backing"
    path.write_bytes(os.urandom(SIZE))
    return path


@pytest.fixture
def loop(backing):
    with loop_device(backing) as found:
        yield found


def arguments(source, target, size=SIZE, *more):
    return ["--source", source, "--target", target, "--size", size, *more]


def noise(folder, size=9 * MIB):
    path = folder / "noise.raw"
    path.write_bytes(os.urandom(size))
    return path


def import_to(target, *tars, size=SIZE):
    return run_import(Request(target=target, marker=None, size=size), MemoryImage.of(*tars), lambda _: None)


@pytest.mark.parametrize("kind", ["raw", "qcow2", "compressed qcow2"])
def test_the_same_bytes_as_qemu_img_and_zeros_behind(block, tmp_path, kind):
    image = qcow2_of(RAW, tmp_path, compress=kind.startswith("compressed"))
    want = raw_of(image)
    source = tmp_path / "source.raw" if kind == "raw" else image
    code, _, result = run(*arguments(source, block))
    assert (code, result.virtual_size) == (0, len(RAW))
    assert block.read_bytes() == want.ljust(SIZE, b"\0")


def test_holes_give_their_space_back(backing, loop, tmp_path):
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(8 * MIB) + b"x" * 4096)
    assert run(*arguments(disk, loop))[0] == 0
    os.sync()
    assert backing.stat().st_blocks * 512 < MIB


def test_a_device_that_makes_no_holes_is_filled(loop, monkeypatch):
    """Loop devices make holes wherever their file system does, so this one is told not to."""
    monkeypatch.setattr(device, "_punch", lambda *_: False)
    import_to(loop, tar_of(("disk/d", RAW)))
    assert loop.read_bytes() == RAW.ljust(SIZE, b"\0")


@pytest.mark.parametrize("holes", [3, 1, 0])
def test_a_device_is_emptied_step_by_step(loop, monkeypatch, holes):
    """One that is larger than a step, and that makes no more holes after some."""
    real, left = device._punch, [True] * holes
    monkeypatch.setattr(device, "_punch", lambda *arguments: bool(left) and left.pop() and real(*arguments))
    monkeypatch.setattr(device, "_STEP", 5 * MIB)
    with lock(loop, None) as target:
        target.start_over()
    assert loop.read_bytes() == bytes(SIZE)


def test_a_disk_that_replaces_another(loop):
    import_to(loop, tar_of(("disk/d", os.urandom(9 * MIB))), tar_of(("disk/d", RAW[: 3 * MIB])))
    assert loop.read_bytes() == RAW[: 3 * MIB].ljust(SIZE, b"\0")


def test_a_disk_that_needs_more_than_the_device(loop, tmp_path):
    code, _, result = run(*arguments(noise(tmp_path, SIZE + 512), loop, 4 * SIZE))
    assert (code, result.reason) == (2, "VolumeTooSmall")
    assert str(SIZE + 512) in result.message
    assert str(SIZE) in result.message
    assert loop.read_bytes() == bytes(SIZE)


def test_a_disk_that_needs_more_than_the_volume(loop):
    with pytest.raises(VolumeTooSmallError, match=f"{len(RAW)} is larger than .* {MIB}"):
        import_to(loop, tar_of(("disk/d", RAW)), size=MIB)


@pytest.mark.parametrize("holes", [True, False])
def test_a_failure_leaves_no_disk(loop, monkeypatch, holes):
    monkeypatch.setattr(device, "_STEP", 5 * MIB)
    if not holes:
        monkeypatch.setattr(device, "_punch", lambda *_: False)
    with pytest.raises(InvalidImageError):
        import_to(loop, tar_of(("disk/d", os.urandom(SIZE)), ("disk/e", b"another")))
    left = loop.read_bytes()
    assert (left[:MIB], left[-MIB:]) == (bytes(MIB), bytes(MIB))
    assert any(left) is not holes


def test_without_a_marker_it_is_written_anew(loop, tmp_path):
    source = noise(tmp_path)
    assert [run(*arguments(source, loop))[2].bytes_read > 9 * MIB for _ in range(2)] == [True, True]
    assert not list(tmp_path.glob("*.complete"))
    assert not Path(f"{loop}.complete").exists()


def test_with_a_marker_it_is_written_once(loop, tmp_path):
    source, marker = noise(tmp_path), tmp_path / "marker"
    once = arguments(source, loop, SIZE, "--marker", marker)
    assert [run(*once)[2].bytes_read > 0 for _ in range(2)] == [True, False]
    loop.write_bytes(bytes(MIB))
    assert run(*once)[2].bytes_read > 0
    assert loop.read_bytes() == source.read_bytes().ljust(SIZE, b"\0")


def test_a_marker_of_a_device_that_shrank(backing, tmp_path):
    source, marker = noise(tmp_path), tmp_path / "marker"
    with loop_device(backing) as loop:
        assert run(*arguments(source, loop, SIZE, "--marker", marker))[0] == 0
    with loop_device(backing, "--sizelimit", str(8 * MIB)) as loop:
        assert run(*arguments(source, loop, SIZE, "--marker", marker))[2].reason == "VolumeTooSmall"
    assert not marker.exists()


def test_by_a_link(loop, tmp_path):
    link = tmp_path / "by-id"
    link.symlink_to(loop)
    source = noise(tmp_path)
    assert place(link, None) == (link, None)
    assert run(*arguments(source, link))[0] == 0
    assert link.is_symlink()
    assert loop.read_bytes() == source.read_bytes().ljust(SIZE, b"\0")


def test_a_mounted_device_is_refused_unharmed(loop, tmp_path):
    subprocess.run(["/sbin/mkfs.ext4", "-q", loop], check=True)
    with mounted(loop, tmp_path / "mnt") as folder:
        (folder / "mine").write_text("still here")
        code, _, result = run(*arguments(noise(tmp_path), loop))
        assert (code, result.reason, result.permanent) == (1, "TargetBusy", False)
        assert "mounted" in result.message
    subprocess.run(["/sbin/e2fsck", "-fn", loop], check=True, capture_output=True)
    with mounted(loop, tmp_path / "again") as folder:
        assert (folder / "mine").read_text() == "still here"


def test_a_second_importer_is_refused(loop, tmp_path):
    source = noise(tmp_path)
    with start(*arguments(source, loop), "--rate", 9 * MIB) as first:
        until_read(first, MIB)
        assert run(*arguments(source, loop))[2].reason == "TargetBusy"
        first.stdout.read()
        assert first.wait(20) == 0
    assert loop.read_bytes() == source.read_bytes().ljust(SIZE, b"\0")


def test_killed_in_the_middle_then_again(loop, tmp_path):
    source, marker = noise(tmp_path), tmp_path / "marker"
    again = arguments(source, loop, SIZE, "--marker", marker)
    with start(*again, "--rate", 9 * MIB) as process:
        until_read(process, 3 * MIB)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not marker.exists()
    assert run(*again)[0] == 0
    assert loop.read_bytes() == source.read_bytes().ljust(SIZE, b"\0")


def test_udev_that_looks_at_it_is_waited_for(loop):
    descriptor = os.open(loop, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    threading.Timer(0.3, os.close, [descriptor]).start()
    began = time.monotonic()
    with lock(loop, None) as target:
        assert 0.2 < time.monotonic() - began < 30
        assert target.folder == Path(tempfile.gettempdir())


def test_one_that_keeps_its_lock_is_not_waited_for_for_ever(loop, monkeypatch):
    monkeypatch.setattr("dataimportcron.importer.targets.lock._PATIENCE", 0.2)
    with loop.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_SH)
        with pytest.raises(TargetBusyError, match="another process holds"), lock(loop, None):
            pytest.fail("held it against another's lock")


def test_a_device_that_must_not_be_written(backing, tmp_path):
    with loop_device(backing, "--read-only") as loop:
        code, _, result = run(*arguments(noise(tmp_path), loop))
    assert (code, result.reason) == (2, "TargetNotWritable")
    assert "device_ownership_from_security_context" in result.message


@pytest.mark.parametrize("path", ["/dev/no-such-disk", "/dev/disk/by-id/none"])
def test_a_device_that_is_not_there_does_not_become_a_file(path):
    with pytest.raises(MissingDependencyError, match=path.rpartition("/")[0]), lock(Path(path), None):
        pytest.fail("held nothing")
    assert not Path(path).exists()


def test_a_thin_device_that_is_full(tmp_path):
    with mounted("tmpfs", tmp_path / "pool", "-t", "tmpfs", "-o", "size=4m") as pool:
        backing = pool / "thin"
        backing.touch()
        os.truncate(backing, SIZE)
        with loop_device(backing) as loop:
            code, _, result = run(*arguments(noise(tmp_path), loop))
            assert loop.read_bytes() == bytes(SIZE)
    assert (code, result.permanent) == (1, False)
    assert "full thin pool" in result.message or result.reason == "NoSpace"
