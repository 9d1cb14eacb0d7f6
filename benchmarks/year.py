"""Polls in skipped time: neither the history nor the worker grows.

A cron that polls weekly lives for a whole year. One that polls every five minutes lives for as long as it takes to
continue as new some times: a year of it would be 105,000 polls, all of them as those before. How much of a year that
was, and how often each continued as new, is printed. The last quarter is compared with the first; a cron's history ends
where it continues as new, so its length is that of the longest one seen.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median

from temporalio.client import Client

from benchmarks.engine import NAMESPACE, SITE, WorkerProcess, crons
from benchmarks.measure import MIB, against
from dataimportcron import naming
from dataimportcron.api.types import DataImportCron
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.store import Store
from dataimportcron.messages import CronInput, ObjectRef
from tests.support.temporal import time_skipping
from workflows.data_import_cron import DataImportCronWorkflow

_YEAR = timedelta(days=364)
_SEVERAL = timedelta(days=36)
"""A run lives for seven days: five times as new, and a day."""
_FLAT = 1.10
"""The last quarter may have this much of the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """The cron after some more of the year: its run, its polls, events of its history, resident bytes of the worker."""

    run: str
    polls: int
    events: int
    memory: int


def main() -> None:
    """Print both."""
    print(
        f"{'':<20}{'days':>10}{'as new':>8}{'polls':>8}{'polls/s':>9}{'events, quarters 1-4':>28}"
        f"{'MiB RSS, quarters 1-4':>28}"
    )
    for name, schedule, lived, piece in (
        ("weekly", "0 3 * * 1", _YEAR, timedelta(days=7)),
        ("every five minutes", "*/5 * * * *", _SEVERAL, timedelta(hours=3)),
    ):
        work = Path(tempfile.mkdtemp(prefix="dataimportcron-bench-"))
        try:
            asyncio.run(_live(name, schedule, lived, piece, work))
        finally:
            shutil.rmtree(work, ignore_errors=True)


async def _live(name: str, schedule: str, lived: timedelta, piece: timedelta, work: Path) -> None:
    async with time_skipping() as env:
        [cron] = crons(work, 1, schedule)
        found = Store(StateFolder(work)).list(DataImportCron)[0].metadata
        ref = ObjectRef(namespace=NAMESPACE, name=found.name, uid=found.uid)
        worker = WorkerProcess("unbound", env.client.service_client.config.target_host, str(work))
        worker.usage()
        await env.client.start_workflow(
            DataImportCronWorkflow.run,
            CronInput(site=SITE, cron=ref),
            id=cron,
            task_queue=naming.task_queue(SITE),
        )
        begin, samples = time.monotonic(), []
        for _ in range(lived // piece):
            await env.sleep(piece)
            samples.append(await _sample(env.client, cron, worker))
        taken = time.monotonic() - begin
        worker.stop()
    _print(name, lived, samples, taken)


async def _sample(client: Client, cron: str, worker: WorkerProcess) -> _Sample:
    described = await client.get_workflow_handle(cron).describe()
    used = worker.usage()
    return _Sample(run=described.run_id, polls=used.polls, events=described.history_length, memory=used.memory)


def _print(name: str, lived: timedelta, samples: list[_Sample], taken: float) -> None:
    size = max(len(samples) // 4, 1)
    quarters = [samples[at * size : (at + 1) * size] for at in range(4)]
    events = [max(one.events for one in quarter) for quarter in quarters if quarter]
    memory = [median(one.memory for one in quarter) for quarter in quarters if quarter]
    covered, renewed = f"{lived.days} of {_YEAR.days}", len({one.run for one in samples}) - 1
    print(
        f"{name:<20}{covered:>10}{renewed:>8}{samples[-1].polls:>8}{samples[-1].polls / taken:>9.0f}"
        f"{' '.join(map(str, events)):>28}{' '.join(f'{one / MIB:.0f}' for one in memory):>28}"
    )
    print(against(f"{name}: events, last quarter to first", events[-1] / events[0], _FLAT))
    print(against(f"{name}: memory, last quarter to first", memory[-1] / memory[0], _FLAT))


if __name__ == "__main__":
    main()
