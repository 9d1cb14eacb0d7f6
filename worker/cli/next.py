"""`dataimportcron next`: the next ticks of a schedule."""

from __future__ import annotations

import argparse

from dataimportcron.host import clock
from dataimportcron.schedule import Schedule, next_ticks


def configure(parser: argparse.ArgumentParser) -> None:
    """The schedule, and how many ticks."""
    parser.add_argument("schedule", help='a cron expression, such as "30 1 * * 1"')
    parser.add_argument("--count", type=int, default=5, help="how many ticks (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Print the ticks in UTC and in local time."""
    ticks = next_ticks(Schedule.parse(arguments.schedule), clock.now(), arguments.count)
    if not ticks:
        print(f"{arguments.schedule!r} never fires")
    for tick in ticks:
        print(f"{tick:%Y-%m-%d %H:%M:%S} UTC   {tick.astimezone():%a %Y-%m-%d %H:%M:%S %Z}")
    return 0
