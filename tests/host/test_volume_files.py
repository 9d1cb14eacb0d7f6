"""Volumes as files: where they are, and what a crash between any two steps leaves."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import fcntl
import json
import mmap
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from dataimportcron.errors import (
    ForeignFileError,
    MissingDependencyError,
    NoSpaceError,
    TargetBusyError,
    VolumeTooSmallError,
)
from dataimportcron.host.cloner import HostCloner
from dataimportcron.host.files import try_lock
from dataimportcron.host.volumes import HostVolumes
from dataimportcron.values import CloneSource, VolumeSpec
from demo.host import wait_for
from tests.support.home import keep_volumes_inside
from tests.support.storage import as_root, loop_device, mounted

SOURCE = CloneSource(namespace="golden", name="source")

MIB = 1 << 20


@pytest.fixture
def volumes(state):
    return HostVolumes(state)


@pytest.fixture
def cloner(volumes):
    return HostCloner(volumes)


def spec(name="disk", size=MIB, storage_class=""):
    return VolumeSpec(namespace="golden", name=name, uid=f"uid-of-{name}", size=size, storage_class=storage_class)


def set_classes(state, **folders):
    lines = "\n".join(f'{name} = "{folder}"' for name, folder in folders.items())
    keep_volumes_inside(state, f"[storage_classes]\n{lines}\n")
    for folder in folders.values():
        folder.mkdir()


def test_a_storage_class_is_a_folder(state, volumes, tmp_path):
    set_classes(state, fast=tmp_path / "nvme")
    assert volumes.folder_of("fast") == (tmp_path / "nvme", True)
    assert volumes.folder_of("") == (state.path / "volumes", True)
    assert volumes.folder_of("unknown") == (state.path / "volumes", False)


async def test_a_pool_holds_volumes_and_nothing_else(state, volumes, cloner, tmp_path):
    set_classes(state, fast=tmp_path / "nvme")
    await cloner.blank(spec(storage_class="fast"))
    assert [path.name for path in (tmp_path / "nvme" / "golden").iterdir()] == ["disk.img"]
    assert (await volumes.find("golden", "disk")).location == str(tmp_path / "nvme" / "golden" / "disk.img")
    await volumes.delete("golden", "disk")
    assert [path for path in (tmp_path / "nvme").rglob("*") if path.is_file()] == []


async def test_a_partial_file_is_no_volume(volumes):
    place = volumes.place(spec())
    place.partial.parent.mkdir(parents=True)
    place.partial.write_bytes(bytes(MIB))
    assert await volumes.find("golden", "disk") is None


@pytest.mark.parametrize("renames", [0, 1], ids=["before the note", "between note and volume"])
async def test_a_crash_leaves_no_volume_and_heals(volumes, cloner, monkeypatch, renames):
    real_replace, done = Path.replace, []

    def crash_later(path, target):
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(target)
        return real_replace(path, target)

    place = volumes.place(spec())
    place.partial.parent.mkdir(parents=True)
    place.partial.write_bytes(b"x" * MIB)
    monkeypatch.setattr(Path, "replace", crash_later)
    with pytest.raises(KeyboardInterrupt):
        volumes.finish(spec(), digest="", writable=True)
    monkeypatch.undo()
    assert len(done) == renames
    assert place.note.exists() is bool(renames)
    assert await volumes.find("golden", "disk") is None
    await cloner.blank(spec())
    assert place.file.read_bytes() == bytes(MIB)


async def test_a_note_without_its_file_is_no_volume(volumes, cloner):
    await cloner.blank(spec())
    volumes.place(spec()).file.unlink()
    assert await volumes.find("golden", "disk") is None
    await cloner.blank(spec())
    assert await volumes.find("golden", "disk") is not None


async def test_somebody_elses_file_is_no_volume_of_ours(volumes, cloner):
    await cloner.blank(spec())
    place = volumes.place(spec())
    other = place.file.with_name("other")
    other.write_bytes(b"of somebody else")
    other.replace(place.file)
    assert await volumes.find("golden", "disk") is None
    with pytest.raises(ForeignFileError, match=rf"{place.file} is not ours") as raised:
        await cloner.blank(spec())
    assert "move it out of the folder" in raised.value.hint
    await volumes.delete("golden", "disk")
    assert place.file.read_bytes() == b"of somebody else"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"uid": "u"}'])
async def test_a_note_that_is_none_is_no_volume(volumes, cloner, text):
    await cloner.blank(spec())
    volumes.place(spec()).note.write_text(text)
    assert await volumes.find("golden", "disk") is None


async def test_a_volume_that_a_machine_has_enlarged_is_still_one(volumes, cloner):
    await cloner.blank(spec())
    os.truncate(volumes.place(spec()).file, 2 * MIB)
    assert await volumes.find("golden", "disk") is not None


async def test_a_busy_target_is_left_alone(volumes, cloner):
    place = volumes.place(spec())
    place.partial.parent.mkdir(parents=True)
    lock = try_lock(place.partial)
    os.write(lock, b"somebody writes")
    with pytest.raises(TargetBusyError, match=r"disk\.partial"):
        await cloner.blank(spec())
    assert place.partial.read_bytes() == b"somebody writes"
    os.close(lock)
    await cloner.blank(spec())


def test_a_lock_on_a_file_that_was_renamed_is_no_lock(tmp_path, monkeypatch):
    path = tmp_path / "partial"
    real_open = os.open

    def open_then_rename(*args):
        descriptor = real_open(*args)
        path.rename(tmp_path / "published")
        return descriptor

    monkeypatch.setattr(os, "open", open_then_rename)
    assert try_lock(path) is None


@pytest.fixture
async def source(volumes, cloner):
    """1 MiB of data, 30 MiB of hole, some data."""
    await cloner.blank(spec("source", 32 * MIB))
    file = volumes.place(spec("source")).file
    with file.open("r+b") as stream:
        stream.write(os.urandom(MIB))
        stream.seek(31 * MIB)
        stream.write(b"tail")
    return file


@pytest.mark.parametrize("way", ["CopyFileRange", "SparseCopy"])
async def test_each_way_copies_the_bytes_and_the_holes(volumes, cloner, source, monkeypatch, way):
    """The file system says no to what comes before: a reflink, where there are any, would hide the others."""

    def no_reflink(*_args):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "ioctl", no_reflink)
    if way == "SparseCopy":

        def refuse(*_args):
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(os, "copy_file_range", refuse)
    done = await cloner.run(SOURCE, spec("clone", 40 * MIB), lambda _: None)
    clone = volumes.place(spec("clone")).file
    assert done.phase == way
    assert MIB <= done.written <= 3 * MIB
    assert clone.read_bytes() == source.read_bytes().ljust(40 * MIB, b"\0")
    assert clone.stat().st_blocks * 512 < 4 * MIB
    assert clone.stat().st_mode & 0o200


async def test_a_source_that_has_grown_is_never_cut(cloner, source):
    os.truncate(source, 64 * MIB)
    with pytest.raises(VolumeTooSmallError, match=str(64 * MIB)):
        await cloner.run(SOURCE, spec("clone", 32 * MIB), lambda _: None)


async def test_old_bytes_never_shine_through(volumes, cloner):
    place = volumes.place(spec())
    place.partial.parent.mkdir(parents=True)
    place.partial.write_bytes(b"x" * 2 * MIB)
    await cloner.blank(spec())
    assert place.file.read_bytes() == bytes(MIB)


async def test_a_full_disk_is_said(cloner, volumes, monkeypatch):
    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "truncate", full)
    with pytest.raises(NoSpaceError, match=r"golden/disk of 1048576 bytes"):
        await cloner.blank(spec())
    monkeypatch.undo()
    assert await volumes.find("golden", "disk") is None


async def test_a_mapping_without_a_descriptor_is_a_use(volumes, cloner):
    await cloner.blank(spec())
    libc = ctypes.CDLL(None)  # Python's own mapping keeps a descriptor
    libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, (ctypes.c_void_p, *(ctypes.c_size_t,) * 5)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    with volumes.place(spec()).file.open("rb") as file:
        address = libc.mmap(None, MIB, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
    assert await volumes.in_use("golden", "disk") == (
        f"{volumes.place(spec()).file} is open: by a process that cannot be looked at, or as a loop device"
    )
    assert libc.munmap(address, MIB) == 0
    assert await volumes.in_use("golden", "disk") == ""


def hide_processes(monkeypatch):
    """The rights of a user who must not look at anybody's descriptors."""
    real = Path.iterdir

    def iterdir(path):
        if path.name == "fd" and path.is_relative_to("/proc"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)


def refuse_leases(monkeypatch):
    """A file system without leases, or a file of somebody else's."""
    real = fcntl.fcntl

    def refuse(descriptor, command, *rest):
        if command == fcntl.F_SETLEASE:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(descriptor, command, *rest)

    monkeypatch.setattr(fcntl, "fcntl", refuse)


async def test_hidden_processes_do_not_hide_a_use(volumes, cloner, monkeypatch):
    await cloner.blank(spec())
    hide_processes(monkeypatch)
    assert await volumes.in_use("golden", "disk") == ""
    with volumes.place(spec()).file.open("rb"):
        assert "by a process that cannot be looked at" in await volumes.in_use("golden", "disk")


async def test_a_use_is_found_without_leases(volumes, cloner, monkeypatch):
    await cloner.blank(spec())
    refuse_leases(monkeypatch)
    with volumes.place(spec()).file.open("rb") as file:
        said = await volumes.in_use("golden", "disk")
    assert said.startswith(f"process {os.getpid()} (")
    assert said.endswith(f") has {file.name} open")


async def test_what_nobody_can_know_is_said(volumes, cloner, monkeypatch):
    await cloner.blank(spec())
    refuse_leases(monkeypatch)
    hide_processes(monkeypatch)
    said = await volumes.in_use("golden", "disk")
    assert said.startswith(f"whether {volumes.place(spec()).file} is open cannot be known: process ")
    assert said.endswith(" cannot be looked at: Permission denied")


@pytest.fixture
def xfs(state, tmp_path):
    """A file system whose files can share blocks, as the folder of the storage class fast."""
    image = tmp_path / "xfs.img"
    image.touch()
    os.truncate(image, 320 * MIB)  # less, and mkfs.xfs refuses
    program = shutil.which("mkfs.xfs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    assert program, "mkfs.xfs is not installed: apt-get install --no-install-recommends xfsprogs"
    subprocess.run([program, "-q", "-m", "reflink=1", image], check=True)
    with loop_device(image) as device, mounted(device, tmp_path / "xfs", "-t", "xfs") as folder:
        keep_volumes_inside(state, f'[storage_classes]\nfast = "{folder}"\n')
        yield folder


async def test_a_reflink_shares_all_blocks(xfs, volumes, cloner):
    await cloner.blank(spec("source", 32 * MIB, "fast"))
    file = volumes.place(spec("source", storage_class="fast")).file
    with file.open("r+b") as stream:
        stream.write(os.urandom(8 * MIB))
        os.fsync(stream.fileno())
    before = shutil.disk_usage(xfs).used
    done = await cloner.run(SOURCE, spec("clone", 40 * MIB, "fast"), lambda _: None)
    clone = volumes.place(spec("clone", storage_class="fast")).file
    os.sync()
    assert (done.phase, done.written) == ("Reflink", 0)
    assert clone.read_bytes() == file.read_bytes().ljust(40 * MIB, b"\0")
    assert clone.stat().st_blocks == file.stat().st_blocks == 8 * MIB // 512
    assert shutil.disk_usage(xfs).used - before < MIB
    with clone.open("r+b") as stream:
        stream.write(b"a virtual machine writes")
    assert not file.read_bytes().startswith(b"a virtual machine writes")


async def test_from_one_file_system_to_another(xfs, volumes, cloner, source):
    done = await cloner.run(SOURCE, spec("clone", 32 * MIB, "fast"), lambda _: None)
    clone = volumes.place(spec("clone", storage_class="fast")).file
    assert done.phase in {"CopyFileRange", "SparseCopy"}
    assert clone.is_relative_to(xfs)
    assert clone.read_bytes() == source.read_bytes()


def take_over(file):
    """As libvirt does when a virtual machine starts."""
    subprocess.run(as_root("chown", "65534:65534", str(file)), check=True)
    subprocess.run(as_root("chmod", "0600", str(file)), check=True)


async def test_what_libvirt_has_made_its_own_is_still_ours(volumes, cloner):
    await cloner.blank(spec())
    file = volumes.place(spec()).file
    take_over(file)
    assert await volumes.find("golden", "disk") is not None
    await volumes.delete("golden", "disk")
    assert not file.exists()


async def test_overlays_need_qemu_img(volumes, cloner, source, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="qemu-img is not installed") as raised:
        await cloner.run(SOURCE, replace(spec("vm", 32 * MIB), overlay=True), lambda _: None)
    assert raised.value.hint == "apt-get install qemu-utils"
    assert await volumes.find("golden", "vm") is None
    assert source.exists()


def pid_in(file):
    """What stands in a file, once somebody has written it."""
    text = file.read_text() if file.exists() else ""
    return int(text) if text.endswith("\n") else None


async def test_a_flattening_that_is_cancelled_ends(volumes, cloner, source, monkeypatch, tmp_path):
    await cloner.run(SOURCE, replace(spec("vm", 32 * MIB), overlay=True), lambda _: None)
    (tmp_path / "qemu-img").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    (tmp_path / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    task = asyncio.create_task(cloner.run(replace(SOURCE, name="vm"), spec("copy", 32 * MIB), lambda _: None))
    process = await asyncio.to_thread(wait_for, "it runs", 20, lambda: pid_in(tmp_path / "pid"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    assert await volumes.find("golden", "copy") is None
    assert source.exists()


async def test_a_volume_with_dots_in_its_name(volumes, cloner, source):
    await cloner.run(
        SOURCE,
        replace(spec("fedora.41.x", 32 * MIB), overlay=True),
        lambda _: None,
    )
    found = await volumes.find("golden", "fedora.41.x")
    assert found.location == str(source.parent / "fedora.41.x.qcow2")
    await volumes.delete("golden", "fedora.41.x")
    assert [file.name for file in source.parent.iterdir()] == ["source.img"]


async def test_a_note_of_an_older_version(volumes, cloner):
    await cloner.blank(spec())
    note = volumes.place(spec()).note
    older = json.loads(note.read_text())
    del older["format"]
    note.write_text(json.dumps(older))
    assert (await volumes.find("golden", "disk")).format == "raw"
