"""`dataimportcron history`: one row per import, and the polls that failed."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from dataimportcron import naming
from dataimportcron.api.types import DataImportCron
from dataimportcron.host import clock
from dataimportcron.messages import CronState, ImportRecord, Outcome, PollFailure
from worker.cli import text
from worker.cli.common import context_option, namespace_option, state_option
from worker.cli.engine import Engine, open_engine
from worker.cli.home import CommandHome, open_home

_DIGEST = 12
"""Characters of a digest, as in the name of its DataVolume."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Which cron."""
    parser.add_argument("name", help="the DataImportCron")
    parser.add_argument("-o", "--output", choices=["wide", "json", "yaml"], help="more columns, or another form")
    namespace_option(parser)
    state_option(parser)
    context_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what the cron remembers, newest first."""
    home = open_home(arguments)
    home.get(DataImportCron, arguments.namespace, arguments.name)
    engine, state = asyncio.run(_ask(arguments, home))

    def link(entry: ImportRecord) -> str:
        workflow_id = naming.volume_workflow_id(engine.site, arguments.namespace, entry.data_volume)
        return engine.link(workflow_id, entry.run_id)

    if arguments.output in {"json", "yaml"}:
        print(text.serialized(_document(state, link), arguments.output), end="")
        return 0
    width = text.width_of()
    wide = arguments.output == "wide"
    if state.history:
        rows = imports(state, link, wide=wide, full=width is None)
        print(text.noted(rows, width=width, colours=text.coloured()))
    else:
        print(f"DataImportCron {arguments.name} has imported nothing yet.")
    if state.running is not None:
        print(f"\nRunning: {state.running.data_volume}, since {_moment(state.running.started)} UTC")
    if state.poll_failures:
        print("\nFailed polls:")
        print(text.noted(failures(state.poll_failures, clock.now()), width=width))
    cron_id = naming.cron_workflow_id(engine.site, arguments.namespace, arguments.name)
    if width is not None and not wide and engine.ui:
        print(f"\nUI: {engine.link(cron_id)}\n    (of each import: -o wide)")
    return 0


async def _ask(arguments: argparse.Namespace, home: CommandHome) -> tuple[Engine, CronState]:
    engine = await open_engine(home)
    return engine, await engine.state_of(arguments.namespace, arguments.name)


def imports(
    state: CronState, link: Callable[[ImportRecord], str], *, wide: bool, full: bool
) -> list[tuple[list[str], str]]:
    """The table; a failure's sentence stands with its row.

    Args:
        state: what the cron remembers.
        link: to an import.
        wide: whether links are wanted; they stand below their rows.
        full: whether there is room for everything beside each other.
    """
    by_name = wide and not full  # a DataVolume's name ends with its digest
    head = ["STARTED (UTC)", "DATAVOLUME" if by_name else "DIGEST", "TOOK", "READ", "OUTCOME"]
    head += ["DATAVOLUME", "LINK"] if full else []
    rows = [(head, "MESSAGE" if any(map(_said, state.history)) else "")]
    for entry in state.history:
        hexadecimal = entry.digest.partition(":")[2]
        cells = [
            _moment(entry.started),
            entry.data_volume if by_name else hexadecimal if full else hexadecimal[:_DIGEST],
            text.duration(entry.duration),
            text.size(entry.bytes_read),
            entry.outcome.value,
            entry.data_volume,
            link(entry),
        ]
        said = _said(entry)
        rows.append((cells[: len(head)], f"{link(entry)} {said}".rstrip() if by_name else said))
    return rows


def _said(entry: ImportRecord) -> str:
    return "" if entry.outcome is Outcome.SUCCEEDED else entry.message


def failures(found: Sequence[PollFailure], now: datetime) -> list[tuple[list[str], str]]:
    """The table of polls that failed, each with its sentence."""
    rows = [(["LAST (UTC)", "REASON", "POLLS"], "MESSAGE")]
    for failure in found:
        over = f" over {text.ago(failure.first, now)}" if failure.polls > 1 else ""
        rows.append(([_moment(failure.last), failure.reason, f"{failure.polls}{over}"], failure.message))
    return rows


def _document(state: CronState, link: Callable[[ImportRecord], str]) -> dict[str, Any]:
    return {
        "imports": [
            {
                "digest": entry.digest,
                "dataVolume": entry.data_volume,
                "started": _iso(entry.started),
                "durationSeconds": entry.duration,
                "bytesRead": entry.bytes_read,
                "outcome": entry.outcome.value,
                "message": entry.message,
                "runId": entry.run_id,
                "link": link(entry),
            }
            for entry in state.history
        ],
        "failedPolls": [
            {
                "reason": failure.reason,
                "message": failure.message,
                "first": _iso(failure.first),
                "last": _iso(failure.last),
                "polls": failure.polls,
            }
            for failure in state.poll_failures
        ],
    }


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _iso(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
