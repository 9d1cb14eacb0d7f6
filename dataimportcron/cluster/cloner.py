"""The port `Cloner` in a cluster: a clone is made by the driver or by a Job, handed over where it must, and recorded.

Every step finds what an earlier call has left, by name, and goes on from there. So the same call after a crash ends
with one volume and nothing beside it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from dataimportcron.api.conditions import Phase
from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.claims.claims import Claims, require_own
from dataimportcron.cluster.classes.provisioners import BLOCK
from dataimportcron.cluster.classes.storage import is_block
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import PVCS, VOLUME_SNAPSHOTS, Json
from dataimportcron.cluster.client.verbs import remove
from dataimportcron.cluster.clones.clones import Clones
from dataimportcron.cluster.clones.handover import Handover
from dataimportcron.cluster.clones.plans import ClonePlan, is_plain, noted_way, on_the_node_of
from dataimportcron.cluster.clones.temporaries import Temporaries
from dataimportcron.cluster.documents.records import is_bound, is_made, record_after, record_of
from dataimportcron.cluster.jobs.attempt_job import Attempt
from dataimportcron.cluster.jobs.filling import Filling, attempt_for
from dataimportcron.cluster.jobs.holdups import HoldUp, hold_up
from dataimportcron.cluster.jobs.pods import PodSettings
from dataimportcron.cluster.jobs.waiting import Waiting, events_about
from dataimportcron.cluster.registries.cdi_config import effective, preallocates
from dataimportcron.errors import (
    AlreadyExistsError,
    ConflictError,
    DataImportCronError,
    ObjectNotFoundError,
    PermanentError,
    QuotaExceededError,
)
from dataimportcron.importer.report import BLANK, SUCCEEDED, Result
from dataimportcron.ports import Objects
from dataimportcron.values import CloneSource, Transfer, VolumeSpec

logger = logging.getLogger(__name__)

_PATIENCE: Final = 2.0
"""Seconds between two looks at what a person brings about."""
_LOOK: Final = 0.25
"""Seconds between two looks at a claim or a snapshot."""

Report = Callable[[Transfer], None]
Tell = Callable[[HoldUp], None]


class ClusterCloner:
    """`ports.Cloner`.

    Args:
        connection: to the API server.
        objects: the DataVolumes.
        claims: of them.
        settings: of the pods.
        hands_over: asked when a clone is cancelled: whether only this process ends. Then what has been begun is left
            for the next one to go on with; else it is removed.
    """

    def __init__(
        self,
        connection: Connection,
        objects: Objects,
        claims: Claims,
        settings: PodSettings,
        *,
        hands_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._connection = connection
        self._objects = objects
        self._claims = claims
        self._settings = settings
        self._handover = Handover(connection)
        self._hands_over = hands_over
        self._clones = Clones(connection, claims)
        self._filling = Filling(connection, hands_over=hands_over)
        self._temporaries = Temporaries(connection)

    async def run(self, source: CloneSource, volume: VolumeSpec, report: Report) -> Transfer:
        """See the port."""
        found = await self._claims.find(volume.namespace, volume.name)
        if found is not None and is_made(found, volume, ""):
            # Whoever made it may have ended just then.
            await self._filling.tidy(found)
            await self._tidy(volume, source)
            way = noted_way(found, source)
            return Transfer(phase=way.phase if way else "Complete")
        wanted = await self._objects.get(DataVolume, volume.namespace, volume.name)
        try:
            plan = await self._clones.plan(wanted, source, volume.size)
            result = await self._clone(_Work(plan, wanted, volume, report))
        except asyncio.CancelledError:
            if not self._hands_over():
                await asyncio.shield(self._tidy(volume, source))
            raise
        except PermanentError:
            await self._tidy(volume, source)
            raise
        size = result.bytes_read or plan.origin.disk
        return Transfer(phase=plan.way.phase, done=size, total=size, written=result.bytes_written)

    async def blank(self, volume: VolumeSpec) -> None:
        """See the port. A device is blank as its driver makes it, as in CDI: its pod writes nothing."""
        wanted, waiting = await self._objects.get(DataVolume, volume.namespace, volume.name), Waiting(lambda _: None)
        claim = await self._claims.ensure(wanted, waiting.tell)
        if is_made(claim, volume, ""):
            await self._filling.tidy(claim)
            return
        require_own(claim, volume.uid)
        size = await self._claims.size_of(wanted, claim)
        job = replace(attempt_for(claim, wanted, size), verb="blank", url=BLANK)
        if is_block(claim):
            job = replace(job, source_claim=job.claim)
        result = await self._filling.run(claim, lambda: self._complete(job, wanted), lambda _: None)
        await asyncio.shield(self._record(claim, volume, replace(result, virtual_size=size)))

    # -- the steps ---------------------------------------------------------------------------------------------------

    async def _clone(self, work: _Work) -> Result:
        plan = work.plan
        if plan.waits_for_snapshot:
            await self._take_snapshot(work)
        target = await self._placed(work, await self._target(work))
        if plan.temporary is None:
            result = await self._fill(work, target)
        else:
            target, result = await self._fill_elsewhere(work, target, plan.temporary)
        # What is there is recorded even if a cancellation comes now.
        await asyncio.shield(self._record(target, work.volume, result))
        await self._tidy(work.volume, plan.origin.source)
        return result

    async def _target(self, work: _Work) -> Json:
        """The claim of the DataVolume; one that was begun otherwise is removed, with all that was made for it."""
        plan, volume = work.plan, work.volume
        while True:
            claim = await self._claims.make(plan.target, work.tell)
            require_own(claim, volume.uid)
            begun = noted_way(claim, plan.origin.source) is plan.way
            if begun or (plan.temporary is None and plan.way.copies and is_plain(claim)):
                return claim
            await self._filling.tidy(claim)
            await self._temporaries.remove_of(claim)
            await remove(self._connection, PVCS, claim)

    async def _placed(self, work: _Work, target: Json) -> Json:
        """The target as soon as its volume may be made: a user's pod may have to choose the node first."""
        own = target["metadata"]
        while work.plan.awaits_consumer(target):
            what = f"{PVCS.called(own['namespace'], own['name'])} is pending"
            work.tell(
                HoldUp(
                    reason=Phase.WAIT_FOR_FIRST_CONSUMER,
                    message=f"{what}: its storage class waits for a pod that mounts it",
                )
            )
            await asyncio.sleep(_PATIENCE)
            target = await self._connection.get(PVCS, own["name"], own["namespace"])
        return target

    async def _fill_elsewhere(self, work: _Work, target: Json, planned: Json) -> tuple[Json, Result]:
        """Fill a claim in the source's namespace, and hand its volume over."""
        if await self._handover.is_moved(target):
            return target, _as_planned(work.plan)
        temporary = await self._claims.find(planned["metadata"]["namespace"], planned["metadata"]["name"])
        record = record_of(temporary) if temporary is not None else None
        if temporary is None or record is None:
            await self._take_snapshot(work)
            temporary = await self._claims.make(on_the_node_of(planned, target), work.tell)
            result = await self._fill(work, temporary)
            record = record_after(result, work.volume.uid, result.virtual_size, "")
            temporary = await self._filling.note(await self._bound(work, temporary), record)
            await self._filling.tidy(temporary)
        work.report(Transfer(phase="Rebind"))
        moved = await self._handover.move(temporary, target, work.tell)
        return moved, replace(_as_planned(work.plan), bytes_read=record.bytes_read, bytes_written=record.bytes_written)

    async def _fill(self, work: _Work, claim: Json) -> Result:
        """Fill a claim in the plan's way; it is bound then."""
        plan, result = work.plan, _as_planned(work.plan)
        job = replace(attempt_for(claim, work.wanted, plan.disk), verb="clone")
        if not claim["spec"].get("volumeName"):
            await self._take_snapshot(work)
        if plan.restored is not None:
            await self._claims.make(plan.restored, work.tell)
        if plan.way.copies:
            job = replace(job, source_claim=plan.read, source_block=plan.origin.mode == BLOCK)
        elif plan.is_inspected(claim):
            job = replace(job, source_claim=job.claim)
        if job.source_claim:
            done = await self._filling.run(claim, lambda: self._complete(job, work.wanted), work.report)
            result = replace(done, virtual_size=max(done.virtual_size, plan.disk))
        await self._bound(work, claim)
        return result

    async def _bound(self, work: _Work, claim: Json) -> Json:
        """Wait until a claim is bound: then its driver has put into it what it shall hold."""
        own = claim["metadata"]
        while True:
            claim = await self._connection.get(PVCS, own["name"], own["namespace"])
            if claim["metadata"]["uid"] != own["uid"]:
                raise ConflictError(f"{PVCS.called(own['namespace'], own['name'])} was made anew while it was filled")
            if is_bound(claim):
                return claim
            found = hold_up(None, [claim], await events_about(self._connection, claim))
            work.waiting.tell(found, work.plan.way.phase)
            await asyncio.sleep(_LOOK)

    async def _take_snapshot(self, work: _Work) -> None:
        """Take the snapshot of the source, if there is to be one, and wait until it can be restored."""
        planned = work.plan.snapshot
        while planned is not None:
            snapshot = await self._snapshot(planned, work.tell)
            status = snapshot.get("status") or {}
            if status.get("readyToUse") and "deletionTimestamp" not in snapshot["metadata"]:
                return
            work.waiting.tell(_trouble(snapshot), "Snapshot")
            await asyncio.sleep(_LOOK)

    async def _snapshot(self, planned: Json, tell: Tell) -> Json:
        own = planned["metadata"]
        while True:
            try:
                return await self._connection.get(VOLUME_SNAPSHOTS, own["name"], own["namespace"])
            except ObjectNotFoundError:
                try:
                    return await self._connection.create(VOLUME_SNAPSHOTS, planned)
                except AlreadyExistsError:
                    continue
                except QuotaExceededError as error:
                    tell(HoldUp(reason="ErrExceededQuota", message=str(error)))
            await asyncio.sleep(_LOOK)

    async def _complete(self, job: Attempt, wanted: DataVolume) -> tuple[Attempt, PodSettings]:
        """A Job with the settings of today, without what is for registries."""
        config = await self._claims.cdi.current()
        settings = replace(
            effective(self._settings, config),
            architecture="",
            rate=0,
            insecure_registries=(),
            mirrors={},
            certificates={},
            environment={},
        )
        return replace(job, preallocate=preallocates(wanted.document(), config)), settings

    # -- the end -----------------------------------------------------------------------------------------------------

    async def _record(self, claim: Json, volume: VolumeSpec, result: Result) -> None:
        """Say that a claim is complete, with what its Job has said, which is no longer needed."""
        await self._filling.note(claim, record_after(result, volume.uid, result.virtual_size, ""))
        await self._filling.tidy(claim)

    async def _tidy(self, volume: VolumeSpec, source: CloneSource) -> None:
        """Remove what was made for a clone; what stays because the API server does not answer is swept up later."""
        try:
            await self._temporaries.remove(volume.namespace, volume.name, volume.uid, source=source.namespace)
        except DataImportCronError as error:
            logger.warning("what was made to clone %s/%s stays: %s", volume.namespace, volume.name, error)


class _Work:
    """One clone while it is made: its plan, what it is for, and who is told."""

    def __init__(self, plan: ClonePlan, wanted: DataVolume, volume: VolumeSpec, report: Report) -> None:
        self.plan = plan
        self.wanted = wanted
        self.volume = volume
        self.report = report
        self.waiting = Waiting(report)
        self.tell: Tell = self.waiting.tell


def _as_planned(plan: ClonePlan) -> Result:
    """The result where no pod was needed to know it, or where what the pod said has gone with it."""
    return Result(phase=SUCCEEDED, virtual_size=max(plan.disk, plan.origin.disk))


def _trouble(snapshot: Json) -> HoldUp | None:
    """Why a snapshot is not ready, None where that is only a matter of time."""
    own, error = snapshot["metadata"], (snapshot.get("status") or {}).get("error")
    if not error:
        return None
    what = VOLUME_SNAPSHOTS.called(own["namespace"], own["name"])
    return HoldUp(reason="SnapshotError", message=f"{what} cannot be taken: {error.get('message')}", passing=True)
