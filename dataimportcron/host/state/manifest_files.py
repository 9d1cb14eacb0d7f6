"""Files with objects, read without trust: any file may be huge, no text, no file at all, or gone the next moment."""

from __future__ import annotations

import os
import stat
from datetime import timedelta
from pathlib import Path
from typing import Final

from dataimportcron.api.documents import load_documents
from dataimportcron.errors import InvalidObjectError
from dataimportcron.host.state.records import Document

ABSENT_FOR = timedelta(seconds=2)
"""How long a file must be absent before its object counts as deleted."""

_LARGEST: Final = 1 << 20
"""Bytes of a file; an API server takes no larger request either, and YAML is slow to read."""


def read_documents(path: Path) -> list[Document]:
    """The objects of a file.

    Raises:
        InvalidObjectError: it is none, is empty or too large, or no text, or no YAML.
        OSError: it cannot be read.
    """
    # A pipe without a writer would block for ever; a device may do anything when it is opened.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InvalidObjectError(f"{path} is no regular file")
        if status.st_size > _LARGEST:
            raise InvalidObjectError(
                f"{path} has {status.st_size} bytes, at most {_LARGEST} are read", hint="split it into several files"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(_LARGEST)
    finally:
        os.close(descriptor)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidObjectError(f"{path} is no UTF-8 text: {error.reason} at byte {error.start}") from error
    if not text.strip():
        # What an editor leaves behind when the disk is full; images must not go for that.
        raise InvalidObjectError(f"{path} is empty (to delete its objects remove the file)")
    return load_documents(text, source=str(path))


def surely_absent(path: Path, folder: int) -> bool:
    """Whether a file is not there.

    Args:
        path: of the file.
        folder: inode of the folder that it was in, 0 where that is not known.

    Raises:
        OSError: nobody can say: its folder cannot be read, or is another one than the file was in.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        # Perhaps it is the folder that is not there, which listing it says.
        absent = path.name not in os.listdir(path.parent)  # noqa: PTH208 -- names are all that is wanted
    else:
        return False
    refuse_other_folder(path.parent, folder)
    return absent


def refuse_other_folder(path: Path, folder: int) -> None:
    """Check that a folder is the one that it was.

    Raises:
        OSError: it is another one, or cannot be read.
    """
    if folder not in {0, path.stat().st_ino}:
        raise OSError("the folder is another one than before, perhaps something is not mounted")


class Absences:
    """Since when things are absent, without interruption."""

    def __init__(self) -> None:
        self._before: dict[str, float] = {}
        self._now: dict[str, float] = {}

    def lasting(self, key: str, monotonic: float) -> bool:
        """Note that something is absent in this round; returns whether it has been for long enough."""
        self._now[key] = self._before.get(key, monotonic)
        return monotonic - self._now[key] >= ABSENT_FOR.total_seconds()

    def turn(self) -> None:
        """End a round: what was not noted in it is not absent."""
        self._before, self._now = self._now, {}
