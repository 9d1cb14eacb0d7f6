"""The two kinds of target: how each is emptied, and made durable.

The order is what makes both safe: the marker goes first and comes last. An interrupted import leaves a target without a
marker, which the next run empties before it writes, so that old bytes never shine through.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from dataimportcron.importer.targets import device
from dataimportcron.importer.targets.marker import Marker, MarkerFile
from dataimportcron.importer.targets.storage import storage_errors, sync_folder

_HEAD = 1 << 20


def empty(descriptor: int) -> None:
    """Make an open target read as zeros, wherever it is written afterwards.

    Args:
        descriptor: of a file, which has no bytes then, or of a block device.

    Raises:
        OSError: it cannot be written.
    """
    if stat.S_ISBLK(os.fstat(descriptor).st_mode):
        device.erase(descriptor)
    else:
        os.ftruncate(descriptor, 0)


class Target(ABC):
    """A target that is locked; made by `lock`.

    Attributes:
        descriptor: open for reading and writing.
        path: of the file or device.
    """

    def __init__(self, path: Path, marker: MarkerFile, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self._marker = marker

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Where there is room for what must be set aside."""

    @abstractmethod
    def room(self, size: int) -> int:
        """Bytes that a disk may have in a volume of `size` bytes."""

    def completed(self) -> Marker | None:
        """The marker, None unless it and the target agree."""
        marker = self._marker.read()
        return marker if marker is not None and self._agrees(marker) else None

    def start_over(self) -> None:
        """Make it incomplete, durably, and empty."""
        with storage_errors(str(self.path)):
            self._marker.remove()
            empty(self.descriptor)

    @abstractmethod
    def preallocate(self, size: int) -> None:
        """Take the space of a disk of `size` bytes that is written; what it holds stays."""

    @abstractmethod
    def abandon(self) -> None:
        """Leave no disk after a failure, as far as that works; without a marker it is nothing either way."""

    def complete(self, marker: Marker) -> None:
        """Bring it to the disk, then say so; durable when this returns."""
        with storage_errors(str(self.path)):
            self._marker.write(self._seal(marker))

    @abstractmethod
    def _agrees(self, marker: Marker) -> bool:
        """Whether it may be what the marker says."""

    @abstractmethod
    def _seal(self, marker: Marker) -> Marker:
        """Give it its size and make it durable; returns the marker to write."""


class FileTarget(Target):
    """A regular file, as large as the volume when it is complete."""

    @property
    def folder(self) -> Path:
        """See `Target`."""
        return self.path.parent

    def room(self, size: int) -> int:
        """See `Target`."""
        return size

    def preallocate(self, size: int) -> None:
        """See `Target`."""
        with storage_errors(str(self.path)):
            os.posix_fallocate(self.descriptor, 0, size)

    def abandon(self) -> None:
        """See `Target`."""
        with suppress(OSError):
            os.ftruncate(self.descriptor, 0)

    def _agrees(self, marker: Marker) -> bool:
        return os.fstat(self.descriptor).st_size == marker.size

    def _seal(self, marker: Marker) -> Marker:
        os.ftruncate(self.descriptor, marker.size)
        os.fsync(self.descriptor)
        sync_folder(self.path.parent)
        return marker


class BlockTarget(Target):
    """A block device; what the disk does not fill reads as zeros.

    Its size says nothing about what it holds, and its name may be another device's tomorrow. So the marker also has the
    digest of its first mebibyte, where the identifiers of a partition table or file system differ from image to image.
    """

    @property
    def folder(self) -> Path:
        """See `Target`."""
        return Path(tempfile.gettempdir())

    def room(self, size: int) -> int:
        """See `Target`."""
        return min(size, device.size_of(self.descriptor))

    def preallocate(self, size: int) -> None:
        """See `Target`. Its holes are punched, which only its driver can undo."""

    def abandon(self) -> None:
        """See `Target`."""
        with suppress(OSError):
            device.spoil(self.descriptor)
            os.fsync(self.descriptor)

    def _agrees(self, marker: Marker) -> bool:
        return device.size_of(self.descriptor) >= marker.virtual_size and marker.head == self._head()

    def _seal(self, marker: Marker) -> Marker:
        os.fsync(self.descriptor)
        return replace(marker, head=self._head())

    def _head(self) -> str:
        return f"sha256:{hashlib.sha256(os.pread(self.descriptor, _HEAD, 0)).hexdigest()}"
