"""What is waited for: the events that tell of it, and telling it; but not what is over in a moment.

A good import must not look like trouble.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import EVENTS, Json
from dataimportcron.cluster.jobs.holdups import HoldUp
from dataimportcron.values import Transfer

_MOMENT = 3.0
"""Seconds that something may be missing without a word: a claim is bound, a volume attached meanwhile."""


class Waiting:
    """What one import waits for, reported as a `Transfer`.

    Args:
        report: of the port.
        clock: in seconds.
    """

    def __init__(self, report: Callable[[Transfer], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._since = clock()

    def tell(self, hold_up: HoldUp | None, phase: str = "Scheduled") -> None:
        """Report what it waits for now.

        Args:
            hold_up: None for nothing that anybody could change.
            phase: what goes on then.
        """
        now = self._clock()
        if hold_up is None:
            self._since = now
            self._report(Transfer(phase=phase))
        elif not hold_up.passing or now - self._since >= _MOMENT:
            self._report(Transfer(phase="Waiting", waits_for=hold_up.reason, message=hold_up.message))


async def events_about(connection: Connection, *things: Json) -> list[Json]:
    """The events of some objects of one cluster, as long as they are kept."""
    events: list[Json] = []
    for own in (thing["metadata"] for thing in things):
        events += await connection.list(EVENTS, own["namespace"], field_selector=f"involvedObject.uid={own['uid']}")
    return events
