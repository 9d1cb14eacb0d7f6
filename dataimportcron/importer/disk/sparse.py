"""Writes that leave holes where there are zeros, for files that read as zeros before the first write.

Zeros are looked for in blocks of 4 KiB, aligned to the file as its file system aligns them; comparing in place costs
next to nothing beside the writes that it saves.
"""

from __future__ import annotations

import os

BLOCK = 4096
_ZEROS = bytes(1 << 20)
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
    if _is_zero(data, 0, len(data)):
        return 0
    written = 0
    start: int | None = None
    position = 0
    end = min(len(data), BLOCK - offset % BLOCK)
    while position < len(data):
        zero = _is_zero(data, position, end)
        if zero and start is not None:
            written += write_all(descriptor, memoryview(data)[start:position], offset + start)
            start = None
        elif not zero and start is None:
            start = position
        position, end = end, min(len(data), end + BLOCK)
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


def _is_zero(data: bytes, start: int, end: int) -> bool:
    if start < end and (data[start] or data[end - 1]):
        return False
    while end - start > len(_ZEROS):
        if not data.startswith(_ZEROS, start):
            return False
        start += len(_ZEROS)
    zeros = _ZERO_BLOCK if end - start == BLOCK else _ZEROS[: end - start]
    return data.startswith(zeros, start)
