"""Writes that leave holes where there are zeros, for files that read as zeros before the first write.

Zeros are looked for in blocks of 4 KiB, aligned to the file as its file system aligns them; comparing in place costs
next to nothing beside the writes that it saves.
"""

from __future__ import annotations

import os

BLOCK = 4096
_ZERO_BLOCK = bytes(BLOCK)


def write_sparse(descriptor: int, data: bytes, offset: int) -> int:
    """Write what is not zero.

    Args:
        descriptor: of a file that reads as zeros where nothing was written.
        data: the bytes.
        offset: where they belong, in bytes.

    Returns:
        How many bytes were written.

    Raises:
        OSError: as `os.pwrite`.
    """
    written = 0
    start: int | None = None
    position = 0
    length = len(data)
    end = min(length, BLOCK - offset % BLOCK)
    while position < length:
        # Most blocks show by their first or last byte that they are data.
        if data[position] or data[end - 1] or not data.startswith(_zeros(end - position), position):
            if start is None:
                start = position
        elif start is not None:
            written += write_all(descriptor, memoryview(data)[start:position], offset + start)
            start = None
        position, end = end, min(length, end + BLOCK)
    if start is not None:
        written += write_all(descriptor, memoryview(data)[start:], offset + start)
    return written


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> int:
    """Write all bytes, however many calls it takes; returns how many they are.

    Raises:
        OSError: as `os.pwrite`.
    """
    view = memoryview(data)
    done = 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done:], offset + done)
    return done


def is_zero(data: bytes) -> bool:
    """Whether all bytes are zeros."""
    return not data.strip(b"\0")


def _zeros(length: int) -> bytes:
    return _ZERO_BLOCK if length == BLOCK else _ZERO_BLOCK[:length]
