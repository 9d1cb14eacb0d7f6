"""A volume from another volume, from nothing, or from itself; the disk stays as it is, whatever its bytes look like.

What a virtual machine has written at the beginning of its disk could be taken for a header, and then the machine would
choose what is read. So no format is recognised here: bytes are copied, and where there are zeros there are holes.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dataimportcron.errors import MissingDependencyError, TransientError, VolumeTooSmallError
from dataimportcron.importer.disk.sparse import is_zero
from dataimportcron.importer.disk.writer import Disk
from dataimportcron.importer.extents import extents
from dataimportcron.importer.libc import keep_freed_memory
from dataimportcron.importer.report import SUCCEEDED, Phase, Progress, Result
from dataimportcron.importer.targets.kinds import Target
from dataimportcron.importer.targets.lock import disk_in, lock
from dataimportcron.importer.targets.marker import Marker

_CHUNK: Final = 1 << 20
_TICK: Final = 0.25
"""Seconds between two reports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRequest:
    """What is to be made.

    Attributes:
        source: a folder with a disk.img, a file or a block device; None for a disk of zeros.
        target: the same; it may be the source itself, whose disk is then only made larger.
        size: of the disk, in bytes; a file is as large afterwards, or larger where it was.
        preallocate: a file shall have no holes; a device is left to its driver.
    """

    source: Path | None
    target: Path
    size: int
    preallocate: bool = False


def make_volume(request: VolumeRequest, report: Callable[[Progress], None]) -> Result:
    """Make a volume. There is no marker: whoever asks records that it is complete, and else it is written anew.

    Args:
        request: what is to be made.
        report: called at most some times per second.

    Returns:
        The result of a success.

    Raises:
        MissingDependencyError: the source, or its disk, is not there.
        VolumeTooSmallError: the disk is larger than the target.
        DataImportCronError: there is no complete target.
    """
    if request.source is None:
        with lock(disk_in(request.target), None) as target:
            return _write(request, target, None, report)
    with (
        _reading(disk_in(request.source)) as source,
        lock(disk_in(request.target), None) as target,
    ):
        if os.path.samestat(os.fstat(source), os.fstat(target.descriptor)):
            return _grow(request, target)
        return _write(request, target, source, report)


@contextmanager
def _reading(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise MissingDependencyError(f"there is no disk {path.name} in the source volume") from error
    except OSError as error:
        raise TransientError(f"the source {path} cannot be read: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _grow(request: VolumeRequest, target: Target) -> Result:
    """Make the disk of a volume as large as it shall be; a larger one stays."""
    size = os.lseek(target.descriptor, 0, os.SEEK_END)
    if stat.S_ISBLK(os.fstat(target.descriptor).st_mode) and size < request.size:
        raise VolumeTooSmallError(f"The device {target.path} has {size} bytes, {request.size} were asked for")
    target.complete(_marker(max(size, request.size), size))
    return Result(phase=SUCCEEDED, virtual_size=max(size, request.size), format="raw")


def _write(request: VolumeRequest, target: Target, source: int | None, report: Callable[[Progress], None]) -> Result:
    disk = Disk(target.descriptor, target.room(request.size), target.folder)
    copy = _Copy(source, disk, target.room(request.size), report) if source is not None else None
    target.start_over()
    try:
        if copy is not None:
            copy.run()
        if request.preallocate:
            target.preallocate(request.size)
        report(_progress(Phase.SYNCING, disk, disk.virtual_size))
        target.complete(_marker(request.size, disk.virtual_size))
    except BaseException:
        target.abandon()
        raise
    return Result(
        phase=SUCCEEDED,
        bytes_read=disk.virtual_size,
        bytes_written=disk.written,
        virtual_size=disk.virtual_size or request.size,
        format="raw",
    )


class _Copy:
    """One disk on its way to another.

    A device may be larger than the disk that is in it, because its driver rounds up: what does not fit is then looked
    at, and is no part of the disk if it is zeros. A file is as large as its disk.

    Raises:
        VolumeTooSmallError: a file that does not fit; nothing was written.
    """

    def __init__(self, source: int, disk: Disk, room: int, report: Callable[[Progress], None]) -> None:
        self._source = source
        self._disk = disk
        self._report = report
        self._size = os.lseek(source, 0, os.SEEK_END)
        self._device = stat.S_ISBLK(os.fstat(source).st_mode)
        if self._size > room and not self._device:
            raise VolumeTooSmallError(
                f"The disk of {self._size} bytes is larger than the reported available storage {room}",
                hint="a larger volume is required",
            )
        disk.virtual_size = min(self._size, room)
        self._last = 0.0

    def run(self) -> None:
        """Copy it, every byte.

        Raises:
            TransientError: the source changed meanwhile, or cannot be read.
            VolumeTooSmallError: a device that does not fit.
        """
        keep_freed_memory()
        end = self._disk.virtual_size
        for start, stop in extents(self._source, self._size):
            for offset in range(start, stop, _CHUNK):
                data = self._read(min(_CHUNK, stop - offset), offset)
                self._disk.write(data, offset)
                if not is_zero(data[max(end - offset, 0) :]):
                    raise VolumeTooSmallError(
                        f"The source device has {self._size} bytes, with data behind the {end} of the target",
                        hint="a larger volume is required",
                    )
                self._tick(min(offset + len(data), end))
        if os.lseek(self._source, 0, os.SEEK_END) != self._size:
            raise TransientError("the source changed its size while it was copied", hint="something writes to it")
        self._tick(end, last=True)

    def _read(self, length: int, offset: int) -> bytes:
        try:
            data = os.pread(self._source, length, offset)
        except OSError as error:
            raise TransientError(f"the source cannot be read at {offset}: {error.strerror}") from error
        if len(data) != length:
            raise TransientError(f"the source ends within {length} bytes at {offset}", hint="something writes to it")
        return data

    def _tick(self, done: int, *, last: bool = False) -> None:
        now = time.monotonic()
        if last or now - self._last >= _TICK:
            self._last = now
            self._report(_progress(Phase.COPYING, self._disk, done))


def _progress(phase: str, disk: Disk, done: int) -> Progress:
    size = disk.virtual_size
    return Progress(phase=phase, bytes_read=done, bytes_total=size, bytes_written=disk.written, virtual_size=size)


def _marker(size: int, virtual_size: int) -> Marker:
    """What `Target.complete` needs to know; it is not written."""
    return Marker(
        digest="", manifest_digest="", platform="", size=size, virtual_size=virtual_size, written=0, format="raw"
    )
