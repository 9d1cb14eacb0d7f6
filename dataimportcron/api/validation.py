"""What is refused, and why: all faults of a document at once.

`validate` and `parse` are strict and are for what a person writes; `read` is tolerant and is for what an API server
sends: types must fit, everything else passes, and `invalidity` tells what that server could not know to be wrong. What
no document can say by itself (whether a DataSource exists, whether a spec may change) is not decided here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from dataimportcron.api.faults import Fault, did_you_mean, shown
from dataimportcron.api.metadata import metadata_faults
from dataimportcron.api.node import Node
from dataimportcron.api.rules import RULES
from dataimportcron.api.shape import shape_faults
from dataimportcron.api.types import CDI_GROUP, KINDS, OWN_GROUP, VERSION, Resource
from dataimportcron.errors import InvalidObjectError

__all__ = ["Fault", "api_versions", "invalidity", "parse", "read", "validate"]

_REMEMBERED: Final = 4096
"""Objects of which it is remembered what the rules say."""


def api_versions(kind: str) -> tuple[str, ...]:
    """The values of apiVersion that a kind is taken under; a cron's two groups mean the same object."""
    if kind in {"ConfigMap", "Secret"}:
        return ("v1",)
    if kind == "DataImportCron":
        return (f"{CDI_GROUP}/{VERSION}", f"{OWN_GROUP}/{VERSION}")
    return (f"{CDI_GROUP}/{VERSION}",)


def validate(document: object, *, source: str = "") -> list[Fault]:
    """All faults of a document; empty where it may be applied.

    Args:
        document: as read from YAML or JSON, of any type.
        source: the file's name, which each fault carries.
    """
    return [replace(fault, source=source) for fault in _faults(document, strict=True)]


def parse(document: object, *, source: str = "") -> Resource:
    """The object that a document describes, if nothing is wrong with it.

    Raises:
        InvalidObjectError: with all faults at once.
    """
    return _model_of(document, source, strict=True)


def read(document: object) -> Resource:
    """The object that a server sent, fields of a newer version included.

    Raises:
        InvalidObjectError: it is of no known kind, or a field is of another type.
    """
    return _model_of(document, "", strict=False)


def invalidity(resource: Resource) -> InvalidObjectError | None:
    """What is wrong with an object that a server has admitted: the rules alone, for fields of a newer version pass."""
    text = resource.model_dump_json(
        by_alias=True,
        exclude_none=True,
        exclude_unset=True,
        # What changes by itself, and no rule is about.
        exclude={"status": True, "metadata": {"resource_version", "generation", "annotations"}},
    )
    faults = _rule_faults(type(resource), text)
    if not faults:
        return None
    return InvalidObjectError(f"{_title(resource.document(), '')}: {'; '.join(faults)}", faults=faults)


@lru_cache(maxsize=_REMEMBERED)
def _rule_faults(kind: type[Resource], text: str) -> tuple[str, ...]:
    """What the rules say of a document. A cron is looked at for years, and its spec hardly ever changes."""
    return tuple(map(str, RULES[kind](Node(value=json.loads(text)))))


def _model_of(document: object, source: str, *, strict: bool) -> Resource:
    faults = tuple(str(fault) for fault in _faults(document, strict=strict))
    if faults or not isinstance(document, dict):
        raise InvalidObjectError(f"{_title(document, source)}: {'; '.join(faults)}", faults=faults)
    return KINDS[document["kind"]].model_validate(document)


def _faults(document: object, *, strict: bool) -> list[Fault]:
    root = Node(value=document)
    if not isinstance(document, dict):
        return [root.mistyped("an object with apiVersion and kind")]
    model = KINDS.get(root["kind"].text or "")
    if model is None:
        return [_kind_fault(root["kind"])]
    shape = list(shape_faults(model, root, strict=strict))
    if not strict:
        return shape
    rules = [*_version_faults(root), *metadata_faults(root["metadata"]), *RULES[model](root)]
    mistyped = [fault.path for fault in shape if fault.message.startswith("must be ")]
    return shape + [fault for fault in rules if not any(_is_below(fault.path, path) for path in mistyped)]


def _kind_fault(kind: Node) -> Fault:
    if not kind.given:
        return kind.missing(allowed=f"known are {', '.join(sorted(KINDS))}")
    return kind.fault("unknown kind", allowed=did_you_mean(shown(kind.value).strip('"'), KINDS))


def _version_faults(root: Node) -> list[Fault]:
    version, kind = root["apiVersion"], root["kind"].text or ""
    allowed = api_versions(kind)
    if version.text in allowed:
        return []
    hint = f"write {' or '.join(allowed)}"
    return [
        version.fault(f"unknown apiVersion of {kind}", allowed=hint) if version.given else version.missing(allowed=hint)
    ]


def _is_below(path: str, other: str) -> bool:
    """Whether a place is another one, or inside it."""
    return path == other or path.startswith((f"{other}.", f"{other}["))


def _title(document: object, source: str) -> str:
    """What a person calls the object: kind, namespace/name and file, as far as they are known."""
    root: Any = Node(value=document)
    names = [text for text in (root["metadata"]["namespace"].text, root["metadata"]["name"].text) if text]
    title = " ".join(part for part in (root["kind"].text or "", "/".join(names)) if part)
    return f"{title} in {source}" if title and source else title or source or "the document"
