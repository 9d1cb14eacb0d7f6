"""Filling a claim by a Job, whatever fills it: the attempt that runs is followed, else the next one is begun.

Nothing of it is in this process: when it is killed, the Job goes on, and the next call follows it where it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.classes.storage import is_block
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import PVCS, Json
from dataimportcron.cluster.documents.records import COMPLETE, Record
from dataimportcron.cluster.jobs.attempt_job import Attempt
from dataimportcron.cluster.jobs.attempts import Attempts
from dataimportcron.cluster.jobs.following import Following
from dataimportcron.cluster.jobs.pods import PodSettings
from dataimportcron.cluster.jobs.waiting import Waiting
from dataimportcron.errors import ConflictError, DataImportCronError, ImporterDiedError, ObjectNotFoundError, error_of
from dataimportcron.importer.report import Result
from dataimportcron.values import Transfer

logger = logging.getLogger(__name__)

_STOP_PATIENCE: Final = 60.0
"""Seconds to wait for a cancelled importer's pod to go; a node that is dead lets it stay for ever."""

Plan = Callable[[], Awaitable[tuple[Attempt, PodSettings]]]
"""What the next Job is to do, asked only where one is begun; the attempt's number counts for nothing."""


def attempt_for(claim: Json, wanted: DataVolume, size: int) -> Attempt:
    """An attempt to fill a claim with a disk of so many bytes, as far as its DataVolume says how."""
    own = claim["metadata"]
    return Attempt(
        namespace=own["namespace"],
        claim=own["name"],
        claim_uid=own["uid"],
        number=0,
        url="",
        size=size,
        block=is_block(claim),
        priority_class=wanted.spec.priority_class_name or "",
        service_account=wanted.spec.service_account_name or "",
    )


class Filling:
    """Fills claims.

    Args:
        connection: to the API server.
        hands_over: asked when it is cancelled: whether only this process ends. Then the Job is left for the next one
            to follow; else it is deleted.
    """

    def __init__(self, connection: Connection, *, hands_over: Callable[[], bool] = lambda: False) -> None:
        self._connection = connection
        self._hands_over = hands_over
        self._attempts = Attempts(connection)

    async def run(self, claim: Json, plan: Plan, report: Callable[[Transfer], None]) -> Result:
        """Fill a claim; the Job stays until `tidy`, so that the same call tells of the same end.

        Args:
            claim: as it was read.
            plan: of the next attempt.
            report: of the port.

        Returns:
            The result of a success.

        Raises:
            ImporterDiedError: it ended without a result.
            DataImportCronError: the failure that it told of.
        """
        try:
            result = await self._follow(claim, plan, report)
        except asyncio.CancelledError:
            if not self._hands_over():
                await asyncio.shield(self._stop(claim))
            raise
        except ImporterDiedError:
            await self.tidy(claim)
            raise
        if result.failed:
            await self.tidy(claim)
            raise error_of(result.reason, result.message, permanent=result.permanent, retry_after=result.retry_after)
        return result

    async def note(self, claim: Json, record: Record, **metadata: Mapping[str, str]) -> Json:
        """Say that a claim is complete, with labels and annotations; returns it as it is then.

        Raises:
            ConflictError: it is gone.
        """
        own = claim["metadata"]
        annotations = {**metadata.pop("annotations", {}), COMPLETE: record.to_json()}
        patch: Json = {"metadata": {"uid": own["uid"], **metadata, "annotations": annotations}}
        try:
            return await self._connection.patch(PVCS, own["name"], own["namespace"], patch)
        except ObjectNotFoundError as error:
            raise ConflictError(f"{error.message}: the claim was deleted while it was filled") from error

    async def tidy(self, claim: Json) -> None:
        """Remove the Jobs that have ended: a later call must not take one for the attempt that runs."""
        own = claim["metadata"]
        try:
            await self._attempts.remove(claim)
        except DataImportCronError as error:
            # They go with the next attempt or with the claim, if not now.
            logger.warning("Jobs of claim %s/%s stay: %s", own["namespace"], own["name"], error)

    async def _follow(self, claim: Json, plan: Plan, report: Callable[[Transfer], None]) -> Result:
        job = await self._attempts.current(claim)
        if job is None:
            attempt, settings = await plan()
            job = await self._attempts.begin(attempt, settings, claim, Waiting(report).tell)
        return await Following(self._connection, job, report).run()

    async def _stop(self, claim: Json) -> None:
        """Remove the importer and wait until it is gone: nobody else may write the claim before that."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_PATIENCE):
                await self._attempts.clear(claim, lambda _: None)
