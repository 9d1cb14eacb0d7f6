"""How the C library keeps memory: buffers of a mebibyte come and go by the thousand, and are worth keeping.

Without this, each large buffer is given back to the kernel, which fills the next one with zeros, page by page.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Of mallopt(3), the same in all versions of glibc."""
_OPTIONS = ((_MMAP_THRESHOLD, 32 << 20), (_TRIM_THRESHOLD, 128 << 20), (_TOP_PAD, 16 << 20))


def keep_freed_memory() -> None:
    """Have malloc keep what is freed for the next buffer; nothing where the C library has no such options."""
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in _OPTIONS:
            mallopt(option, value)
