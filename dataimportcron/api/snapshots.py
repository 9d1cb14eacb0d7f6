"""VolumeSnapshot, a kind of the CSI snapshotter's, as far as anything here reads or writes it."""

from __future__ import annotations

from pydantic import Field

from dataimportcron.api.meta import Model, Resource


class VolumeSnapshotSource(Model):
    """What a snapshot is taken of.

    Attributes:
        persistent_volume_claim_name: of the same namespace.
    """

    persistent_volume_claim_name: str | None = None


class VolumeSnapshotSpec(Model):
    """What a snapshot shall be.

    Attributes:
        source: what it is taken of.
        volume_snapshot_class_name: how it is taken.
    """

    source: VolumeSnapshotSource = Field(default_factory=VolumeSnapshotSource)
    volume_snapshot_class_name: str | None = None


class VolumeSnapshotError(Model):
    """Why a snapshot cannot be taken just now.

    Attributes:
        message: in the driver's words.
    """

    message: str = ""


class VolumeSnapshotStatus(Model):
    """How far a snapshot is.

    Attributes:
        ready_to_use: whether a volume can be restored from it.
        restore_size: the smallest size of such a volume, a quantity.
        error: what went wrong last; it is tried again.
    """

    ready_to_use: bool = False
    restore_size: str | int | None = None
    error: VolumeSnapshotError | None = None


class VolumeSnapshot(Resource):
    """A volume as it was at one moment.

    Attributes:
        spec: what it shall be.
        status: how far it is.
    """

    api_version: str = "snapshot.storage.k8s.io/v1"
    kind: str = "VolumeSnapshot"
    spec: VolumeSnapshotSpec = Field(default_factory=VolumeSnapshotSpec)
    status: VolumeSnapshotStatus = Field(default_factory=VolumeSnapshotStatus)
