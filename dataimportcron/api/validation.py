"""What is refused, and why: all faults of a document at once.

The rules are those of CDI's webhooks, with its words where it has some; what CDI lets pass although it can never work
(a reference that is none, a quantity that is none, an unknown field) is refused too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dataimportcron.api.faults import Fault, did_you_mean, shown
from dataimportcron.api.rules import data_import_cron_faults, data_source_faults, data_volume_faults
from dataimportcron.api.shape import unknown_fields, wrong_types
from dataimportcron.api.types import (
    CDI_GROUP,
    KINDS,
    OWN_GROUP,
    VERSION,
    DataImportCron,
    DataSource,
    DataVolume,
    Resource,
)
from dataimportcron.errors import InvalidObjectError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_LABEL_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", re.ASCII)
_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_LONGEST_NAME = 253
_LONGEST_LABEL = 63


def api_versions(kind: str) -> tuple[str, ...]:
    """The values of apiVersion that a kind is taken under."""
    if kind in {"ConfigMap", "Secret"}:
        return ("v1",)
    if kind == "DataImportCron":
        return (f"{CDI_GROUP}/{VERSION}", f"{OWN_GROUP}/{VERSION}")
    return (f"{CDI_GROUP}/{VERSION}",)


def validate(document: object, *, source: str = "") -> list[Fault]:
    """All faults of a document, in the order of its fields; empty where it may be applied.

    Args:
        document: as read from YAML or JSON.
        source: file name, not repeated in the faults.
    """
    del source
    if not isinstance(document, dict):
        return [Fault(path="", message="an object must be a mapping", found=shown(document))]
    kind = document.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        return [Fault(path="kind", message="unknown kind", found=shown(kind), allowed=did_you_mean(str(kind), KINDS))]
    faults = list(_version_faults(document, model.__name__))
    shape = [*unknown_fields(document, model, ""), *wrong_types(document, model)]
    faults += shape
    faults += _metadata_faults(document.get("metadata"))
    if not any(fault.message != "unknown field" for fault in shape):
        resource = model.model_validate(document)
        if isinstance(resource, DataImportCron):
            faults += data_import_cron_faults(resource, document)
        elif isinstance(resource, DataVolume):
            faults += data_volume_faults(resource.spec, "spec")
        elif isinstance(resource, DataSource):
            faults += data_source_faults(resource, document)
    return faults


def parse(document: object, *, source: str = "") -> Resource:
    """The object that a document describes.

    Raises:
        InvalidObjectError: with all faults at once.
    """
    faults = tuple(str(fault) for fault in validate(document, source=source))
    if faults or not isinstance(document, dict):
        raise InvalidObjectError(f"{source or 'the document'}: {'; '.join(faults)}", faults=faults)
    return KINDS[document["kind"]].model_validate(document)


def _version_faults(document: dict[str, Any], kind: str) -> Iterator[Fault]:
    version, allowed = document.get("apiVersion"), api_versions(kind)
    if version not in allowed:
        yield Fault(
            path="apiVersion",
            message=f"unknown apiVersion of {kind}",
            found=shown(version),
            allowed=f"allowed are {', '.join(allowed)}",
        )


def _metadata_faults(metadata: object) -> Iterator[Fault]:
    given = metadata if isinstance(metadata, dict) else {}
    name, namespace = given.get("name"), given.get("namespace")
    if not name:
        yield Fault(path="metadata.name", message="is required")
    elif isinstance(name, str) and not (_NAME.fullmatch(name) and len(name) <= _LONGEST_NAME):
        yield Fault(
            path="metadata.name",
            message="is no DNS subdomain",
            found=shown(name),
            allowed="lower-case letters, digits, '-' and '.', at most 253, beginning and ending with a letter or digit",
        )
    if isinstance(namespace, str) and namespace and not (_LABEL_NAME.fullmatch(namespace) and len(namespace) <= 63):  # noqa: PLR2004 -- as in the sentence
        yield Fault(
            path="metadata.namespace",
            message="is no DNS label",
            found=shown(namespace),
            allowed="lower-case letters, digits and '-', at most 63",
        )
    for member, values_too in (("labels", True), ("annotations", False)):
        entries = given.get(member)
        for key, value in entries.items() if isinstance(entries, dict) else ():
            if not _KEY.fullmatch(str(key)):
                yield Fault(path=f"metadata.{member}", message="is no qualified name", found=shown(key))
            if values_too and isinstance(value, str) and not _VALUE.fullmatch(value):
                yield Fault(path=f"metadata.{member}.{key}", message="is no label value", found=shown(value))
