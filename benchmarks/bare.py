"""The least that Temporal can do for a poll: a timer and an activity that does nothing, for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity, workflow

TASK_QUEUE = "bare"


@dataclass(frozen=True, slots=True)
class Ticks:
    """A tick each `every` seconds since the epoch, `after` seconds later."""

    every: float
    after: float = 0.0


class NothingActivities:
    """Counts what was done, for whoever measures."""

    def __init__(self) -> None:
        self.done = 0

    @activity.defn
    async def do_nothing(self, number: int) -> int:
        """One tick's work."""
        self.done += 1
        return number


@workflow.defn(name="Bare")
class BareWorkflow:
    """It ticks, and a signal makes it tick at once."""

    def __init__(self) -> None:
        self._forced = False
        self._ticks = 0

    @workflow.signal
    def poll(self) -> None:
        """Tick now."""
        self._forced = True

    @workflow.run
    async def run(self, ticks: Ticks) -> None:
        """Tick until the server suggests to continue as new, and so on."""
        while not workflow.info().is_continue_as_new_suggested():
            now = workflow.now().timestamp() - ticks.after
            wait = timedelta(seconds=max(ticks.every - now % ticks.every, 1))
            with suppress(asyncio.TimeoutError):
                await workflow.wait_condition(lambda: self._forced, timeout=wait)
            self._forced = False
            self._ticks = await workflow.execute_activity_method(
                NothingActivities.do_nothing, self._ticks + 1, start_to_close_timeout=timedelta(minutes=2)
            )
        workflow.continue_as_new(ticks)
