"""A quiet poll against the least that Temporal can do: a timer and an activity that does nothing.

What both are, and what ours includes, says `engine`. They tick in turns, and the medians of several ticks are compared.
The first tick of each is left out: some crons still look at what their first import has changed.
Memory is that of a new worker which has all its executions in its cache, less that of one which has none. Both have
histories of one length, for what an event of a run takes: the first run of a cron has forty more, of its first import.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from statistics import median

from temporalio.client import Client

from benchmarks.engine import Side, pair
from benchmarks.measure import KIB, against

_NUMBER = 200
_TICKS = 3
_EVENTS_BAR, _CPU_BAR, _MEMORY_BAR = 13, 1.6, 1.5


def main() -> None:
    """Print events, CPU and memory of both."""
    work = Path(tempfile.mkdtemp(prefix="dataimportcron-bench-"))
    try:
        asyncio.run(_measure(work))
    finally:
        shutil.rmtree(work, ignore_errors=True)


async def _measure(work: Path) -> None:
    async with pair(work, _NUMBER) as both:
        cpu: dict[str, list[float]] = {name: [] for name in both.sides}
        for side in both.sides.values():
            await asyncio.to_thread(side.tick)
        begun = {name: await side.so_far(both.client) for name, side in both.sides.items()}
        for _ in range(_TICKS):
            for name, side in both.sides.items():
                cpu[name].append((await asyncio.to_thread(side.tick))[1])
        ended = {name: await side.so_far(both.client) for name, side in both.sides.items()}
        await both.level()
        memory = {name: await memory_each(both.client, side) for name, side in both.sides.items()}
    events = {name: (ended[name][0] - begun[name][0]) / (ended[name][1] - begun[name][1]) for name in cpu}
    print(f"{'':<8}{'events a poll':>14}{'CPU ms a poll':>15}{'KiB RSS each':>14}")
    for name, found in cpu.items():
        each = ", ".join(f"{1000 * one:.1f}" for one in found)
        print(f"{name:<8}{events[name]:>14.1f}{1000 * median(found):>15.1f}{memory[name] / KIB:>14.0f}   ticks: {each}")
    print(against("events of a quiet poll", events["ours"], _EVENTS_BAR))
    print(against("CPU of a poll, ours:bare", median(cpu["ours"]) / median(cpu["bare"]), _CPU_BAR))
    print(against("memory of a cron, ours:bare", memory["ours"] / memory["bare"], _MEMORY_BAR))


async def memory_each(client: Client, side: Side) -> float:
    """Resident bytes of each execution in a new worker's cache."""
    side.restart()
    await side.poll_all(client)
    return (side.process.usage().memory - side.empty) / len(side.ids)


if __name__ == "__main__":
    main()
