"""Whether a claim or a snapshot can be cloned now, in CDI's words where it has some. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dataimportcron.api.conditions import Phase
from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.claims.uses import writing
from dataimportcron.cluster.client.resources import Json
from dataimportcron.cluster.documents.records import is_bound, is_lost, is_whole
from dataimportcron.errors import CloneWithoutSourceError
from dataimportcron.values import Clonable

_WITHOUT: Final = CloneWithoutSourceError.reason
_IN_USE: Final = "CloneSourceInUse"
_NOT_READY: Final = "SnapshotNotReady"
_INVALID: Final = "CloneValidationFailed"


def clonable_claim(claim: Json, owner: DataVolume | None, pods: Sequence[Json], size: int) -> Clonable:
    """Whether a claim can be cloned.

    Args:
        claim: the source.
        owner: the DataVolume of that name, None where there is none.
        pods: of its namespace.
        size: bytes of its disk.
    """
    name = claim["metadata"]["name"]
    if claim["metadata"].get("deletionTimestamp"):
        return Clonable(reason=_WITHOUT, message=f"The source pvc {name} is being deleted")
    if not is_bound(claim):
        lost = "has lost its volume" if is_lost(claim) else "is not bound to a volume yet"
        return Clonable(reason=_WITHOUT, message=f"The source pvc {name} {lost}")
    complete = owner is not None and owner.status.phase == Phase.SUCCEEDED
    if not is_whole(claim) and not complete:
        return Clonable(reason=_WITHOUT, message=f"The source pvc {name} is not populated yet")
    user = next(writing(claim, pods), "")
    if user:
        return Clonable(reason=_IN_USE, message=user)
    return Clonable(size=size)


def clonable_snapshot(snapshot: Json, size: int) -> Clonable:
    """Whether a snapshot can be cloned.

    Args:
        snapshot: the source.
        size: bytes of its disk.
    """
    metadata, spec, status = snapshot["metadata"], snapshot["spec"], snapshot.get("status") or {}
    what = f"The source snapshot {metadata['name']}"
    if metadata.get("deletionTimestamp"):
        return Clonable(reason=_WITHOUT, message=f"{what} is being deleted")
    if not status:
        return Clonable(reason=_NOT_READY, message=f"{what} has no status")
    if status.get("error"):
        return Clonable(reason=_NOT_READY, message=f"{what} is in error: {status['error'].get('message')}")
    if not status.get("readyToUse"):
        return Clonable(reason=_NOT_READY, message=f"{what} is not ready")
    if not spec.get("volumeSnapshotClassName"):
        return Clonable(reason=_INVALID, message=f"{what} does not have a volume snapshot class")
    return Clonable(size=size)
