"""OpenAPI schemas of the models, structural as a CustomResourceDefinition wants them.

A walk over the fields of a model instead of pydantic's own JSON schema, which Kubernetes refuses ($defs, anyOf with
null). Descriptions are those of the docstrings: a class's first paragraph, and the lines under `Attributes:`. What goes
beyond types, required fields and CEL rules, comes from `admission`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel

from dataimportcron.api.admission import ENUMS, LONGEST_TEXT, REQUIRED, RULES, Rule
from dataimportcron.api.meta import Condition, Model, ObjectMeta
from dataimportcron.api.shape import alternatives, fields

Schema = dict[str, Any]

_RULES: Final = "x-kubernetes-validations"

_SCALARS: Final[Mapping[object, Schema]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    # int32 as in CDI's types, except for generations, which Kubernetes counts by int64.
    int: {"type": "integer", "format": "int32"},
    # Go's metav1.Time writes null where it is zero.
    datetime: {"type": "string", "format": "date-time", "nullable": True},
    Any: {"x-kubernetes-preserve-unknown-fields": True},
    ObjectMeta: {"type": "object"},
}
# Stricter than nothing matters here: a quantity that Go cannot read would stop the informers of KubeVirt.
QUANTITY: Final = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?"
"""What a quantity looks like."""
_QUANTITY: Final[Schema] = {
    "anyOf": [{"type": "integer"}, {"type": "string"}],
    "pattern": f"^{QUANTITY}$",
    "x-kubernetes-int-or-string": True,
}
_INHERITED: Final[Mapping[str, str]] = {
    "api_version": "the group and version that the rest is written in.",
    "kind": "the kind of the object.",
    "metadata": "name, namespace, labels and annotations.",
}
_ATTRIBUTE = re.compile(r"(?m)^(\w+): (.*(?:\n .*)*)")


def schema_of(model: type[BaseModel]) -> Schema:
    """The schema of a model, fields by the names that a document has for them."""
    properties: dict[str, Schema] = {}
    for attribute, field in model.model_fields.items():
        name = field.alias or attribute
        child: Schema = {"description": _described(model, attribute)} | _type_schema(field.annotation)
        if attribute == "observed_generation":
            child["format"] = "int64"
        if name in ENUMS.get(model, {}):
            child = _with_enum(child, ENUMS[model][name])
        properties[name] = _with_rules(child, RULES.get((model, name), ()))
    schema: Schema = {"description": summary_of(model), "type": "object", "properties": properties}
    if required := required_of(model):
        schema["required"] = list(required)
    return _with_rules(schema, RULES.get((model, ""), ()))


def required_of(model: type[BaseModel]) -> tuple[str, ...]:
    """The fields that must be there, in the order of the model."""
    wanted = REQUIRED.get(model, ())
    return tuple(name for name, field in fields(model).items() if field.is_required() or name in wanted)


def summary_of(model: type[BaseModel]) -> str:
    """What a model is: the docstring before its attributes."""
    text = inspect.getdoc(model) or ""
    return text.partition("\n\nAttributes:")[0].replace("\n", " ").strip()


@cache
def attributes_of(model: type[BaseModel]) -> Mapping[str, str]:
    """What each attribute is, by its Python name; those of base classes included."""
    found = {} if model in {BaseModel, Model} else dict(_INHERITED)
    for base in reversed(model.__mro__):
        section = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")[2]
        for name, text in _ATTRIBUTE.findall(inspect.cleandoc(section)):
            found[name] = " ".join(text.split())
    return found


def _described(model: type[BaseModel], attribute: str) -> str:
    text = attributes_of(model).get(attribute)
    if text is None:
        raise ValueError(f"{model.__name__}.{attribute} has no line under Attributes: of its docstring")
    text = text.replace("`", "")
    return text[:1].upper() + text[1:]


def _type_schema(annotation: object) -> Schema:
    kinds = alternatives(annotation)
    kind = kinds[0]
    if kinds == [int, str]:
        return dict(_QUANTITY)
    if kind in _SCALARS:
        return dict(_SCALARS[kind])
    if get_origin(kind) is list:
        item = get_args(kind)[0]
        keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]} if item is Condition else {}
        return {"type": "array", "items": _type_schema(item)} | keyed
    if get_origin(kind) is dict:
        values = get_args(kind)[1]
        if values is Any:
            return {"type": "object"} | _SCALARS[Any]
        return {"type": "object", "additionalProperties": _type_schema(values)}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        schema = schema_of(kind)
        del schema["description"]
        return schema
    raise TypeError(f"{annotation} has no schema")


def _with_enum(schema: Schema, values: tuple[str, ...]) -> Schema:
    if schema["type"] == "array":
        return schema | {"items": schema["items"] | {"enum": list(values)}}
    return schema | {"enum": list(values)}


def _with_rules(schema: Schema, rules: tuple[Rule, ...]) -> Schema:
    if not rules:
        return schema
    bound = {"maxLength": LONGEST_TEXT} if schema["type"] == "string" else {}
    told = [*schema.get(_RULES, ()), *(rule.document() for rule in rules)]
    return schema | bound | {_RULES: told}
