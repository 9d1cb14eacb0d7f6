"""Kubernetes' own types inside a DataVolume: the claim's spec and what stands in it."""

from __future__ import annotations

from pydantic import Field

from dataimportcron.api.meta import Model


class Resources(Model):
    """The least and the most that the volume may have; quantities are strings such as 5Gi, or whole numbers of bytes.

    Attributes:
        requests: `storage` is the size of the volume, in bytes or as a quantity such as 5Gi; 1Mi at least.
        limits: `storage` is the largest size that the volume may have, in bytes or as a quantity.
    """

    requests: dict[str, int | str] = Field(default_factory=dict)
    limits: dict[str, int | str] = Field(default_factory=dict)


class LabelSelectorRequirement(Model):
    """One condition on the labels of a PersistentVolume.

    Attributes:
        key: of the label.
        operator: In, NotIn, Exists or DoesNotExist.
        values: with In and NotIn; empty with the others.
    """

    key: str
    operator: str
    values: list[str] = Field(default_factory=list)


class LabelSelector(Model):
    """Which PersistentVolumes may be bound; all conditions must hold.

    Attributes:
        match_labels: labels with exactly these values.
        match_expressions: conditions on labels.
    """

    match_labels: dict[str, str] = Field(default_factory=dict)
    match_expressions: list[LabelSelectorRequirement] = Field(default_factory=list)


class TypedLocalObjectReference(Model):
    """An object from which something else than the source fills the volume.

    Attributes:
        api_group: of its kind; none for a PersistentVolumeClaim.
        kind: such as VolumeSnapshot or PersistentVolumeClaim.
        name: of the object.
        namespace: of the object, in a dataSourceRef alone; unset means the volume's own.
    """

    api_group: str | None = None
    kind: str
    name: str
    namespace: str | None = None


class StorageSpec(Model):
    """The volume: like a PersistentVolumeClaim's spec, but everything may be left to the StorageProfile.

    Attributes:
        access_modes: ReadWriteOnce, ReadOnlyMany, ReadWriteMany or ReadWriteOncePod; unset means what suits the class.
        selector: which existing PersistentVolumes may be bound.
        resources: the size; a clone may leave it out and is as large as its source.
        volume_name: name of the PersistentVolume to bind.
        storage_class_name: name of the StorageClass; unset means the default for virtualization, else the default.
        volume_mode: Filesystem or Block; unset means what suits the class.
        data_source: an object that fills the volume instead of a source: a VolumeSnapshot or PersistentVolumeClaim.
        data_source_ref: the same, of any kind that a volume populator knows.
    """

    access_modes: list[str] = Field(default_factory=list)
    selector: LabelSelector | None = None
    resources: Resources | None = None
    volume_name: str | None = None
    storage_class_name: str | None = None
    volume_mode: str | None = None
    data_source: TypedLocalObjectReference | None = None
    data_source_ref: TypedLocalObjectReference | None = None


class PersistentVolumeClaimSpec(StorageSpec):
    """The volume as a PersistentVolumeClaim's spec, taken as it stands.

    Attributes:
        access_modes: exactly one of ReadWriteOnce, ReadOnlyMany, ReadWriteMany and ReadWriteOncePod.
        resources: the size.
        volume_mode: Filesystem or Block; unset means Filesystem.
        volume_attributes_class_name: name of the VolumeAttributesClass.
    """

    volume_attributes_class_name: str | None = None


class Checkpoint(Model):
    """One stage of a multi-stage import.

    Attributes:
        previous: id of the snapshot that the stage starts from, empty for the first.
        current: id of the snapshot that the stage brings.
    """

    previous: str
    current: str


class Empty(Model):
    """A source that has no fields, such as `blank: {}`."""
