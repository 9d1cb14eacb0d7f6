"""What an import is kept as: a volume, or a snapshot of it, as its storage class wants it. Pure.

With the format `snapshot` an import is first a volume; a snapshot is taken of it, and when that can be restored from,
the DataSource points to it and the volume goes. With `pvc` a snapshot of before goes when the volume is in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from dataimportcron import naming
from dataimportcron.api.conditions import SNAPSHOT_PROGRESSING, Phase
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataSource, DataVolume
from dataimportcron.values import Placement, SourceKind

K = TypeVar("K", DataVolume, VolumeSnapshot)
"""A form of an import."""


class Step(Enum):
    """What comes next for an import whose bytes are there."""

    TAKE = "take a snapshot of the volume"
    RENEW = "remove a snapshot that is of another class"
    AWAIT = "wait for the snapshot"
    USE = "point to it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An import in its two forms.

    Attributes:
        volume: the DataVolume, where it is complete and its volume is there.
        snapshot: the VolumeSnapshot, None where there is none.
        placement: of imports now; None in a home that keeps all as volumes.
    """

    volume: DataVolume | None = None
    snapshot: VolumeSnapshot | None = None
    placement: Placement | None = None

    @property
    def form(self) -> SourceKind:
        """What it shall be kept as."""
        return self.placement.form if self.placement else SourceKind.PVC

    @property
    def is_whole(self) -> bool:
        """Whether its bytes are there, so that nothing needs to be imported for the form that it shall have."""
        return self.volume is not None or (self.form is SourceKind.SNAPSHOT and self._fits)

    @property
    def step(self) -> Step:
        """What comes next, where it is whole."""
        if self.form is SourceKind.PVC:
            return Step.USE
        if self.snapshot is None:
            return Step.TAKE
        if not self._fits:
            return Step.RENEW
        return Step.USE if is_ready(self.snapshot) else Step.AWAIT

    @property
    def used(self) -> DataVolume | VolumeSnapshot | None:
        """What the DataSource points to, once the step is `USE`."""
        return self.snapshot if self.form is SourceKind.SNAPSHOT else self.volume

    @property
    def superfluous(self) -> DataVolume | VolumeSnapshot | None:
        """What goes after that: the other form."""
        return self.volume if self.form is SourceKind.SNAPSHOT else self.snapshot

    @property
    def _fits(self) -> bool:
        """Whether the snapshot is of the class that snapshots of imports are of now (S-10)."""
        if self.snapshot is None or self.placement is None:
            return False
        return self.snapshot.spec.volume_snapshot_class_name == self.placement.snapshot_class


def whole(volume: DataVolume | None, lost: frozenset[str] = frozenset()) -> DataVolume | None:
    """The DataVolume, if it is complete and its volume has not been removed."""
    if volume is None or volume.status.phase != Phase.SUCCEEDED or volume.metadata.name in lost:
        return None
    return volume


def is_ready(snapshot: VolumeSnapshot) -> bool:
    """Whether a volume can be restored from a snapshot."""
    return snapshot.status.ready_to_use and snapshot.metadata.deletion_timestamp is None


def progress_of(snapshot: VolumeSnapshot | None) -> str:
    """How far a snapshot is that is not ready, in one sentence."""
    error = snapshot.status.error if snapshot else None
    return f"{SNAPSHOT_PROGRESSING}: {error.message}" if error and error.message else SNAPSHOT_PROGRESSING


def class_left(item: DataVolume | VolumeSnapshot | None, placement: Placement | None) -> str:
    """The storage class of an import, if imports go into another one now (S-04); "" if not, or if nobody has noted it.

    Args:
        item: the import, in either form.
        placement: of imports now.
    """
    noted = item.metadata.annotations.get(naming.ANNOTATION_PLACED_IN, "") if item else ""
    wanted = placement.storage_class if placement else ""
    return noted if wanted and noted != wanted else ""


def points_to(data_source: DataSource, name: str, form: SourceKind) -> bool:
    """Whether a DataSource points to an import of its namespace in that form, and to nothing else."""
    own, source = data_source.metadata.namespace, data_source.spec.source
    target, other = (source.pvc, source.snapshot) if form is SourceKind.PVC else (source.snapshot, source.pvc)
    return other is None and target is not None and target.name == name and (target.namespace or own) == own
