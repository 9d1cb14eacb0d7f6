"""Disks that qemu-img reads, in a process that can do little (`sandbox`), from a scratch file to the target.

It is told the format, never asked to find it out: raw bytes that look like another format would open other files. It is
asked first what it sees; a disk that names any file but its own, or does not fit, is refused before a byte is written.
What qemu-img cannot read is the image's fault, and trying again does not help.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from dataimportcron.errors import (
    DataImportCronError,
    InvalidImageError,
    MissingDependencyError,
    NoSpaceError,
    TransientError,
)
from dataimportcron.importer.disk import sandbox
from dataimportcron.importer.disk.foreign import DRIVERS
from dataimportcron.importer.disk.qcow2 import TO_QCOW2
from dataimportcron.importer.disk.writer import Disk

MEMORY = 1 << 30
"""Bytes of address space; usual disks need 150 MiB of it, and 10 MiB of real memory."""
_LEAST_SECONDS = 60
_SLOWEST = 2 << 20
"""Bytes per second."""
_TICK = 0.25
_LONGEST_OUTPUT = 1 << 16
"""Bytes that a pipe holds. Nothing is read before the end: a program that says more is stuck, and out of time."""
_ENVIRONMENT = {"LC_ALL": "C", "MALLOC_ARENA_MAX": "1"}
"""Nothing of ours: there may be secrets in it. Few arenas, as each takes 64 MiB of address space."""
_CHECKED = (0, 3, 63)
"""Exit codes of its check: nothing found, only space that nobody uses, and a format for which there is no check."""
_OTHER_FILES = ("backing-filename", "full-backing-filename", "data-file")
_FULL = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignDisk:
    """A disk in a file of ours.

    Attributes:
        descriptor: of the file.
        length: of it, in bytes.
        name: of its format, one of `DRIVERS`.
    """

    descriptor: int
    length: int
    name: str


def program(name: str) -> str:
    """The path of qemu-img.

    Args:
        name: of the format that it is needed for.

    Raises:
        MissingDependencyError: it is not installed.
    """
    path = shutil.which("qemu-img")
    if path is None:
        raise MissingDependencyError(
            f"the disk is a {name} file, which is read by qemu-img, and that is not installed",
            hint=f"apt-get install qemu-utils; or {TO_QCOW2}",
        )
    return os.path.realpath(path)


def convert(source: ForeignDisk, disk: Disk, tick: Callable[[], None]) -> None:
    """Write a disk to the target, which reads as zeros.

    Args:
        source: where it is.
        disk: gets it.
        tick: called some times per second.

    Raises:
        InvalidImageError: qemu-img cannot read it, it needs other files, or too much time or memory.
        MissingDependencyError: qemu-img is not installed.
        NoSpaceError: the target's file system is full.
        TransientError: the target cannot be written, or qemu-img was killed.
        VolumeTooSmallError: it does not fit; nothing was written.
    """
    image = f"/proc/self/fd/{source.descriptor}"
    run = _Run(source, tick)
    said = run("info", "--output=json", "-f", DRIVERS[source.name], image)
    disk.begin(_checked_size(said, source.name, image), source.name)
    # What lies behind the end of a truncated file it would read as zeros.
    run("check", "-q", "-f", DRIVERS[source.name], image, fine=_CHECKED)
    target = disk.share()

    def measure() -> None:
        disk.measure()
        tick()

    run = _Run(source, measure, target=target, file_size=disk.virtual_size)
    # The target reads as zeros: they are left out, and what is there already stays.
    options = ("-n", "--target-is-zero", "-f", DRIVERS[source.name], "-O", "raw")
    run("convert", *options, image, f"/proc/self/fd/{target}")
    disk.measure()


class _Run:
    """How qemu-img is run.

    Args:
        source: the one file that it reads.
        tick: called while it runs.
        target: descriptor of what it writes, None for nothing.
        file_size: bytes up to which it writes.
    """

    def __init__(
        self, source: ForeignDisk, tick: Callable[[], None], *, target: int | None = None, file_size: int = 0
    ) -> None:
        self._name = source.name
        self._tick = tick
        self._passed = (source.descriptor,) if target is None else (source.descriptor, target)
        self._seconds = _LEAST_SECONDS + (source.length + file_size) // _SLOWEST
        self._limits = sandbox.Limits(
            parent=os.getpid(),
            memory=MEMORY,
            cpu=self._seconds,
            file_size=file_size,
            readable=(f"/proc/self/fd/{source.descriptor}",),
            writable=() if target is None else (f"/proc/self/fd/{target}",),
        )

    def __call__(self, *arguments: str, fine: tuple[int, ...] = (0,)) -> bytes:
        """Run it; returns its output. Any other end than those with the exit codes `fine` is an error."""
        with subprocess.Popen(
            sandbox.command(self._limits, program(self._name), *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=self._passed,
            env=_ENVIRONMENT,
            cwd="/",
        ) as process:
            try:
                self._wait(process)
            finally:
                process.kill()
            output, complaint = _said(process.stdout), _said(process.stderr)
        if process.returncode not in fine:
            raise self._failure(process.returncode, complaint.decode("utf-8", "replace"))
        return output

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + self._seconds
        while True:
            try:
                process.wait(_TICK)
            except subprocess.TimeoutExpired:
                self._tick()
            else:
                return
            if time.monotonic() > until:
                raise TransientError(f"qemu-img has not read the {self._name} file within {self._seconds} seconds")

    def _failure(self, code: int, complaint: str) -> DataImportCronError:
        """What it means that it ended so."""
        what, said = f"the {self._name} file", self._words(complaint)
        if code == sandbox.CANNOT_START:
            return MissingDependencyError(f"qemu-img cannot be run: {said}", hint="apt-get install qemu-utils")
        if code == -signal.SIGKILL:
            return TransientError(f"qemu-img was killed while it read {what}", hint="look whether memory was short")
        if code < 0:
            why = f"ended by {signal.Signals(-code).name}, within {self._seconds} seconds and {MEMORY >> 20} MiB"
            return InvalidImageError(f"{what} cannot be read by qemu-img: {said} ({why})", hint=TO_QCOW2)
        return self._fault(what, complaint, said)

    @staticmethod
    def _fault(what: str, complaint: str, said: str) -> DataImportCronError:
        """What it means that it gave up: one of its words for a full or failing target, or it is the image's fault."""
        if any(full in complaint for full in _FULL):
            return NoSpaceError(f"no space for the target: {said}", hint="free some, or enlarge it")
        if "error while writing" in complaint:
            return TransientError(f"the target cannot be written: {said}")
        return InvalidImageError(f"{what} cannot be read: {said or 'it is damaged'}", hint=TO_QCOW2)

    def _words(self, complaint: str) -> str:
        """The last thing that it said, without our names of files, and without what a terminal would obey."""
        lines = complaint.strip().splitlines() or [""]
        text = lines[-1].removeprefix("qemu-img: ").encode("ascii", "backslashreplace").decode("ascii")
        for descriptor in self._passed:
            text = text.replace(f"'/proc/self/fd/{descriptor}'", "it")
        return "".join(character if character.isprintable() else " " for character in text)[:300]


def _said(pipe: IO[bytes] | None) -> bytes:
    """What is in a pipe, without waiting: its writer has ended."""
    if pipe is None:  # pragma: no cover -- it was asked for
        return b""
    os.set_blocking(pipe.fileno(), False)
    with suppress(BlockingIOError):
        return os.read(pipe.fileno(), _LONGEST_OUTPUT)
    return b""


def _checked_size(said: bytes, name: str, image: str) -> int:
    """The virtual size in bytes, of a disk that is all there."""
    try:
        document = json.loads(said)
        size = int(document["virtual-size"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidImageError(f"qemu-img says nothing of use about the {name} file: {error}") from error
    for key, value in _members(document):
        if key in _OTHER_FILES or (key == "filename" and value != image):
            raise InvalidImageError(f"the {name} file needs another file: {str(value)[:200]!r}", hint=TO_QCOW2)
    return size


def _members(document: object) -> Iterator[tuple[str, object]]:
    """All members of all objects in a JSON document."""
    if isinstance(document, dict):
        yield from document.items()
        document = list(document.values())
    for item in document if isinstance(document, list) else ():
        yield from _members(item)
