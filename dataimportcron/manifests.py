"""The objects that we make or change, built as values: an import's DataVolume, a cron's DataSource, their labels.

`with_*` return changed copies; what they are given stays as it was, so that `Objects.patch(before, after)` can tell
the two apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from dataimportcron import naming
from dataimportcron.api.quantity import parse_quantity
from dataimportcron.api.snapshots import VolumeSnapshot, VolumeSnapshotSource, VolumeSnapshotSpec
from dataimportcron.api.types import (
    CurrentImport,
    DataImportCron,
    DataSource,
    DataSourceSource,
    DataSourceSpec,
    DataVolume,
    DataVolumeSource,
    NamespacedName,
    ObjectMeta,
    RegistrySource,
    Resource,
)
from dataimportcron.errors import InvalidObjectError
from dataimportcron.reference import Reference
from dataimportcron.values import CloneSource, ImageSource, Placement, SourceKind, Volume, VolumeSpec

R = TypeVar("R", bound=Resource)

_ALLOWED_LABEL = re.compile(r"^([\w.]+\.kubevirt\.io|kubevirt\.io)/[\w.-]+$", re.ASCII)
"""Labels that flow from a cron to its imports and from a volume to its DataSource (D-10, L-02)."""


def with_annotations(resource: R, changes: Mapping[str, str | None]) -> R:
    """The object with annotations set, or removed where the value is None."""
    annotations = dict(resource.metadata.annotations)
    for key, value in changes.items():
        if value is None:
            annotations.pop(key, None)
        else:
            annotations[key] = value
    return _with_metadata(resource, annotations=annotations)


def with_labels(resource: R, changes: Mapping[str, str | None]) -> R:
    """The object with labels set, or removed where the value is None."""
    labels = {**resource.metadata.labels, **changes}
    return _with_metadata(resource, labels={key: value for key, value in labels.items() if value is not None})


def _with_metadata(resource: R, **fields: object) -> R:
    return resource.model_copy(update={"metadata": resource.metadata.model_copy(update=fields)})


def with_status(resource: R, **fields: object) -> R:
    """The object with some fields of its status replaced."""
    status: Any = resource.status  # type: ignore[attr-defined]  # every kind that is given here has one
    return resource.model_copy(update={"status": status.model_copy(update=fields)})


def with_current_import(cron: DataImportCron, name: str, digest: str) -> DataImportCron:
    """The cron whose one current import is `name`, holding `digest`."""
    return with_status(cron, current_imports=[CurrentImport(data_volume_name=name, digest=digest)])


def with_promoted_import(
    cron: DataImportCron, name: str, digest: str, now: datetime, form: SourceKind = SourceKind.PVC
) -> DataImportCron:
    """The cron whose last import is complete; `lastImportTimestamp` moves only when the import is another (I-05)."""
    cron = with_status(with_current_import(cron, name, digest), source_format=str(form))
    last = NamespacedName(namespace=cron.metadata.namespace, name=name)
    if cron.status.last_imported_pvc == last:
        return cron
    return with_status(cron, last_imported_pvc=last, last_import_timestamp=now)


def managed_labels(cron: DataImportCron) -> dict[str, str]:
    """Labels of everything that a cron manages (L-01)."""
    labels = {
        naming.LABEL_CRON: cron.metadata.name,
        naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
        naming.LABEL_COMPONENT: naming.COMPONENT,
    }
    if cron.spec.retention_policy == "None":
        labels[naming.LABEL_CLEANUP] = "true"
    return labels


def allowed_labels(resource: Resource) -> dict[str, str]:
    """The labels of an object that flow on to what is made from it."""
    return flowing(resource.metadata.labels)


def flowing(labels: Mapping[str, str]) -> dict[str, str]:
    """Those of an object's labels that flow on to what is made from it."""
    return {key: value for key, value in labels.items() if _ALLOWED_LABEL.match(key)}


def data_source_of(cron: DataImportCron) -> DataSource:
    """The cron's DataSource as it is first made: without a source (DM-01)."""
    return DataSource(
        metadata=ObjectMeta(
            name=cron.spec.managed_data_source,
            namespace=cron.metadata.namespace,
            labels={**allowed_labels(cron), **managed_labels(cron)},
        ),
        spec=DataSourceSpec(source=DataSourceSource()),
    )


def claimed(resource: R, cron: DataImportCron) -> R:
    """The object with the labels of what the cron manages now, and without one of an earlier retentionPolicy."""
    return with_labels(resource, {naming.LABEL_CLEANUP: None, **managed_labels(cron)})


def released(resource: R) -> R:
    """The object without the labels of what a cron manages: it is its user's now."""
    marks = (naming.LABEL_CRON, naming.LABEL_CLEANUP, naming.LABEL_MANAGED_BY, naming.LABEL_COMPONENT)
    return with_labels(resource, dict.fromkeys(marks))


def pointed_to(data_source: DataSource, cron: DataImportCron, kept: DataVolume | VolumeSnapshot) -> DataSource:
    """The cron's DataSource, pointing to a complete import; labels of cron and import flow to it (L-03, L-04)."""
    target = NamespacedName(namespace=cron.metadata.namespace, name=kept.metadata.name)
    labels = {**allowed_labels(cron), **allowed_labels(kept)}
    is_volume = isinstance(kept, DataVolume)
    source = DataSourceSource(pvc=target) if is_volume else DataSourceSource(snapshot=target)
    spec = data_source.spec.model_copy(update={"source": source})
    return claimed(with_labels(data_source.model_copy(update={"spec": spec}), labels), cron)


def source_of(data_source: DataSource) -> CloneSource | None:
    """What a DataSource stands for itself: its claim, else its snapshot; None for a pointer, and for nothing (D-17)."""
    source = data_source.spec.source
    if source.data_source is not None:
        return None
    return clone_source(source.pvc, source.snapshot, data_source.metadata.namespace)


def clone_source(pvc: NamespacedName | None, snapshot: NamespacedName | None, namespace: str) -> CloneSource | None:
    """What a source names; where its namespace is left out, it is `namespace`."""
    named, kind = (pvc, SourceKind.PVC) if pvc is not None else (snapshot, SourceKind.SNAPSHOT)
    if named is None:
        return None
    return CloneSource(namespace=named.namespace or namespace, name=named.name, kind=kind)


def import_of(cron: DataImportCron, name: str, digest: str, manifest_digest: str, now: datetime) -> DataVolume:
    """The DataVolume that imports `digest` for a cron: its template, the URL pinned (NM-04, NM-05)."""
    template = cron.spec.template
    streamed = cron.metadata.annotations.get(naming.ANNOTATION_IMAGE_STREAM_REF, "")
    spec = template.spec.model_copy(update={"source": _pinned(template.spec.source, digest, streamed)})
    annotations = {
        naming.ANNOTATION_BIND_IMMEDIATE: "true",
        naming.ANNOTATION_LAST_USE_TIME: "",
        naming.ANNOTATION_DIGEST: digest,
    }
    if manifest_digest:
        annotations[naming.ANNOTATION_MANIFEST_DIGEST] = manifest_digest
    labels = {**template.metadata.labels, **allowed_labels(cron), **managed_labels(cron)}
    volume = DataVolume(
        metadata=ObjectMeta(
            name=name,
            namespace=cron.metadata.namespace,
            labels=labels,
            annotations={**template.metadata.annotations, **annotations},
        ),
        spec=spec,
    )
    return used(volume, now)


def snapshot_of(cron: DataImportCron, volume: DataVolume, found: Volume, placement: Placement) -> VolumeSnapshot:
    """The snapshot of a complete import, of the same name (S-07, S-11).

    Args:
        cron: whose import it is.
        volume: the import, with the labels and annotations of what the cron manages.
        found: its volume.
        placement: of imports.
    """
    size = advised_restore_size(_template_size(cron), "", str(found.requested or ""))
    annotations = {
        naming.ANNOTATION_SOURCE_VOLUME_MODE: found.mode,
        naming.ANNOTATION_ADVISED_RESTORE_SIZE: size,
        **{key: volume.metadata.annotations.get(key, "") for key in _KNOWN_OF_AN_IMPORT},
    }
    return VolumeSnapshot(
        metadata=ObjectMeta(
            name=volume.metadata.name,
            namespace=volume.metadata.namespace,
            labels={**allowed_labels(volume), **managed_labels(cron), **_CDI_SNAPSHOT_LABELS},
            annotations={key: value for key, value in annotations.items() if value},
        ),
        spec=VolumeSnapshotSpec(
            source=VolumeSnapshotSource(persistent_volume_claim_name=volume.metadata.name),
            volume_snapshot_class_name=placement.snapshot_class,
        ),
    )


def with_restore_size(snapshot: VolumeSnapshot, cron: DataImportCron) -> VolumeSnapshot:
    """The snapshot with the size of what is restored from it, now that the driver has said what it needs."""
    restore = snapshot.status.restore_size
    known = snapshot.metadata.annotations.get(naming.ANNOTATION_ADVISED_RESTORE_SIZE, "")
    size = advised_restore_size(_template_size(cron), "" if restore is None else str(restore), known)
    return with_annotations(snapshot, {naming.ANNOTATION_ADVISED_RESTORE_SIZE: size}) if size else snapshot


def _template_size(cron: DataImportCron) -> str:
    storage = cron.spec.template.spec.storage or cron.spec.template.spec.pvc
    requests = (storage.resources.requests if storage and storage.resources else None) or {}
    return str(requests.get("storage", ""))


def advised_restore_size(template: str, restore: str, claim: str) -> str:
    """The size of a volume that is restored from an import's snapshot (S-11); "" where nothing tells.

    Args:
        template: what the cron's template requests, a quantity; "" for nothing.
        restore: the smallest that the driver restores to; "" while it is unknown.
        claim: what the claim requested that the snapshot is taken of; "" where it is gone.
    """
    if not template or not parse_quantity(template):
        return claim
    return restore if restore and parse_quantity(restore) > parse_quantity(template) else template


_KNOWN_OF_AN_IMPORT = (
    naming.ANNOTATION_DIGEST,
    naming.ANNOTATION_MANIFEST_DIGEST,
    naming.ANNOTATION_LAST_USE_TIME,
    naming.ANNOTATION_PLACED_IN,
)
_CDI_SNAPSHOT_LABELS = {"app": "containerized-data-importer", "cdi.kubevirt.io": ""}
"""Of every snapshot that CDI takes; what lists and removes CDI's snapshots goes by them."""


def used(kept: R, now: datetime) -> R:
    """The import with its time of last use renewed (I-09)."""
    return with_annotations(kept, {naming.ANNOTATION_LAST_USE_TIME: timestamp(now)})


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with nine digits of a second, as CDI writes `lastUseTime`, but of fixed width (X-04)."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}000Z"


def parse_time(text: str) -> datetime | None:
    """An RFC 3339 annotation; None where it is none. Nanoseconds are cut to microseconds."""
    try:
        moment = datetime.fromisoformat(_NANOSECONDS.sub(r"\1", text))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


_NANOSECONDS = re.compile(r"(\.\d{6})\d+")


def _pinned(source: DataVolumeSource | None, digest: str, streamed: str) -> DataVolumeSource | None:
    """The source, as it is now: by digest, or the image `streamed` that an ImageStream names."""
    if source is None or source.registry is None:
        return source
    url = source.registry.url
    if not url:
        url = f"docker://{streamed}" if streamed else None
    elif url.startswith("docker://"):
        url = f"docker://{Reference.parse(url).with_digest(digest)}"
    stream = None if url else source.registry.image_stream
    pinned = source.registry.model_copy(update={"url": url, "image_stream": stream})
    return source.model_copy(update={"registry": pinned})


def image_source(registry: RegistrySource, namespace: str) -> ImageSource | None:
    """A registry source as the port `Source` takes it; None where it names neither URL nor ImageStream."""
    if not registry.url and not registry.image_stream:
        return None
    return ImageSource(
        namespace=namespace,
        url=registry.url or "",
        architecture=registry.platform.architecture if registry.platform and registry.platform.architecture else "",
        secret=registry.secret_ref or "",
        cert_config_map=registry.cert_config_map or "",
        pull_method=registry.pull_method or "pod",
        image_stream=registry.image_stream or "",
    )


def is_externally_populated(volume: DataVolume) -> bool:
    """Whether something that Kubernetes knows, not this program, fills a DataVolume's claim (K-02)."""
    storage = volume.spec.storage or volume.spec.pvc
    return storage is not None and (storage.data_source is not None or storage.data_source_ref is not None)


def volume_spec(volume: DataVolume) -> VolumeSpec:
    """What the home needs to make the volume of a DataVolume; a size of 0 means that none is requested.

    Raises:
        InvalidObjectError: the requested size is no quantity.
    """
    storage = volume.spec.storage or volume.spec.pvc
    requests = (storage.resources.requests if storage and storage.resources else None) or {}
    try:
        size = parse_quantity(str(requests.get("storage", 0)))
    except ValueError as error:
        raise InvalidObjectError(f"DataVolume {volume.metadata.name}: resources.requests.storage: {error}") from error
    return VolumeSpec(
        namespace=volume.metadata.namespace,
        name=volume.metadata.name,
        uid=volume.metadata.uid,
        size=size,
        storage_class=(storage.storage_class_name if storage else None) or "",
        overlay=volume.metadata.annotations.get(naming.ANNOTATION_CLONE) == naming.CLONE_OVERLAY,
    )
