"""The kinds as a person types them, and the objects that he asks for, as documents.

Reads no model: a table of objects is shown in the time that the models alone take to load.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dataimportcron.errors import InvalidObjectError, ObjectNotFoundError
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.records import Document, Record, read_records

SHORT = {"DataImportCron": "dic", "DataSource": "das", "DataVolume": "dv", "ConfigMap": "cm", "Secret": "secret"}
"""All kinds, and the shortest name of each."""
_WORDS = {
    **{f"{kind.lower()}{ending}": kind for kind in SHORT for ending in ("", "s")},
    **{short: kind for kind, short in SHORT.items()},
    "dics": "DataImportCron",
    "dvs": "DataVolume",
}
_ALL = ("DataImportCron", "DataSource", "DataVolume")
"""The category `all`, as CDI's kinds are in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a person asks for: kinds, and names of each where he gave some. `single` is one object, by its name."""

    kinds: tuple[str, ...]
    names: dict[str, tuple[str, ...]]

    @property
    def single(self) -> bool:
        """Whether just one object is named."""
        return sum(map(len, self.names.values())) == 1


def kind_named(word: str) -> str:
    """The kind that a word such as `dic` or `datasources.cdi.kubevirt.io` names.

    Raises:
        InvalidObjectError: none.
    """
    name = _WORDS.get(word.lower().partition(".")[0])
    if name is None:
        raise InvalidObjectError(f"There is no kind {word!r}", hint=f"kinds are {', '.join(SHORT)}")
    return name


def wanted(words: Sequence[str]) -> Wanted:
    """What `KIND[,KIND…] [NAME…]` or `KIND/NAME…` asks for.

    Raises:
        InvalidObjectError: it is neither.
    """
    if any("/" in word for word in words):
        names: dict[str, tuple[str, ...]] = {}
        for word in words:
            kind, slash, name = word.partition("/")
            if not slash or not name or "/" in name:
                raise InvalidObjectError(f"Expected KIND/NAME, found {word!r}", hint="or write KIND NAME NAME…")
            names[kind_named(kind)] = (*names.get(kind_named(kind), ()), name)
        return Wanted(kinds=tuple(names), names=names)
    first, *rest = words
    kinds = tuple(
        dict.fromkeys(name for word in first.split(",") for name in (_ALL if word == "all" else (kind_named(word),)))
    )
    return Wanted(kinds=kinds, names={kind: tuple(rest) for kind in kinds} if rest else {})


def find(state: StateFolder, asked: Wanted, namespace: str | None) -> list[Record]:
    """The records that are asked for, of a namespace or, with None, of all.

    Raises:
        ObjectNotFoundError: a name is that of no object.
    """
    found: list[Record] = []
    for kind in asked.kinds:
        there = list(read_records(state.status, kind, namespace or "*"))
        for name in asked.names.get(kind, ()):
            named = [record for record in there if record.name == name]
            if not named:
                there_is_none = f"{namespace}/{name} does not exist" if namespace else f"{name} is in no namespace"
                raise ObjectNotFoundError(f"{kind} {there_is_none}")
            found += named
        found += [] if asked.names else there
    return found


def none_found(asked: Wanted, namespace: str | None) -> str:
    """That there is nothing of what is asked for, as kubectl says it."""
    return f"No {' or '.join(asked.kinds)} found in {namespace or 'any'} namespace."


def selector(text: str) -> Callable[[Document], bool]:
    """Whether an object has the labels that `a=b,c!=d,e,!f` asks for.

    Raises:
        InvalidObjectError: a part of it is empty.
    """
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.strip("!= ") for part in parts):
        raise InvalidObjectError(f"{text!r} is no label selector", hint="write a=b, a!=b, a or !a, with commas between")

    def matches(document: Document) -> bool:
        labels = document["metadata"].get("labels") or {}
        return all(_has(labels, part) for part in parts)

    return matches


def _has(labels: dict[str, str], part: str) -> bool:
    key, unequal, value = part.partition("!=")
    if unequal:
        return labels.get(key.strip()) != value.strip()
    key, equal, value = part.partition("=")
    if equal:
        return labels.get(key.strip()) == value.removeprefix("=").strip()
    return part.removeprefix("!").strip() in labels if not part.startswith("!") else part[1:].strip() not in labels


def tidy(document: Document) -> Document:
    """The document, apiVersion and kind first, without empty labels and annotations."""
    metadata = {key: value for key, value in document.get("metadata", {}).items() if value not in ({}, [], None)}
    head = {"apiVersion": document.get("apiVersion"), "kind": document.get("kind"), "metadata": metadata}
    return head | {key: value for key, value in document.items() if key not in head}
