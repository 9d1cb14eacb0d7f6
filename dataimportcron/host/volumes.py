"""Volumes as flat raw files: `<storage folder>/<namespace>/<name>.img`, each namespace a libvirt `dir` pool.

What is not a volume yet, and what we note of those that are, lies beside the pools in `.dataimportcron/`, on the same
file system so that a finished volume appears by a rename. A volume is complete when its note and its file agree; the
note is written first, so a crash in between leaves a note without a file, which is no volume.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from dataimportcron.host.files import sync_folder, write_atomically
from dataimportcron.host.state import StateFolder
from dataimportcron.ports import Volume, VolumeSpec

HIDDEN = ".dataimportcron"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What we note of a volume. `size` is in bytes; `inode` tells our file from another one of its name."""

    uid: str
    size: int
    inode: int
    digest: str = ""

    @classmethod
    def read(cls, path: Path) -> Note | None:
        """The note of that path, None if there is none or it is none of ours; what a newer version added is ignored."""
        try:
            document = json.loads(path.read_bytes())
            return cls(**{item.name: document[item.name] for item in fields(cls)})
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The paths of one volume in one storage folder."""

    file: Path
    partial: Path
    note: Path
    marker: Path


class HostVolumes:
    """`ports.Volumes`."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state

    def folder_of(self, storage_class: str) -> tuple[Path, bool]:
        """Folder of a storage class, and whether the settings name it; the default folder where they do not."""
        settings = self._state.settings()
        mapped = settings.storage_classes.get(storage_class)
        if mapped:
            return Path(mapped), True
        return Path(settings.default_folder or self._state.path / "volumes"), not storage_class

    def place(self, volume: VolumeSpec) -> Place:
        """Where a volume is made."""
        return _place(self.folder_of(volume.storage_class)[0], volume.namespace, volume.name)

    async def find(self, namespace: str, name: str) -> Volume | None:
        """See the port."""
        return await asyncio.to_thread(self.find_now, namespace, name)

    def find_now(self, namespace: str, name: str) -> Volume | None:
        """The complete volume, in whichever storage folder it is."""
        for place, note in self._complete(namespace, name):
            return Volume(namespace=namespace, name=name, size=note.size, digest=note.digest, location=str(place.file))
        return None

    def is_made(self, volume: VolumeSpec) -> bool:
        """Whether just this volume is complete, not one that another DataVolume of its name has left."""
        return any(note.uid == volume.uid for _, note in self._complete(volume.namespace, volume.name))

    def _complete(self, namespace: str, name: str) -> Iterator[tuple[Place, Note]]:
        for folder in self._folders():
            place = _place(folder, namespace, name)
            note = Note.read(place.note)
            try:
                if note is not None and place.file.stat().st_ino == note.inode:
                    yield place, note
            except (FileNotFoundError, NotADirectoryError):
                continue

    def finish(self, volume: VolumeSpec, *, digest: str, writable: bool) -> None:
        """Make the partial file, whose lock the caller holds, the volume: note, rename, both durable."""
        place = self.place(volume)
        place.file.parent.mkdir(parents=True, exist_ok=True)
        place.partial.chmod(0o644 if writable else 0o444)
        status = place.partial.stat()
        note = Note(uid=volume.uid, size=status.st_size, inode=status.st_ino, digest=digest)
        write_atomically(place.note, json.dumps(asdict(note)).encode())
        place.partial.replace(place.file)
        sync_folder(place.file.parent)
        place.marker.unlink(missing_ok=True)

    async def delete(self, namespace: str, name: str) -> None:
        """See the port."""
        await asyncio.to_thread(self._delete, namespace, name)

    def _delete(self, namespace: str, name: str) -> None:
        for folder in self._folders():
            place = _place(folder, namespace, name)
            # The note goes last: until then a crash leaves something that the next call finds.
            for path in (place.file, place.partial, place.marker, place.note):
                with suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()

    async def notice(self, volume: VolumeSpec) -> str:
        """See the port."""
        folder, mapped = await asyncio.to_thread(self.folder_of, volume.storage_class)
        if mapped:
            return ""
        return f"Storage class {volume.storage_class} has no folder in settings.toml; the default {folder} is used"

    async def in_use(self, namespace: str, name: str) -> str:
        """See the port. For now: somebody has the file open; where nobody can say, it counts as open."""
        volume = await self.find(namespace, name)
        return await asyncio.to_thread(_used_by, Path(volume.location)) if volume else ""

    def _folders(self) -> list[Path]:
        settings = self._state.settings()
        folders = [Path(path) for path in settings.storage_classes.values()]
        return list(dict.fromkeys([self.folder_of("")[0], *folders]))


def _place(folder: Path, namespace: str, name: str) -> Place:
    hidden = folder / HIDDEN / namespace
    return Place(
        file=folder / namespace / f"{name}.img",
        partial=hidden / f"{name}.partial",
        note=hidden / f"{name}.json",
        marker=hidden / f"{name}.complete",
    )


def _used_by(path: Path) -> str:
    """Who has a file open, in one sentence; "" when surely nobody has."""
    opened = _is_open(path)
    if opened is False:
        return ""
    user, hidden = _opened_by(path)
    if user:
        return user
    if opened:
        return f"{path} is open: by a process that cannot be looked at, or as a loop device"
    return f"whether {path} is open cannot be known: {hidden}" if hidden else ""


def _is_open(path: Path) -> bool | None:
    """Whether anybody at all has a file open; None where the file system, or our rights, give no answer.

    The kernel gives a lease for writing only on a file that nobody else has open, whoever it is: a process of another
    user or in another mount namespace, a mapping, a loop device. It is given back at once.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Who opens the file just now sends us a signal. The usual one would end this process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    else:
        return False
    finally:
        os.close(descriptor)


def _opened_by(path: Path) -> tuple[str, str]:
    """The process that has a file open, and one that could not be looked at; each a sentence, "" if there is none."""
    wanted, hidden = path.stat(), ""
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        try:
            for descriptor in (process / "fd").iterdir():
                with suppress(FileNotFoundError):  # closed meanwhile
                    if os.path.samestat(descriptor.stat(), wanted):
                        return f"process {process.name} ({_command_of(process)}) has {path} open", hidden
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        except OSError as error:
            hidden = hidden or f"process {process.name} cannot be looked at: {error.strerror}"
    return "", hidden


def _command_of(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip()
    except OSError:
        return "ended"
