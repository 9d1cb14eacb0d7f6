"""Follows what a cluster says of its storage: classes, snapshot classes, profiles, and the CDIConfig."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from dataimportcron.cluster.classes.storage import StorageFacts
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import (
    CDI_CONFIGS,
    STORAGE_CLASSES,
    STORAGE_PROFILES,
    VOLUME_SNAPSHOT_CLASSES,
    Json,
    ResourceType,
)
from dataimportcron.cluster.watching.reflector import Change, Reflector
from dataimportcron.cluster.watching.streams import KindStream

_FOLLOWED: Final = (STORAGE_CLASSES, VOLUME_SNAPSHOT_CLASSES, STORAGE_PROFILES)


class StorageWatch:
    """A copy of what is there, which follows the API server while it runs.

    Args:
        connection: the API server.
        config: whether the CDIConfig is followed too.
        watch_timeout: seconds after which the server ends a watch.
    """

    def __init__(self, connection: Connection, *, config: bool = False, watch_timeout: float = 290.0) -> None:
        self._listeners: list[Callable[[], None]] = []
        self._reflectors: dict[ResourceType, Reflector[Json]] = {
            kind: Reflector(
                str(kind), KindStream(connection=connection, resource=kind, timeout=watch_timeout), dict, self._tell
            )
            for kind in (*_FOLLOWED, *((CDI_CONFIGS,) if config else ()))
        }

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` at each change from now on; it must not wait. Returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self, _: Change[Json]) -> None:
        for listener in list(self._listeners):
            listener()

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors.values():
                group.create_task(reflector.run())

    async def wait_read(self) -> None:
        """Wait until all is known of each kind, or that the server does not serve it."""
        for reflector in self._reflectors.values():
            await reflector.wait_read()

    def problem(self) -> str:
        """What keeps the copy from being read just now, in one sentence."""
        problems = [reflector.problem for reflector in self._reflectors.values() if reflector.problem]
        return next(iter(problems), "the API server has not answered yet")

    def profiles(self) -> dict[str, Json]:
        """StorageProfiles by their class's name."""
        return {it["metadata"]["name"]: it for it in self._reflectors[STORAGE_PROFILES].list()}

    def config(self) -> Json | None:
        """The CDIConfig, None where there is none."""
        return self._reflectors[CDI_CONFIGS].get("", "config")

    def facts(self, overheads: Mapping[str, str] | None = None) -> StorageFacts:
        """What decisions are made of.

        Args:
            overheads: of file systems, by class; "" for all others.
        """
        return StorageFacts(
            classes=self._reflectors[STORAGE_CLASSES].list(),
            profiles=self.profiles(),
            overheads=overheads or {},
            snapshot_classes=self._reflectors[VOLUME_SNAPSHOT_CLASSES].list(),
        )

    def saw(self, kind: ResourceType, document: Json) -> None:
        """Take in an object as the server has just answered with it."""
        self._reflectors[kind].saw(document)
