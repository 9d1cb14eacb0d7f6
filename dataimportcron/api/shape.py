"""The shape of a document: unknown fields, missing ones, wrong types, each with its path.

The models are the only description of the API: what they declare is allowed, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from dataimportcron.api.faults import Fault, did_you_mean, shown
from dataimportcron.api.meta import ObjectMeta, Resource
from dataimportcron.api.types import DataVolumeTemplate

_WORDS = {
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "list_type": "must be a list",
    "missing": "is required",
    "datetime_from_date_parsing": "must be a time in RFC 3339",
    "datetime_parsing": "must be a time in RFC 3339",
}


def unknown_fields(document: object, model: type[BaseModel], path: str) -> Iterator[Fault]:
    """Fields that the model does not declare, at any depth."""
    if not isinstance(document, dict):
        return
    known = {field.alias or name: field for name, field in model.model_fields.items()}
    for key, value in document.items():
        where = f"{path}.{key}".lstrip(".")
        field = known.get(key)
        if field is None:
            if not issubclass(model, ObjectMeta):  # metadata has more fields than we read, and they are Kubernetes'
                yield Fault(path=where, message="unknown field", allowed=did_you_mean(str(key), known))
            continue
        if model is DataVolumeTemplate and key == "metadata":
            continue  # CDI prunes what it does not know there
        inner = _model_of(field)
        if inner is None:
            continue
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from unknown_fields(item, inner, f"{where}[{index}]")
        else:
            yield from unknown_fields(value, inner, where)


def wrong_types(document: dict[str, Any], model: type[Resource]) -> Iterator[Fault]:
    """Values of a type that the model does not take."""
    try:
        model.model_validate(document, strict=True)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            path = ""
            for part in detail["loc"]:
                if isinstance(part, int):
                    path += f"[{part}]"
                elif part not in {"int", "str"}:  # the branches of a quantity's union
                    path += f".{part}"
            path = path.lstrip(".")
            kind = detail["type"]
            if kind in {"datetime_type", "datetime_from_date_parsing"} and isinstance(detail["input"], str):
                continue
            found = "" if kind == "missing" else _with_type(detail["input"])
            hint = _quote_hint(kind, detail["input"])
            yield Fault(path=path, message=_WORDS.get(kind, detail["msg"]), found=found, allowed=hint)


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model inside a field's annotation: itself, optional, or the items of a list."""
    candidates = [field.annotation, *get_args(field.annotation)]
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _with_type(value: object) -> str:
    names = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "a mapping"}
    return f"{names.get(type(value), type(value).__name__)} {shown(value)}" if value is not None else "nothing"


def _quote_hint(kind: str, value: object) -> str:
    return "quote it" if kind == "string_type" and isinstance(value, bool | int | float) else ""
