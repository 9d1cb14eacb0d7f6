"""Faults of a document, each one line that a person can act on."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        path: of the field, such as spec.schedule.
        message: what is wrong, in CDI's words where CDI has some.
        found: what stands there, "" where nothing does.
        allowed: what may stand there.
    """

    path: str
    message: str
    found: str = ""
    allowed: str = ""

    def __str__(self) -> str:
        found = f": found {self.found}" if self.found else ""
        allowed = f"; {self.allowed}" if self.allowed else ""
        return f"{self.path}: {self.message}{found}{allowed}"


def shown(value: object) -> str:
    """A value as it is quoted in a fault, cut to a readable length."""
    text = {None: "nothing", True: "true", False: "false"}.get(value) if isinstance(value, bool | None) else None
    if text is None:
        text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 -- a line of a terminal


def did_you_mean(word: str, known: Collection[str]) -> str:
    """A guess at what was meant, else all that is known."""
    close = difflib.get_close_matches(word.lower(), [name.lower() for name in known], n=1, cutoff=0.6)
    guess = next((name for name in known if close and name.lower() == close[0]), None)
    return f"did you mean {guess}?" if guess else f"allowed are {', '.join(sorted(known))}"
