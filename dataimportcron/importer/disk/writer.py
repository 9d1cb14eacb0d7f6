"""The raw disk that is being written: as large as the image says, never larger than the volume.

A disk that does not fit is refused before its first byte is written. Where nothing is written the target reads as
zeros, so zeros are left out.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from dataimportcron.errors import InvalidImageError, VolumeTooSmallError
from dataimportcron.importer.disk.sparse import write_sparse
from dataimportcron.importer.libc import start_writeback
from dataimportcron.importer.targets.kinds import empty
from dataimportcron.importer.targets.storage import storage_errors

_SECTOR = 512
_WRITEBACK = 32 << 20
"""Bytes after which the kernel is asked to begin writing them."""


class Disk:
    """Writes to the target.

    Args:
        descriptor: of the target, which reads as zeros.
        size: of the volume, in bytes.
        folder: where there is room for what is set aside.
    """

    def __init__(self, descriptor: int, size: int, folder: Path) -> None:
        self._descriptor = descriptor
        self._size = size
        self.folder = folder
        self.virtual_size = 0
        self.written = 0
        self.format = ""
        self._begun = 0

    @property
    def spill_limit(self) -> int:
        """Bytes that may be set aside: an image may hold as much again in snapshots as in its disk."""
        return 2 * self._size + (64 << 20)

    def fits(self, virtual_size: int) -> bool:
        """Whether the volume has room for a disk of that size in bytes, rounded up to whole sectors."""
        return _rounded(virtual_size) <= self._size

    def begin(self, virtual_size: int, disk_format: str) -> None:
        """Say what comes, once it is known.

        Args:
            virtual_size: of the disk, in bytes; rounded up to whole sectors.
            disk_format: as people call it: raw, qcow2, vmdk, …

        Raises:
            VolumeTooSmallError: the disk is larger than the volume.
        """
        rounded = _rounded(virtual_size)
        if not self.fits(virtual_size):
            raise VolumeTooSmallError(
                f"Virtual image size {rounded} is larger than the reported available storage {self._size}",
                hint="a larger volume is required",
            )
        self.virtual_size = rounded
        self.format = disk_format

    def write(self, data: bytes, offset: int) -> None:
        """Write to the disk; what is behind its end is padding and dropped.

        Raises:
            NoSpaceError: the file system is full.
        """
        room = self.virtual_size - offset
        if len(data) > room:
            data = data[: max(room, 0)]
        with storage_errors("the target"):
            self.written += write_sparse(self._descriptor, data, offset)
        if self.written - self._begun >= _WRITEBACK:
            self._begun = self.written
            start_writeback(self._descriptor)

    def share(self) -> int:
        """The target, for another process to write to: a descriptor. A file is as large as the disk from here on."""
        with storage_errors("the target"):
            if self._is_file():
                os.ftruncate(self._descriptor, self.virtual_size)
        return self._descriptor

    def measure(self) -> None:
        """Learn how much another process has written. A device does not tell data from holes: there it is all of it."""
        self.written = self.virtual_size
        if self._is_file():
            self.written = min(os.fstat(self._descriptor).st_blocks * _SECTOR, self.virtual_size)

    def clear(self) -> None:
        """Forget what was written: another disk takes its place."""
        with storage_errors("the target"):
            empty(self._descriptor)
        self.virtual_size = self.written = self._begun = 0
        self.format = ""

    def _is_file(self) -> bool:
        return stat.S_ISREG(os.fstat(self._descriptor).st_mode)


class Scratch:
    """Bytes that are set aside; a sparse file without a name, so that nothing is left of it however we end.

    Args:
        folder: where there is room for it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1
        self.written = 0

    @property
    def descriptor(self) -> int:
        """Of the file, which is made when it is asked for.

        Raises:
            NoSpaceError: the file system is full.
        """
        if self._descriptor < 0:
            with storage_errors("the scratch file"), tempfile.TemporaryFile(dir=self._folder) as file:
                self._descriptor = os.dup(file.fileno())
        return self._descriptor

    def write(self, data: bytes, offset: int) -> None:
        """Keep bytes at an offset.

        Raises:
            NoSpaceError: the file system is full.
        """
        descriptor = self.descriptor
        with storage_errors("the scratch file"):
            self.written += write_sparse(descriptor, data, offset)

    def extend(self, length: int) -> None:
        """Make it so many bytes long, zeros at its end included.

        Raises:
            NoSpaceError: the file system is full.
        """
        descriptor = self.descriptor
        with storage_errors("the scratch file"):
            os.ftruncate(descriptor, length)

    def read(self, length: int, offset: int) -> bytes:
        """Bytes that were kept; zeros where there is nothing."""
        data = os.pread(self._descriptor, length, offset) if self._descriptor >= 0 else b""
        return data.ljust(length, b"\0")

    def close(self) -> None:
        """Give its space back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Spill(Scratch):
    """Bytes of an image that came before it was known where they belong, each at its own offset.

    Args:
        folder: where there is room for it.
        limit: bytes, holes not counted.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        super().__init__(folder)
        self._limit = limit

    def write(self, data: bytes, offset: int) -> None:
        """Keep bytes of the image.

        Raises:
            InvalidImageError: more than the limit.
            NoSpaceError: the file system is full.
        """
        super().write(data, offset)
        if self.written > self._limit:
            raise InvalidImageError(
                f"the qcow2 image has more than {self._limit} bytes in front of the tables that describe them",
                hint="make it again, without snapshots: qemu-img convert -O qcow2 OLD NEW",
            )


def _rounded(virtual_size: int) -> int:
    return -(-virtual_size // _SECTOR) * _SECTOR
