"""The port `Objects`, `Events` and the binding's news over the host's store: file work in threads, nothing else.

What the store knows already is answered without a thread: a way to one and back costs more than the answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import TypeVar

from dataimportcron.api.types import Resource
from dataimportcron.host.state.records import Stamp
from dataimportcron.host.state.scan import Scanner
from dataimportcron.host.state.store import Store
from dataimportcron.host.together import Together

R = TypeVar("R", bound=Resource)

logger = logging.getLogger(__name__)


class HostObjects:
    """`ports.Objects`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._patches = Together(store.patch_all)

    async def get(self, kind: type[R], namespace: str, name: str) -> R:
        """See the port."""
        known = self._store.known(kind, namespace, name)
        return known if known is not None else await asyncio.to_thread(self._store.get, kind, namespace, name)

    async def list(self, kind: type[R], namespace: str | None = None) -> Sequence[R]:
        """See the port."""
        known = self._store.known_list(kind, namespace) if namespace else None
        return known if known is not None else await asyncio.to_thread(self._store.list, kind, namespace)

    async def create(self, resource: R) -> R:
        """See the port."""
        return await asyncio.to_thread(self._store.create, resource)

    async def patch(self, before: R, after: R) -> R:
        """See the port."""
        return await self._patches.ask((before, after))  # type: ignore[return-value]  # the kind that was given

    async def delete(self, resource: Resource, *, unchanged: bool = False) -> None:
        """See the port."""
        await asyncio.to_thread(self._store.delete, resource, unchanged=unchanged)


class HostEvents:
    """`ports.Events`: kept with the object, so that `describe` shows them and they go when it goes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def emit(self, regarding: Resource, event_type: str, reason: str, message: str) -> None:
        """See the port."""
        level = logging.WARNING if event_type == "Warning" else logging.INFO
        metadata = regarding.metadata
        logger.log(level, "%s %s/%s: %s: %s", regarding.kind, metadata.namespace, metadata.name, reason, message)
        await asyncio.to_thread(self._store.add_event, regarding, event_type, reason, message)


class HostWatch:
    """News of the store: what a person did to the files, and what was written to the records by whomever."""

    def __init__(self, store: Store, folders: Callable[[], Sequence[Path]] = tuple) -> None:
        self._store = store
        self._scanner = Scanner(store, folders)
        self._stamps: dict[str, Stamp] | None = None
        self._said: set[str] = set()

    def look(self) -> tuple[bool, Sequence[Resource]]:
        """Scan once; returns whether anything changed since the last look, and the objects that are gone."""
        problems = {problem.message for problem in self._scanner.scan(monotonic())}
        for message in sorted(problems - self._said):
            logger.warning("kept as it was: %s", message)
        self._said = problems
        stamps = self._store.stamps()
        changed, self._stamps = stamps != self._stamps, stamps
        return changed, self._store.deletions()
