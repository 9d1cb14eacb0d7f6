"""The cluster's programs, built from Go modules once and kept outside the tree by what they are built from.

No registry of container images is in reach of a test, and Debian's versions are too old; Go's modules are pinned by
hash, and a build needs nothing but Go. Cold it takes minutes, so each part is built when it is first asked for.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from dataimportcron.errors import MissingDependencyError, TransientError
from demo.images import cache_folder

Part = Literal["control-plane", "node", "own"]
PARTS: Final[tuple[Part, ...]] = ("control-plane", "node", "own")

_SOURCES: Final = Path(__file__).parent / "go"
_OF_ALL: Final = ("go.mod", "go.sum", "build.sh")
_GO: Final = ("go", "/usr/local/go/bin/go")
_SILENCE: Final = 30.0
"""Seconds after which a build that goes on says so."""
_UNUSED: Final = 14 * 86400
"""Seconds after which what another version of the sources made goes."""


def cache() -> Path:
    """The folder of everything about the cluster that outlives it."""
    return cache_folder() / "cluster"


def binaries(part: Part) -> Path:
    """The folder with the programs of a part, which is built where it is not.

    Raises:
        MissingDependencyError: it must be built, and there is no Go that is new enough.
        TransientError: the build fails; Go's words are in the error.
    """
    kept = cache() / _fingerprint(part)
    kept.mkdir(parents=True, exist_ok=True)
    os.utime(kept)
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (kept / "bin").exists():
            _build(part, kept)
    return kept / "bin"


def _build(part: Part, kept: Path) -> None:
    unfinished = kept / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    started = time.monotonic()
    _say(f"building {part}, cold some minutes")
    environment = os.environ | {"PATH": f"{find_go().parent}:{os.environ['PATH']}"}
    command = [str(_SOURCES / "build.sh"), part, str(unfinished)]
    with subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE) as building:
        words = None
        while words is None:
            with suppress(subprocess.TimeoutExpired):
                _, words = building.communicate(timeout=_SILENCE)
            if words is None:
                _say(f"still building {part}, {time.monotonic() - started:.0f} s so far")
    if building.returncode:
        raise TransientError(f"The test cluster's {part} could not be built:\n{words[-4000:]}")
    unfinished.rename(kept / "bin")
    _say(f"built {part} in {time.monotonic() - started:.0f} s: {kept / 'bin'}")
    _forget_unused()


def _fingerprint(part: Part) -> str:
    """Of the files that a part is built from."""
    files = [_SOURCES / name for name in _OF_ALL]
    if part == "own":
        files += sorted(_SOURCES.glob("*/*.go"))
    found = hashlib.sha256(part.encode())
    for file in files:
        body = file.read_bytes()
        found.update(f"\0{file.relative_to(_SOURCES)}\0{len(body)}\0".encode() + body)
    return found.hexdigest()[:12]


def find_go() -> Path:
    """The first Go that is as new as go.mod asks for: of the PATH, of go.dev's own place, of tools/setup.sh.

    Raises:
        MissingDependencyError: there is none.
    """
    wanted = _version(re.search(r"^go (.*)", (_SOURCES / "go.mod").read_text(), re.MULTILINE))
    found = []
    for place in map(shutil.which, (*_GO, str(cache_folder() / "go" / "go" / "bin" / "go"))):
        if place is None:
            continue
        said = subprocess.run([place, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
        if _version(re.match(r"go(.*)", said)) >= wanted:
            return Path(place)
        found.append(f"{place}: {said.strip()}")
    raise MissingDependencyError(
        f"No Go {'.'.join(map(str, wanted))} or newer is installed, which the test cluster is built with; "
        f"found {', '.join(found) or 'none'}",
        hint="tools/setup.sh cluster",
    )


def _version(found: re.Match[str] | None) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", found[1]))) if found else ()


def _forget_unused() -> None:
    for kept in cache().iterdir():
        if (kept / "bin").exists() and time.time() - kept.stat().st_mtime > _UNUSED:
            shutil.rmtree(kept)


def _say(line: str) -> None:
    sys.stderr.write(f"== cluster: {line}\n")
    sys.stderr.flush()
