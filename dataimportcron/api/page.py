"""Writes the tables of docs/api.md from the code: `python -m dataimportcron.api.page docs/api.md`.

A table stands between `<!-- table NAME -->` and `<!-- end -->`, NAME being a model's or that of a class of reasons; all
else on the page is written by hand and stays.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel

from dataimportcron.api import cdi, conditions, meta, sources, types, volumes
from dataimportcron.api.schema import attributes_of, required_of
from dataimportcron.api.shape import alternatives

_BLOCK = re.compile(r"<!-- table (\w+) -->\n.*?<!-- end -->", re.DOTALL)
_UNSET = re.compile(r"unset means (.+?)(?:[;,]|\.?$)")
_WORDS: Final[Mapping[object, str]] = {
    str: "string",
    int: "integer",
    bool: "boolean",
    datetime: "time",
    Any: "anything",
}


def page(text: str) -> str:
    """The page with each of its tables as the code has it now."""
    models = {model.__name__: model for model in _models()}
    return _BLOCK.sub(lambda block: f"<!-- table {block[1]} -->\n{_table(block[1], models)}\n<!-- end -->", text)


def _models() -> Iterator[type[BaseModel]]:
    for module in (cdi, meta, sources, types, volumes):
        for _, model in inspect.getmembers(module, inspect.isclass):
            if issubclass(model, BaseModel):
                yield model


def _table(name: str, models: dict[str, type[BaseModel]]) -> str:
    if name in models:
        rows = [("field", "type", "default", "meaning"), *_field_rows(models[name])]
    else:
        rows = [("reason", "message", "meaning"), *_reason_rows(getattr(conditions, name))]
    heading, *rest = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([heading, "|" + " --- |" * len(rows[0]), *rest])


def _field_rows(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for attribute, field in model.model_fields.items():
        name = field.alias or attribute
        if attribute in {"api_version", "kind", "metadata"} and model is not types.DataVolumeTemplate:
            continue
        meaning = attributes_of(model)[attribute]
        unset = _UNSET.search(meaning)
        default = "required" if name in required_of(model) else unset[1] if unset else ""
        yield f"`{name}`", _type(field.annotation), default, meaning


def _type(annotation: object) -> str:
    kinds = alternatives(annotation)
    kind = kinds[0]
    if kinds == [int, str]:
        return "quantity"
    if get_origin(kind) is list:
        return f"list of {_type(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return f"map to {_type(get_args(kind)[1])}"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return f"[{kind.__name__}](#{kind.__name__.lower()})" if kind is not volumes.Empty else "`{}`"
    return _WORDS[kind]


def _reason_rows(reasons: type[conditions.Reason]) -> Iterator[tuple[str, ...]]:
    """Each reason with the string that stands below it in the source."""
    body = [
        node for definition in ast.parse(inspect.getsource(reasons)).body for node in ast.iter_child_nodes(definition)
    ]
    for member, note in pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant):
            reason = reasons[ast.unparse(member.targets[0])]
            yield f"`{reason}`", reason.message, " ".join(str(note.value.value).split())


def main() -> None:
    """Rewrite the tables of the file that is named on the command line."""
    path = Path(sys.argv[1])
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
