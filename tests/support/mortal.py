"""Runs the importer and kills it just before its Nth change of the storage, for N = 1, 2, … until it comes to its end.

    python -m tests.support.mortal TARGET MARKER SIZE OLD NEW

OLD and NEW are files with disks. Each time the target is complete with OLD first, then the import of NEW is killed,
then the same import runs again undisturbed. Writes a line of JSON for each N. Every import is a process of its own,
forked so that none pays for starting Python.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

from dataimportcron.importer import run as _  # noqa: F401 -- loaded once, before the forks
from dataimportcron.importer.__main__ import main
from dataimportcron.importer.source import local_image as __  # noqa: F401 -- the same
from dataimportcron.importer.targets import device

_CHANGES = ((os, "ftruncate"), (os, "pwrite"), (os, "fsync"), (os, "replace"), (os, "unlink"), (device, "_punch"))


def _imported(arguments: list[str], last: int = 0) -> bool:
    """Whether an import came to its end; it is killed in front of its change number `last`, 0 for never."""
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        changes = count(1)
        for owner, name in _CHANGES:
            setattr(owner, name, _deadly(getattr(owner, name), changes, last))
        os._exit(main(arguments))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, -signal.SIGKILL}, status
    return status == 0


def _deadly(change: Callable[..., Any], changes: Iterator[int], last: int) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        if next(changes) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return change(*arguments, **options)

    return call


def _state(target: Path, marker: Path) -> dict[str, str]:
    recorded = json.loads(marker.read_text())["digest"] if marker.exists() else ""
    return {"recorded": recorded, "found": hashlib.sha256(target.read_bytes()).hexdigest()}


def run(target: Path, marker: Path, size: str, old: str, new: str) -> None:
    """Say what each death leaves behind."""
    beside = ["--target", str(target), "--marker", str(marker), "--size", size]
    for last in count(1):
        assert _imported(["--source", old, *beside])
        ended = _imported(["--source", new, *beside], last)
        dead = _state(target, marker)
        assert _imported(["--source", new, *beside])
        again = _state(target, marker)
        sys.stdout.write(json.dumps({"ended": ended, "dead": dead, "again": again}) + "\n")
        sys.stdout.flush()  # or every fork writes it again
        if ended:
            return


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
