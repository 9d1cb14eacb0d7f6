"""`dataimportcron doctor`: what is wrong with this installation, each with its cure."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from datetime import timedelta

from dataimportcron.api.types import DataImportCron
from dataimportcron.errors import MissingDependencyError
from dataimportcron.host import clock
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.store import Store
from worker import logs
from worker.cli import text
from worker.cli.common import context_option, endpoint_for, own_temporal, state_option
from worker.doctor import engine, folders, machine, objects
from worker.doctor.finding import Finding, Level, failed


def configure(parser: argparse.ArgumentParser) -> None:
    """Which installation."""
    parser.add_argument("-o", "--output", choices=["json"], help="another form")
    parser.add_argument(
        "-n", "--namespace", default="dataimportcron", help="of the worker in a cluster (default: %(default)s)"
    )
    state_option(parser)
    context_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what was found; 1 if something is wrong."""
    findings = asyncio.run(_all(arguments))
    if arguments.output == "json":
        print(text.serialized([asdict(finding) for finding in findings], arguments.output), end="")
    else:
        width = text.width_of()
        for finding in findings:
            print(_line(finding, width))
        print(f"\n{_summary(findings)}")
    return int(any(finding.wrong for finding in findings))


def _summary(findings: Sequence[Finding]) -> str:
    wrong, notes = (sum(finding.level is level for finding in findings) for level in (Level.WRONG, Level.NOTE))
    if wrong:
        return f"{wrong} of {len(findings)} checks found something wrong"
    return f"nothing is wrong; {notes} of {len(findings)} checks have a note" if notes else "nothing is wrong"


def _line(finding: Finding, width: int | None) -> str:
    """What was found, and below it the cure."""
    lines = text.wrapped(f"{finding.level.value:<5}  {finding.what}: {finding.found}", width, hang=" " * 7)
    if finding.cure:
        lines += text.wrapped(f"cure: {finding.cure}", width, indent=" " * 7, hang=" " * 6)
    if text.coloured():
        lines[0] = lines[0].replace(finding.level.value, text.painted(finding.level.value), 1)
    return "\n".join(lines)


async def _all(arguments: argparse.Namespace) -> list[Finding]:
    if not arguments.context:
        return [finding async for finding in _findings(StateFolder.find(arguments.state))]
    from worker.doctor.cluster.checks import check  # noqa: PLC0415 -- Kubernetes' client takes a second to import

    return [finding async for finding in check(arguments.context, arguments.namespace, clock.now())]


async def _findings(state: StateFolder) -> AsyncIterator[Finding]:
    """Every check of the home on one host; what needs something that is wrong is left out."""
    own = own_temporal()
    there = list(folders.check_state(state))
    for finding in (*machine.check(embedded=not own), *there):
        yield finding
    if any(finding.wrong for finding in there):
        return
    settings = folders.check_settings(state)
    running = [] if own else [folders.check_up(state)]
    for finding in (settings, *running, *folders.check_state_details(state), *objects.check_files(state)):
        yield finding
    crons = Store(state).list(DataImportCron)
    if not settings.wrong:
        async for finding in _with_settings(state, crons):
            yield finding
    try:
        endpoint = endpoint_for(state)
    except MissingDependencyError as error:
        yield failed("Temporal", error)
        return
    logs.leave_to_the_command()
    async for finding in engine.check(endpoint, state.identity().site, crons, clock.now()):
        yield finding


async def _with_settings(state: StateFolder, crons: Sequence[DataImportCron]) -> AsyncIterator[Finding]:
    storage = (*folders.check_storage(state, objects.largest_volume(crons)), *folders.check_overlays(state))
    for finding in (*storage, *folders.check_leftovers(state), *objects.check_volumes(state)):
        yield finding
    window, reachable = timedelta(seconds=state.settings().poll_jitter), []
    for cron in crons:
        missing = objects.check_dependencies(state, cron)
        if missing is None:
            reachable.append(cron)
        yield missing or objects.check_cron(cron, window, clock.now())
    for finding in await objects.check_sources(state, reachable):
        yield finding
