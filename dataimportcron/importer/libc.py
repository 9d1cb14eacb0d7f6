"""What the C library can do and Python does not offer. Each is a wish: where there is no such call nothing happens."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import cache

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
"""Of mallopt(3), the same in all versions of glibc."""
_KEEP = ((_MMAP_THRESHOLD, 32 << 20), (_TRIM_THRESHOLD, 128 << 20), (_TOP_PAD, 16 << 20))
_RETURN = ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, 4 << 20), (_TRIM_THRESHOLD, 1 << 20), (_TOP_PAD, 256 << 10))
_SYNC_FILE_RANGE_WRITE = 2


def keep_freed_memory() -> None:
    """Have malloc keep what is freed: buffers of a mebibyte come and go by the thousand.

    Without this, each is given back to the kernel, which fills the next one with zeros, page by page.
    """
    _set_options(_KEEP)


def return_freed_memory() -> None:
    """Have malloc return what is freed: a program that lives for months is busy for seconds, and then rests.

    Without this, each thread keeps a heap of its own, as large as it ever was, with holes in it. A mebibyte is kept:
    buffers of calls that went back to the kernel one by one were a tenth of what a poll costs.
    """
    _set_options(_RETURN)


def start_writeback(descriptor: int) -> None:
    """Have the kernel begin to write what is dirty in a file, so that little is left for the fsync at the end.

    Errors show there. Source: sync_file_range(2).
    """
    with suppress(AttributeError):
        _library().sync_file_range(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)


def _set_options(options: tuple[tuple[int, int], ...]) -> None:
    with suppress(AttributeError):
        for option, value in options:
            _library().mallopt(option, value)


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None)
