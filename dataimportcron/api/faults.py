"""What is wrong with a document: faults, and the words for what was found and what may have been meant.

A fault is one line whatever the document holds: control characters are escaped, long values cut, credentials in URLs
left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

_LONGEST: Final = 100
_CREDENTIALS = re.compile(r"//[^/@\s]+@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        path: the field, as in `spec.template.spec.source.registry.url` or `metadata.labels["a.b/c"]`.
        message: what is wrong, in CDI's words where CDI refuses it too.
        found: what stands there; empty where nothing does, or where it must not be shown.
        allowed: what may stand there, or what to do.
        source: the file that the document is from; the line leaves it out, since a reader of many names it once.
    """

    path: str
    message: str
    found: str = ""
    allowed: str = ""
    source: str = ""

    def __str__(self) -> str:
        found = f": found {self.found}" if self.found else ""
        allowed = f"; {self.allowed}" if self.allowed else ""
        text = f"{self.path}: {self.message}{found}{allowed}" if self.path else f"{self.message}{found}{allowed}"
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(value: object) -> str:
    """A value as it is quoted in a fault, cut to a readable length; of a list or an object only its sort."""
    if value is None or isinstance(value, list | dict):
        return sort_of(value)
    if isinstance(value, str):
        value = _CREDENTIALS.sub("//...@", value)
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def sort_of(value: object) -> str:
    """The sort of a value in JSON's terms, with its article."""
    if value is None:
        return "nothing"
    sorts = ((bool, "a boolean"), (int | float, "a number"), (str, "a string"), (list, "a list"), (dict, "an object"))
    return next((name for kind, name in sorts if isinstance(value, kind)), type(value).__name__)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A guess at what was meant, else all that is known."""
    by_case = {name.lower(): name for name in known}
    near = get_close_matches(word.lower()[:_LONGEST], by_case, n=1, cutoff=0.6)
    return f"did you mean {by_case[near[0]]}?" if near else f"known are {', '.join(sorted(by_case.values()))}"
