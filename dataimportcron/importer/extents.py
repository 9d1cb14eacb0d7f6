"""Where a file has data, and where holes."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator


def extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """The ranges of a file that hold data; a device does not tell, so it is one range.

    Args:
        descriptor: of the file or device.
        size: of it, in bytes.
    """
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
            end = min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            if error.errno != errno.EINVAL:
                raise
            start, end = end, size
        yield start, end
