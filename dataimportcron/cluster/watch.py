"""News of the objects for the binding: at once, and with the last state of what is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from dataimportcron.api.types import DataImportCron, DataVolume, Resource
from dataimportcron.cluster.objects import ClusterObjects
from dataimportcron.cluster.watching.reflector import Change

_PAUSE: Final = 1.0
"""Seconds after which there is an answer, if nothing happens."""
_GATHER: Final = 0.05
"""Seconds that changes are gathered: one act of a person or of ours often makes several."""


class ClusterWatch:
    """Changes of objects since the last look.

    Args:
        objects: whose changes they are.
        is_leading: while it says no, there is no news: a leader that was stopped and wakes up must not act on any.
    """

    def __init__(self, objects: ClusterObjects, *, is_leading: Callable[[], bool] = lambda: True) -> None:
        self._objects = objects
        self._is_leading = is_leading
        self._news = asyncio.Event()
        self._deletions: dict[str, Resource] = {}
        self._end = objects.listen(self._hear)

    async def look(self) -> tuple[bool, tuple[Resource, ...]]:
        """Wait for a change, or about a second; whether there was one, and objects that are gone until `forget`."""
        await self._objects.wait_synced()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), _PAUSE)
            await asyncio.sleep(_GATHER)
        while not self._is_leading():  # noqa: ASYNC110 -- time alone ends a Lease
            await asyncio.sleep(_GATHER)
        changed = self._news.is_set()
        self._news.clear()
        return changed, tuple(self._deletions.values())

    def forget(self, uid: str) -> None:
        """All that followed from a deletion is done."""
        self._deletions.pop(uid, None)

    def close(self) -> None:
        """Hear no more."""
        self._end()

    def _hear(self, change: Change[Resource]) -> None:
        gone = change.old if change.new is None else None
        if isinstance(gone, DataImportCron | DataVolume):
            self._deletions[gone.metadata.uid] = gone
        self._news.set()
