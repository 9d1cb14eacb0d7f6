"""`dataimportcron get`: objects in columns, as kubectl shows them."""

from __future__ import annotations

import argparse
from datetime import datetime

import yaml

from dataimportcron.api.meta import Condition
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume, Resource
from dataimportcron.host import clock
from dataimportcron.host.store import Store
from dataimportcron.polling import suspended
from worker.cli.common import kind_of, namespace_option, open_state, state_option, table, tidy


def configure(parser: argparse.ArgumentParser) -> None:
    """What to list."""
    parser.add_argument("kind", help="dataimportcron (dic), datasource (das), datavolume (dv), configmap, secret")
    parser.add_argument("name", nargs="?", help="one object")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    parser.add_argument("-o", "--output", choices=["yaml", "name"], help="another form")
    namespace_option(parser)
    state_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the objects."""
    kind_text, _, name = arguments.kind.partition("/")
    kind, name = kind_of(kind_text), name or arguments.name
    store = Store(open_state(arguments))
    if name:
        found: list[Resource] = [store.get(kind, arguments.namespace, name)]
    else:
        found = list(store.list(kind, None if arguments.all_namespaces else arguments.namespace))
    if arguments.output == "yaml":
        print(yaml.safe_dump_all([tidy(item.document()) for item in found], sort_keys=False), end="")
    elif arguments.output == "name":
        print("\n".join(f"{item.kind.lower()}/{item.metadata.name}" for item in found))
    elif not found:
        where = "any namespace" if arguments.all_namespaces else f"namespace {arguments.namespace}"
        print(f"No {kind.__name__} found in {where}.")
    else:
        now = clock.now()
        rows = [_row(item, now) for item in found]
        head = ["NAME", *rows[0].keys()]
        body = [[item.metadata.name, *row.values()] for item, row in zip(found, rows, strict=True)]
        if arguments.all_namespaces:
            head = ["NAMESPACE", *head]
            body = [[item.metadata.namespace, *row] for item, row in zip(found, body, strict=True)]
        print(table([head, *body]))
    return 0


def _row(item: Resource, now: datetime) -> dict[str, str]:
    age = {"AGE": _ago(item.metadata.creation_timestamp, now)}
    if isinstance(item, DataImportCron):
        registry = item.spec.template.spec.source.registry if item.spec.template.spec.source else None
        return {
            "SCHEDULE": f"{item.spec.schedule or '<none>'}{' (suspended)' if suspended(item) else ''}",
            "SOURCE": (registry.url or "") if registry else "",
            "UPTODATE": _status(item.status.conditions, "UpToDate"),
            "LAST POLL": _ago(item.status.last_execution_timestamp, now),
            "LAST IMPORT": _ago(item.status.last_import_timestamp, now),
        } | age
    if isinstance(item, DataSource):
        pvc = item.spec.source.pvc
        return {"PVC": pvc.name if pvc else "<none>", "READY": _status(item.status.conditions, "Ready")} | age
    if isinstance(item, DataVolume):
        return {
            "PHASE": item.status.phase or "Pending",
            "PROGRESS": item.status.progress or "N/A",
            "RESTARTS": str(item.status.restart_count or 0),
            "SIZE": _size(item),
        } | age
    return {"DATA": str(len(getattr(item, "data", {})))} | age


def _size(volume: DataVolume) -> str:
    """As requested, in the words of who requested it."""
    storage = volume.spec.storage or volume.spec.pvc
    requests = storage.resources.requests if storage and storage.resources else {}
    return str(requests.get("storage", "<as its source>"))


def _status(conditions: list[Condition], wanted: str) -> str:
    for condition in conditions:
        if condition.type == wanted:
            return condition.status if condition.status == "True" else f"{condition.status} ({condition.reason})"
    return "Unknown"


def _ago(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "<never>"
    seconds = max(int((now - moment).total_seconds()), 0)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
