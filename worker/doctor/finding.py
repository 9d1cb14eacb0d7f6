"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dataimportcron.errors import DataImportCronError


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong, but something is not as good as it could be, or not known."""
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: in two or three words.
        level: how bad it is.
        found: what is there, in one sentence.
        cure: what to do about it, "" where nothing is to be done.
    """

    what: str
    level: Level
    found: str
    cure: str = ""

    @property
    def wrong(self) -> bool:
        """Whether somebody has to do something."""
        return self.level is Level.WRONG


def good(what: str, found: str) -> Finding:
    """All is well."""
    return Finding(what=what, level=Level.OK, found=found)


def note(what: str, found: str, cure: str = "") -> Finding:
    """It works."""
    return Finding(what=what, level=Level.NOTE, found=found, cure=cure)


def bad(what: str, found: str, cure: str) -> Finding:
    """It does not work."""
    return Finding(what=what, level=Level.WRONG, found=found, cure=cure)


def failed(what: str, error: DataImportCronError, cure: str = "mend that, and ask again") -> Finding:
    """An error in its own words; the cure is its own too, where it has one."""
    return bad(what, error.message, error.hint or cure)
