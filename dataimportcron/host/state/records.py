"""Records: what we know of an object beside the file that a person applied.

A record holds uid, resourceVersion, status, events, the labels and annotations that we added, and the last good
document, so that a broken edit takes nothing away. What a person writes wins over what we wrote before: an overlay
entry counts only while the file says what it said when the entry was made.

Labels and annotations of an object that we made stand in its file, where a person can remove them; an `apply` that does
not mention them leaves them alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dataimportcron.errors import ConflictError

if TYPE_CHECKING:
    from dataimportcron.api.types import Resource

R = TypeVar("R", bound="Resource")

Document = dict[str, Any]
Stamp = tuple[int, int, int]
"""mtime in nanoseconds, size and inode of a file: another stamp means that it was written."""
Overlay = dict[str, dict[str, str | None]]
"""What we wrote over a person's labels or annotations, by key: the value `set` (None: removed), what it is `over`."""

_PARTS = ("labels", "annotations")

EVENTS_KEPT = 50


@dataclass(slots=True, kw_only=True)
class Head:
    """Which object a record is of, and where that comes from: what is looked at each second, of all of them.

    Attributes:
        origin: the file of a manifest folder that the object was read from, "" for the object's own file.
        stamp: of the file that it was read from.
        folder: inode of the folder that this file was in: an unmounted folder looks empty, but has another one.
        problem: what is wrong with the file as it is now; what was read before stays in force.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    origin: str = ""
    stamp: list[int] = field(default_factory=list)
    folder: int = 0
    problem: str = ""


@dataclass(slots=True, kw_only=True)
class Record(Head):
    """One object as `status/` has it.

    Attributes:
        applied: the last good document, as a person or we wrote it; a status in it means nothing.
        spec: what we wrote over a spec whose file is not ours to write: the value `set`, and what it is `over`.
        own: keys of labels and annotations in `applied` that we gave the object when we made it.
    """

    version: int
    generation: int
    created: str
    applied: Document
    labels: Overlay = field(default_factory=dict)
    annotations: Overlay = field(default_factory=dict)
    status: Document = field(default_factory=dict)
    events: list[Document] = field(default_factory=list)
    own: dict[str, list[str]] = field(default_factory=dict)
    spec: Document = field(default_factory=dict)

    def head(self) -> Head:
        """The head alone, which is a small part of it."""
        return Head(**{name: getattr(self, name) for name in _HEAD})

    def resource(self) -> Resource:
        """The object as the API shows it, a copy of its own."""
        from dataimportcron.api.types import KINDS  # noqa: PLC0415 -- who only shows documents waits for no models

        return KINDS[self.kind].model_validate_json(json.dumps(self.document()))

    def written_over(self, before: R) -> R:
        """`resource`, for whoever has it as it was `before` labels, annotations and a status were written.

        What has not changed is shared with that: an object that is polled each minute is not read anew each minute.
        """
        metadata, status = self.document()["metadata"], type(before.status)  # type: ignore[attr-defined]  # it has one
        changes = {"resource_version": metadata["resourceVersion"]} | {part: metadata[part] for part in _PARTS}
        return before.model_copy(
            update={
                "metadata": before.metadata.model_copy(update=changes),
                "status": status.model_validate(self.status),
            }
        )

    def document(self) -> Document:
        """The object as the API shows it, as a plain document; what is in it is shared, and not the caller's to change.

        Tables of objects are made of these: the models take ten times as long to load as Python itself.
        """
        given = self.applied.get("metadata") or {}
        metadata = given | {
            "name": self.name,
            "namespace": self.namespace,
            "uid": self.uid,
            "resourceVersion": str(self.version),
            "generation": self.generation,
            "creationTimestamp": self.created,
            "labels": overlaid(given.get("labels") or {}, self.labels),
            "annotations": overlaid(given.get("annotations") or {}, self.annotations),
        }
        document = {key: value for key, value in self.applied.items() if key != "status"} | {"metadata": metadata}
        if self.spec:
            document["spec"] = self.spec["set"]
        if self.status:
            document["status"] = self.status
        return document

    def adopt(self, document: Document) -> bool:
        """Make a good document the last good one; returns whether the object is another by it.

        What we wrote over something that now says something else is dropped: if a person writes the old value again,
        it is news again.
        """
        changed = self.applied != document or bool(self.problem)
        if self.applied.get("spec") != document.get("spec") or not self.generation:
            self.generation += 1
        given = document.get("metadata") or {}
        self.labels = _still_over(self.labels, given.get("labels") or {})
        self.annotations = _still_over(self.annotations, given.get("annotations") or {})
        if self.spec and self.spec["over"] != document.get("spec"):
            self.spec = {}
        before = self.applied.get("metadata") or {}
        self.own = {
            part: [key for key in keys if (given.get(part) or {}).get(key) == (before.get(part) or {}).get(key)]
            for part, keys in self.own.items()
        }
        self.applied, self.problem = document, ""
        return changed

    def merged(self, document: Document) -> tuple[Document, dict[str, list[str]]]:
        """A document that a person applies, with what is our own and what the document does not mention.

        Returns what the file shall say, and what is our own in it: a key that the document mentions is the person's
        from then on, and goes when a later one leaves it out, as by kubectl's three-way merge.
        """
        metadata, before = dict(document.get("metadata") or {}), self.applied.get("metadata") or {}
        own: dict[str, list[str]] = {}
        for part, keys in self.own.items():
            given, ours = metadata.get(part) or {}, before.get(part) or {}
            own[part] = [key for key in keys if key not in given]
            if own[part]:
                metadata[part] = given | {key: ours[key] for key in own[part]}
        return document | {"metadata": metadata}, own

    def take(self) -> None:
        """All labels and annotations are our own: we have just made the object."""
        metadata = self.applied.get("metadata") or {}
        self.own = {part: sorted(metadata.get(part) or {}) for part in _PARTS}

    def overlay(self, wanted: Resource) -> None:
        """Write the labels and annotations of the object as it shall be over those that a person gave it."""
        given = self.applied.get("metadata") or {}
        self.labels = overlay_for(given.get("labels") or {}, wanted.metadata.labels)
        self.annotations = overlay_for(given.get("annotations") or {}, wanted.metadata.annotations)

    def note_event(self, event_type: str, reason: str, message: str, moment: str) -> None:
        """Add an event, or raise the count of the same one; the most recent EVENTS_KEPT stay."""
        words: Document = {"type": event_type, "reason": reason, "message": message}
        event = next((event for event in self.events if words.items() <= event.items()), words | {"first": moment})
        others = [other for other in self.events if other is not event]
        self.events = [*others, event | {"last": moment, "count": event.get("count", 0) + 1}][-EVENTS_KEPT:]

    def to_json(self) -> bytes:
        """The record as stored."""
        # Not `asdict`, whose deep copy costs more than all the rest of a write.
        document = {name: getattr(self, name) for name in _RECORD}
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Record:
        """A stored record; fields of a newer version are left alone."""
        return cls(**{key: value for key, value in json.loads(data).items() if key in _RECORD})


_HEAD, _RECORD = (tuple(item.name for item in fields(kind)) for kind in (Head, Record))
"""Names of what is stored; a record is written at each poll."""


def read_records(status: Path, kind: str, namespace: str = "*", name: str = "*") -> Iterator[Record]:
    """The records of a kind in the folder `status`, by namespace and name, read afresh.

    `Store` is for whoever wants objects; this is for whoever only shows them.
    """
    paths = (status / kind.lower()).glob(f"{namespace}/{name}.json")
    for path in sorted(paths, key=lambda path: (path.parent.name, path.stem)):
        try:
            yield Record.from_json(path.read_bytes())
        except FileNotFoundError:  # deleted meanwhile
            continue


def differences(before: Resource, after: Resource) -> dict[str, Document]:
    """What a patch is to write, where it differs: `spec` and `status` as they shall be, an empty `metadata`."""
    found: dict[str, Document] = {}
    for part in ("spec", "status"):
        old, new = getattr(before, part, None), getattr(after, part, None)
        if new is not None and new is not old:
            document = new.document()
            if old is None or document != old.document():
                found[part] = document
    was, now = before.metadata, after.metadata
    if was is not now and (was.labels, was.annotations) != (now.labels, now.annotations):
        found["metadata"] = {}
    return found


def overlaid(given: dict[str, str], overlay: Overlay) -> dict[str, str]:
    """What a person wrote with what we wrote over it."""
    result = dict(given)
    for key, entry in overlay.items():
        if given.get(key) != entry["over"]:
            continue
        value = entry["set"]
        if value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def overlay_for(given: dict[str, str], wanted: dict[str, str]) -> Overlay:
    """The overlay that makes `wanted` of what a person wrote."""
    return {
        key: {"set": wanted.get(key), "over": given.get(key)}
        for key in sorted({*given, *wanted})
        if given.get(key) != wanted.get(key)
    }


def _still_over(overlay: Overlay, given: dict[str, str]) -> Overlay:
    return {key: entry for key, entry in overlay.items() if given.get(key) == entry["over"]}


def stamp_of(path: Path) -> Stamp:
    """The stamp of a file."""
    return stamp_from(path.stat())


def stamp_from(status: os.stat_result) -> Stamp:
    """The stamp of a file that has this status."""
    return status.st_mtime_ns, status.st_size, status.st_ino


def has_stamp(path: Path, stamp: tuple[int, ...]) -> bool:
    """Whether a file is as it was when it had that stamp."""
    try:
        return stamp_of(path) == stamp
    except OSError:
        return False


def new_record(document: Document, namespace: str, *, uid: str, created: str, status: Document) -> Record:
    """The record of a new object, which still has to `adopt` its document."""
    return Record(
        kind=document["kind"],
        namespace=namespace,
        name=document["metadata"]["name"],
        uid=uid,
        version=0,
        generation=0,
        created=created,
        applied={},
        status=status,
    )


def mode_of(kind: str) -> int:
    """The mode of the files of a kind."""
    return 0o600 if kind == "Secret" else 0o644


def require_unchanged(record: Record, read: Resource) -> None:
    """Refuse to go on from an object that is another one by now.

    Raises:
        ConflictError: it is.
    """
    metadata = read.metadata
    if (record.uid, str(record.version)) != (metadata.uid, metadata.resource_version):
        raise ConflictError(
            f"{read.kind} {metadata.namespace}/{metadata.name} changed since it was read: "
            f"uid {metadata.uid} and resourceVersion {metadata.resource_version} were expected, "
            f"{record.uid} and {record.version} found"
        )
