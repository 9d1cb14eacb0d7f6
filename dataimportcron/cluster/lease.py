"""Who leads: the holder of a Lease, as Kubernetes' own controllers elect theirs.

Nobody compares clocks. A candidate takes the Lease when it has seen the same record for its whole duration; a leader
counts itself out by its own monotonic clock before that, so that one which was stopped and wakes up knows that it leads
no more before it does anything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Final

from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import LEASES, Json
from dataimportcron.errors import (
    AlreadyExistsError,
    ConflictError,
    DataImportCronError,
    ObjectNotFoundError,
)

logger = logging.getLogger(__name__)

_RELEASE: Final = 3.0
"""Seconds that a leader that stops tries to give the Lease back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long a Lease holds, in seconds.

    Attributes:
        duration: after so long without a sign of its holder, another takes it.
        deadline: after so long without a renewal, the holder counts itself out.
        retry: between two tries to take or to renew it.
    """

    duration: float = 15.0
    deadline: float = 10.0
    retry: float = 2.0


class LeaseElection:
    """One candidate.

    Args:
        connection: the API server.
        namespace: of the Lease.
        name: of the Lease.
        identity: of this candidate; no other may have it.
        now: a clock, for what a person reads in the Lease.
        terms: how long it holds.
    """

    def __init__(  # noqa: PLR0913 -- one per fact
        self,
        connection: Connection,
        *,
        namespace: str,
        name: str,
        identity: str,
        now: Callable[[], datetime],
        terms: Terms = Terms(),
    ) -> None:
        self._connection = connection
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._now = now
        self._terms = terms
        self._held_since = float("-inf")
        self._seen: tuple[str, float] = ("", 0.0)

    @property
    def is_leading(self) -> bool:
        """Whether the Lease is surely ours at this moment."""
        return monotonic() < self._held_since + self._terms.deadline

    async def lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` whenever this candidate leads, until it ends or this is cancelled.

        Work is cancelled when the Lease is lost, and run again when it is ours again. At the end the Lease is given
        back, so that the next candidate need not wait.
        """
        try:
            while True:
                await self._acquire()
                logger.info("%s leads", self._identity)
                if await self._work(work):
                    return
                logger.warning("%s leads no more", self._identity)
        finally:
            await self._release()

    async def _acquire(self) -> None:
        while not await self._try():  # noqa: ASYNC110 -- another process gives it back
            await asyncio.sleep(self._terms.retry)

    async def _work(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Run the work while the Lease is ours; whether it has ended by itself."""
        working = asyncio.ensure_future(work())
        keeping = asyncio.ensure_future(self._keep())
        try:
            await asyncio.wait((working, keeping), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()
                return True
            return False
        finally:
            for task in (working, keeping):
                task.cancel()
            await asyncio.gather(working, keeping, return_exceptions=True)

    async def _keep(self) -> None:
        """Renew until that has not worked for too long."""
        while self.is_leading:
            await asyncio.sleep(self._terms.retry)
            if not self.is_leading:
                return
            left = self._held_since + self._terms.deadline - monotonic()
            with suppress(TimeoutError):
                if await asyncio.wait_for(self._try(), max(0.0, left)):
                    continue
            if self._lost_to_another():
                return

    def _lost_to_another(self) -> bool:
        return self._held_since == float("-inf")

    async def _try(self) -> bool:
        """Take or renew the Lease; whether it is ours."""
        began = monotonic()
        try:
            lease = await self._connection.get(LEASES, self._name, self._namespace)
        except ObjectNotFoundError:
            return await self._write(None, began)
        except DataImportCronError as error:
            logger.warning("the Lease %s/%s cannot be read: %s", self._namespace, self._name, error)
            return False
        spec = lease.get("spec") or {}
        holder, version = spec.get("holderIdentity") or "", lease["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, began)
        expired = began - self._seen[1] >= float(spec.get("leaseDurationSeconds") or self._terms.duration)
        if holder in {"", self._identity} or expired:
            return await self._write(lease, began)
        self._held_since = float("-inf")
        return False

    async def _write(self, lease: Json | None, began: float) -> bool:
        try:
            if lease is None:
                body = {"metadata": {"name": self._name, "namespace": self._namespace}, "spec": self._spec({})}
                written = await self._connection.create(LEASES, body)
            else:
                version = {"resourceVersion": lease["metadata"]["resourceVersion"]}
                patch = {"metadata": version, "spec": self._spec(lease.get("spec") or {})}
                written = await self._connection.patch(LEASES, self._name, self._namespace, patch)
        except (AlreadyExistsError, ConflictError):
            return False  # another candidate was quicker
        except DataImportCronError as error:
            logger.warning("the Lease %s/%s cannot be written: %s", self._namespace, self._name, error)
            return False
        # From before the request: the others may have seen it at any moment since.
        self._held_since = began
        self._seen = (written["metadata"]["resourceVersion"], began)
        return True

    def _spec(self, before: Json) -> Json:
        moment = f"{self._now():%Y-%m-%dT%H:%M:%S.%fZ}"
        spec: Json = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._terms.duration)),
            "renewTime": moment,
        }
        if before.get("holderIdentity") != self._identity:
            spec["acquireTime"] = moment
            spec["leaseTransitions"] = int(before.get("leaseTransitions") or 0) + (1 if before else 0)
        return spec

    async def _release(self) -> None:
        if not self.is_leading:
            return
        version = {"resourceVersion": self._seen[0]}
        patch = {"metadata": version, "spec": {"holderIdentity": "", "renewTime": None, "acquireTime": None}}
        self._held_since = float("-inf")
        with suppress(DataImportCronError, TimeoutError):
            giving_back = self._connection.patch(LEASES, self._name, self._namespace, patch)
            await asyncio.wait_for(giving_back, _RELEASE)
