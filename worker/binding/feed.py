"""What the binding needs from a home beside its ports: news."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from dataimportcron.api.types import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """An object that is surely gone; `last` is how it was last read. It is reported until it is `buried`."""

    last: Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What happened since the last call: whether any object or status changed, and which objects are gone."""

    changed: bool
    deletions: tuple[Deletion, ...] = ()


class Feed(Protocol):
    """News of objects."""

    async def next(self) -> News:
        """Wait for news, or about a second."""
        ...

    async def buried(self, deletion: Deletion) -> None:
        """All that followed from a deletion is done; it need not be reported again."""
        ...
