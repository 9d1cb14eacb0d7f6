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
    """What a volume is filled with, and what it is."""

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
        claim_name: the PersistentVolumeClaim; on a host the volume.
        phase: one of `conditions.Phase`.
        progress: "N/A" or a percentage such as "12.34%" or "100.0%".
        restart_count: failed attempts so far.
        conditions: Bound, Ready, Running.
    """

    claim_name: str | None = None
    phase: str = ""
    progress: str | None = None
    restart_count: int | None = None
    conditions: list[Condition] = Field(default_factory=list)


class DataVolume(Resource):
    """A volume to be filled once."""

    api_version: str = f"{CDI_GROUP}/{VERSION}"
    kind: str = "DataVolume"
    spec: DataVolumeSpec = Field(default_factory=DataVolumeSpec)
    status: DataVolumeStatus = Field(default_factory=DataVolumeStatus)


class DataVolumeTemplate(Model):
    """The DataVolume that a cron makes for each import; a whole object to CDI, so it may name its kind."""

    api_version: str | None = None
    kind: str | None = None
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: DataVolumeSpec = Field(default_factory=DataVolumeSpec)
    status: DataVolumeStatus | None = None


class DataImportCronSpec(Model):
    """What to poll, when, and what to keep.

    Attributes:
        template: the import.
        schedule: a cron expression as robfig's ParseStandard reads it; "" means that nothing is polled by itself.
        managed_data_source: the DataSource, of the same namespace, that follows the newest import.
        garbage_collect: Outdated or Never; unset means Outdated.
        imports_to_keep: how many imports stay; unset means 3.
        retention_policy: All keeps the imports when the cron goes, None removes them; unset means All.
        service_account_name: in whose name a PVC source is read; unset means default.
    """

    template: DataVolumeTemplate = Field(default_factory=DataVolumeTemplate)
    schedule: str = ""
    managed_data_source: str = ""
    garbage_collect: str | None = None
    imports_to_keep: int | None = None
    retention_policy: str | None = None
    service_account_name: str | None = None


class CurrentImport(Model):
    """The import that the cron wants; the JSON names are capitalised, as CDI's are."""

    data_volume_name: str = Field(alias="DataVolumeName")
    digest: str = Field(alias="Digest")


class DataImportCronStatus(Model):
    """What became of it.

    Attributes:
        current_imports: at most one.
        last_imported_pvc: the last complete import.
        last_execution_timestamp: the last poll.
        last_import_timestamp: when `last_imported_pvc` changed.
        source_format: pvc or snapshot.
        conditions: Progressing, UpToDate.
    """

    current_imports: list[CurrentImport] = Field(default_factory=list)
    last_imported_pvc: NamespacedName | None = Field(default=None, alias="lastImportedPVC")
    last_execution_timestamp: Time | None = None
    last_import_timestamp: Time | None = None
    source_format: str | None = None
    conditions: list[Condition] = Field(default_factory=list)


class DataImportCron(Resource):
    """Polls a container disk and keeps a DataSource on its newest import."""

    api_version: str = f"{CDI_GROUP}/{VERSION}"
    kind: str = "DataImportCron"
    spec: DataImportCronSpec = Field(default_factory=DataImportCronSpec)
    status: DataImportCronStatus = Field(default_factory=DataImportCronStatus)


class DataSourceSource(Model):
    """What a DataSource stands for; `{}` is no source yet."""

    pvc: NamespacedName | None = None
    snapshot: NamespacedName | None = None
    data_source: NamespacedName | None = None


class DataSourceSpec(Model):
    """The source."""

    source: DataSourceSource = Field(default_factory=DataSourceSource)


class DataSourceStatus(Model):
    """The resolved source while Ready is True, and the condition Ready."""

    source: DataSourceSource | None = None
    conditions: list[Condition] = Field(default_factory=list)


class DataSource(Resource):
    """A name for the newest volume of its sort."""

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
