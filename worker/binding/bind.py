"""The binding itself: reads objects, compares, and starts, signals or stops executions.

One binding leads per home (a lock); a second worker stands by. It never decides about images: it only makes sure that
the execution that does so runs and has heard the news.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from time import monotonic

from temporalio.service import RPCError

from dataimportcron import naming
from dataimportcron.api.conditions import Phase
from dataimportcron.api.types import ConfigMap, DataImportCron, DataSource, DataVolume, Resource, Secret
from dataimportcron.errors import ConflictError, DataImportCronError, ObjectNotFoundError
from dataimportcron.messages import CronState, ObjectRef, VolumeInput
from dataimportcron.planning import clean_up_of
from dataimportcron.ports import Objects, Volumes
from dataimportcron.projection import data_source_status
from worker.binding import fingerprint
from worker.binding.executions import Executions
from worker.binding.feed import Deletion, Feed
from worker.binding.world import World

logger = logging.getLogger(__name__)

RESYNC = 300.0
"""Seconds between two comparisons of all objects with all running executions."""

_ENDED = frozenset({Phase.SUCCEEDED, Phase.FAILED})


_TROUBLE = (RPCError, DataImportCronError, OSError, TimeoutError)
"""What one object or one call can have without the others suffering; it is tried again."""


class Binding:
    """Keeps executions in step with objects until it is cancelled."""

    def __init__(
        self,
        *,
        executions: Executions,
        objects: Objects,
        volumes: Volumes,
        feed: Feed,
        now: Callable[[], datetime],
    ) -> None:
        self._executions = executions
        self._objects = objects
        self._volumes = volumes
        self._feed = feed
        self._now = now
        self._heard: dict[str, str] = {}
        self._lost: set[str] = set()
        self._problems: set[str] = set()

    async def run(self) -> None:
        """Follow the feed; trouble with Temporal or an object is logged and tried again, it never ends the binding."""
        resynced = float("-inf")
        pending = True
        deletions: dict[str, Deletion] = {}
        while True:
            news = await self._feed.next()
            deletions |= {deletion.last.metadata.uid: deletion for deletion in news.deletions}
            due = monotonic() - resynced > RESYNC
            if not (pending or news.changed or deletions or due):
                continue
            problems: list[Exception] = []
            for uid, deletion in list(deletions.items()):
                try:
                    await self._bury(deletion)
                    del deletions[uid]
                except _TROUBLE as error:
                    problems.append(error)
            try:
                await self._round(forget=due)
                if due:
                    await self._resync()
                    resynced = monotonic()
            except _TROUBLE as error:
                problems.append(error)
            pending = bool(problems)
            self._complain(problems)

    async def _round(self, *, forget: bool) -> None:
        """One comparison of what is there with what was heard."""
        if forget:
            self._heard.clear()
        world = await self._read()
        await self._look_for_volumes(world, everything=forget)
        await self._project_data_sources(world)
        for cron in world.crons.values():
            heard = fingerprint.of_cron(cron, world)
            if self._is_news(cron, heard):
                await self._executions.notify_cron(_ref(cron))
                self._heard[_key(cron)] = heard
        await self._start_populations(world)

    async def _start_populations(self, world: World) -> None:
        """Every DataVolume that is not complete has an execution; imports belong to their cron, whoever starts them."""
        for volume in world.data_volumes.values():
            if volume.status.phase in _ENDED:
                continue
            heard = fingerprint.of_volume(volume, world)
            if self._is_news(volume, heard):
                await self._executions.notify_volume(self._population_of(volume, world))
                self._heard[_key(volume)] = heard

    def _population_of(self, volume: DataVolume, world: World) -> VolumeInput:
        namespace, annotations = volume.metadata.namespace, volume.metadata.annotations
        owner = volume.metadata.labels.get(naming.LABEL_CRON)
        cron = world.crons.get((namespace, owner)) if owner else None
        digest = annotations.get(naming.ANNOTATION_DIGEST, "")
        if cron is None or not digest:
            return VolumeInput(site=self._executions.site, namespace=namespace, name=volume.metadata.name)
        return VolumeInput(
            site=self._executions.site,
            namespace=namespace,
            name=volume.metadata.name,
            cron=_ref(cron),
            digest=digest,
            manifest_digest=annotations.get(naming.ANNOTATION_MANIFEST_DIGEST, ""),
        )

    async def _look_for_volumes(self, world: World, *, everything: bool) -> None:
        """Notice the removal of a volume that a DataSource names, at each resync, and its return at once.

        A DataVolume says Succeeded for good; a person who removes its file tells nobody.
        """
        named = {
            (pvc.namespace or data_source.metadata.namespace, pvc.name)
            for data_source in world.data_sources.values()
            if (pvc := data_source.spec.source.pvc) is not None
        }
        lost = set()
        for volume in world.data_volumes.values():
            metadata = volume.metadata
            known = metadata.uid in self._lost
            if volume.status.phase != Phase.SUCCEEDED or (metadata.namespace, metadata.name) not in named:
                continue
            if (everything or known) and await self._volumes.find(metadata.namespace, metadata.name) is None:
                lost.add(metadata.uid)
                if not known:
                    logger.warning("the volume of DataVolume %s/%s is gone", metadata.namespace, metadata.name)
        self._lost = lost

    async def _project_data_sources(self, world: World) -> None:
        """A DataSource has no execution: its status follows from its spec and what that names."""
        volumes = {place: it for place, it in world.data_volumes.items() if it.metadata.uid not in self._lost}
        for data_source in world.data_sources.values():
            namespace = data_source.metadata.namespace
            pvc, pointer = data_source.spec.source.pvc, data_source.spec.source.data_source
            after = data_source_status(
                data_source,
                self._now(),
                volume=volumes.get((pvc.namespace or namespace, pvc.name)) if pvc else None,
                target=world.data_sources.get((pointer.namespace or namespace, pointer.name)) if pointer else None,
            )
            if after == data_source:
                continue
            try:
                await self._objects.patch(data_source, after)
            except (ConflictError, ObjectNotFoundError):
                logger.info("DataSource %s/%s changed meanwhile", namespace, data_source.metadata.name)

    async def _bury(self, deletion: Deletion) -> None:
        """What follows: a cron ends by its policy, a DataVolume's population stops and its volume goes."""
        last = deletion.last
        if isinstance(last, DataImportCron):
            await self._executions.end_cron(_ref(last), CronState(clean_up=clean_up_of(last)))
        elif isinstance(last, DataVolume):
            await self._executions.stop_volume(last.metadata.namespace, last.metadata.name)
            await self._volumes.delete(last.metadata.namespace, last.metadata.name)
        self._heard.pop(_key(last), None)
        await self._feed.buried(deletion)

    async def _resync(self) -> None:
        """Executions that run for objects that are not there are told to look; they find out by themselves."""
        crons = {(c.metadata.namespace, c.metadata.name) for c in await self._objects.list(DataImportCron)}
        async for namespace, name in self._executions.running_crons():
            if (namespace, name) not in crons:
                await self._executions.nudge_cron(namespace, name)

    async def _read(self) -> World:
        return World(
            crons=await self._objects.list(DataImportCron),
            data_sources=await self._objects.list(DataSource),
            data_volumes=await self._objects.list(DataVolume),
            dependencies=[*await self._objects.list(ConfigMap), *await self._objects.list(Secret)],
        )

    def _is_news(self, resource: Resource, heard: str) -> bool:
        return self._heard.get(_key(resource)) != heard

    def _complain(self, problems: list[Exception]) -> None:
        """Log each problem once, not each second, until it is over."""
        texts = {str(problem) or type(problem).__name__ for problem in problems}
        for text in sorted(texts - self._problems):
            logger.warning("the binding tries again: %s", text)
        self._problems = texts


def _ref(cron: DataImportCron) -> ObjectRef:
    metadata = cron.metadata
    return ObjectRef(namespace=metadata.namespace, name=metadata.name, uid=metadata.uid)


def _key(resource: Resource) -> str:
    return f"{resource.kind}/{resource.metadata.uid}"
