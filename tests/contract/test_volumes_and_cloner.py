"""`ports.Volumes` and `ports.Cloner`, as every home keeps them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from dataimportcron.api.types import DataVolumeSpec
from dataimportcron.errors import InUseError, MissingDependencyError, VolumeTooSmallError
from dataimportcron.values import CloneSource, SourceKind, VolumeSpec
from tests.support.volume_files import content, overwrite, status

SOURCE = CloneSource(namespace="golden", name="source")

MIB = 1 << 20


def spec(name, size=4 * MIB, uid=None):
    return VolumeSpec(namespace="golden", name=name, uid=uid or f"uid-of-{name}", size=size)


def opened(volume):
    return Path(volume.location).open("rb")


def ignore(_transfer):
    """A report that nobody reads."""


@pytest.fixture
def volumes(bench):
    return bench.home.volumes


@pytest.fixture
def cloner(bench):
    return bench.home.cloner


@pytest.fixture
async def source(volumes, cloner):
    """A volume with data at both ends and a hole between."""
    await cloner.blank(spec("source"))
    volume = await volumes.find("golden", "source")
    overwrite(volume, os.urandom(100_001))
    overwrite(volume, b"tail!", at=4 * MIB - 5)
    return volume


async def test_no_volume(volumes):
    assert await volumes.find("golden", "absent") is None
    assert await volumes.in_use("golden", "absent") == ""
    assert await volumes.in_use("golden", "absent", SourceKind.SNAPSHOT) == ""
    await volumes.delete("golden", "absent")


async def test_where_imports_go_is_the_same_until_it_changes(volumes):
    """A home that keeps all as volumes says nothing; one that may keep snapshots is asked at each look."""
    wanted = DataVolumeSpec()
    first = await volumes.placement(wanted)
    assert await volumes.placement(wanted) is first
    assert first is None or (first.form is SourceKind.SNAPSHOT) == bool(first.snapshot_class)


async def test_blank_is_zeros_of_the_size_asked_for(volumes, cloner):
    await cloner.blank(spec("blank", 3 * MIB))
    found = await volumes.find("golden", "blank")
    assert (found.namespace, found.name, found.size, found.digest) == ("golden", "blank", 3 * MIB, "")
    assert content(found) == bytes(3 * MIB)


async def test_a_complete_blank_volume_is_left_alone(volumes, cloner, source):
    before = content(source)
    await cloner.blank(spec("source"))
    assert content(await volumes.find("golden", "source")) == before


async def test_delete_and_make_again(volumes, cloner, source):
    await volumes.delete("golden", "source")
    assert await volumes.find("golden", "source") is None
    with pytest.raises(FileNotFoundError):
        content(source)
    await cloner.blank(spec("source", uid="another"))
    again = await volumes.find("golden", "source")
    assert content(again) == bytes(4 * MIB)


@pytest.mark.parametrize("size", [4 * MIB, 4 * MIB + 1, 64 * MIB])
async def test_clone_has_the_bytes_then_zeros(volumes, cloner, source, size):
    done = await cloner.run(SOURCE, spec("clone", size), ignore)
    found = await volumes.find("golden", "clone")
    clone, original = content(found), content(source)
    assert found.size == len(clone) == size
    assert clone == original.ljust(size, b"\0")
    assert done.done == done.total == len(original)


async def test_a_clone_without_a_size_has_its_sources(volumes, cloner, source):
    await cloner.run(SOURCE, spec("clone", 0), ignore)
    found = await volumes.find("golden", "clone")
    assert (found.size, content(found)) == (source.size, content(source))


async def test_clone_is_its_own_file(volumes, cloner, source):
    before = content(source)
    await cloner.run(SOURCE, spec("clone"), ignore)
    overwrite(await volumes.find("golden", "clone"), b"a virtual machine writes")
    assert content(source) == before


@pytest.mark.usefixtures("source")
async def test_clone_again_is_no_op(volumes, cloner):
    await cloner.run(SOURCE, spec("clone"), ignore)
    found = await volumes.find("golden", "clone")
    overwrite(found, b"a virtual machine wrote")
    await cloner.run(SOURCE, spec("clone"), ignore)
    assert content(found).startswith(b"a virtual machine wrote")
    await volumes.delete("golden", "source")
    await cloner.run(SOURCE, spec("clone"), ignore)


async def test_clone_for_another_object_is_made_anew(volumes, cloner, source):
    await cloner.blank(spec("clone", uid="earlier"))
    await cloner.run(SOURCE, spec("clone", uid="later"), ignore)
    found = await volumes.find("golden", "clone")
    assert content(found) == content(source)


async def test_clone_into_less(volumes, cloner, source):
    with pytest.raises(VolumeTooSmallError, match=rf"{4 * MIB - 1} .*{4 * MIB} "):
        await cloner.run(SOURCE, spec("clone", 4 * MIB - 1), ignore)
    assert await volumes.find("golden", "clone") is None
    assert source.size == 4 * MIB


async def test_clone_of_nothing(volumes, cloner):
    with pytest.raises(MissingDependencyError, match="golden/absent"):
        await cloner.run(replace(SOURCE, name="absent"), spec("clone"), ignore)
    assert await volumes.find("golden", "clone") is None


async def test_reports_come_in_the_callers_loop(cloner, source):
    loop, seen = asyncio.get_running_loop(), []

    def report(transfer):
        assert asyncio.get_running_loop() is loop
        seen.append(transfer)

    await cloner.run(SOURCE, spec("clone"), report)
    assert all(transfer.total in {0, source.size} and transfer.done <= transfer.total for transfer in seen)


async def test_in_use(volumes, source):
    assert await volumes.in_use("golden", "source") == ""
    with closing(opened(source)):
        assert source.location in await volumes.in_use("golden", "source")
    assert await volumes.in_use("golden", "source") == ""


def virtual_content(volume, tmp_path):
    """The disk that a virtual machine sees."""
    raw = tmp_path / "as-seen.img"
    subprocess.run(["qemu-img", "convert", "-f", volume.format, "-O", "raw", volume.location, raw], check=True)
    return raw.read_bytes()


def info_of(volume):
    """What QEMU says of the file."""
    return json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", volume.location]))


def machine_writes(volume):
    """64 KiB of sevens at 1 MiB."""
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 64k", volume.location], check=True)


def overlay(name, size=4 * MIB):
    return replace(spec(name, size), overlay=True)


@pytest.mark.parametrize("size", [4 * MIB, 6 * MIB])
async def test_an_overlay_reads_its_source_then_zeros(volumes, cloner, source, tmp_path, size):
    done = await cloner.run(SOURCE, overlay("vm", size), ignore)
    found = await volumes.find("golden", "vm")
    assert (done.phase, found.format, found.size) == ("Overlay", "qcow2", size)
    assert virtual_content(found, tmp_path) == content(source).ljust(size, b"\0")
    told = info_of(found)
    assert (told["format"], told["virtual-size"]) == ("qcow2", size)
    assert (told["backing-filename"], told["backing-filename-format"]) == (source.location, "raw")


async def test_an_overlay_uses_its_source_as_long_as_it_lives(volumes, cloner, source):
    await cloner.run(SOURCE, overlay("vm"), ignore)
    found = await volumes.find("golden", "vm")
    assert await volumes.in_use("golden", "source") == f"{found.location} has it as its backing file"
    assert await volumes.in_use("golden", "vm") == ""
    await volumes.delete("golden", "vm")
    assert await volumes.in_use("golden", "source") == ""
    assert source.location


@pytest.mark.usefixtures("source")
async def test_an_overlay_of_an_overlay(volumes, cloner, tmp_path, source):
    await cloner.run(SOURCE, overlay("vm"), ignore)
    await cloner.run(replace(SOURCE, name="vm"), overlay("vm-of-vm", 5 * MIB), ignore)
    middle, found = await volumes.find("golden", "vm"), await volumes.find("golden", "vm-of-vm")
    told = info_of(found)
    assert (told["backing-filename"], told["backing-filename-format"]) == (middle.location, "qcow2")
    assert virtual_content(found, tmp_path) == content(source).ljust(5 * MIB, b"\0")


async def test_a_copy_of_an_overlay_is_whole(volumes, cloner, source):
    await cloner.run(SOURCE, overlay("vm"), ignore)
    machine_writes(await volumes.find("golden", "vm"))
    done = await cloner.run(replace(SOURCE, name="vm"), spec("copy", 6 * MIB), ignore)
    copy = await volumes.find("golden", "copy")
    expected = bytearray(content(source).ljust(6 * MIB, b"\0"))
    expected[MIB : MIB + 65536] = b"\7" * 65536
    assert (done.phase, copy.format, copy.size) == ("Flatten", "raw", 6 * MIB)
    assert content(copy) == bytes(expected)
    await volumes.delete("golden", "vm")
    assert await volumes.in_use("golden", "source") == ""


async def test_an_overlay_into_less(volumes, cloner, source):
    with pytest.raises(VolumeTooSmallError, match=rf"{4 * MIB - 512} .*{source.size} "):
        await cloner.run(SOURCE, overlay("vm", 4 * MIB - 512), ignore)
    assert await volumes.find("golden", "vm") is None


@pytest.mark.usefixtures("source")
async def test_an_overlay_again_is_no_op(volumes, cloner):
    await cloner.run(SOURCE, overlay("vm"), ignore)
    before = status(await volumes.find("golden", "vm")).st_ino
    await cloner.run(SOURCE, overlay("vm"), ignore)
    assert status(await volumes.find("golden", "vm")).st_ino == before


@pytest.mark.usefixtures("source")
@pytest.mark.parametrize("first", [True, False], ids=["overlay first", "copy first"])
async def test_a_clone_of_another_kind_takes_the_place_of_an_earlier_one(volumes, cloner, first):
    await cloner.run(SOURCE, replace(spec("vm", uid="earlier"), overlay=first), ignore)
    earlier = await volumes.find("golden", "vm")
    await cloner.run(SOURCE, replace(spec("vm", uid="later"), overlay=not first), ignore)
    later = await volumes.find("golden", "vm")
    assert earlier.format != later.format
    with pytest.raises(FileNotFoundError):
        status(earlier)


async def test_what_is_in_use_is_not_replaced(volumes, cloner, source):
    await cloner.run(SOURCE, overlay("vm"), ignore)
    before = content(source)
    with pytest.raises(InUseError, match=r"golden/source is not replaced: .* has it as its backing file"):
        await cloner.blank(spec("source", uid="another"))
    assert content(await volumes.find("golden", "source")) == before
