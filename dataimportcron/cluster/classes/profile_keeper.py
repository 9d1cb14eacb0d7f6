"""Keeps StorageProfiles and the CDIConfig where CDI, which does so elsewhere, is not.

KubeVirt, user interfaces and people read in them what holds for a class. They are projections: what they shall be
follows from what is there, and is written only where it differs. So a repetition changes nothing, and a quiet cluster
is not written to.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final

from dataimportcron.api.types import CDI_GROUP, VERSION
from dataimportcron.cluster.classes.profiles import config_status, is_left_behind, profile_of
from dataimportcron.cluster.classes.storage_watch import StorageWatch
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import CDI_CONFIGS, STORAGE_PROFILES, Json, ResourceType
from dataimportcron.cluster.client.verbs import patch_as_read
from dataimportcron.cluster.documents.differences import merge_patch
from dataimportcron.errors import AlreadyExistsError, ConflictError, DataImportCronError, ObjectNotFoundError

logger = logging.getLogger(__name__)

_GATHER: Final = 0.1
"""Seconds that changes are gathered: an installation makes several classes at once."""
_AGAIN: Final = 5.0
"""Seconds until what did not work is tried again."""
_CHANGED_MEANWHILE = (AlreadyExistsError, ConflictError, ObjectNotFoundError)
"""The watch tells what is so now."""


class ProfileKeeper:
    """Keeps them for as long as it runs; there must be one at a time.

    Args:
        connection: the API server.
        storage: what it says of its storage, with the CDIConfig; it is followed elsewhere.
        overheads: of file systems, of the worker's settings: by class, "" for all others.
        resources: of import pods, of the worker's settings.
        now: a clock.
        may_write: asked before each write: a leader that was stopped and wakes up must not write.
    """

    def __init__(  # noqa: PLR0913 -- one per fact
        self,
        connection: Connection,
        storage: StorageWatch,
        *,
        overheads: Mapping[str, str],
        resources: Json,
        now: Callable[[], datetime],
        may_write: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._overheads = overheads
        self._resources = resources
        self._now = now
        self._may_write = may_write
        self._changed = asyncio.Event()
        self._watch = storage

    async def run(self) -> None:
        """Keep them until cancelled; what does not work is logged once, and tried again."""
        end = self._watch.listen(self._changed.set)
        try:
            await self._keep()
        finally:
            end()

    async def _keep(self) -> None:
        said = ""
        await self._watch.wait_read()
        while True:
            self._changed.clear()
            try:
                done = await self._write_what_differs()
                said = ""
            except _CHANGED_MEANWHILE:
                done = False
            except DataImportCronError as error:
                done = False
                if str(error) != said:
                    logger.warning("StorageProfiles and CDIConfig are not kept just now: %s", error)
                said = str(error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), None if done else _AGAIN)
                await asyncio.sleep(_GATHER)

    async def _write_what_differs(self) -> bool:
        """Make all as it shall be; whether that was allowed."""
        if not self._may_write():
            return False
        served = await self._connection.resources_of(CDI_GROUP, VERSION)
        facts = self._watch.facts(self._overheads)
        for storage_class in facts.classes:
            profile = facts.profiles.get(storage_class["metadata"]["name"])
            wanted = profile_of(storage_class, profile, facts, self._now())
            await self._write(STORAGE_PROFILES, profile, wanted, served)
        for profile in facts.profiles.values():
            if is_left_behind(profile, facts):
                self._require_writing()
                metadata = profile["metadata"]
                await self._connection.delete(
                    STORAGE_PROFILES,
                    metadata["name"],
                    uid=metadata["uid"],
                    resource_version=metadata["resourceVersion"],
                )
        config = self._watch.config()
        before = config or {"metadata": {"name": "config"}, "spec": {}}
        wanted = before | {"status": config_status(before, facts, self._resources)}
        await self._write(CDI_CONFIGS, config, wanted, served)
        return True

    async def _write(self, kind: ResourceType, before: Json | None, wanted: Json, served: frozenset[str]) -> None:
        """Write what differs; the status apart where it has a place of its own."""
        apart = f"{kind.plural}/status" in served
        if before is None:
            self._require_writing()
            before = await self._connection.create(kind, wanted)
            self._watch.saw(kind, before)
            wanted = before | {"status": wanted["status"]}
        patch = merge_patch(before, wanted)
        status = patch.pop("status", None)
        if status and not apart:
            patch["status"] = status
        if patch:
            before = await self._patch(kind, before, patch)
        if status and apart:
            await self._patch(kind, before, {"status": status}, "status")

    async def _patch(self, kind: ResourceType, before: Json, patch: Json, subresource: str = "") -> Json:
        self._require_writing()
        written = await patch_as_read(self._connection, kind, before, patch, subresource=subresource)
        self._watch.saw(kind, written)
        return written

    def _require_writing(self) -> None:
        if not self._may_write():
            raise ConflictError("another worker leads, or CDI has come")
