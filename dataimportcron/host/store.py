"""The object store of a host: files that a person applies, records of what became of them.

Synchronous, and shared by worker and command line through a lock on the state folder. Reading never takes the lock:
files are replaced whole. An object ends only when a person deletes it by command, or when its file is absent in two
scans two seconds apart in a folder that can be read: an editor's rename or an unmounted folder is no deletion.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import yaml

from dataimportcron.api.documents import load_documents
from dataimportcron.api.types import Resource
from dataimportcron.api.validation import parse
from dataimportcron.errors import AlreadyExistsError, ConflictError, DataImportCronError, ObjectNotFoundError
from dataimportcron.host import clock
from dataimportcron.host.files import locked, sync_folder, write_atomically
from dataimportcron.host.records import Document, Record, Stamp, overlay_for, stamp_of
from dataimportcron.host.state import StateFolder

R = TypeVar("R", bound=Resource)

ABSENT_FOR = timedelta(seconds=2)
"""How long a file must be absent before its object counts as deleted."""
EVENTS_KEPT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A file in the objects folder that is no good; its object, if there is one, stays as it was."""

    path: Path
    message: str


class Store:
    """All objects of one state folder."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._cache: dict[Path, tuple[Stamp, Record]] = {}
        self._absent: dict[Path, float] = {}
        self._broken: dict[Path, tuple[Stamp, str]] = {}

    # -- reading -----------------------------------------------------------------------------------------------------

    def get(self, kind: type[R], namespace: str, name: str) -> R:
        """Read one object.

        Raises:
            ObjectNotFoundError: there is none.
        """
        return self.record(kind, namespace, name).resource()  # type: ignore[return-value]  # the kind chooses the model

    def record(self, kind: type[Resource], namespace: str, name: str) -> Record:
        """Read one object's record.

        Raises:
            ObjectNotFoundError: there is none.
        """
        record = self._load(self._record_path(kind.__name__, namespace, name))
        if record is None:
            raise ObjectNotFoundError(f"{kind.__name__} {namespace}/{name} does not exist")
        return record

    def list(self, kind: type[R], namespace: str | None = None) -> list[R]:
        """Read all objects of a kind, ordered by namespace and name."""
        folder = self._state.status / kind.__name__.lower()
        records = (self._load(path) for path in sorted(folder.glob(f"{namespace or '*'}/*.json")))
        return [record.resource() for record in records if record is not None]  # type: ignore[misc]  # as in get

    def stamps(self) -> dict[Path, Stamp]:
        """A stamp of each record: two that differ mean that something happened in between."""
        return dict(self._stamps())

    def _stamps(self) -> Iterator[tuple[Path, Stamp]]:
        for path in self._state.status.glob("*/*/*.json"):
            try:
                yield path, stamp_of(path)
            except FileNotFoundError:
                continue

    # -- writing -----------------------------------------------------------------------------------------------------

    def apply(self, document: Document, *, source: str = "") -> tuple[Resource, str]:
        """Store a document as a person gave it; returns the object and created, configured or unchanged.

        Raises:
            InvalidObjectError: with all faults at once.
            ConflictError: the last object of this name is still being removed.
        """
        wanted = parse(document, source=source)
        kind, metadata = wanted.kind, wanted.metadata
        with self._lock():
            record = self._load(self._record_path(kind, metadata.namespace, metadata.name))
            if record is not None and record.applied == document and self._file(record).exists():
                return record.resource(), "unchanged"
            if record is None:
                self._refuse_dying(wanted)
            path = self._object_path(kind, metadata.namespace, metadata.name)
            write_atomically(path, _yaml(document), mode=_mode(kind))
            return self._admit(path, document, record), "created" if record is None else "configured"

    def create(self, resource: R) -> R:
        """Store a new object of ours.

        Raises:
            AlreadyExistsError: one of that name exists.
            ConflictError: the last object of this name is still being removed.
        """
        metadata = resource.metadata
        path = self._object_path(resource.kind, metadata.namespace, metadata.name)
        document = resource.document()
        status = document.pop("status", {})
        with self._lock():
            if self._load(self._record_path(resource.kind, metadata.namespace, metadata.name)) is not None:
                raise AlreadyExistsError(f"{resource.kind} {metadata.namespace}/{metadata.name} exists")
            self._refuse_dying(resource)
            write_atomically(path, _yaml(document), mode=_mode(resource.kind))
            return self._admit(path, document, None, status=status)  # type: ignore[return-value]  # the same kind

    def patch(self, before: R, after: R) -> R:
        """Write what differs between `before`, as it was read, and `after`.

        Raises:
            ObjectNotFoundError: it is gone.
            ConflictError: it is another one, or it changed since.
        """
        old, new = before.document(), after.document()
        if old == new:
            return before
        metadata = before.metadata
        with self._lock():
            record = self.record(type(before), metadata.namespace, metadata.name)
            if (record.uid, str(record.version)) != (metadata.uid, metadata.resource_version):
                raise ConflictError(
                    f"{before.kind} {metadata.namespace}/{metadata.name} changed since it was read: "
                    f"resourceVersion {metadata.resource_version} was expected, {record.version} found"
                )
            given = record.applied.get("metadata") or {}
            record.labels = overlay_for(given.get("labels") or {}, after.metadata.labels)
            record.annotations = overlay_for(given.get("annotations") or {}, after.metadata.annotations)
            record.status = new.get("status") or {}
            if old.get("spec") != new.get("spec"):
                record.applied = record.applied | {"spec": new.get("spec") or {}}
                record.generation += 1
                path = self._file(record)
                write_atomically(path, _yaml(record.applied), mode=_mode(record.kind))
                record.stamp = list(stamp_of(path))
            return self._save(record).resource()  # type: ignore[return-value]  # the same kind

    def delete(self, resource: Resource) -> bool:
        """Delete the object with this uid, its file first; False if it is gone or another one."""
        metadata = resource.metadata
        with self._lock():
            record = self._load(self._record_path(resource.kind, metadata.namespace, metadata.name))
            if record is None or record.uid != metadata.uid:
                return False
            self._file(record).unlink(missing_ok=True)
            self._bury(record)
            return True

    def add_event(self, resource: Resource, event_type: str, reason: str, message: str) -> None:
        """Record an event; a repeated one raises the count. It changes no resourceVersion. A gone object has none."""
        metadata = resource.metadata
        moment = clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._lock():
            record = self._load(self._record_path(resource.kind, metadata.namespace, metadata.name))
            if record is None or record.uid != metadata.uid:
                return
            same = [e for e in record.events if (e["type"], e["reason"], e["message"]) == (event_type, reason, message)]
            event: Document = (
                same[0] if same else {"type": event_type, "reason": reason, "message": message, "first": moment}
            )
            event |= {"last": moment, "count": event.get("count", 0) + 1}
            record.events = [*(e for e in record.events if e is not event), event][-EVENTS_KEPT:]
            self._write(record)

    # -- deletions ---------------------------------------------------------------------------------------------------

    def deletions(self) -> Sequence[Resource]:
        """Objects that are gone, and whose end is not done yet."""
        records = (self._load(path) for path in sorted(self._state.deleted.glob("*.json")))
        return [record.resource() for record in records if record is not None]

    def forget(self, uid: str) -> None:
        """The end of a deleted object is done."""
        path = self._state.deleted / f"{uid}.json"
        path.unlink(missing_ok=True)
        self._cache.pop(path, None)

    def _bury(self, record: Record) -> None:
        write_atomically(self._state.deleted / f"{record.uid}.json", record.to_json(), mode=0o600)
        path = self._record_path(record.kind, record.namespace, record.name)
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
        self._cache.pop(path, None)

    def _refuse_dying(self, resource: Resource) -> None:
        """A new volume must not be taken for the old one of its name, whose file is about to be removed."""
        if resource.kind != "DataVolume":
            return
        for dying in self.deletions():
            same = (dying.kind, dying.metadata.namespace, dying.metadata.name)
            if same == (resource.kind, resource.metadata.namespace, resource.metadata.name):
                raise ConflictError(
                    f"DataVolume {same[1]}/{same[2]} is still being deleted", hint="try again in a few seconds"
                )

    # -- scanning ----------------------------------------------------------------------------------------------------

    def scan(self, monotonic: float) -> Sequence[Problem]:
        """Take in what a person did to the files; returns the files that are no good.

        Args:
            monotonic: seconds of a clock that never jumps.
        """
        for path in self._state.objects.glob("*/*/*.yaml"):
            self._absent.pop(path, None)
            self._take_in(path)
        for path in self._state.status.glob("*/*/*.json"):
            record = self._load(path)
            if record is not None and not self._file(record).exists():
                self._miss(record, monotonic)
        self._broken = {path: entry for path, entry in self._broken.items() if path.exists()}
        return [Problem(path=path, message=message) for path, (_, message) in sorted(self._broken.items())]

    def _take_in(self, path: Path) -> None:
        try:
            stamp = stamp_of(path)
            known = self._load(self._record_of(path))
            broken = self._broken.get(path)
            if (known is not None and tuple(known.stamp) == stamp) or (broken is not None and broken[0] == stamp):
                return
            documents = load_documents(path.read_text(), source=str(path))
            document = documents[0] if len(documents) == 1 else None
            resource = parse(document, source=str(path))
        except FileNotFoundError:
            return
        except (DataImportCronError, UnicodeDecodeError) as error:
            self._reject(path, stamp, str(error))
            return
        expected = self._object_path(resource.kind, resource.metadata.namespace, resource.metadata.name)
        if document is None or expected != path:
            where = expected.relative_to(self._state.objects)
            self._reject(path, stamp, f"{path} holds {resource.kind} {resource.metadata.name}; its place is {where}")
            return
        self._broken.pop(path, None)
        with self._lock():
            known = self._load(self._record_of(path))
            if known is None or tuple(known.stamp) != stamp:
                self._admit(path, document, known, stamp=stamp)

    def _reject(self, path: Path, stamp: Stamp, message: str) -> None:
        """Keep the last good object and say what is wrong with the file."""
        self._broken[path] = (stamp, message)
        with self._lock():
            record = self._load(self._record_of(path))
            if record is not None and record.problem != message:
                record.problem = message
                self._write(record)
                self._state_event(record, message)

    def _state_event(self, record: Record, message: str) -> None:
        moment = clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {"type": "Warning", "reason": "InvalidSpec", "message": message, "first": moment, "last": moment}
        record.events = [*record.events, event | {"count": 1}][-EVENTS_KEPT:]
        self._write(record)

    def _miss(self, record: Record, monotonic: float) -> None:
        """The file of a record is not there: perhaps deleted, perhaps renamed by an editor, perhaps not mounted."""
        path = self._file(record)
        if not path.parent.is_dir():
            self._absent.pop(path, None)
            return
        since = self._absent.setdefault(path, monotonic)
        if monotonic - since < ABSENT_FOR.total_seconds():
            return
        with self._lock():
            again = self._load(self._record_path(record.kind, record.namespace, record.name))
            if again is not None and again.uid == record.uid and not path.exists():
                self._bury(again)
        self._absent.pop(path, None)

    # -- files -------------------------------------------------------------------------------------------------------

    def _admit(
        self,
        path: Path,
        document: Document,
        record: Record | None,
        *,
        status: Document | None = None,
        stamp: Stamp | None = None,
    ) -> Resource:
        """Make a good document the object's last good one."""
        metadata = document.get("metadata") or {}
        if record is None:
            record = Record(
                kind=document["kind"],
                namespace=metadata.get("namespace") or DEFAULT_NAMESPACE,
                name=metadata["name"],
                uid=str(uuid4()),
                version=0,
                generation=0,
                created=clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
                applied={},
                status=status or {},
            )
        if record.applied.get("spec") != document.get("spec") or not record.generation:
            record.generation += 1
        record.applied, record.problem = document, ""
        record.stamp = list(stamp or stamp_of(path))
        return self._save(record).resource()

    def _save(self, record: Record) -> Record:
        record.version += 1
        self._write(record)
        return record

    def _write(self, record: Record) -> None:
        path = self._record_path(record.kind, record.namespace, record.name)
        write_atomically(path, record.to_json(), mode=0o600 if record.kind == "Secret" else 0o644)

    def _load(self, path: Path) -> Record | None:
        """The record of a path, a copy that the caller may change."""
        try:
            stamp = stamp_of(path)
            cached = self._cache.get(path)
            if cached is None or cached[0] != stamp:
                cached = (stamp, Record.from_json(path.read_bytes()))
                self._cache[path] = cached
        except FileNotFoundError:
            self._cache.pop(path, None)
            return None
        return Record.from_json(cached[1].to_json())

    def _lock(self) -> AbstractContextManager[None]:
        return locked(self._state.run / "store.lock")

    def _object_path(self, kind: str, namespace: str, name: str) -> Path:
        return self._state.objects / kind.lower() / (namespace or DEFAULT_NAMESPACE) / f"{name}.yaml"

    def _record_path(self, kind: str, namespace: str, name: str) -> Path:
        return self._state.status / kind.lower() / (namespace or DEFAULT_NAMESPACE) / f"{name}.json"

    def _record_of(self, path: Path) -> Path:
        return self._state.status / path.parent.parent.name / path.parent.name / f"{path.stem}.json"

    def _file(self, record: Record) -> Path:
        return self._object_path(record.kind, record.namespace, record.name)


DEFAULT_NAMESPACE = "default"
"""Kubernetes' namespace of objects that name none."""


def _mode(kind: str) -> int:
    return 0o600 if kind == "Secret" else 0o644


def _yaml(document: Document) -> bytes:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode()
