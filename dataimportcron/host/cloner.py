"""The port `Cloner` on files: reflink, `copy_file_range`, sparse copy, in that order; a qcow2 overlay where asked for.

The clone is made beside the pool and renamed into it when it is durable; a crash leaves a partial file that the next
attempt truncates.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic

from dataimportcron.errors import TargetBusyError, VolumeTooSmallError
from dataimportcron.host.disks import qemu_img
from dataimportcron.host.disks.qemu_img import Stopped
from dataimportcron.host.files import try_lock
from dataimportcron.host.volumes import QCOW2, RAW, HostVolumes, storage_errors
from dataimportcron.importer.extents import extents
from dataimportcron.values import CloneSource, SourceKind, Transfer, Volume, VolumeSpec

FICLONE = 0x40049409
"""ioctl of linux/fs.h: share all blocks of another file."""
_CHUNK = 64 << 20
_NOT_HERE = {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM}
"""This file system, or this pair of them, cannot do that: try the next way."""
_REPORT_EVERY = 0.25
"""Seconds between two reports."""


class HostCloner:
    """`ports.Cloner`."""

    def __init__(self, volumes: HostVolumes) -> None:
        self._volumes = volumes

    async def run(self, source: CloneSource, volume: VolumeSpec, report: Callable[[Transfer], None]) -> Transfer:
        """See the port."""
        if await asyncio.to_thread(self._volumes.is_made, volume):
            return Transfer(phase="Complete", done=volume.size, total=volume.size)
        found = await self._volumes.find(source.namespace, source.name) if source.kind is SourceKind.PVC else None
        if found is None:
            raise source.missing()
        loop = asyncio.get_running_loop()
        stop = threading.Event()

        def tell(transfer: Transfer) -> None:
            loop.call_soon_threadsafe(report, transfer)

        task = asyncio.create_task(asyncio.to_thread(self._clone, found, volume, tell, stop))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.gather(task, return_exceptions=True)
            raise

    async def blank(self, volume: VolumeSpec) -> None:
        """See the port."""
        await asyncio.to_thread(self._blank, volume)

    def _blank(self, volume: VolumeSpec) -> None:
        if self._volumes.is_made(volume):
            return
        place = self._volumes.prepare(volume)
        with storage_errors(volume), _target(place.partial) as descriptor:
            os.truncate(descriptor, volume.size)
            os.fsync(descriptor)
            self._volumes.finish(volume, digest="", writable=True)

    def _clone(
        self, found: Volume, volume: VolumeSpec, report: Callable[[Transfer], None], stop: threading.Event
    ) -> Transfer:
        source = Path(found.location)
        place = self._volumes.prepare(volume)
        with storage_errors(volume), source.open("rb") as file:
            # A raw disk is as large as its file, which a machine's owner may have enlarged.
            size = os.fstat(file.fileno()).st_size if found.format == RAW else found.size
            volume = replace(volume, size=volume.size or size)
            if volume.size < size:
                raise VolumeTooSmallError(
                    f"Volume {volume.namespace}/{volume.name} of {volume.size} bytes is smaller than its source "
                    f"{source} of {size} bytes",
                    hint="request at least the source's size",
                )
            with _target(place.partial) as target:
                if volume.overlay:
                    qemu_img.make_overlay(source, found.format, place.partial, volume.size, stop)
                    done = Transfer(phase="Overlay")
                elif found.format == QCOW2:
                    os.truncate(target, volume.size)
                    qemu_img.flatten(source, place.partial, stop)
                    done = Transfer(phase="Flatten", done=size, total=size)
                else:
                    way, written = _copy(file.fileno(), target, size, report, stop)
                    os.truncate(target, volume.size)
                    done = Transfer(phase=way, done=size, total=size, written=written)
                os.fsync(target)
                self._volumes.finish(volume, digest="", writable=True)
        return done


@contextmanager
def _target(path: Path) -> Iterator[int]:
    """An empty partial file under an exclusive lock that dies with its holder."""
    descriptor = try_lock(path)
    if descriptor is None:
        raise TargetBusyError(f"{path} is being written by another process")
    try:
        os.truncate(descriptor, 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _copy(
    source: int, target: int, size: int, report: Callable[[Transfer], None], stop: threading.Event
) -> tuple[str, int]:
    """Copy by the first way that works here; returns its name and the bytes written."""
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno not in _NOT_HERE:
            raise
    else:
        return "Reflink", 0
    for way, move in (("CopyFileRange", _move_in_kernel), ("SparseCopy", _move_by_hand)):
        try:
            os.truncate(target, 0)
            os.truncate(target, size)
            tell = _Teller(report, stop, way, size)
            return way, _copy_extents(source, size, partial(move, source, target), tell)
        except OSError as error:
            if way == "SparseCopy" or error.errno not in _NOT_HERE:
                raise
    raise AssertionError  # pragma: no cover -- the last way returns or raises


def _copy_extents(source: int, size: int, move: Callable[[int, int], int], tell: Callable[[int, int], None]) -> int:
    written = 0
    for start, end in extents(source, size):
        at = start
        while at < end:
            moved = move(at, min(_CHUNK, end - at))
            if moved == 0:
                raise OSError(errno.EIO, "the source became shorter while it was cloned")
            at += moved
            written += moved
            tell(at, written)
    return written


class _Teller:
    """Says how far a copy is, not too often, and ends it when it is to stop."""

    def __init__(self, report: Callable[[Transfer], None], stop: threading.Event, phase: str, total: int) -> None:
        self._report = report
        self._stop = stop
        self._phase = phase
        self._total = total
        self._due = 0.0

    def __call__(self, done: int, written: int) -> None:
        if self._stop.is_set():
            raise Stopped
        if monotonic() >= self._due:
            self._due = monotonic() + _REPORT_EVERY
            self._report(Transfer(phase=self._phase, done=done, total=self._total, written=written))


def _move_in_kernel(source: int, target: int, at: int, count: int) -> int:
    return os.copy_file_range(source, target, count, at, at)


def _move_by_hand(source: int, target: int, at: int, count: int) -> int:
    data = os.pread(source, min(count, 1 << 20), at)
    return os.pwrite(target, data, at)
