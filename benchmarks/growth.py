"""One, ten, a hundred and a thousand crons in one namespace, polled at one tick, against as many bare executions.

At the largest number the worker is killed and started again: seconds from its start until a forced poll of each kind is
answered, and until all have polled once more. Charts show what grows.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engine import NAMESPACE, Pair, Side, document, pair
from benchmarks.measure import MIB, against
from dataimportcron import naming
from dataimportcron.api.types import DataImportCron
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.store import Store
from dataimportcron.messages import PollResult
from tests.support.temporal import eventually

_NUMBERS = (1, 10, 100, 1000)
_IDLE = 10.0
"""Seconds for which nothing happens."""
_CPU_BAR, _SECONDS_BAR, _MEMORY_BAR, _RESTART_BAR = 1.6, 1.6, 1.5, 3.0
_PATIENCE = 300.0
_WIDTH = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    """Of one side with so many executions.

    Attributes:
        tick: seconds from a tick until all have polled.
        cpu: seconds of a poll.
        idle: share of one CPU while nothing happens.
        memory: resident bytes.
    """

    tick: float
    cpu: float
    idle: float
    memory: int


def main() -> None:
    """Print the table, the charts and the restart."""
    print(f"{'':<6}{'crons':>6}{'all polled s':>14}{'CPU ms a poll':>15}{'idle CPU %':>12}{'MiB RSS':>9}")
    found: dict[str, list[_Figures]] = {"ours": [], "bare": []}
    for number in _NUMBERS:
        work = Path(tempfile.mkdtemp(prefix="dataimportcron-bench-"))
        try:
            asyncio.run(_one(work, number, found))
        finally:
            shutil.rmtree(work, ignore_errors=True)
    _chart("CPU ms a poll", {name: [1000 * one.cpu for one in figures] for name, figures in found.items()})
    _chart("MiB RSS", {name: [one.memory / MIB for one in figures] for name, figures in found.items()})
    _chart("seconds until all have polled", {name: [one.tick for one in figures] for name, figures in found.items()})


async def _one(work: Path, number: int, found: dict[str, list[_Figures]]) -> None:
    async with pair(work, number) as both:
        for name, side in both.sides.items():
            figures = await asyncio.to_thread(_figures, side)
            found[name].append(figures)
            print(
                f"{name:<6}{number:>6}{figures.tick:>14.2f}{1000 * figures.cpu:>15.1f}"
                f"{100 * figures.idle:>12.1f}{figures.memory / MIB:>9.0f}",
                flush=True,
            )
        if number == _NUMBERS[-1]:
            ours, bare = found["ours"][-1], found["bare"][-1]
            print(against(f"{number} at one tick: seconds, ours:bare", ours.tick / bare.tick, _SECONDS_BAR))
            print(against(f"{number} at one tick: CPU of a poll, ours:bare", ours.cpu / bare.cpu, _CPU_BAR))
            await _restart(both, work)


def _figures(side: Side) -> _Figures:
    tick, cpu = side.tick()
    before, begin = side.process.usage(), time.monotonic()
    time.sleep(_IDLE)
    after, end = side.process.usage(), time.monotonic()
    return _Figures(tick=tick, cpu=cpu, idle=(after.cpu - before.cpu) / (end - begin), memory=after.memory)


# -- the restart ------------------------------------------------------------------------------------------------------


async def _restart(both: Pair, work: Path) -> None:
    """Kill each worker, start it again, and force a poll of all.

    Then once more ours, which is asked in each of the three ways before it serves: what is sent to a worker that the
    server does not know to be dead is sent again after ten seconds, its sticky queue's time-out.
    """
    await both.level()
    seconds, memory = {}, {}
    for name, side in both.sides.items():
        begin = side.restart()
        seconds[name] = await side.poll_all(both.client) - begin
        memory[name] = (side.process.usage().memory - side.empty) / len(side.ids)
        print(f"restart: {name} has polled all after {seconds[name]:.1f} s, {memory[name] / MIB:.3f} MiB RSS each")
    begin = both.ours.restart()
    ways = await asyncio.gather(*(_answered(begin, way) for way in _ways(both, work)))
    print(f"restart: a poll that is asked for at once is answered after {', '.join(ways)}")
    print(against("restart: seconds until all have polled, ours:bare", seconds["ours"] / seconds["bare"], _RESTART_BAR))
    print(against("memory of a cron, ours:bare", memory["ours"] / memory["bare"], _MEMORY_BAR))


async def _answered(begin: float, way: tuple[str, Callable[[], Awaitable[object]]]) -> str:
    name, ask = way
    await ask()
    return f"{time.monotonic() - begin:.1f} s ({name})"


def _ways(both: Pair, work: Path) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
    """The ways to ask for a poll, each with a cron of its own."""
    store = Store(StateFolder(work))
    signalled, updated = (both.client.get_workflow_handle(name) for name in both.ours.ids[:2])
    annotated = both.ours.ids[2].rpartition("/")[2]

    def cron(name: str) -> DataImportCron:
        return store.get(DataImportCron, NAMESPACE, name)

    async def signal() -> None:
        name = signalled.id.rpartition("/")[2]
        before = cron(name).status.last_execution_timestamp
        await signalled.signal("poll")
        await eventually(lambda: cron(name).status.last_execution_timestamp != before, _PATIENCE)

    async def update() -> None:
        await updated.execute_update("poll_now", "benchmark", result_type=PollResult)

    async def annotation() -> None:
        request = {naming.ANNOTATION_POLL_REQUESTED: "now"}
        store.apply(document(annotated, **request))
        seen = naming.ANNOTATION_POLL_SEEN
        await eventually(lambda: cron(annotated).metadata.annotations.get(seen) == "now", _PATIENCE)

    return [("signal", signal), ("update", update), ("annotation", annotation)]


# -- charts -----------------------------------------------------------------------------------------------------------


def _chart(title: str, series: dict[str, list[float]]) -> None:
    """Bars, of one scale."""
    largest = max(max(values) for values in series.values())
    print(f"\n{title}")
    for index, number in enumerate(_NUMBERS):
        for name, values in series.items():
            bar = "#" * max(round(_WIDTH * values[index] / largest), 1)
            print(f"{number:>6} {name} {bar} {values[index]:.1f}")


if __name__ == "__main__":
    main()
