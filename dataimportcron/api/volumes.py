"""Kubernetes' own types inside a DataVolume: the claim's spec and what stands in it."""

from __future__ import annotations

from pydantic import Field

from dataimportcron.api.meta import Model


class Resources(Model):
    """corev1.VolumeResourceRequirements; quantities are strings such as 5Gi, or whole numbers of bytes."""

    requests: dict[str, int | str] = Field(default_factory=dict)
    limits: dict[str, int | str] = Field(default_factory=dict)


class LabelSelectorRequirement(Model):
    """metav1.LabelSelectorRequirement."""

    key: str
    operator: str
    values: list[str] = Field(default_factory=list)


class LabelSelector(Model):
    """metav1.LabelSelector."""

    match_labels: dict[str, str] = Field(default_factory=dict)
    match_expressions: list[LabelSelectorRequirement] = Field(default_factory=list)


class TypedLocalObjectReference(Model):
    """corev1.TypedLocalObjectReference; with a namespace, corev1.TypedObjectReference."""

    api_group: str | None = None
    kind: str
    name: str
    namespace: str | None = None


class StorageSpec(Model):
    """CDI's StorageSpec: like a claim's spec, but everything may be left to the StorageProfile."""

    access_modes: list[str] = Field(default_factory=list)
    selector: LabelSelector | None = None
    resources: Resources | None = None
    volume_name: str | None = None
    storage_class_name: str | None = None
    volume_mode: str | None = None
    data_source: TypedLocalObjectReference | None = None
    data_source_ref: TypedLocalObjectReference | None = None


class PersistentVolumeClaimSpec(StorageSpec):
    """corev1.PersistentVolumeClaimSpec."""

    volume_attributes_class_name: str | None = None


class Checkpoint(Model):
    """One stage of a multi-stage import."""

    previous: str
    current: str


class Empty(Model):
    """A source that has no fields, such as `blank: {}`."""
