"""Files that survive a crash: written whole or not at all, and locks that die with their holder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ANEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace a file: after a crash at any moment it holds the old bytes or the new ones, never a part.

    Raises:
        OSError: it cannot be written; its `filename` is set, also where the disk is full.
    """
    replace_whole(path, data, mode=mode)
    sync_folder(path.parent)


def replace_whole(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """`write_atomically`, except that the caller still has to `sync_folder`: until then a crash may bring the old back.

    Raises:
        OSError: it cannot be written; its `filename` is set, also where the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, _ANEW, mode)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, _ANEW, mode)
    try:
        try:
            os.fchmod(descriptor, mode)
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Make renames and removals in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, waiting for it; it is short."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """Take an exclusive lock for as long as the returned descriptor is open; None if somebody holds it.

    The file is made if it is not there. A lock on a file that was renamed or removed before it was ours is no lock.
    """
    return _try_lock(path, os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def try_lock_existing(path: Path) -> int | None:
    """`try_lock` on a file or folder that is not made here; None also if there is none."""
    try:
        return _try_lock(path, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _try_lock(path: Path, descriptor: int) -> int | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
