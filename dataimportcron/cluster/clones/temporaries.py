"""What is made for a clone and must not outlive it: claims and snapshots, told by a label from everything else.

They stand in the source's namespace, where a DataVolume of another namespace cannot own them. So whoever ends a clone
removes them, and what a killed worker has left is swept up when its DataVolume has ended or is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from dataimportcron import naming
from dataimportcron.api.conditions import ENDED
from dataimportcron.api.types import DataVolume, Resource
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import DATA_VOLUMES, JOBS, PVCS, VOLUME_SNAPSHOTS, Json, ResourceType
from dataimportcron.cluster.client.verbs import find, list_served, remove
from dataimportcron.cluster.clones.plans import ANNOTATION_CLONE_OF
from dataimportcron.cluster.documents.records import LABEL_CLONE, annotations_of, record_of
from dataimportcron.cluster.jobs.attempt_job import LABEL_VOLUME
from dataimportcron.cluster.jobs.attempts import Attempts
from dataimportcron.cluster.watching.reflector import Change
from dataimportcron.errors import DataImportCronError
from dataimportcron.values import CloneSource

logger = logging.getLogger(__name__)

PERIOD: Final = 5.0
"""Seconds from what is heard to the sweep, which is one for all that is heard meanwhile."""


class Temporaries:
    """The temporary objects of all clones.

    Args:
        connection: to the API server.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._attempts = Attempts(connection)
        self._due = asyncio.Event()

    async def remove(self, namespace: str, name: str, uid: str, *, source: str) -> None:
        """Remove what was made for a clone, without waiting until it is gone.

        Args:
            namespace: of its DataVolume.
            name: of it.
            uid: of it.
            source: namespace of what is cloned.
        """
        for resource, thing in await self._list(source, f"{LABEL_CLONE}={uid}"):
            if annotations_of(thing).get(ANNOTATION_CLONE_OF) == f"{namespace}/{name}":
                await self._remove(resource, thing)

    async def remove_of(self, claim: Json) -> None:
        """Remove what was made for the clone that a claim is, if it is one that was begun."""
        own = claim["metadata"]
        source = CloneSource.parse(annotations_of(claim).get(naming.ANNOTATION_CLONE_SOURCE, ""))
        if source is None:
            return
        for owner in own.get("ownerReferences") or ():
            await self.remove(own["namespace"], own["name"], owner["uid"], source=source.namespace)

    def hear(self, change: Change[Resource]) -> None:
        """Sweep soon where a DataVolume has ended or is gone: then something may be left of it."""
        volume, before = change.new, change.old
        ended = isinstance(volume, DataVolume) and volume.status.phase in ENDED
        if ended or (volume is None and isinstance(before, DataVolume)):
            self._due.set()

    async def keep_swept(self, namespace: str = "", *, may_write: Callable[[], bool] = lambda: True) -> None:
        """Sweep a namespace, or all, soon and after what is heard, until cancelled.

        Args:
            namespace: "" for all.
            may_write: asked before each sweep.
        """
        self._due.set()
        while True:
            await self._due.wait()
            await asyncio.sleep(PERIOD)
            self._due.clear()
            try:
                if may_write():
                    await self.sweep(namespace)
            except DataImportCronError as error:
                logger.warning("what clones have left is not looked at: %s", error)
                self._due.set()

    async def sweep(self, namespace: str = "") -> None:
        """Remove what was made for clones whose DataVolume has ended or surely is gone, and Jobs whose end is noted."""
        for job in await self._connection.list(JOBS, namespace, label_selector=LABEL_VOLUME):
            if await self._is_noted(job["metadata"]):
                await remove(self._connection, JOBS, job)
        for resource, thing in await self._list(namespace, LABEL_CLONE):
            if not await self._is_wanted(thing):
                own = thing["metadata"]
                logger.info("%s is left of a clone, and removed", resource.called(own["namespace"], own["name"]))
                await self._remove(resource, thing)

    async def _is_noted(self, job: Json) -> bool:
        """Whether the claim that a Job has filled says that it is whole; nobody asks the Job then."""
        for owner in job.get("ownerReferences") or ():
            claim = await find(self._connection, PVCS, owner["name"], job["namespace"])
            if claim is not None and claim["metadata"]["uid"] == owner["uid"] and record_of(claim) is not None:
                return True
        return False

    async def _is_wanted(self, thing: Json) -> bool:
        """Whether a clone goes on; asked of the API server, for a cache may not know a new DataVolume yet."""
        namespace, _, name = annotations_of(thing).get(ANNOTATION_CLONE_OF, "").partition("/")
        if not name:
            return True  # whatever it is, we have not made it
        volume = await find(self._connection, DATA_VOLUMES, name, namespace)
        if volume is None:
            return False
        same = volume["metadata"]["uid"] == thing["metadata"]["labels"][LABEL_CLONE]
        return same and (volume.get("status") or {}).get("phase") not in ENDED

    async def _list(self, namespace: str, selector: str) -> list[tuple[ResourceType, Json]]:
        return [
            (resource, thing)
            for resource in (PVCS, VOLUME_SNAPSHOTS)
            for thing in await list_served(self._connection, resource, namespace, label_selector=selector)
        ]

    async def _remove(self, resource: ResourceType, thing: Json) -> None:
        if resource is PVCS:
            await self._attempts.remove(thing)
        await remove(self._connection, resource, thing)
