"""Manifest folders: objects in files that somebody else manages, read and never written, as kubelet reads static pods.

A file holds any number of objects, and is taken in whole or not at all: with a fault in one of them all stay as they
were. What we know of the objects (status, labels and annotations that we add, a spec that we change) is in their
records alone.

An object is in one place. The first one keeps it: where its record says that it came from, then the state folder, then
the folders in the order of the setting, their files by name. It moves when it is gone from its place and is in another
one, and is deleted, with the care of `scan`, when it is in none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataimportcron.api.types import KINDS, Resource
from dataimportcron.api.validation import parse
from dataimportcron.errors import DataImportCronError, InvalidObjectError, PermanentError
from dataimportcron.host.state.manifest_files import Absences, read_documents, refuse_other_folder, surely_absent
from dataimportcron.host.state.reader import DEFAULT_NAMESPACE
from dataimportcron.host.state.records import Document, Head, Stamp, stamp_of
from dataimportcron.host.state.store import Store

_Key = tuple[str, str, str]
"""Kind, namespace and name."""


class ManagedObjectError(PermanentError):
    """The object comes from a file that we only read."""

    reason = "ManagedObject"


@dataclass(slots=True, kw_only=True)
class _File:
    """A file as it was last seen. `documents` is None until it is read, and where it has a `fault`."""

    stamp: Stamp
    documents: dict[_Key, Document] | None = None
    fault: str = ""


class ManifestFolders:
    """The files of all manifest folders, and whose object is whose."""

    def __init__(self, store: Store, folders: Callable[[], Sequence[Path]]) -> None:
        self._store = store
        self._configured = folders
        self._folders: Sequence[Path] = ()
        self._files: dict[Path, _File] = {}
        self._absences = Absences()
        self._disputes: set[str] = set()

    def scan(self, monotonic: float, problems: dict[Path, str], heads: Sequence[Head]) -> None:
        """Take in what changed since the last scan; what is no good goes into `problems`, by file or folder.

        Args:
            monotonic: seconds of a clock that never jumps.
            problems: is added to.
            heads: of all records.
        """
        try:
            self._folders = self._configured()
        except (OSError, DataImportCronError) as error:
            problems[Path("settings.toml")] = f"the manifest folders stay as they were: {error}"
        files: dict[Path, _File] = {}
        for path in (path for folder in self._folders for path in _names(folder, problems)):
            try:
                files[path] = self._look(path)
            except OSError as error:
                problems[path] = f"{path} cannot be read: {error.strerror}"
                files[path] = _File(stamp=(0, 0, 0))
        self._files = files
        records = [record for record in heads if record.origin]
        self._say_faults(records, problems)
        disputes: set[str] = set()
        for path, file in files.items():
            for key, document in (file.documents or {}).items():
                try:
                    dispute = self._take_in(path, file, key, document)
                except (OSError, DataImportCronError) as error:
                    problems[path] = f"{path} cannot be taken in: {error}"
                    continue
                if dispute:
                    disputes.add(dispute)
                    problems[path] = dispute
        self._disputes = disputes
        self._look_for_absent(records, monotonic, problems)

    def holds(self, record: Head) -> bool:
        """Whether the file that a record came from has its object, as far as can be known."""
        path = Path(record.origin)
        if path.parent not in self._folders:
            return False
        file = self._files.get(path)
        if file is None:
            return _there(path)
        return file.documents is None or _key_of(record) in file.documents

    def _look(self, path: Path) -> _File:
        """The file, read anew when two scans in a row have found it changed in the same way."""
        stamp, last = stamp_of(path), self._files.get(path)
        if last is None or last.stamp != stamp:
            return _File(stamp=stamp)
        if last.documents is None and not last.fault:
            try:
                last.documents = _documents(path)
            except InvalidObjectError as error:
                last.fault = str(error)
        return last

    def _say_faults(self, records: list[Head], problems: dict[Path, str]) -> None:
        problems |= {path: file.fault for path, file in self._files.items() if file.fault}
        for record in records:
            path = Path(record.origin)
            file = self._files.get(path)
            if file is not None and file.fault:
                self._store.complain(record, file.fault)
            elif record.problem and file is not None and tuple(record.stamp) == file.stamp:
                # A broken edit that was taken back by a rename.
                self._store.complain(record, "")

    def _take_in(self, path: Path, file: _File, key: _Key, document: Document) -> str:
        """Take in one object; returns whose it is where it is another file's."""
        record = self._store.head_of(self._store.path_of(*key))
        if record is None:
            if _there(self._store.path_of(*key)):
                return ""  # about to be read there
        elif record.origin != str(path):
            if self.holds(record) if record.origin else _there(self._store.file_of(record)):
                return self._dispute(path, record)
        elif (tuple(record.stamp), record.folder) == (file.stamp, path.parent.stat().st_ino):
            return ""
        self._store.admit_from(path, document, file.stamp)
        return ""

    def _dispute(self, path: Path, record: Head) -> str:
        what = f"{record.kind} {record.namespace}/{record.name}"
        text = f"{path}: {what} is not taken from here, it is managed by {self._store.file_of(record)}"
        text += " (remove it from one of the two)"
        if text not in self._disputes:
            resource = self._store.get(KINDS[record.kind], record.namespace, record.name)
            self._store.add_event(resource, "Warning", "Conflict", text)
        return text

    def _look_for_absent(self, records: list[Head], monotonic: float, problems: dict[Path, str]) -> None:
        for record in records:
            path = Path(record.origin)
            if path.parent not in self._folders:
                problems[path.parent] = f"{path.parent} is no manifest folder any more; its objects are kept"
                continue
            file = self._files.get(path)
            try:
                if file is None:
                    gone = surely_absent(path, record.folder)
                else:
                    gone = file.documents is not None and _key_of(record) not in file.documents
                    if gone:
                        refuse_other_folder(path.parent, record.folder)
                if gone and self._absences.lasting(record.uid, monotonic):
                    self._store.end(record, stamp=file.stamp if file else None)
            except OSError as error:
                problems[path.parent] = f"{path.parent}: {error.strerror or error}; its objects are kept"
        self._absences.turn()


def refuse_managed(store: Store, folders: Sequence[Path], resource: Resource) -> None:
    """Refuse to apply or delete an object that a file in a manifest folder holds.

    Raises:
        ManagedObjectError: the file has it, or cannot be read.
    """
    metadata = resource.metadata
    record = store.head_of(store.path_of(resource.kind, metadata.namespace, metadata.name))
    if record is None or not record.origin or Path(record.origin).parent not in folders:
        return
    try:
        held = _key_of(record) in _documents(Path(record.origin))
    except FileNotFoundError:
        held = False
    except (OSError, InvalidObjectError):
        held = True
    if held:
        name = f"{record.kind.lower()}/{record.name}"
        raise ManagedObjectError(f"{name} is managed by {record.origin}", hint="edit it there")


def _names(folder: Path, problems: dict[Path, str]) -> Iterator[Path]:
    """The files of a folder by name; one that is not there has none."""
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        problems[folder] = f"{folder} cannot be read: {error.strerror}"
        return
    # Editors and rsync keep their own files behind a dot.
    yield from (path for path in paths if path.suffix in {".yaml", ".yml"} and not path.name.startswith("."))


def _documents(path: Path) -> dict[_Key, Document]:
    """The objects of a file, all of them good.

    Raises:
        InvalidObjectError: the file or one of its objects is not good, or one stands in it twice.
        OSError: it cannot be read.
    """
    found: dict[_Key, Document] = {}
    for document in read_documents(path):
        resource = parse(document, source=str(path))
        key = (resource.kind, resource.metadata.namespace or DEFAULT_NAMESPACE, resource.metadata.name)
        if key in found:
            raise InvalidObjectError(
                f"{path}: {key[0]} {key[1]}/{key[2]} stands in it twice", hint="remove one of them"
            )
        found[key] = document
    return found


def _key_of(record: Head) -> _Key:
    return record.kind, record.namespace, record.name


def _there(path: Path) -> bool:
    """Whether there is anything at a path, or nobody can say."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
