"""Overlays, by QEMU's own tool: what it makes, QEMU and libvirt read.

It is given formats and never guesses them: a raw disk that its guest has made to begin like a qcow2 file would name any
file of the host.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path

from dataimportcron.errors import MissingDependencyError, NoSpaceError, TransientError

_PROGRAM = "qemu-img"
_LOOK = 0.2
"""Seconds between two looks whether it is to stop."""


class Stopped(Exception):  # noqa: N818 -- not an error: the caller asked for it
    """The clone was cancelled."""


def make_overlay(source: Path, source_format: str, target: Path, size: int, stop: threading.Event) -> None:
    """Make a qcow2 file over another disk.

    Args:
        source: the disk that the overlay reads; its absolute path is recorded.
        source_format: raw or qcow2; recorded, so that nobody ever guesses it.
        target: the file, which may exist.
        size: of the disk, in bytes.
        stop: ends it.

    Raises:
        MissingDependencyError: qemu-img is not installed.
        NoSpaceError, TransientError: it failed.
        Stopped: `stop` was set.
    """
    base = ["-b", str(source.absolute()), "-F", source_format]
    _run(["create", "-q", "-f", "qcow2", *base, str(target), str(size)], stop)


def flatten(source: Path, target: Path, stop: threading.Event) -> None:
    """Write an overlay with all that it reads into a raw file, which has its size already and reads as zeros.

    Raises:
        MissingDependencyError, NoSpaceError, TransientError, Stopped: as `make_overlay`.
    """
    _run(["convert", "-n", "--target-is-zero", "-f", "qcow2", "-O", "raw", str(source), str(target)], stop)


def _run(arguments: list[str], stop: threading.Event) -> None:
    program = shutil.which(_PROGRAM)
    if program is None:
        raise MissingDependencyError(
            f"The program {_PROGRAM} is not installed; overlays need it", hint="apt-get install qemu-utils"
        )
    process = subprocess.Popen(
        [program, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        words = _wait(process, stop)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    if process.returncode:
        kind = NoSpaceError if "No space left" in words else TransientError
        raise kind(f"{_PROGRAM} {arguments[0]} failed with status {process.returncode}: {words.strip()}")


def _wait(process: subprocess.Popen[str], stop: threading.Event) -> str:
    """What it says until it ends."""
    while True:
        try:
            return process.communicate(timeout=_LOOK)[1]
        except subprocess.TimeoutExpired:
            if stop.is_set():
                raise Stopped from None
