"""The kinds: DataImportCron, DataSource, DataVolume, and the two of Kubernetes' that a host stores for them."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from dataimportcron.api.meta import Condition, Model, ObjectMeta, Resource, Time
from dataimportcron.api.sources import DataVolumeSource, NamespacedName, RegistrySource, SourceRef
from dataimportcron.api.volumes import Checkpoint, PersistentVolumeClaimSpec, StorageSpec

__all__ = [
    "CDI_GROUP",
    "KINDS",
    "OWN_GROUP",
    "VERSION",
    "ConfigMap",
    "CurrentImport",
    "DataImportCron",
    "DataImportCronSpec",
    "DataImportCronStatus",
    "DataSource",
    "DataSourceSource",
    "DataSourceSpec",
    "DataSourceStatus",
    "DataVolume",
    "DataVolumeSource",
    "DataVolumeSpec",
    "DataVolumeStatus",
    "DataVolumeTemplate",
    "NamespacedName",
    "ObjectMeta",
    "RegistrySource",
    "Resource",
    "Secret",
]

CDI_GROUP: Final = "cdi.kubevirt.io"
OWN_GROUP: Final = "dataimportcron.io"
VERSION: Final = "v1beta1"


class DataVolumeSpec(Model):
    """What a volume is filled with, and what it is.

    Attributes:
        source: where the bytes come from; instead of sourceRef.
        source_ref: the DataSource that says where the bytes come from; instead of source.
        pvc: the volume as a PersistentVolumeClaim's spec; instead of storage.
        storage: the volume, with everything but its size left to the StorageProfile; instead of pvc.
        content_type: kubevirt (a disk) or archive (a tar that is unpacked); unset means kubevirt.
        preallocation: whether all of the volume's space is taken at once; unset means the cluster's setting.
        priority_class_name: name of the PriorityClass of the pods that fill the volume.
        service_account_name: name of the ServiceAccount of the pods that fill the volume.
        checkpoints: the stages of a multi-stage import.
        final_checkpoint: whether the last of the checkpoints is the import's last.
    """

    source: DataVolumeSource | None = None
    source_ref: SourceRef | None = None
    pvc: PersistentVolumeClaimSpec | None = None
    storage: StorageSpec | None = None
    content_type: str | None = None
    preallocation: bool | None = None
    priority_class_name: str | None = None
    service_account_name: str | None = None
    checkpoints: list[Checkpoint] = Field(default_factory=list)
    final_checkpoint: bool | None = None


class DataVolumeStatus(Model):
    """How far a volume is.

    Attributes:
        claim_name: name of the PersistentVolumeClaim; on a host of the volume.
        phase: how far it is in a word, such as ImportInProgress or Succeeded.
        progress: percentage of the bytes, such as 12.34% or 100.0%; N/A while unknown.
        restart_count: failed attempts so far.
        conditions: Bound (the volume exists), Running (it is being filled), Ready (it can be used).
    """

    claim_name: str | None = None
    phase: str = ""
    progress: str | None = None
    restart_count: int | None = None
    conditions: list[Condition] = Field(default_factory=list)


class DataVolume(Resource):
    """A volume that is filled once, from a source.

    Attributes:
        spec: what it is filled with, and what it is.
        status: how far it is.
    """

    api_version: str = f"{CDI_GROUP}/{VERSION}"
    kind: str = "DataVolume"
    spec: DataVolumeSpec = Field(default_factory=DataVolumeSpec)
    status: DataVolumeStatus = Field(default_factory=DataVolumeStatus)


class TemplateMetadata(Model):
    """Metadata of the imports; name and namespace are the cron's to choose.

    Attributes:
        labels: of each import.
        annotations: of each import.
        creation_timestamp: ignored; clients of CDI write null here.
    """

    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    creation_timestamp: Time | None = None


class DataVolumeTemplate(Model):
    """The DataVolume that a cron makes for each import; a whole object to CDI, so it may name its kind.

    Attributes:
        api_version: ignored.
        kind: ignored.
        metadata: labels and annotations of the imports.
        spec: what is imported, and into what volume.
        status: ignored; clients of CDI write {} here.
    """

    api_version: str | None = None
    kind: str | None = None
    metadata: TemplateMetadata = Field(default_factory=TemplateMetadata)
    spec: DataVolumeSpec = Field(default_factory=DataVolumeSpec)
    status: DataVolumeStatus | None = None


class DataImportCronSpec(Model):
    """What to poll, when, and what to keep.

    Attributes:
        template: what is imported, and into what volume.
        schedule: when the source is polled: five fields (minute, hour, day of month, month, day of week), a descriptor
            such as @daily, or @every 6h; in UTC unless CRON_TZ=zone stands before it; "" polls by request only.
        managed_data_source: name of the DataSource, of the same namespace, that follows the newest import; at most 63
            characters.
        garbage_collect: Outdated removes imports beyond importsToKeep, Never removes none; unset means Outdated.
        imports_to_keep: how many imports stay, the least recently used go first; unset means 3, and 0 is read as 1.
        retention_policy: All keeps the imports and the DataSource when the cron is deleted, None removes them; unset
            means All.
        service_account_name: name of the ServiceAccount in whose name a PVC of another namespace is read; unset means
            default.
    """

    template: DataVolumeTemplate = Field(default_factory=DataVolumeTemplate)
    schedule: str = ""
    managed_data_source: str = ""
    garbage_collect: str | None = None
    imports_to_keep: int | None = None
    retention_policy: str | None = None
    service_account_name: str | None = None


class CurrentImport(Model):
    """The import that the cron wants; the JSON names are capitalised, as CDI's are.

    Attributes:
        data_volume_name: name of the DataVolume; beside CDI of the PersistentVolumeClaim.
        digest: what it holds: sha256 of the image's manifest or index, or uid: and the uid of a PVC.
    """

    data_volume_name: str = Field(alias="DataVolumeName")
    digest: str = Field(alias="Digest")


class DataImportCronStatus(Model):
    """What became of it.

    Attributes:
        observed_generation: the metadata.generation that the rest is about; only where status is a subresource.
        current_imports: the import that is wanted now, running or complete; at most one.
        last_imported_pvc: the last complete import.
        last_execution_timestamp: when the source was polled last.
        last_import_timestamp: when lastImportedPVC changed last.
        source_format: what an import is kept as: pvc or snapshot.
        conditions: Ready (the DataSource points to a complete import), UpToDate (to that of the newest digest),
            Progressing (an import runs).
    """

    observed_generation: int | None = None
    current_imports: list[CurrentImport] = Field(default_factory=list)
    last_imported_pvc: NamespacedName | None = Field(default=None, alias="lastImportedPVC")
    last_execution_timestamp: Time | None = None
    last_import_timestamp: Time | None = None
    source_format: str | None = None
    conditions: list[Condition] = Field(default_factory=list)


class DataImportCron(Resource):
    """Polls a container disk and keeps a DataSource on its newest import.

    Attributes:
        spec: what to poll, when, and what to keep.
        status: what became of it.
    """

    api_version: str = f"{CDI_GROUP}/{VERSION}"
    kind: str = "DataImportCron"
    spec: DataImportCronSpec = Field(default_factory=DataImportCronSpec)
    status: DataImportCronStatus = Field(default_factory=DataImportCronStatus)


class DataSourceSource(Model):
    """What a DataSource stands for; `{}` is no source yet.

    Attributes:
        pvc: a PersistentVolumeClaim, to be cloned.
        snapshot: a VolumeSnapshot, to be restored.
        data_source: another DataSource of the same namespace, whose source is this one's.
    """

    pvc: NamespacedName | None = None
    snapshot: NamespacedName | None = None
    data_source: NamespacedName | None = None


class DataSourceSpec(Model):
    """What a DataSource stands for.

    Attributes:
        source: at most one member is set.
    """

    source: DataSourceSource = Field(default_factory=DataSourceSource)


class DataSourceStatus(Model):
    """Whether it can be cloned.

    Attributes:
        source: what the spec's source leads to, while Ready is True.
        conditions: Ready (it can be cloned).
    """

    source: DataSourceSource | None = None
    conditions: list[Condition] = Field(default_factory=list)


class DataSource(Resource):
    """A name for the newest volume of its sort, to clone machines' disks from.

    Attributes:
        spec: what it stands for.
        status: whether it can be cloned.
    """

    api_version: str = f"{CDI_GROUP}/{VERSION}"
    kind: str = "DataSource"
    spec: DataSourceSpec = Field(default_factory=DataSourceSpec)
    status: DataSourceStatus = Field(default_factory=DataSourceStatus)


class ConfigMap(Resource):
    """corev1.ConfigMap; here it carries CA certificates."""

    api_version: str = "v1"
    kind: str = "ConfigMap"
    data: dict[str, str] = Field(default_factory=dict)
    binary_data: dict[str, str] = Field(default_factory=dict)
    immutable: bool | None = None


class Secret(Resource):
    """corev1.Secret; `data` is base64, `string_data` is not. Never shown by repr."""

    api_version: str = "v1"
    kind: str = "Secret"
    type: str | None = None
    data: dict[str, str] = Field(default_factory=dict, repr=False)
    string_data: dict[str, str] = Field(default_factory=dict, repr=False)
    immutable: bool | None = None


KINDS: Final[dict[str, type[Resource]]] = {
    kind.__name__: kind for kind in (DataImportCron, DataSource, DataVolume, ConfigMap, Secret)
}
"""All kinds that a host stores, by name."""
