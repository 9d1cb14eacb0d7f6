"""Which change matters to whom: a hash of just what planning and preparation read.

Status, generation and the annotations that we write ourselves are left out, or our own writes would wake us for ever.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from dataimportcron import naming
from dataimportcron.api.types import ConfigMap, DataImportCron, DataSource, DataVolume, Resource, Secret
from dataimportcron.projection import erroneous, failure_of

_INPUTS = (
    naming.ANNOTATION_POLL_REQUESTED,
    naming.ANNOTATION_NEXT_CRON_TIME,
    naming.ANNOTATION_SUSPEND,
)


def of_cron(
    cron: DataImportCron,
    data_sources: Iterable[DataSource],
    data_volumes: Iterable[DataVolume],
    dependencies: Iterable[ConfigMap | Secret],
    crons: Iterable[DataImportCron],
) -> str:
    """What a look of the cron depends on, apart from the registry; all that is given is of the cron's namespace."""
    annotations = cron.metadata.annotations
    named = [item for item in data_sources if item.metadata.name == cron.spec.managed_data_source]
    managed = [item for item in named if not _is_as_made(item, cron)]
    imports = [
        item
        for item in data_volumes
        if item.metadata.labels.get(naming.LABEL_CRON) == cron.metadata.name
        or naming.is_import_name(cron.spec.managed_data_source, item.metadata.name)
    ]
    owners = {item.metadata.labels.get(naming.LABEL_CRON) for item in (*managed, *imports)} - {cron.metadata.name}
    inputs = {key: annotations[key] for key in _INPUTS if key in annotations}
    if not cron.spec.schedule:
        inputs[naming.ANNOTATION_DESIRED_DIGEST] = annotations.get(naming.ANNOTATION_DESIRED_DIGEST, "")
    return _digest(
        [
            cron.metadata.uid,
            cron.metadata.labels,
            inputs,
            _plain(cron.spec),
            [_of_data_source(item) for item in managed],
            [_of_import(item) for item in imports],
            [_of_rival(item) for item in crons if item.metadata.name in owners],
            [_of_dependency(item) for item in dependencies if item.metadata.name in _names(cron)],
        ]
    )


def of_volume(volume: DataVolume, data_sources: Iterable[DataSource], data_volumes: Iterable[DataVolume]) -> str:
    """What the preparation of a DataVolume depends on: every source that it may clone from."""
    return _digest(
        [
            volume.metadata.uid,
            [_of_data_source(item) for item in data_sources],
            [_of_volume(item) for item in data_volumes if item.metadata.uid != volume.metadata.uid],
        ]
    )


def _of_data_source(data_source: DataSource) -> list[object]:
    return [_key(data_source), data_source.metadata.labels, _plain(data_source.spec)]


def _is_as_made(data_source: DataSource, cron: DataImportCron) -> bool:
    """Whether it is as the cron's first look makes it, which is no news to the cron that has made it."""
    points = data_source.spec.source.model_dump(exclude_none=True)
    return not points and data_source.metadata.labels.get(naming.LABEL_CRON) == cron.metadata.name


def _of_volume(volume: DataVolume) -> list[object]:
    return [_key(volume), volume.status.phase, failure_of(volume) if erroneous(volume) else ""]


def _of_import(volume: DataVolume) -> list[object]:
    """Whose import it is decides whether another cron may take it over."""
    return [*_of_volume(volume), volume.metadata.labels.get(naming.LABEL_CRON)]


def _of_rival(cron: DataImportCron) -> list[object]:
    """Another cron that a DataSource or an import is labelled for: what counts is that it lives and what it manages."""
    return [_key(cron), cron.spec.managed_data_source]


def _of_dependency(dependency: ConfigMap | Secret) -> list[object]:
    return [_key(dependency), dependency.metadata.resource_version]


def _names(cron: DataImportCron) -> set[str]:
    source = cron.spec.template.spec.source
    registry = source.registry if source else None
    return {name for name in (registry.secret_ref, registry.cert_config_map) if name} if registry else set()


def _key(resource: Resource) -> str:
    metadata = resource.metadata
    return f"{resource.kind}/{metadata.namespace}/{metadata.name}/{metadata.uid}"


def _plain(model: object) -> object:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)  # type: ignore[attr-defined]  # any model


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
