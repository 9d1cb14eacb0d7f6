"""What we note on a claim: which attempt fills it, and that it is complete. Pure.

A block device has room for no marker, so the record of every volume is an annotation of its claim, written by the
worker after the importer has verified and synced all bytes. A claim without a record is whole only if whoever has
filled it says so, or if it is bound and neither a DataVolume's nor one that we write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Final

from dataimportcron import naming
from dataimportcron.cluster.client.resources import Json
from dataimportcron.cluster.documents.plain_volumes import LABEL
from dataimportcron.importer.report import Result
from dataimportcron.values import VolumeSpec

ATTEMPT: Final = "dataimportcron.io/attempt"
"""On a claim: the number of the only attempt that may write it."""
COMPLETE: Final = "dataimportcron.io/complete"
"""On a claim: the record."""
LABEL_CLONE: Final = "dataimportcron.io/clone"
"""On what is made for a clone and goes when it is done: the uid of its DataVolume."""

_LABEL_SUFFIX: Final = "_KUBEVIRT_IO_"
_LONGEST_VALUE: Final = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a complete volume holds; sizes are in bytes.

    Attributes:
        uid: of the DataVolume that it was made for.
        size: of the disk.
        digest: "" where it was not imported.
        bytes_read: from the source.
        bytes_written: of data, without holes.
        virtual_size: of the disk in the image.
    """

    uid: str
    size: int
    digest: str = ""
    bytes_read: int = 0
    bytes_written: int = 0
    virtual_size: int = 0

    def to_json(self) -> str:
        """The annotation's value."""
        return json.dumps(asdict(self), sort_keys=True)


def record_of(claim: Json) -> Record | None:
    """The record of a claim, None for one that is not complete; what a newer version added is ignored."""
    text = annotations_of(claim).get(COMPLETE, "")
    try:
        document = json.loads(text)
        needed = [item.name for item in fields(Record) if item.default is MISSING or item.name in document]
        return Record(**{name: document[name] for name in needed})
    except (ValueError, TypeError, KeyError):
        return None


def record_after(result: Result, uid: str, size: int, digest: str) -> Record:
    """The record of a volume that an importer has filled.

    Args:
        result: of the importer.
        uid: of the DataVolume.
        size: of the disk.
        digest: that was imported, "" for the one that the importer found.
    """
    return Record(
        uid=uid,
        size=size,
        digest=digest or result.digest,
        bytes_read=result.bytes_read,
        bytes_written=result.bytes_written,
        virtual_size=result.virtual_size,
    )


def is_made(claim: Json, volume: VolumeSpec, digest: str) -> bool:
    """Whether a claim is the volume, complete; one of its name, digest and size that somebody left is adopted."""
    record = record_of(claim)
    if record is None or is_lost(claim):
        return False
    return record.uid == volume.uid or (bool(digest) and record.digest == digest and record.size >= volume.size)


def is_whole(claim: Json) -> bool:
    """Whether a claim holds a disk: by our record, by the word of who has filled it, or because it is its user's own.

    KubeVirt too takes a claim that no DataVolume owns for one that has been filled.
    """
    if is_lost(claim) or claim["metadata"].get("deletionTimestamp"):
        return False
    annotations = annotations_of(claim)
    if record_of(claim) is not None or annotations.get(naming.ANNOTATION_POPULATED_FOR) == claim["metadata"]["name"]:
        return True
    ours = ATTEMPT in annotations or not {LABEL, LABEL_CLONE}.isdisjoint(claim["metadata"].get("labels") or {})
    return is_bound(claim) and not ours and not owner_of(claim)


def owner_of(claim: Json) -> str:
    """The uid of the DataVolume whose claim it is, "" for none."""
    owners = claim["metadata"].get("ownerReferences") or ()
    return next((str(it["uid"]) for it in owners if it.get("controller") and it.get("kind") == "DataVolume"), "")


def is_bound(claim: Json) -> bool:
    """Whether a claim has its volume."""
    return _phase(claim) == "Bound"


def is_lost(claim: Json) -> bool:
    """Whether a claim had a volume, which has gone."""
    return _phase(claim) == "Lost"


def attempt_of(claim: Json) -> int:
    """The number of the attempt that may write a claim; 0 before the first."""
    text = annotations_of(claim).get(ATTEMPT, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def labels_from(environment: Mapping[str, str]) -> dict[str, str]:
    """The labels that an image asks for by its environment (L-05).

    INSTANCETYPE_KUBEVIRT_IO_DEFAULT_PREFERENCE=fedora is instancetype.kubevirt.io/default-preference: fedora. A value
    that cannot be a label's is passed over.
    """
    labels = {}
    for name, value in environment.items():
        prefix, found, rest = name.partition(_LABEL_SUFFIX)
        if prefix and found and rest and _is_label_value(value):
            domain = prefix.lower().replace("_", ".")
            labels[f"{domain}.kubevirt.io/{rest.lower().replace('_', '-')}"] = value
    return labels


def annotations_of(thing: Json) -> dict[str, str]:
    """The annotations of an object."""
    return thing["metadata"].get("annotations") or {}


def _phase(claim: Json) -> str:
    return str((claim.get("status") or {}).get("phase") or "")


def _is_label_value(value: str) -> bool:
    allowed = value.replace("-", "").replace("_", "").replace(".", "")
    ends = value[:1] + value[-1:]
    return 0 < len(value) <= _LONGEST_VALUE and allowed.isascii() and allowed.isalnum() and ends.isalnum()
