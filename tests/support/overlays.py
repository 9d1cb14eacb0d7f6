"""qcow2 files that stand on another disk, as qemu-img makes them."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make_overlay(path: Path, backing: str | Path, *, base_format: str = "raw", options: tuple[str, ...] = ()) -> Path:
    """A qcow2 file of 1 MiB over another; the name is recorded as it is given, and need not be of anything."""
    made = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", *options, "-b", str(backing), "-F", base_format]
    subprocess.run([*made, str(path), "1M"], check=True, cwd=path.parent)
    return path
