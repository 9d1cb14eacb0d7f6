"""What targets, markers and disks need of a file system: errors as ours, and a folder whose entries are durable."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataimportcron.errors import NoSpaceError, TransientError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Errors of the operating system as ours.

    Args:
        what: is written, for messages.

    Raises:
        NoSpaceError: the file system is full, a quota used up, a limit of file sizes reached, or a thin pool is full.
        TransientError: anything else.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpaceError(f"no space for {what}: {error.strerror}", hint="free some, or enlarge it") from error
        # A full thin pool may answer so, too: the kernel gives up waiting for somebody to enlarge it.
        hint = "the kernel's log says why: a failing disk or a full thin pool" if error.errno == errno.EIO else ""
        raise TransientError(f"{what} cannot be written: {error}", hint=hint) from error


def sync_folder(folder: Path) -> None:
    """Make durable what was created, renamed or removed in a folder.

    Raises:
        OSError: as `os.fsync`.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
