"""Volumes as flat files: `<storage folder>/<namespace>/<name>.img`, each namespace a libvirt `dir` pool.

An overlay is `<name>.qcow2`, so that nobody takes it for a raw disk. What is not a volume yet, and what we note of
those that are, lies beside the pools in `.dataimportcron/`, on the same file system so that a finished volume appears
by a rename. A volume is complete when its note and its file agree; the note is written first, so a crash in between
leaves a note without a file, which is no volume. A file without a note that names its inode is somebody else's, whoever
owns it: libvirt changes owners and modes of what it uses.
"""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path

from dataimportcron.api.types import DataVolume, DataVolumeSpec
from dataimportcron.errors import (
    DataImportCronError,
    ForeignFileError,
    InUseError,
    NoSpaceError,
    TargetNotWritableError,
    TransientError,
)
from dataimportcron.host.disks.backing import BackingFiles
from dataimportcron.host.disks.folders import HIDDEN, StorageFolders, make_folder
from dataimportcron.host.disks.openers import opener_of
from dataimportcron.host.files import sync_folder, write_atomically
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.together import Together
from dataimportcron.manifests import volume_spec
from dataimportcron.values import Clonable, CloneSource, Reservation, SourceKind, Volume, VolumeSpec

RAW, QCOW2 = "raw", "qcow2"
_SUFFIXES = {RAW: ".img", QCOW2: ".qcow2"}
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What we note of a volume. `size` of the disk is in bytes; `inode` tells our file from another one of its name."""

    uid: str
    size: int
    inode: int
    digest: str = ""
    format: str = RAW

    @classmethod
    def read(cls, path: Path) -> Note | None:
        """The note of that path, None if there is none or it is none of ours; what a newer version added is ignored."""
        try:
            document = json.loads(path.read_bytes())
            needed = [item.name for item in fields(cls) if item.default is MISSING or item.name in document]
            note = cls(**{name: document[name] for name in needed})
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
            return None
        return note if note.format in _SUFFIXES else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The paths of one volume in one storage folder. `file` is the volume's own, by its format."""

    file: Path
    partial: Path
    note: Path
    marker: Path

    def is_ours(self, note: Note | None) -> bool:
        """Whether the file is the one that the note is about.

        Raises:
            OSError: nobody can say.
        """
        try:
            return note is not None and self.file.stat().st_ino == note.inode
        except (FileNotFoundError, NotADirectoryError):
            return False


class HostVolumes:
    """`ports.Volumes`."""

    def __init__(self, state: StateFolder) -> None:
        self._folders = StorageFolders(state)
        self._backing = BackingFiles()
        self._finds = Together(self._find_all)

    def folder_of(self, storage_class: str) -> tuple[Path, bool]:
        """Folder of a storage class, and whether the settings name it; the default folder where they do not."""
        return self._folders.of(storage_class)

    def place(self, volume: VolumeSpec) -> Place:
        """Where a volume is made."""
        folder, _ = self._folders.of(volume.storage_class)
        return _place(folder, volume.namespace, volume.name, QCOW2 if volume.overlay else RAW)

    def prepare(self, volume: VolumeSpec) -> Place:
        """Where a volume is made, when it can be: the folders are there, and nothing of somebody else's.

        Raises:
            ForeignFileError: a file that is not ours has its name.
            InUseError: an earlier volume of its name is used by somebody.
            StorageUnavailableError: the folder of its storage class is not there.
            NoSpaceError, TargetNotWritableError, TransientError: nothing can be made there.
        """
        with storage_errors(volume):
            self._folders.ready(volume.storage_class)
            place = self.place(volume)
            make_folder(place.partial.parent.parent)
            make_folder(place.partial.parent)
            self._check_free(place, volume)
        return place

    def _check_free(self, place: Place, volume: VolumeSpec) -> list[Path]:
        """Refuse to make a volume where there is one that is not to be replaced; returns the files that are."""
        note = Note.read(place.note)
        if place.file.is_symlink() or (place.file.exists() and not place.is_ours(note)):
            raise ForeignFileError(
                f"{place.file} is not ours, and DataVolume {volume.namespace}/{volume.name} would have that name",
                hint="move it out of the folder, or give the DataVolume another name",
            )
        earlier = _place_of_note(place, note)
        if earlier is None or not earlier.is_ours(note):
            return []
        user = self.user_of(earlier.file)
        if user:
            raise InUseError(f"The earlier volume {volume.namespace}/{volume.name} is not replaced: {user}")
        return [earlier.file]

    async def find(self, namespace: str, name: str) -> Volume | None:
        """See the port."""
        return await self._finds.ask((namespace, name))

    def _find_all(self, places: Sequence[tuple[str, str]]) -> Sequence[Volume | Exception | None]:
        folders = self._folders.all()
        found: list[Volume | Exception | None] = []
        for namespace, name in places:
            try:
                found.append(_find(folders, namespace, name))
            except OSError as error:
                found.append(error)
        return found

    async def claims(self) -> None:
        """See the port."""

    async def clonable(self, source: CloneSource) -> Clonable:
        """See the port."""
        found = await self.find(source.namespace, source.name) if source.kind is SourceKind.PVC else None
        return Clonable(size=found.size) if found is not None else Clonable.missing(source)

    async def adopt(self, volume: DataVolume) -> bool:
        """See the port. Nobody else fills volumes on a host."""
        return await asyncio.to_thread(self.is_made, volume_spec(volume))

    async def reserve(self, volume: DataVolume, source: CloneSource | None = None) -> Reservation:  # noqa: ARG002 -- the port's
        """See the port. A file needs no place before it is written."""
        return Reservation()

    def find_now(self, namespace: str, name: str) -> Volume | None:
        """The complete volume, in whichever storage folder it is."""
        return _find(self._folders.all(), namespace, name)

    def is_made(self, volume: VolumeSpec) -> bool:
        """Whether just this volume is complete, not one that another DataVolume of its name has left."""
        complete = _complete(self._folders.all(), volume.namespace, volume.name)
        return any(note.uid == volume.uid for _, note in complete)

    def finish(self, volume: VolumeSpec, *, digest: str, writable: bool) -> None:
        """Make the partial file, whose lock the caller holds, the volume: note, rename, both durable.

        Raises:
            ForeignFileError, InUseError: as `prepare`, if that has come meanwhile.
        """
        place = self.place(volume)
        with storage_errors(volume):
            make_folder(place.file.parent)
            for earlier in self._check_free(place, volume):
                earlier.unlink()
            place.partial.chmod(0o644 if writable else 0o444)
            status = place.partial.stat()
            note = Note(
                uid=volume.uid,
                size=volume.size if volume.overlay else status.st_size,
                inode=status.st_ino,
                digest=digest,
                format=QCOW2 if volume.overlay else RAW,
            )
            write_atomically(place.note, json.dumps(asdict(note)).encode())
            place.partial.replace(place.file)
            sync_folder(place.file.parent)
            place.marker.unlink(missing_ok=True)

    async def delete(self, namespace: str, name: str) -> None:
        """See the port."""
        await asyncio.to_thread(self._delete, namespace, name)

    def _delete(self, namespace: str, name: str) -> None:
        for folder in self._folders.all():
            place = _place(folder, namespace, name)
            note = Note.read(place.note)
            own = _place_of_note(place, note)
            files = [own.file] if own is not None and own.is_ours(note) else []
            # The note goes last: until then a crash leaves something that the next call finds.
            for path in (*files, place.partial, place.marker, place.note):
                with suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()

    async def notice(self, volume: VolumeSpec) -> str:
        """See the port."""
        folder, mapped = await asyncio.to_thread(self.folder_of, volume.storage_class)
        if mapped:
            return ""
        return f"Storage class {volume.storage_class} has no folder in settings.toml; the default {folder} is used"

    async def in_use(self, namespace: str, name: str, kind: SourceKind = SourceKind.PVC) -> str:
        """See the port; there are no snapshots that could be used."""
        return await asyncio.to_thread(self.in_use_now, namespace, name) if kind is SourceKind.PVC else ""

    async def placement(self, spec: DataVolumeSpec) -> None:
        """See the port; a host keeps all imports as files."""

    def in_use_now(self, namespace: str, name: str) -> str:
        """See `in_use` of the port."""
        volume = self.find_now(namespace, name)
        return self.user_of(Path(volume.location)) if volume else ""

    def user_of(self, file: Path) -> str:
        """Who uses the file of a volume, in one sentence; "" when surely nobody does."""
        return self._backing.user_of(file, self._folders.watched(), hidden=HIDDEN) or opener_of(file)


@contextmanager
def storage_errors(volume: VolumeSpec) -> Iterator[None]:
    """Errors of the operating system as ours, in the name of the volume that is made."""
    what = f"volume {volume.namespace}/{volume.name} of {volume.size} bytes"
    try:
        yield
    except DataImportCronError:
        raise
    except OSError as error:
        where = f" at {error.filename}" if error.filename else ""
        if error.errno in _FULL:
            raise NoSpaceError(
                f"No space for {what}{where}: {error.strerror}", hint="free some; it is tried again"
            ) from error
        if error.errno in _DENIED:
            raise TargetNotWritableError(
                f"Cannot make {what}{where}: {error.strerror}",
                hint="the folder must belong to the user that dataimportcron runs as, and not be read-only",
            ) from error
        raise TransientError(f"Cannot make {what}{where}: {error.strerror or error}") from error


def _find(folders: Sequence[Path], namespace: str, name: str) -> Volume | None:
    """The complete volume, in whichever of the folders it is."""
    for place, note in _complete(folders, namespace, name):
        return Volume(
            namespace=namespace,
            name=name,
            size=note.size,
            digest=note.digest,
            location=str(place.file),
            format=note.format,
            uid=note.uid,
        )
    return None


def _complete(folders: Sequence[Path], namespace: str, name: str) -> Iterator[tuple[Place, Note]]:
    """The files of that name that are whole and ours, with what is noted of each."""
    for folder in folders:
        place = _place(folder, namespace, name)
        note = Note.read(place.note)
        own = _place_of_note(place, note)
        if note is not None and own is not None and own.is_ours(note):
            yield own, note


def _place(folder: Path, namespace: str, name: str, disk_format: str = RAW) -> Place:
    hidden = f"{folder}/{HIDDEN}/{namespace}/{name}"
    return Place(
        file=Path(f"{folder}/{namespace}/{name}{_SUFFIXES[disk_format]}"),
        partial=Path(f"{hidden}.partial"),
        note=Path(f"{hidden}.json"),
        marker=Path(f"{hidden}.complete"),
    )


def _place_of_note(place: Place, note: Note | None) -> Place | None:
    """The place of the volume that a note is about, which may be of another format."""
    if note is None:
        return None
    name = place.note.stem + _SUFFIXES[note.format]
    return place if place.file.name == name else replace(place, file=place.file.with_name(name))
