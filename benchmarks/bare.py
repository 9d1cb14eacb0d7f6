"""The least that Temporal can do for a poll: a timer and an activity that does nothing, for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio import activity, workflow

TASK_QUEUE = "bare"


@dataclass(frozen=True, slots=True)
class Ticks:
    """A tick each `every` seconds since the epoch, `after` seconds later."""

    every: float
    after: float = 0.0


@dataclass(slots=True)
class Polls:
    """For whoever measures: how many polls a worker has made, and whose."""

    made: int = 0
    whose: set[str] = field(default_factory=set)

    def note(self, who: str) -> None:
        """One more."""
        self.made += 1
        self.whose.add(who)


class NothingActivities:
    """Notes what was done."""

    def __init__(self) -> None:
        self.polls = Polls()

    @activity.defn
    async def do_nothing(self, number: int) -> int:
        """One tick's work."""
        self.polls.note(activity.info().workflow_id or "")
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
