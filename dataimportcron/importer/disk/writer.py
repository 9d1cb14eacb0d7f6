"""The raw disk that is being written: as large as the image says, never larger than the volume.

A disk that does not fit is refused before its first byte is written. Where nothing is written the target reads as
zeros, so zeros are left out.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from dataimportcron.errors import InvalidImageError, VolumeTooSmallError
from dataimportcron.importer.disk.sparse import write_sparse
from dataimportcron.importer.target import storage_errors

_SECTOR = 512


class Disk:
    """Writes to the target.

    Args:
        descriptor: of the target, which reads as zeros.
        size: of the volume, in bytes.
        folder: for a spill file, on the same file system.
    """

    def __init__(self, descriptor: int, size: int, folder: Path) -> None:
        self._descriptor = descriptor
        self._size = size
        self.folder = folder
        self.virtual_size = 0
        self.written = 0
        self.format = ""

    @property
    def spill_limit(self) -> int:
        """Bytes that may be set aside: an image may hold as much again in snapshots as in its disk."""
        return 2 * self._size + (64 << 20)

    def begin(self, virtual_size: int, disk_format: str) -> None:
        """Say what comes, once it is known.

        Args:
            virtual_size: of the disk, in bytes; rounded up to whole sectors.
            disk_format: raw or qcow2.

        Raises:
            VolumeTooSmallError: the disk is larger than the volume.
        """
        rounded = -(-virtual_size // _SECTOR) * _SECTOR
        if rounded > self._size:
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

    def clear(self) -> None:
        """Forget what was written: another disk takes its place."""
        with storage_errors("the target"):
            os.ftruncate(self._descriptor, 0)
        self.virtual_size = self.written = 0
        self.format = ""


class Spill:
    """Bytes of an image that came before it was known where they belong; a sparse file without a name.

    Args:
        folder: where there is room for it.
        limit: bytes, holes not counted.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._descriptor = -1
        self.written = 0

    def write(self, data: bytes, offset: int) -> None:
        """Keep bytes of the image at their own offset.

        Raises:
            InvalidImageError: more than the limit.
            NoSpaceError: the file system is full.
        """
        with storage_errors("the spill file"):
            if self._descriptor < 0:
                with tempfile.TemporaryFile(dir=self._folder) as file:
                    self._descriptor = os.dup(file.fileno())
            self.written += write_sparse(self._descriptor, data, offset)
        if self.written > self._limit:
            raise InvalidImageError(
                f"the qcow2 image has more than {self._limit} bytes in front of the tables that describe them",
                hint="make it again, without snapshots: qemu-img convert -O qcow2 OLD NEW",
            )

    def read(self, length: int, offset: int) -> bytes:
        """Bytes that were kept; zeros where there is nothing."""
        data = os.pread(self._descriptor, length, offset) if self._descriptor >= 0 else b""
        return data.ljust(length, b"\0")

    def close(self) -> None:
        """Give its space back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
