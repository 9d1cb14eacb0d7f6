"""The file that becomes the disk: locked, written from nothing, and complete only when a marker says so.

The order is what makes it safe: the marker goes first and comes last. An interrupted import leaves a file without a
marker, which the next run empties before it writes, so that old bytes never shine through. Refused: a target that
another process holds, folders and devices.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from dataimportcron.errors import (
    InvalidObjectError,
    MissingDependencyError,
    NoSpaceError,
    TargetBusyError,
    TransientError,
)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """What a complete target holds.

    Attributes:
        digest: the source's, as it was asked for.
        manifest_digest: of the platform's manifest.
        platform: that was asked for, "" for the source's default.
        size: of the target file, in bytes.
        virtual_size: of the disk in it, in bytes.
        written: bytes of data, without holes.
        format: that the disk had in the image.
        env: the environment of the image's configuration.
    """

    digest: str
    manifest_digest: str
    platform: str
    size: int
    virtual_size: int
    written: int
    format: str
    env: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """The marker file's content."""
        return json.dumps(
            {
                "digest": self.digest,
                "manifestDigest": self.manifest_digest,
                "platform": self.platform,
                "size": self.size,
                "virtualSize": self.virtual_size,
                "bytes": self.written,
                "format": self.format,
                "env": dict(self.env),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Marker | None:
        """Read a marker file; None for one that is not whole, which is as good as none."""
        try:
            document = json.loads(text)
            return cls(
                digest=str(document["digest"]),
                manifest_digest=str(document["manifestDigest"]),
                platform=str(document["platform"]),
                size=int(document["size"]),
                virtual_size=int(document["virtualSize"]),
                written=int(document["bytes"]),
                format=str(document["format"]),
                env={str(key): str(value) for key, value in document["env"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


class Target:
    """A target that is locked; made by `lock`.

    Attributes:
        descriptor: open for reading and writing.
        path: of the file.
    """

    def __init__(self, path: Path, marker: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self._marker = marker

    def completed(self) -> Marker | None:
        """The marker, None unless it and the file agree."""
        try:
            marker = Marker.from_json(self._marker.read_text(encoding="utf-8"))
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        if marker is None or os.fstat(self.descriptor).st_size != marker.size:
            return None
        return marker

    def start_over(self) -> None:
        """Make it incomplete, durably, and empty."""
        with storage_errors(str(self.path)):
            self._marker.unlink(missing_ok=True)
            _sync_folder(self._marker.parent)
            os.ftruncate(self.descriptor, 0)

    def abandon(self) -> None:
        """Give its space back after a failure, as far as that works; without a marker it is nothing either way."""
        with suppress(OSError):
            os.ftruncate(self.descriptor, 0)

    def complete(self, marker: Marker) -> None:
        """Give the file its size, bring it to the disk, then say so; durable when this returns."""
        with storage_errors(str(self.path)):
            os.ftruncate(self.descriptor, marker.size)
            os.fsync(self.descriptor)
            _sync_folder(self.path.parent)
            draft = self._marker.with_name(f"{self._marker.name}.new")
            with draft.open("w", encoding="utf-8") as file:
                file.write(marker.to_json())
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._marker)
            _sync_folder(self._marker.parent)


@contextmanager
def lock(path: Path, marker: Path) -> Iterator[Target]:
    """Open the target, made if it is not there, and hold it alone.

    Raises:
        InvalidObjectError: it is a folder or a device.
        MissingDependencyError: the folder in which it is to be does not exist.
        TargetBusyError: another process holds it.
    """
    for folder in (path.parent, marker.parent):
        if not folder.is_dir():
            raise MissingDependencyError(f"the folder {folder} does not exist", hint="make it, or mount it there")
    with storage_errors(str(path)):
        descriptor = _open(path)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidObjectError(f"the target {path} is no regular file", hint="name a file, new or old")
        _hold(descriptor, path)
        yield Target(path, marker, descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Errors of the operating system as ours.

    Args:
        what: is written, for messages.

    Raises:
        NoSpaceError: the file system is full, a quota used up, or a limit of file sizes reached.
        TransientError: anything else.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpaceError(f"no space for {what}: {error.strerror}", hint="free some, or enlarge it") from error
        raise TransientError(f"{what} cannot be written: {error}") from error


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags, 0o600)
    except IsADirectoryError:
        raise InvalidObjectError(f"the target {path} is a folder, expected a file", hint="name a file in it") from None
    except PermissionError:
        # A run that died between completing the file and handing it over left it read-only; its owner may go on.
        with suppress(OSError):
            path.chmod(0o600)
            return os.open(path, flags, 0o600)
        raise


def _hold(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        same = os.path.samestat(os.fstat(descriptor), path.stat())
    except BlockingIOError:
        same = False
    except FileNotFoundError:
        same = False
    if not same:
        raise TargetBusyError(f"another process holds {path}", hint="wait until it has ended")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
