"""The columns that `get` shows of each kind: from a document to cells, pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dataimportcron.host.state.records import Document
from dataimportcron.naming import ANNOTATION_DESIRED_DIGEST, ANNOTATION_SUSPEND
from worker.cli.text import ago, parse_time

_NONE = "<none>"

FIRST_TO_GO = ("RESTARTS", "LAST IMPORT", "LAST POLL", "SIZE")
"""Columns that are left out, one after the other, where a terminal is too narrow for a table."""


def cells(document: Document, now: datetime, *, wide: bool = False) -> dict[str, str]:
    """The cells of one object by the head of their column, without its name.

    Args:
        document: the object.
        now: what ages count to.
        wide: with what does not fit into 80 columns.
    """
    spec, status = document.get("spec") or {}, document.get("status") or {}
    metadata = document["metadata"]
    age = {"AGE": ago(parse_time(metadata.get("creationTimestamp")), now)}
    match document["kind"]:
        case "DataImportCron":
            found, more = _cron(metadata, spec, status, now)
        case "DataSource":
            found, more = _data_source(spec, status)
        case "DataVolume":
            found, more = _data_volume(spec, status)
        case _:
            held = [document.get(member) or {} for member in ("data", "binaryData", "stringData")]
            found, more = {"DATA": str(sum(map(len, held)))}, {}
    return found | age | (more if wide else {})


def _cron(metadata: Document, spec: Document, status: Document, now: datetime) -> tuple[dict[str, str], dict[str, str]]:
    annotations = metadata.get("annotations") or {}
    suspended = annotations.get(ANNOTATION_SUSPEND, "").lower() == "true"
    schedule = spec.get("schedule") or _NONE
    up_to_date = _condition(status, "UpToDate")
    source = _member(spec, "template", "spec", "source", "registry")
    return {
        "SCHEDULE": "<suspended>" if suspended else schedule,
        "UPTODATE": up_to_date.get("status", "Unknown"),
        "LAST POLL": ago(parse_time(status.get("lastExecutionTimestamp")), now),
        "LAST IMPORT": ago(parse_time(status.get("lastImportTimestamp")), now),
    }, {
        "SCHEDULE": schedule,
        "SUSPEND": str(suspended).lower(),
        "REASON": up_to_date.get("reason", _NONE),
        "DATASOURCE": spec.get("managedDataSource") or _NONE,
        "DIGEST": _short(annotations.get(ANNOTATION_DESIRED_DIGEST, "")),
        "SOURCE": str(source.get("url") or source.get("imageStream") or _NONE).removeprefix("docker://"),
    }


def _data_source(spec: Document, status: Document) -> tuple[dict[str, str], dict[str, str]]:
    ready = _condition(status, "Ready")
    sort, source = next(
        ((sort, source) for sort, source in (spec.get("source") or {}).items() if isinstance(source, dict)), ("", {})
    )
    return {"SOURCE": source.get("name", _NONE), "READY": ready.get("status", "Unknown")}, {
        "REASON": ready.get("reason", _NONE),
        "KIND OF SOURCE": sort or _NONE,
        "SOURCE NAMESPACE": source.get("namespace", _NONE),
    }


def _data_volume(spec: Document, status: Document) -> tuple[dict[str, str], dict[str, str]]:
    source = spec.get("source") or {}
    sort = next(iter(source), "sourceRef" if spec.get("sourceRef") else _NONE)
    storage = spec.get("storage") or spec.get("pvc") or {}
    return {
        "PHASE": status.get("phase") or "Pending",
        "PROGRESS": status.get("progress") or "N/A",
        "RESTARTS": str(status.get("restartCount") or 0),
        "SIZE": str(_member(storage, "resources", "requests").get("storage", "<as its source>")),
    }, {
        "SOURCE": sort,
        "FROM": _origin(source.get(sort) or spec.get("sourceRef") or {}),
        "STORAGECLASS": storage.get("storageClassName") or "<default>",
    }


def _origin(source: Document) -> str:
    if source.get("url"):
        return str(source["url"])
    return "/".join(str(source[key]) for key in ("namespace", "name") if source.get(key)) or _NONE


def _condition(status: Document, wanted: str) -> dict[str, str]:
    return next((c for c in status.get("conditions") or [] if c.get("type") == wanted), {})


def _member(document: Any, *path: str) -> Document:  # noqa: ANN401 -- whatever a document holds
    """An object inside an object, empty where there is none."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _short(digest: str) -> str:
    return digest.partition(":")[2][:12] or _NONE
