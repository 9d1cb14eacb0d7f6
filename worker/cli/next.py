"""`dataimportcron next`: the next ticks of a schedule, or the next polls of a cron."""

from __future__ import annotations

import argparse
from datetime import datetime

from dataimportcron.api.types import DataImportCron
from dataimportcron.host import clock
from dataimportcron.host.state.store import Store
from dataimportcron.polling import suspended
from dataimportcron.schedule import Schedule, next_ticks
from worker.cli import text
from worker.cli.common import namespace_option, open_state, state_option
from worker.cli.polls import clock_times, next_polls, when


def configure(parser: argparse.ArgumentParser) -> None:
    """The schedule or the cron, and how many ticks."""
    parser.add_argument("schedule", metavar="SCHEDULE|NAME", help='such as "30 1 * * 1", or a DataImportCron')
    parser.add_argument("--count", type=_count, default=5, help="how many ticks (default: %(default)s)")
    namespace_option(parser)
    state_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print them in UTC and in local time."""
    given: str = arguments.schedule
    now = clock.now()
    if _is_schedule(given):
        _show(next_ticks(Schedule.parse(given), now, arguments.count), now, none=f"{given!r} never fires")
        return 0
    state = open_state(arguments)
    cron = Store(state).get(DataImportCron, arguments.namespace, given)
    ticks = next_polls(cron, now, arguments.count, state.settings())
    _show(ticks, now, none=_why_none(cron))
    if ticks and "@every" in cron.spec.schedule:
        print(f"{cron.spec.schedule} counts from one poll to the next")
    return 0


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of ticks")
    return int(text)


def _is_schedule(given: str) -> bool:
    """Whether it is no name of an object: those have neither spaces nor @ nor stars."""
    return not given or any(character in given for character in " \t@*=")


def _why_none(cron: DataImportCron) -> str:
    name = f"DataImportCron {cron.metadata.namespace}/{cron.metadata.name}"
    if not cron.spec.schedule:
        return f"{name} has no schedule: it is polled when somebody asks, as `dataimportcron poll` does"
    if suspended(cron):
        return f"{name} is suspended: it is polled when somebody asks, until `dataimportcron resume`"
    return f"{name}: {cron.spec.schedule!r} never fires"


def _show(ticks: list[datetime], now: datetime, *, none: str) -> None:
    if not ticks:
        print(none)
        return
    rows = [["UTC", "LOCAL TIME", "WHEN"], *([*clock_times(tick), when(tick, now)] for tick in ticks)]
    print(text.table(rows, width=text.width_of()))
