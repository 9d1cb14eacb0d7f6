"""What a person does to the files of the objects folder, taken in with care.

An object ends only when its file is absent in two scans two seconds apart, in the very folder that it was in, and that
folder can be read: an editor's rename or an unmounted folder is no deletion. A file is read only when two scans in a
row found it the same, so that one that is still being written is left alone; one that is no good leaves its object as
it was. No file stops a scan: what cannot be read is a problem, said and tried again.

An object is in one place. One that is in a manifest folder already (see `manifest_folders`) is not taken in here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataimportcron.api.validation import parse
from dataimportcron.errors import ConflictError, DataImportCronError, InvalidObjectError
from dataimportcron.host.state.manifest_files import Absences, read_documents, surely_absent
from dataimportcron.host.state.manifest_folders import ManifestFolders
from dataimportcron.host.state.records import Document, Head, Stamp, stamp_from
from dataimportcron.host.state.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A file or folder of objects that is no good; what was read from it before stays in force."""

    path: Path
    message: str


class Scanner:
    """Scans one state folder, and the manifest folders beside it, again and again.

    Args:
        store: of the state folder.
        folders: says which manifest folders there are now.
    """

    def __init__(self, store: Store, folders: Callable[[], Sequence[Path]] = tuple) -> None:
        self._store = store
        self._folders = ManifestFolders(store, folders)
        self._absences = Absences()
        # By path. A scan of thousands of files that nobody has touched makes no `Path`, which costs more than a stat.
        self._seen: dict[str, Stamp] = {}
        self._agreed: dict[str, Stamp] = {}
        self._broken: dict[str, tuple[Stamp, str]] = {}

    def scan(self, monotonic: float) -> Sequence[Problem]:
        """Take in what a person did since the last scan; returns what is no good, the same until it is mended.

        Args:
            monotonic: seconds of a clock that never jumps.
        """
        problems: dict[Path, str] = {}
        seen: dict[str, Stamp] = {}
        for entry in self._files(problems):
            name = entry.path
            try:
                seen[name] = stamp_from(entry.stat())
                if self._agreed.get(name) != seen[name]:
                    self._take_in(Path(name), seen[name])
            except FileNotFoundError:
                continue
            except (OSError, DataImportCronError) as error:
                problems[Path(name)] = f"{name} cannot be taken in: {error}"
        self._seen = seen
        self._agreed = {name: stamp for name, stamp in self._agreed.items() if seen.get(name) == stamp}
        self._broken = {name: entry for name, entry in self._broken.items() if seen.get(name) == entry[0]}
        problems |= {Path(name): message for name, (_, message) in self._broken.items()}
        heads = tuple(self._store.heads())
        self._folders.scan(monotonic, problems, heads)
        self._look_for_absent(monotonic, problems, heads)
        return [Problem(path=path, message=message) for path, message in sorted(problems.items())]

    def _files(self, problems: dict[Path, str]) -> Iterator[os.DirEntry[str]]:
        """What is in the folders of all kinds and namespaces and is named as an object's file."""
        for kind in _entries(str(self._store.folder), problems):
            for namespace in _entries(kind.path, problems):
                yield from (entry for entry in _entries(namespace.path, problems) if entry.name.endswith(".yaml"))

    def _take_in(self, path: Path, stamp: Stamp) -> None:
        known = self._store.head_of(path)
        if known is not None and tuple(known.stamp) == stamp:
            if known.problem:
                self._store.complain(known, "")
            self._agreed[str(path)] = stamp
            return
        if self._seen.get(str(path)) != stamp or str(path) in self._broken:
            return
        try:
            document = self._read(path)
        except InvalidObjectError as error:
            self._broken[str(path)] = (stamp, str(error))
            if known is not None and not known.origin:
                self._store.complain(known, str(error))
            return
        if known is not None and known.origin and self._folders.holds(known):
            raise ConflictError(
                f"{known.kind} {known.namespace}/{known.name} is managed by {known.origin}",
                hint="remove it from one of the two",
            )
        self._store.admit(path, document, stamp)

    def _read(self, path: Path) -> Document:
        documents = read_documents(path)
        if len(documents) != 1:
            raise InvalidObjectError(f"{path} must hold one object, found {len(documents)}")
        resource = parse(documents[0], source=str(path))
        place = self._store.path_of(resource.kind, resource.metadata.namespace, resource.metadata.name)
        if place != path:
            raise InvalidObjectError(
                f"{path} holds {resource.kind} {resource.metadata.name}", hint=f"its place is {place}"
            )
        return documents[0]

    def _look_for_absent(self, monotonic: float, problems: dict[Path, str], heads: Sequence[Head]) -> None:
        for record in heads:
            if record.origin or self._store.place_of(record.kind, record.namespace, record.name) in self._seen:
                continue
            path = self._store.file_of(record)
            try:
                if surely_absent(path, record.folder) and self._absences.lasting(record.uid, monotonic):
                    self._store.end(record)
            except OSError as error:
                problems[path.parent] = f"{path.parent}: {error.strerror or error}; its objects are kept"
        self._absences.turn()


def _entries(folder: str, problems: dict[Path, str]) -> Sequence[os.DirEntry[str]]:
    """What is in a folder, by name; nothing where it is no folder, or nobody may look, which its absent files say."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ()
    except OSError as error:
        problems[Path(folder)] = f"{folder} cannot be read: {error.strerror}"
        return ()
