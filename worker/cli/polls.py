"""When a cron is polled next, for a person: the moments that its execution will use, and words for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from dataimportcron.api.types import DataImportCron, Resource
from dataimportcron.errors import InvalidScheduleError
from dataimportcron.host.state.folder import Settings
from dataimportcron.polling import next_poll_of
from worker.cli.text import span


def next_polls(cron: DataImportCron, now: datetime, count: int, settings: Settings) -> list[datetime]:
    """The next polls by the schedule, jitter included; none where it is empty, suspended or never fires.

    Raises:
        InvalidScheduleError: the schedule is no cron expression.
    """
    window = timedelta(seconds=settings.poll_jitter)
    found: list[datetime] = []
    after = now
    while len(found) < count:
        due = next_poll_of(cron, after, window)
        if due is None or (found and due <= found[-1]):  # @every: what follows depends on when that poll is
            break
        found.append(due)
        after = due
    return found


def next_poll_in_words(cron: Resource, now: datetime, settings: Settings) -> str:
    """How far away the next poll of a cron is, for a table."""
    if not isinstance(cron, DataImportCron):
        return "<none>"
    try:
        due = next_polls(cron, now, 1, settings)
    except InvalidScheduleError:
        return "<invalid>"
    return when(due[0], now) if due else "<none>"


def when(moment: datetime, now: datetime) -> str:
    """A moment to come: how far away it is."""
    return f"in {span((moment - now).total_seconds())}" if moment > now else "now"


def clock_times(moment: datetime) -> tuple[str, str]:
    """A moment in UTC and in local time."""
    local = moment.astimezone()
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC", f"{local:%a %Y-%m-%d %H:%M:%S %Z}"
