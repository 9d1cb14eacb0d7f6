"""The folders: the state, its settings, and those of the volumes."""

from __future__ import annotations

import fcntl
import os
import pwd
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Final

from dataimportcron.errors import DataImportCronError
from dataimportcron.host.cloner import FICLONE
from dataimportcron.host.disks.folders import HIDDEN, StorageFolders
from dataimportcron.host.files import try_lock_existing
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.records import read_records
from worker.cli.text import size, span
from worker.doctor.finding import Finding, bad, failed, good, note

_LEAST: Final = 256 << 20
"""Bytes that a file system must have left: the database and the records grow."""
_PRIVATE: Final = ("objects", "status", "deleted", "run")
_PATIENCE: Final = 300.0
"""Seconds after which the end of a deleted object should be done."""


def check_state(state: StateFolder) -> Iterator[Finding]:
    """The state folder itself; nothing else can be looked at while one of these is wrong."""
    try:
        state.require()
    except DataImportCronError as error:
        yield failed("state folder", error)
        return
    shut = [path for path in (state.path, *(state.path / name for name in _PRIVATE)) if not os.access(path, os.W_OK)]
    if shut:
        yield bad("state folder", f"{shut[0]} cannot be written", _cure_of_shut(shut[0]))
        return
    yield good("state folder", str(state.path))


def check_settings(state: StateFolder) -> Finding:
    """Whether `settings.toml` can be used."""
    try:
        state.settings()
    except DataImportCronError as error:
        return failed("settings.toml", error, "mend it; the program reads nothing else before that")
    there = (state.path / "settings.toml").exists()
    return good("settings.toml", "valid" if there else "not there: the defaults hold")


def check_up(state: StateFolder) -> Finding:
    """Whether `up` runs: it holds a lock for as long as it does."""
    lock = state.run / "up.lock"
    held = try_lock_existing(lock)
    if held is not None:
        os.close(held)
    if held is None and lock.exists():
        return good("up", "runs")
    return bad("up", "does not run: nothing is polled and nothing imported", "dataimportcron up")


def check_state_details(state: StateFolder) -> Iterator[Finding]:
    """Who may read it, what is left on its disk, and deletions that do not end."""
    opened = [path for name in _PRIVATE if (path := state.path / name).exists() and path.stat().st_mode & 0o077]
    if opened:
        yield bad(
            "private folders",
            f"others may look into {opened[0]}, and Secrets are stored there",
            f"chmod 700 {opened[0]}",
        )
    yield from _space("state folder", state.path)
    late = [path for path in state.deleted.glob("*.json") if time.time() - _changed(path) > _PATIENCE]
    if late:
        oldest = span(time.time() - min(map(_changed, late)))
        yield bad(
            "deletions",
            f"the clean-up after {len(late)} deleted objects is not done, the oldest for {oldest}",
            "it is the worker's: see that it runs, and its log",
        )


def check_storage(state: StateFolder, largest: int) -> Iterator[Finding]:
    """Each storage folder.

    Args:
        state: whose settings name them.
        largest: bytes of the largest volume that a cron may want to make.
    """
    folders = StorageFolders(state)
    default = folders.default()
    others = [folder for folder in folders.all() if folder != default]
    names = {Path(folder): name for name, folder in state.settings().storage_classes.items()}
    yield from _storage(default, "storage (default)", largest, made=default == state.path / "volumes")
    for folder in others:
        if folder in names or folder.exists():
            yield from _storage(folder, f"storage {names.get(folder, '(earlier default)')}", largest, made=False)


def check_overlays(state: StateFolder) -> Iterator[Finding]:
    """Where disks of virtual machines keep the volumes that they are based on; elsewhere nobody sees them."""
    for folder in map(Path, state.settings().overlay_folders):
        if not os.access(folder, os.R_OK | os.X_OK):
            yield bad(
                "overlays",
                f"{folder} cannot be read, so no volume is ever pruned",
                "mount it, or take it out of overlay_folders in settings.toml",
            )
    below = ", ".join(map(str, StorageFolders(state).watched()))
    yield good("overlays", f"keep their base where they are below {below}; more: overlay_folders in settings.toml")


def check_leftovers(state: StateFolder) -> Iterator[Finding]:
    """Half-written volumes that no DataVolume will ever finish."""
    for folder in StorageFolders(state).all():
        for partial in sorted((folder / HIDDEN).glob("*/*.partial")):
            if not any(read_records(state.status, "DataVolume", partial.parent.name, partial.stem)):
                taken = size(partial.stat().st_blocks * 512)
                found = f"{partial} belongs to no DataVolume and takes {taken}"
                yield note("leftover", found, f"rm {shlex.quote(str(partial))}")


def _storage(folder: Path, what: str, largest: int, *, made: bool) -> Iterator[Finding]:
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        yield bad(what, f"{nearest} is no folder", "name another in settings.toml")
        return
    if not os.access(nearest, os.W_OK | os.X_OK):
        yield bad(what, f"{nearest} cannot be written", _cure_of_shut(nearest))
        return
    if nearest != folder and not made:
        yield bad(what, f"{folder} does not exist", "mount it or make it, or name another in settings.toml")
        return
    if nearest != folder:
        yield note(what, f"{folder} is not there yet; the first volume makes it")
    yield from _space(what, nearest)
    free = shutil.disk_usage(nearest).free
    kind = f"{_file_system(nearest)}, {size(free)} free"
    if free < largest:
        yield note(
            what, f"{folder}: {kind}; the largest volume may grow to {size(largest)}", "make room, or another folder"
        )
    elif _reflinks(nearest):
        yield good(what, f"{folder}: {kind}; clones share their blocks")
    else:
        yield good(what, f"{folder}: {kind}; clones are copies (xfs or btrfs would share blocks)")


def _space(what: str, folder: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    if free < _LEAST:
        yield bad(what, f"{size(free)} are left on the file system of {folder}", "make room")


def _file_system(path: Path) -> str:
    """The type of the file system that a path is on, from the longest mount point above it."""
    best, kind = "", "unknown"
    with suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            mounted, _, rest = line.partition(" - ")
            point = mounted.split()[4].encode().decode("unicode_escape")
            if path.resolve().is_relative_to(point) and len(point) >= len(best):
                best, kind = point, rest.split()[0]
    return kind


def _reflinks(folder: Path) -> bool:
    """Whether two files can share blocks there; tried on two that have no name and leave nothing behind."""
    with suppress(OSError), _nameless(folder) as source, _nameless(folder) as target:
        source.write(bytes(4096))
        fcntl.ioctl(target, FICLONE, source.fileno())
        return True
    return False


def _nameless(folder: Path) -> FileIO:
    return FileIO(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600), "r+")


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _cure_of_shut(folder: Path) -> str:
    """What to do about a folder that cannot be written."""
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return "its file system is read-only: mount it for writing"
    uid = folder.stat().st_uid
    try:
        owner = pwd.getpwuid(uid).pw_name
    except KeyError:
        owner = str(uid)
    return f"run as the user {owner}"
