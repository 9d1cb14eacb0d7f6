"""Block devices: how large they are, and how they come to read as zeros.

Discarding promises nothing about what is read afterwards. A hole that is punched reads as zeros by contract and gives
its space back to a thin pool; a device that cannot do so is filled with zeros, which it may do by itself.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

_BLKROGET, _BLKZEROOUT = 0x125E, 0x127F
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_NOT_SUPPORTED = frozenset({errno.EOPNOTSUPP, errno.ENODEV, errno.ENOSYS})
_STEP = 64 << 20
"""Bytes that are zeroed at once: a signal waits for no more than that."""
_END = 1 << 20
"""Bytes at either end that are zeroed in any case: boot sector, partition tables, superblocks."""


def size_of(descriptor: int) -> int:
    """Bytes that a device has."""
    return os.lseek(descriptor, 0, os.SEEK_END)


def is_read_only(descriptor: int) -> bool:
    """Whether the kernel refuses writes; some kernels let such a device be opened for them all the same."""
    return struct.unpack("i", fcntl.ioctl(descriptor, _BLKROGET, bytes(4))) != (0,)


def erase(descriptor: int) -> None:
    """Make a whole device read as zeros. Takes as long as writing it where the device does not help.

    Raises:
        OSError: it cannot be written.
    """
    size = size_of(descriptor)
    punching = True
    for offset in range(0, size, _STEP):
        length = min(_STEP, size - offset)
        punching = punching and _punch(descriptor, offset, length)
        if not punching:
            _fill(descriptor, offset, length)


def spoil(descriptor: int) -> None:
    """Make sure, soon, that a device holds no disk: both its ends read as zeros, all of it where that is quick.

    Raises:
        OSError: it cannot be written.
    """
    size = size_of(descriptor)
    for offset in range(0, size, _STEP):
        if not _punch(descriptor, offset, min(_STEP, size - offset)):
            break
    else:
        return
    end = min(_END, size)
    _fill(descriptor, 0, end)
    _fill(descriptor, size - end, end)


def _punch(descriptor: int, offset: int, length: int) -> bool:
    """Make a hole; False if the device cannot."""
    import ctypes  # noqa: PLC0415 -- most targets are files, which start without it

    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if libc.fallocate(descriptor, _KEEP_SIZE | _PUNCH_HOLE, offset, length) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_SUPPORTED:
        return False
    raise OSError(number, os.strerror(number))


def _fill(descriptor: int, offset: int, length: int) -> None:
    """Have the kernel write zeros, by a command of the device if it has one."""
    fcntl.ioctl(descriptor, _BLKZEROOUT, struct.pack("=QQ", offset, length))
