"""What is said on crons while Temporal does not answer: whoever looks at one must not take it for up to date.

Nothing else can say it: what writes a cron's status is an activity, and there are none without Temporal. It is said
once a poll is overdue, not before. The next look of the cron's execution, when Temporal is back, replaces it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from dataimportcron.api.conditions import UpToDateReason
from dataimportcron.api.meta import Condition, with_condition
from dataimportcron.api.types import DataImportCron
from dataimportcron.errors import ConflictError, DataImportCronError, InvalidScheduleError, ObjectNotFoundError
from dataimportcron.manifests import with_status
from dataimportcron.polling import next_poll_of
from dataimportcron.ports import Events, Objects
from worker.temporal import TemporalUnavailableError

logger = logging.getLogger(__name__)

GRACE = timedelta(seconds=30)
"""How late a poll may be before it is overdue."""

_PERIOD = 10.0
"""Seconds between two looks at Temporal."""


def overdue(cron: DataImportCron, now: datetime, window: timedelta) -> datetime | None:
    """When the poll should have been that was not made, None where none is overdue.

    Args:
        cron: as stored.
        now: a clock.
        window: of the jitter.
    """
    last = cron.status.last_execution_timestamp or cron.metadata.creation_timestamp
    try:
        # Timestamps leave fractions out: a poll just after its jitter must not look like one just before.
        due = next_poll_of(cron, last + timedelta(seconds=1), window) if last else None
    except InvalidScheduleError:
        return None
    return due if due is not None and now - due > GRACE else None


def without_engine(cron: DataImportCron, now: datetime, window: timedelta, why: str) -> DataImportCron:
    """The cron with what is to be said on it while Temporal does not answer; itself where that is nothing new.

    Args:
        cron: as stored.
        now: a clock.
        window: of the jitter.
        why: in a sentence without a full stop.
    """
    due = overdue(cron, now, window)
    reason = UpToDateReason.ENGINE_UNAVAILABLE
    if due is None or any(c.type == "UpToDate" and c.reason == reason for c in cron.status.conditions):
        return cron
    message = f"{why}; the poll of {due:%Y-%m-%dT%H:%M:%SZ} is overdue, and is made once when Temporal is back"
    condition = Condition(type="UpToDate", status="Unknown", reason=reason, message=message)
    return with_status(cron, conditions=with_condition(cron.status.conditions, condition, now))


class Outage:
    """Looks whether Temporal answers, and says so on the crons while it does not."""

    def __init__(
        self,
        *,
        objects: Objects,
        events: Events,
        jitter: timedelta,
        now: Callable[[], datetime],
        probe: Callable[[], Awaitable[None]],
    ) -> None:
        self._objects = objects
        self._events = events
        self._jitter = jitter
        self._now = now
        self._probe = probe
        self._down = False

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_PERIOD)
            try:
                await self.look()
            except (DataImportCronError, OSError) as error:
                logger.warning("what is overdue cannot be said: %s", error)

    async def look(self) -> None:
        """Look once."""
        try:
            await self._probe()
        except TemporalUnavailableError as error:
            if not self._down:
                logger.warning("%s; nothing is polled meanwhile", error)
            self._down = True
            await self._say(error.message)
            return
        if self._down:
            logger.info("Temporal answers again")
        self._down = False

    async def _say(self, why: str) -> None:
        for cron in await self._objects.list(DataImportCron):
            after = without_engine(cron, self._now(), self._jitter, why)
            if after is cron:
                continue
            try:
                await self._objects.patch(cron, after)
            except (ConflictError, ObjectNotFoundError):
                continue  # somebody has just written it: it is not forgotten, or gone
            said = next(condition for condition in after.status.conditions if condition.type == "UpToDate")
            await self._events.emit(cron, "Warning", said.reason, said.message)
