"""The binding itself: reads objects, compares, and starts, signals or stops executions.

One binding leads per home (a lock); a second worker stands by. It never decides about images: it only makes sure that
the execution that does so runs and has heard the news.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from temporalio.service import RPCError

from dataimportcron import naming
from dataimportcron.api.conditions import ENDED
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume, Resource
from dataimportcron.errors import DataImportCronError, InUseError, ObjectNotFoundError
from dataimportcron.messages import CleanUp, ObjectRef, VolumeInput
from dataimportcron.planning import clean_up_of
from dataimportcron.ports import Events, Objects, Volumes
from worker.binding import fingerprint
from worker.binding.data_sources import DataSourceProjector
from worker.binding.executions import Executions
from worker.binding.feed import Deletion, Feed
from worker.binding.rest import is_at_rest
from worker.binding.world import World, read

logger = logging.getLogger(__name__)

RESYNC = 300.0
"""Seconds between two comparisons of all objects with all running executions."""

_AT_A_TIME = 20
"""Crons that are told at a time: a worker that starts has a thousand to tell, and each costs two calls."""

RETRY_KEPT = 30.0
"""Seconds between two looks whether a volume that is to be deleted is still in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A volume that is to go and is in use; looked at again after a while. `since` is of the monotonic clock."""

    why: InUseError
    since: float

    def is_due(self) -> bool:
        return monotonic() - self.since > RETRY_KEPT


_TROUBLE = (RPCError, DataImportCronError, OSError, TimeoutError)
"""What one object or one call can have without the others suffering; it is tried again."""


class Binding:
    """Keeps executions in step with objects until it is cancelled."""

    def __init__(  # noqa: PLR0913 -- one per port
        self,
        *,
        executions: Executions,
        objects: Objects,
        volumes: Volumes,
        events: Events,
        feed: Feed,
        now: Callable[[], datetime],
        projects: bool = True,
    ) -> None:
        """Bind the objects of a home.

        Args:
            executions: of the site.
            objects: the home's.
            volumes: the home's.
            events: the home's.
            feed: news of the objects.
            now: a clock.
            projects: whether the status of a DataSource is ours to write; beside CDI it is CDI's.
        """
        self._executions = executions
        self._objects = objects
        self._volumes = volumes
        self._events = events
        self._feed = feed
        self._now = now
        self._projector = DataSourceProjector(objects, volumes, now=now) if projects else None
        self._heard: dict[str, str] = {}
        self._told: World | None = None
        self._runs: dict[tuple[str, str], str] = {}
        self._fingerprints = fingerprint.Fingerprints()
        self._problems: set[str] = set()
        self._kept: dict[str, _Kept] = {}
        self._orphans: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Follow the feed; trouble with Temporal or an object is logged and tried again, it never ends the binding."""
        resynced = float("-inf")
        pending = True
        deletions: dict[str, Deletion] = {}
        while True:
            news = await self._feed.next()
            deletions |= {deletion.last.metadata.uid: deletion for deletion in news.deletions}
            due = monotonic() - resynced > RESYNC
            to_bury = {uid: one for uid, one in deletions.items() if uid not in self._kept or self._kept[uid].is_due()}
            if not (pending or news.changed or to_bury or due):
                continue
            problems: list[Exception] = []
            for uid, deletion in to_bury.items():
                try:
                    await self._bury(deletion)
                    del deletions[uid]
                    self._kept.pop(uid, None)
                except InUseError as error:
                    self._kept[uid] = _Kept(why=error, since=monotonic())
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
            self._complain([*problems, *(kept.why for kept in self._kept.values())])

    async def _round(self, *, forget: bool) -> None:
        """One comparison of what is there with what was heard."""
        world, before = await read(self._objects, self._volumes), self._told
        if forget:
            await self._forget(world)
        elif before is not None and not self._waits() and fingerprint.is_as_before(before, world):
            self._fingerprints.polled(world.crons.values())
            self._told = world
            return
        self._told = None
        if self._projector is not None:
            await self._projector.project(world, everything=forget)
        heard = [(cron, self._fingerprints.of_cron(cron, world)) for cron in world.crons.values()]
        await self._tell([one for one in heard if self._is_news(*one)])
        await self._start_populations(world)
        self._told = world

    def _waits(self) -> bool:
        """Whether something is looked at again each second that no object tells of."""
        return self._projector is not None and self._projector.misses_volumes

    async def _tell(self, news: Sequence[tuple[DataImportCron, str]]) -> None:
        """Tell crons what is news to them; one that cannot be told keeps no other from its news."""

        async def tell(cron: DataImportCron, heard: str) -> None:
            await self._executions.notify_cron(_ref(cron))
            self._heard[_key(cron)] = heard

        failures: list[BaseException] = []
        for start in range(0, len(news), _AT_A_TIME):
            told = (tell(*one) for one in news[start : start + _AT_A_TIME])
            failures += [it for it in await asyncio.gather(*told, return_exceptions=True) if it is not None]
        if failures:
            raise failures[0]

    async def _forget(self, world: World) -> None:
        """Take nothing for told, but for the crons that are at rest and whose execution is the one that was told."""
        self._fingerprints.forget()
        before, self._runs = self._runs, {}
        with suppress(RPCError):  # who cannot list them tells all; the resync, which lists too, says so
            self._runs = await self._executions.running_crons()
        kept = {}
        for place, cron in world.crons.items():
            key, run = _key(cron), self._runs.get(place)
            told = key in self._heard and run is not None and before.get(place, run) == run
            if told and await is_at_rest(cron, world, self._volumes, self._now()):
                kept[key] = self._heard[key]
        self._heard = kept

    async def _start_populations(self, world: World) -> None:
        """Every DataVolume that is not complete has an execution; imports belong to their cron, whoever starts them."""
        for volume in world.data_volumes.values():
            if volume.status.phase in ENDED:
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

    async def _bury(self, deletion: Deletion) -> None:
        """What follows: a cron ends by its policy, a DataVolume's population stops and its volume goes.

        Raises:
            InUseError: somebody uses the volume; it stays, and its deletion is not done.
        """
        last = deletion.last
        if isinstance(last, DataImportCron):
            await self._executions.end_cron(_ref(last), clean_up_of(last))
        elif isinstance(last, DataVolume):
            namespace, name = last.metadata.namespace, last.metadata.name
            if naming.ANNOTATION_DROPPED not in last.metadata.annotations:
                await self._executions.stop_volume(namespace, name)
            if await self._is_gone(DataVolume, namespace, name):  # else the volume is another one's by now
                await self._remove_volume(namespace, name)
        self._heard.pop(_key(last), None)
        await self._feed.buried(deletion)

    async def _remove_volume(self, namespace: str, name: str) -> None:
        user = await self._volumes.in_use(namespace, name)
        if user:
            raise InUseError(f"DataVolume {namespace}/{name} is deleted, its volume is kept: {user}")
        await self._volumes.delete(namespace, name)

    async def _resync(self) -> None:
        """Executions of objects that went while nobody looked: a cron's finds out by itself, a population is stopped.

        A home may know nothing of what went then, so what a cron's clean-up needs is in its execution's state.
        """
        crons = {(c.metadata.namespace, c.metadata.name) for c in await self._objects.list(DataImportCron)}
        for namespace, name in self._runs:
            if (namespace, name) not in crons:
                await self._executions.nudge_cron(namespace, name)
        async for namespace, name in self._executions.running_volumes():
            if await self._is_gone(DataVolume, namespace, name):
                await self._executions.stop_volume(namespace, name)
        await self._end_orphans(crons)
        await self._tell_problems()

    async def _end_orphans(self, crons: set[tuple[str, str]]) -> None:
        """What was to go with its cron, whose object and execution both went while nobody looked.

        A resync later, not at once: whoever restores a backup may restore the cron last.
        """
        marked = [
            resource
            for kind in (DataVolume, DataSource)
            for resource in await self._objects.list(kind)
            if naming.LABEL_CLEANUP in resource.metadata.labels
        ]
        owners = {(it.metadata.namespace, it.metadata.labels.get(naming.LABEL_CRON, "")) for it in marked}
        orphans = {(namespace, name) for namespace, name in owners - crons if name}
        for namespace, name in orphans & self._orphans:
            logger.info("DataImportCron %s/%s is gone; what was to go with it goes", namespace, name)
            gone = ObjectRef(namespace=namespace, name=name, uid="")
            await self._executions.end_cron(gone, CleanUp(retention_policy="None", data_source=""))
        self._orphans = orphans

    async def _is_gone(self, kind: type[Resource], namespace: str, name: str) -> bool:
        """Whether there surely is no such object now: what visibility tells may be of before."""
        try:
            await self._objects.get(kind, namespace, name)
        except ObjectNotFoundError:
            return True
        return False

    async def _tell_problems(self) -> None:
        """Say on the object, and in the log, that its execution does not go on; of an import on its cron too."""
        kinds: dict[str, type[Resource]] = {"dataimportcron": DataImportCron, "datavolume": DataVolume}
        async for problem in self._executions.problems():
            kind = kinds.get(problem.kind)
            if kind is None:
                continue
            with suppress(ObjectNotFoundError):
                resource = await self._objects.get(kind, problem.namespace, problem.name)
                await self._events.emit(resource, "Warning", problem.reason, problem.message)
                owner = resource.metadata.labels.get(naming.LABEL_CRON) if kind is DataVolume else None
                if owner:
                    cron = await self._objects.get(DataImportCron, problem.namespace, owner)
                    await self._events.emit(cron, "Warning", problem.reason, problem.message)

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
