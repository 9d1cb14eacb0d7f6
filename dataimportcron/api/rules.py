"""The rules of CDI's webhooks, with the numbers of the acceptance cases that they meet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dataimportcron.api.faults import Fault, shown
from dataimportcron.api.quantity import parse_quantity
from dataimportcron.api.sources import DataVolumeSource, RegistrySource
from dataimportcron.api.types import DataImportCron, DataSource, DataVolumeSpec
from dataimportcron.api.volumes import StorageSpec
from dataimportcron.errors import InvalidReferenceError, InvalidScheduleError
from dataimportcron.reference import Reference
from dataimportcron.schedule import Schedule

ALLOWED_SOURCES = ("registry", "pvc")
"""What a cron can follow (V-07)."""

_LONGEST_LABEL = 63
_LONGEST_NAME = 253
_SMALLEST = 1 << 20
_ACCESS_MODES = ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod")
_OCI_ARCHIVE = "oci-archive:"


def data_import_cron_faults(cron: DataImportCron, document: dict[str, Any]) -> Iterator[Fault]:
    """V-01 to V-17, V-21."""
    spec, given = cron.spec, document.get("spec")
    if len(cron.metadata.name) > _LONGEST_LABEL:
        yield Fault(
            path="metadata.name", message="Name cannot be longer than 63 characters", found=shown(cron.metadata.name)
        )
    if not isinstance(given, dict):
        yield Fault(path="spec", message="is required")
        return
    for name in ("template", "schedule", "managedDataSource"):
        if name not in given:
            allowed = '"" polls by request only' if name == "schedule" else ""
            yield Fault(path=f"spec.{name}", message="is required", allowed=allowed)
    yield from _template_faults(spec.template.spec)
    yield from _cron_value_faults(cron, given)


def _cron_value_faults(cron: DataImportCron, given: dict[str, Any]) -> Iterator[Fault]:
    spec = cron.spec
    if spec.schedule:
        try:
            Schedule.parse(spec.schedule)
        except InvalidScheduleError as error:
            yield Fault(
                path="spec.schedule", message="Illegal cron schedule", found=shown(spec.schedule), allowed=str(error)
            )
    if "managedDataSource" in given and not 0 < len(spec.managed_data_source) <= _LONGEST_LABEL:
        yield Fault(
            path="spec.managedDataSource",
            message="Illegal ManagedDataSource value",
            found=shown(spec.managed_data_source),
            allowed="the name of a DataSource, 1 to 63 characters",
        )
    if spec.imports_to_keep is not None and not 0 <= spec.imports_to_keep < 1 << 31:
        yield Fault(
            path="spec.importsToKeep",
            message="Illegal ImportsToKeep value",
            found=shown(spec.imports_to_keep),
            allowed="0 or more",
        )
    if spec.garbage_collect not in {None, "Never", "Outdated"}:
        yield Fault(
            path="spec.garbageCollect",
            message="Illegal GarbageCollect value",
            found=shown(spec.garbage_collect),
            allowed="Outdated or Never",
        )
    if spec.service_account_name == "":
        yield Fault(path="spec.serviceAccountName", message="must not be empty")


def _template_faults(spec: DataVolumeSpec) -> Iterator[Fault]:
    path = "spec.template.spec"
    unsettable = (spec.source_ref, spec.content_type, spec.checkpoints or None, spec.final_checkpoint)
    if any(value is not None for value in unsettable):
        yield Fault(path=path, message="Unsettable fields: SourceRef, ContentType, Checkpoints, FinalCheckpoint")
    set_members = _set_members(spec.source)
    if not any(member in ALLOWED_SOURCES for member in set_members):
        yield Fault(
            path=f"{path}.source",
            message="Missing source",
            found=", ".join(set_members),
            allowed=f"one of {', '.join(ALLOWED_SOURCES)}",
        )
    else:
        yield from source_faults(spec.source, f"{path}.source")
    yield from _common_faults(spec, path)


def data_volume_faults(spec: DataVolumeSpec, path: str) -> Iterator[Fault]:
    """K-01, K-02 and the checks that a cron's template shares."""
    reference = spec.source_ref
    external = any(
        storage is not None and (storage.data_source or storage.data_source_ref) for storage in (spec.pvc, spec.storage)
    )
    if (spec.source is None) == (reference is None) and not (external and reference is None and spec.source is None):
        yield Fault(path=path, message="Data volume should have either Source or SourceRef, or be externally populated")
    if reference is not None:
        if not reference.kind:
            yield Fault(path=f"{path}.sourceRef.kind", message="Missing sourceRef kind")
        elif reference.kind != "DataSource":
            yield Fault(
                path=f"{path}.sourceRef.kind",
                message=f"Unsupported sourceRef kind {reference.kind}, currently only DataSource is supported",
            )
        if not reference.name:
            yield Fault(path=f"{path}.sourceRef.name", message="Missing sourceRef name")
    if spec.source is not None:
        yield from source_faults(spec.source, f"{path}.source")
    if spec.content_type not in {None, "kubevirt", "archive"}:
        yield Fault(
            path=f"{path}.contentType",
            message="unknown content type",
            found=shown(spec.content_type),
            allowed="kubevirt or archive",
        )
    yield from _common_faults(spec, path)


def source_faults(source: DataVolumeSource | None, path: str) -> Iterator[Fault]:
    """Exactly one member, and each member's own rules."""
    members = _set_members(source)
    if source is None or len(members) != 1:
        message = "Missing Data volume source" if not members else "Multiple Data volume sources"
        yield Fault(path=path, message=message, found=", ".join(members), allowed="exactly one")
        return
    if source.registry is not None:
        yield from _registry_faults(source.registry, f"{path}.registry")
    for member in (source.pvc, source.snapshot):
        if member is not None and not (member.name and member.namespace):
            yield Fault(path=f"{path}.{members[0]}", message="needs a name and a namespace")


def _registry_faults(registry: RegistrySource, path: str) -> Iterator[Fault]:
    if bool(registry.url) == bool(registry.image_stream):
        yield Fault(
            path=path,
            message="Source registry should have either URL or ImageStream",
            found="both" if registry.url else "neither",
        )
    if registry.pull_method not in {None, "pod", "node"}:
        yield Fault(
            path=f"{path}.pullMethod",
            message="Import method is neither pod, nor node",
            found=shown(registry.pull_method),
            allowed="pod or node",
        )
    if registry.image_stream and registry.pull_method != "node":
        yield Fault(
            path=f"{path}.pullMethod",
            message="Source registry ImageStream is supported only with node pull import method",
            found=shown(registry.pull_method),
        )
    if registry.url and not registry.url.startswith(("docker://", _OCI_ARCHIVE)):
        yield Fault(
            path=f"{path}.url",
            message="Illegal registry source URL scheme",
            found=shown(registry.url),
            allowed=f"docker://registry/repository:tag or {_OCI_ARCHIVE}path",
        )
    elif registry.url and registry.url.startswith("docker://"):
        try:
            Reference.parse(registry.url)
        except InvalidReferenceError as error:
            yield Fault(path=f"{path}.url", message=str(error))
    elif registry.url == _OCI_ARCHIVE:
        yield Fault(path=f"{path}.url", message="names no file", found=shown(registry.url))


def _common_faults(spec: DataVolumeSpec, path: str) -> Iterator[Fault]:
    """Storage, and what stands beside it."""
    if spec.pvc is None and spec.storage is None:
        yield Fault(path=path, message="Missing Data volume PVC", allowed="one of storage and pvc")
    if spec.pvc is not None and spec.storage is not None:
        yield Fault(path=path, message="Duplicate storage definition, both target storage and target pvc defined")
    if spec.pvc is not None:
        modes = spec.pvc.access_modes
        if len(modes) != 1:
            yield Fault(
                path=f"{path}.pvc.accessModes", message="PVC needs exactly one access mode", found=shown(len(modes))
            )
        yield from _storage_faults(spec.pvc, f"{path}.pvc", sized=True)
    if spec.storage is not None:
        cloned = spec.source_ref is not None or (
            spec.source is not None and bool(spec.source.pvc or spec.source.snapshot)
        )
        yield from _storage_faults(spec.storage, f"{path}.storage", sized=not cloned)
    if spec.service_account_name == "":
        yield Fault(path=f"{path}.serviceAccountName", message="must not be empty")


def _storage_faults(storage: StorageSpec, path: str, *, sized: bool) -> Iterator[Fault]:
    for mode in storage.access_modes:
        if mode not in _ACCESS_MODES:
            yield Fault(
                path=f"{path}.accessModes",
                message="unknown access mode",
                found=shown(mode),
                allowed=f"one of {', '.join(_ACCESS_MODES)}",
            )
    if storage.volume_mode not in {None, "", "Filesystem", "Block"}:
        yield Fault(
            path=f"{path}.volumeMode",
            message="unknown volume mode",
            found=shown(storage.volume_mode),
            allowed="Filesystem or Block",
        )
    if len(storage.storage_class_name or "") > _LONGEST_NAME:
        yield Fault(path=f"{path}.storageClassName", message="must have at most 253 characters")
    size = (storage.resources.requests if storage.resources else {}).get("storage")
    where = f"{path}.resources.requests.storage"
    if size is None:
        if sized:
            yield Fault(path=where, message="PVC size is missing", allowed="a quantity such as 5Gi")
        return
    try:
        bytes_ = parse_quantity(str(size))
    except ValueError as error:
        yield Fault(path=where, message=str(error))
        return
    if bytes_ < _SMALLEST:
        message = "PVC size can't be equal or less than zero" if bytes_ <= 0 else "PVC size is below the minimum"
        yield Fault(path=where, message=message, found=shown(size), allowed="1Mi or more")


def data_source_faults(data_source: DataSource, document: dict[str, Any]) -> Iterator[Fault]:
    """`spec.source` is required and may be empty; a member needs a name."""
    given = document.get("spec")
    if not isinstance(given, dict) or "source" not in given:
        yield Fault(path="spec.source", message="is required", allowed="{} is no source yet")
    source = data_source.spec.source
    for name, member in (("pvc", source.pvc), ("snapshot", source.snapshot), ("dataSource", source.data_source)):
        if member is not None and not member.name:
            yield Fault(path=f"spec.source.{name}.name", message="is required")


def _set_members(source: DataVolumeSource | None) -> list[str]:
    if source is None:
        return []
    return [name for name in type(source).model_fields if getattr(source, name) is not None]
