"""A volume's file, as a virtual machine reads and writes it."""

from __future__ import annotations

import os
from pathlib import Path

from dataimportcron.values import Volume


def content(volume: Volume) -> bytes:
    """All bytes."""
    return Path(volume.location).read_bytes()


def overwrite(volume: Volume, data: bytes, *, at: int = 0) -> None:
    """Write in place."""
    with Path(volume.location).open("r+b") as file:
        file.seek(at)
        file.write(data)


def status(volume: Volume) -> os.stat_result:
    """What the file system says of it."""
    return Path(volume.location).stat()
