"""The shape of a document: unknown fields, missing ones, wrong types, each with its path.

The models are the only description of the API: what they declare is allowed, and nothing else. Types are those of
JSON, never converted: a number is no string. Left alone are fields that only a server writes, and what lies below
`spec.template.metadata`, which CDI prunes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dataimportcron.api.faults import Fault, did_you_mean, shown
from dataimportcron.api.node import Node

_SERVER_METADATA: Final = frozenset({"generateName", "selfLink", "managedFields", "deletionGracePeriodSeconds"})
"""Fields of metav1.ObjectMeta that `kubectl get -o yaml` may print and nothing here reads."""
_FREE: Final = re.compile(r"(status|spec\.template\.(metadata|status))($|[.\[])")
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})", re.ASCII)
_SCALARS: Final[dict[object, tuple[type, str]]] = {
    str: (str, "a string"),
    int: (int, "a whole number"),
    bool: (bool, "true or false"),
}


def shape_faults(model: type[BaseModel], node: Node, *, strict: bool = True) -> Iterator[Fault]:
    """What of a place does not fit a model.

    Args:
        model: what is expected.
        node: what is there.
        strict: whether unknown fields are faults.
    """
    if not isinstance(node.value, dict):
        yield node.mistyped("an object")
        return
    known = fields(model)
    for key in node.value:
        if not isinstance(key, str):
            yield Fault(path=node.path, message="keys must be strings", found=shown(key), allowed="quote it")
        elif key in known:
            child = node[key] if known[key].repr else node[key].concealed()
            if child.present:
                yield from _value_faults(known[key].annotation, child, strict=strict)
        elif strict and not _is_free(node.path, key):
            yield Fault(path=node[key].path, message="unknown field", allowed=did_you_mean(key, known))
    for key, field in known.items():
        if field.is_required() and not node[key].present:
            yield node[key].missing()


def _is_free(path: str, key: str) -> bool:
    return _FREE.match(path) is not None or (path == "metadata" and key in _SERVER_METADATA)


@cache
def fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the names that a document has for them."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _value_faults(annotation: object, node: Node, *, strict: bool) -> Iterator[Fault]:
    kinds = alternatives(annotation)
    kind = kinds[0]
    if kinds == [int, str]:
        if isinstance(node.value, bool) or not isinstance(node.value, int | str):
            yield node.mistyped("a quantity such as 5Gi")
    elif get_origin(kind) is list:
        yield from _list_faults(get_args(kind)[0], node, strict=strict)
    elif get_origin(kind) is dict:
        yield from _map_faults(get_args(kind)[1], node, strict=strict)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from shape_faults(kind, node, strict=strict)
    elif kind is datetime:
        if not _is_time(node.value):
            yield node.mistyped("a time such as 2026-01-31T12:00:00Z")
    elif kind is not Any:
        python, words = _SCALARS[kind]
        if not isinstance(node.value, python) or (python is int and isinstance(node.value, bool)):
            yield node.mistyped(words)


def _list_faults(item: object, node: Node, *, strict: bool) -> Iterator[Fault]:
    if not isinstance(node.value, list):
        yield node.mistyped("a list")
    for child in node.items:
        yield from _value_faults(item, child, strict=strict)


def _map_faults(item: object, node: Node, *, strict: bool) -> Iterator[Fault]:
    if not isinstance(node.value, dict):
        yield node.mistyped("an object")
        return
    for key in node.value:
        if not isinstance(key, str):
            yield Fault(path=node.path, message="keys must be strings", found=shown(key), allowed="quote it")
        else:
            yield from _value_faults(item, node[key], strict=strict)


def alternatives(annotation: object) -> list[object]:
    """The types of an annotation, without None and without what Annotated adds."""
    if get_origin(annotation) is Annotated:
        return alternatives(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return [kind for part in get_args(annotation) if part is not type(None) for kind in alternatives(part)]
    return [annotation]


def _is_time(value: object) -> bool:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
