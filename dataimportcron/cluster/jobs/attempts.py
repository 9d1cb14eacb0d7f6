"""Attempts to fill a claim: numbered, one Job each, and never two that write.

The claim carries the number of the only attempt that may write. A worker takes the next number by compare-and-swap,
removes what earlier attempts have left, waits until their pods are gone, and makes its Job suspended. Only then it
looks whether the number is still its own, and lets the Job go. So a worker that was frozen anywhere on this way and
wakes up late finds another number, or its Job deleted; it never starts a second writer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import CONFIG_MAPS, JOBS, PODS, PVCS, Json, ResourceType
from dataimportcron.cluster.client.verbs import patch_as_read, remove
from dataimportcron.cluster.documents.records import ATTEMPT, attempt_of
from dataimportcron.cluster.jobs.attempt_job import LABEL_VOLUME, Attempt, files_of, import_job
from dataimportcron.cluster.jobs.holdups import HoldUp
from dataimportcron.cluster.jobs.pods import PodSettings
from dataimportcron.errors import AlreadyExistsError, ConflictError, ObjectNotFoundError, QuotaExceededError

_LOOK = 0.2
"""Seconds between two looks whether a pod is gone."""
_PATIENCE = 2.0
"""Seconds until it is tried again where a quota leaves no room."""
_SWAPS = 10
"""A claim is written by others as well while it is being bound."""


class Attempts:
    """The attempts of all claims."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def current(self, claim: Json) -> Json | None:
        """The Job of the attempt that may write the claim, if it runs or has succeeded."""
        suffix = f"-{attempt_of(claim)}"
        job = next((it for it in await self._list(JOBS, claim) if it["metadata"]["name"].endswith(suffix)), None)
        if job is None:
            return None
        # One that is still suspended lacks its files, perhaps: whoever made it came no further.
        unfit = job["metadata"].get("deletionTimestamp") or has_failed(job) or job["spec"].get("suspend")
        return None if unfit else job

    async def begin(self, plan: Attempt, settings: PodSettings, claim: Json, tell: Callable[[HoldUp], None]) -> Json:
        """Start the next attempt once nothing of earlier ones is left; returns its Job.

        Args:
            plan: what is to be done; its number counts for nothing.
            settings: of pods.
            claim: as it was read.
            tell: called with what it waits for.

        Raises:
            ConflictError: another worker has begun one.
        """
        number = await self._take_number(claim)
        await self.clear(claim, tell)
        attempt = replace(plan, number=number)
        job = await self._make(import_job(attempt, settings), tell)
        files = files_of(attempt, settings, job["metadata"]["uid"])
        if files is not None:
            # Its name is this attempt's alone: to make it is enough, and nobody's ConfigMap need be ours to change.
            await self._connection.create(CONFIG_MAPS, files)
        return await self._release(claim, job)

    async def _make(self, job: Json, tell: Callable[[HoldUp], None]) -> Json:
        """Make a Job; where a quota leaves no room for one, it is waited for."""
        while True:
            try:
                return await self._connection.create(JOBS, job)
            except AlreadyExistsError as error:
                raise ConflictError(error.message) from error
            except QuotaExceededError as error:
                tell(HoldUp(reason="ErrExceededQuota", message=str(error)))
            await asyncio.sleep(_PATIENCE)

    async def _release(self, claim: Json, job: Json) -> Json:
        """Let a Job go that was made suspended, if it is still the one of the attempt that may write.

        Raises:
            ConflictError: it is not.
        """
        own, target = job["metadata"], claim["metadata"]
        now = await self._connection.get(PVCS, target["name"], target["namespace"])
        if now["metadata"]["uid"] != target["uid"] or not own["name"].endswith(f"-{attempt_of(now)}"):
            await remove(self._connection, JOBS, job)
            raise ConflictError(f"{_name(claim)} is being filled by another attempt than Job {own['name']}")
        patch: Json = {"metadata": {"uid": own["uid"]}, "spec": {"suspend": False}}
        try:
            return await self._connection.patch(JOBS, own["name"], own["namespace"], patch)
        except ObjectNotFoundError as error:
            raise ConflictError(f"{_name(claim)} is being filled by another worker: {error.message}") from error

    async def remove(self, claim: Json) -> None:
        """Have all Jobs of a claim removed, and with them their pods and files, without waiting for it."""
        for job in await self._list(JOBS, claim):
            await remove(self._connection, JOBS, job)

    async def clear(self, claim: Json, tell: Callable[[HoldUp], None]) -> None:
        """Remove all Jobs of a claim, and wait until none of their pods can write any more."""
        while True:
            jobs = await self._list(JOBS, claim)
            for job in (it for it in jobs if not it["metadata"].get("deletionTimestamp")):
                await remove(self._connection, JOBS, job, propagation="Foreground")
            pods = await self._list(PODS, claim)
            if not jobs and not pods:
                return
            if pods:
                node = (pods[0].get("spec") or {}).get("nodeName") or "no node"
                message = f"Pod {pods[0]['metadata']['name']} of an earlier attempt is not gone yet from {node}"
                tell(HoldUp(reason="EarlierAttempt", message=message, passing=True))
            await asyncio.sleep(_LOOK)

    async def _list(self, resource: ResourceType, claim: Json) -> list[Json]:
        own = claim["metadata"]
        return await self._connection.list(resource, own["namespace"], label_selector=f"{LABEL_VOLUME}={own['uid']}")

    async def _take_number(self, claim: Json) -> int:
        own, before = claim["metadata"], attempt_of(claim)
        patch: Json = {"metadata": {"annotations": {ATTEMPT: str(before + 1)}}}
        for _ in range(_SWAPS):
            try:
                await patch_as_read(self._connection, PVCS, claim, patch)
            except ConflictError:
                claim = await self._connection.get(PVCS, own["name"], own["namespace"])
                if claim["metadata"]["uid"] != own["uid"] or attempt_of(claim) != before:
                    break
            else:
                return before + 1
        raise ConflictError(f"{_name(claim)} is being filled by another worker")


def has_failed(job: Json) -> bool:
    """Whether a Job has ended without success."""
    return failure_of(job) is not None


def failure_of(job: Json) -> str | None:
    """Why a Job has failed, None if it has not."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") in {"Failed", "FailureTarget"} and condition.get("status") == "True":
            return str(condition.get("message") or condition.get("reason") or "it failed")
    return None


def _name(claim: Json) -> str:
    return f"PersistentVolumeClaim {claim['metadata']['namespace']}/{claim['metadata']['name']}"
