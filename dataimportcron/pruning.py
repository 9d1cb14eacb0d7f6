"""Which imports retention removes. Pure, like `planning`."""

from __future__ import annotations

from collections.abc import Iterable

from dataimportcron import naming
from dataimportcron.api.types import DataImportCron, DataSource, Resource
from dataimportcron.kept import K
from dataimportcron.manifests import parse_time, timestamp
from dataimportcron.values import SourceKind

DEFAULT_IMPORTS_TO_KEEP = 3
"""CDI's default."""


def has_outdated(cron: DataImportCron, imports: Iterable[K]) -> bool:
    """Whether there are more imports than are kept, so that it matters who else uses them."""
    return bool(_outdated(cron, imports))


def pointed_by(data_sources: Iterable[DataSource], namespace: str, kind: SourceKind = SourceKind.PVC) -> frozenset[str]:
    """Names of the volumes or snapshots in a namespace that its DataSources point to, whoever's these are.

    One of another namespace is looked at by itself, because it must be asked for: whoever may make it need not have a
    right to this one, and could fill its quota with what nobody wants.
    """
    near = [item for item in data_sources if item.metadata.namespace == namespace]
    targets = [getattr(item.spec.source, kind) for item in near]
    return frozenset(it.name for it in targets if it is not None and (it.namespace or namespace) == namespace)


def plan_prune(cron: DataImportCron, imports: Iterable[K], pointed: frozenset[str]) -> tuple[K, ...]:
    """The imports that retention removes: the least recently used beyond importsToKeep (G-01 to G-05).

    Volumes and snapshots are each counted by themselves (G-06). Never what a DataSource beside it points to, be it the
    cron's own or any other.
    """
    return tuple(item for item in _outdated(cron, imports) if item.metadata.name not in pointed)


def _outdated(cron: DataImportCron, imports: Iterable[K]) -> list[K]:
    """The cron's imports beyond importsToKeep, never the current one; 0 is read as 1 for that reason (X-03)."""
    if cron.spec.garbage_collect == "Never":
        return []
    keep = DEFAULT_IMPORTS_TO_KEEP if cron.spec.imports_to_keep is None else max(cron.spec.imports_to_keep, 1)
    current = {entry.data_volume_name for entry in cron.status.current_imports}
    ours = [item for item in imports if item.metadata.labels.get(naming.LABEL_CRON) == cron.metadata.name]
    newest_first = sorted(ours, key=lambda item: (item.metadata.name in current, last_use(item)), reverse=True)
    return [item for item in newest_first[keep:] if item.metadata.name not in current]


def last_use(item: Resource) -> str:
    """When an import was last made current, as a fixed-width timestamp that sorts (X-04); "" sorts oldest."""
    moment = parse_time(item.metadata.annotations.get(naming.ANNOTATION_LAST_USE_TIME, ""))
    return timestamp(moment) if moment else ""
