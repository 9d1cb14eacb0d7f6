"""The object store of a host: files that a person applies, records of what became of them.

Synchronous, and shared by worker and command line through a lock on the state folder; `reader`, which it is made of,
takes none. A file that a person has touched since it was last read is never written over: only `apply`, which is a
person's own word, does that. What a person does to the files themselves is `scan`'s business.
"""

from __future__ import annotations

import os
from collections.abc import MutableSequence, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import yaml

from dataimportcron.api.types import Resource
from dataimportcron.api.validation import parse
from dataimportcron.errors import AlreadyExistsError, ConflictError
from dataimportcron.host import clock
from dataimportcron.host.files import locked, replace_whole, sync_folder, write_atomically
from dataimportcron.host.state.reader import DEFAULT_NAMESPACE, Reader
from dataimportcron.host.state.records import (
    Document,
    Head,
    Record,
    Stamp,
    differences,
    has_stamp,
    mode_of,
    new_record,
    require_unchanged,
    stamp_of,
)

R = TypeVar("R", bound=Resource)


class Store(Reader):
    """All objects of one state folder, read and written."""

    def apply(self, document: Document, *, source: str = "") -> tuple[Resource, str]:
        """Store a document as a person gave it; returns the object and created, configured or unchanged.

        It takes away only what an earlier one has given: what we gave an object of our making stays. Whether the object
        is a person's to apply, or a manifest folder's, is the caller's to ask.

        Raises:
            InvalidObjectError: with all faults at once.
            ConflictError: the last object of this name is still being removed.
        """
        wanted = parse(document, source=source)
        kind, metadata = wanted.kind, wanted.metadata
        with self._lock():
            record = self._read(self._record_path(kind, metadata.namespace, metadata.name))
            if record is None:
                self._refuse_dying(wanted)
            else:
                document, own = record.merged(document)
                known = (record.applied, record.own) == (document, own) and not record.problem
                if known and self._untouched(record):
                    return record.resource(), "unchanged"
                record.own = own
            path = self.path_of(kind, metadata.namespace, metadata.name)
            write_atomically(path, _yaml(document), mode=mode_of(kind))
            return self._admit(path, document, record), "created" if record is None else "configured"

    def create(self, resource: R) -> R:
        """Store a new object of ours.

        Raises:
            AlreadyExistsError: one of that name exists.
            ConflictError: the last object of this name is still being removed, or a file that a person has put in its
                place is not read yet.
        """
        metadata = resource.metadata
        path = self.path_of(resource.kind, metadata.namespace, metadata.name)
        document = resource.document()
        status = document.pop("status", {})
        with self._lock():
            if self._read(self._record_path(resource.kind, metadata.namespace, metadata.name)) is not None:
                raise AlreadyExistsError(f"{resource.kind} {metadata.namespace}/{metadata.name} exists")
            self._refuse_dying(resource)
            if path.exists():
                raise ConflictError(f"{path} is there, but not read yet", hint="if it has a fault, mend or remove it")
            write_atomically(path, _yaml(document), mode=mode_of(resource.kind))
            return self._admit(path, document, None, status=status, ours=True)  # type: ignore[return-value]  # as above

    def patch(self, before: R, after: R) -> R:
        """Write what differs between `before`, as it was read, and `after`.

        Raises:
            ObjectNotFoundError: it is gone.
            ConflictError: it is another one, or it changed since.
        """
        [written] = self.patch_all([(before, after)])
        if isinstance(written, Exception):
            raise written
        return written  # type: ignore[return-value]  # the same kind

    def patch_all(self, changes: Sequence[tuple[Resource, Resource]]) -> Sequence[Resource | Exception]:
        """`patch` of many as one durable write: of each the object, or what went wrong with it.

        Raises:
            OSError: nobody can say which of them would survive a power cut.
        """
        results: MutableSequence[Resource | Exception] = []
        folders: set[Path] = set()
        with self._lock():
            for before, after in changes:
                try:
                    results.append(self._patch(before, after, folders))
                except Exception as error:  # noqa: BLE001 -- what is wrong with one is no other's matter
                    results.append(error)
            for folder in folders:
                sync_folder(folder)
        return results

    def _patch(self, before: R, after: R, folders: set[Path]) -> R:
        """Patch one, for the holder of the lock, who syncs the `folders`."""
        parts = differences(before, after)
        if not parts:
            return before
        record = self.record(type(before), before.metadata.namespace, before.metadata.name)
        path = self._record_path(record.kind, record.namespace, record.name)
        require_unchanged(record, before)
        record.overlay(after)
        record.status = parts.get("status", record.status)
        if "spec" in parts:
            self._write_spec(record, parts["spec"])
        record.version += 1
        replace_whole(path, record.to_json(), mode=mode_of(record.kind))
        folders.add(path.parent)
        written = record.resource() if "spec" in parts or not record.status else record.written_over(before)
        self._cache.keep(path, record, written)
        return written  # type: ignore[return-value]  # the same kind

    def _write_spec(self, record: Record, spec: Document) -> None:
        """Give an object another spec: in its file where that is ours and nobody has touched it, else in its record."""
        record.generation += 1
        if record.origin:
            over = record.applied.get("spec") or {}
            record.spec = {} if spec == over else {"set": spec, "over": over}
            return
        untouched = self._untouched(record)
        record.applied, record.spec = record.applied | {"spec": spec}, {}
        if untouched:
            path = self.file_of(record)
            write_atomically(path, _yaml(record.applied), mode=mode_of(record.kind))
            record.stamp = list(stamp_of(path))

    def delete(self, resource: Resource, *, unchanged: bool = False) -> bool:
        """Delete the object with this uid, its own file first; False if it is gone or another one.

        The file of a manifest folder is never touched; while it holds the object, that will be made anew.

        Raises:
            ConflictError: it shall be unchanged since it was read, and is not.
        """
        metadata = resource.metadata
        with self._lock():
            record = self._read(self._record_path(resource.kind, metadata.namespace, metadata.name))
            if record is None or record.uid != metadata.uid:
                return False
            if unchanged:
                require_unchanged(record, resource)
            if not record.origin:
                path = self.file_of(record)
                path.unlink(missing_ok=True)
                if path.parent.is_dir():
                    sync_folder(path.parent)
            self._bury(record)
            return True

    def add_event(self, resource: Resource, event_type: str, reason: str, message: str) -> None:
        """Record an event; a repeated one raises the count. It changes no resourceVersion. A gone object has none."""
        metadata = resource.metadata
        with self._lock():
            record = self._read(self._record_path(resource.kind, metadata.namespace, metadata.name))
            if record is not None and record.uid == metadata.uid:
                record.note_event(event_type, reason, message, clock.timestamp())
                self._write(record)

    # -- what a scan finds -------------------------------------------------------------------------------------------

    def admit(self, path: Path, document: Document, stamp: Stamp) -> None:
        """Take in a good document that a person has put there; nothing happens if the file changed meanwhile.

        Raises:
            ConflictError: the last object of this name is still being removed.
        """
        with self._lock():
            record = self._read(self._record_of(path))
            if not has_stamp(path, stamp) or (record is not None and tuple(record.stamp) == stamp):
                return
            if record is None:
                self._refuse_dying(parse(document, source=str(path)))
            self._admit(path, document, record)

    def admit_from(self, path: Path, document: Document, stamp: Stamp) -> None:
        """Take in a good document of a file in a manifest folder, or take its object over from where it was before.

        Raises:
            ConflictError: the last object of this name is still being removed.
        """
        metadata = document["metadata"]
        with self._lock():
            record = self._read(self._record_path(document["kind"], metadata.get("namespace") or "", metadata["name"]))
            if not has_stamp(path, stamp):
                return
            if record is None:
                self._refuse_dying(parse(document, source=str(path)))
            self._admit(path, document, record)

    def complain(self, about: Head, message: str) -> None:
        """Note what is wrong with the file of an object, "" for nothing; the object stays as it was."""
        with self._lock():
            record = self._read(self._record_path(about.kind, about.namespace, about.name))
            if record is None or record.problem == message:
                return
            record.problem = message
            if message:
                record.note_event("Warning", "InvalidSpec", message, clock.timestamp())
            self._write(record)

    def end(self, head: Head, *, stamp: Stamp | None = None) -> None:
        """Delete an object that a person has removed; nothing happens if it is there again.

        Args:
            head: of the object's record.
            stamp: of the file that holds it no longer; None where the file is gone.
        """
        with self._lock():
            again = self._read(self._record_path(head.kind, head.namespace, head.name))
            if again is None or (again.uid, again.origin) != (head.uid, head.origin):
                return
            path = self.file_of(again)
            if not os.path.lexists(path) if stamp is None else has_stamp(path, stamp):
                self._bury(again)

    # -- deletions ---------------------------------------------------------------------------------------------------

    def forget(self, uid: str) -> None:
        """The end of a deleted object is done."""
        path = self._state.deleted / f"{uid}.json"
        path.unlink(missing_ok=True)
        self._cache.drop(path)

    def _bury(self, record: Record) -> None:
        write_atomically(self._state.deleted / f"{record.uid}.json", record.to_json(), mode=0o600)
        path = self._record_path(record.kind, record.namespace, record.name)
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
        self._cache.drop(path)

    def _refuse_dying(self, resource: Resource) -> None:
        """A new volume must not be taken for the old one of its name, whose file is about to be removed."""
        if resource.kind != "DataVolume":
            return
        wanted = (resource.metadata.namespace or DEFAULT_NAMESPACE, resource.metadata.name)
        for dying in self.deletions():
            if dying.kind == resource.kind and (dying.metadata.namespace, dying.metadata.name) == wanted:
                raise ConflictError(
                    f"DataVolume {'/'.join(wanted)} is still being deleted", hint="try again in a few seconds"
                )

    # -- files -------------------------------------------------------------------------------------------------------

    def _untouched(self, record: Record) -> bool:
        """Whether the file is as we last read or wrote it."""
        return has_stamp(self.file_of(record), tuple(record.stamp))

    def _admit(
        self,
        path: Path,
        document: Document,
        record: Record | None,
        *,
        status: Document | None = None,
        ours: bool = False,
    ) -> Resource:
        """Make the good document of a file the object's last good one; one that says the same raises no version."""
        if record is None:
            namespace = (document.get("metadata") or {}).get("namespace") or DEFAULT_NAMESPACE
            record = new_record(document, namespace, uid=str(uuid4()), created=clock.timestamp(), status=status or {})
        if record.adopt(document):
            record.version += 1
        if ours:
            record.take()
        record.origin = "" if path == self.path_of(record.kind, record.namespace, record.name) else str(path)
        record.stamp, record.folder = list(stamp_of(path)), path.parent.stat().st_ino
        self._write(record)
        return record.resource()

    def _write(self, record: Record) -> None:
        path = self._record_path(record.kind, record.namespace, record.name)
        write_atomically(path, record.to_json(), mode=mode_of(record.kind))

    def _lock(self) -> AbstractContextManager[None]:
        return locked(self._state.run / "store.lock")


def _yaml(document: Document) -> bytes:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True).encode()
