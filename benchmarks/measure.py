"""What a command costs: seconds by the clock and of all its processes' CPUs, memory, and bytes written to disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic

KIB, MIB = 1 << 10, 1 << 20
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one command.

    Attributes:
        wall: seconds.
        cpu: seconds, user and system, of the command and all its children.
        memory: bytes, the largest resident set of any of its processes.
        written: bytes that it made the file system write, whatever became of them.
    """

    wall: float
    cpu: float
    memory: int
    written: int


def run(command: Sequence[str | os.PathLike[str]], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end.

    Raises:
        SystemExit: it failed; its output is shown.
    """
    started = monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
    ) as process:
        output = process.stdout.read() if process.stdout else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = monotonic() - started
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{output.decode(errors='replace')}")
    return Cost(
        wall=wall,
        cpu=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss << 10,
        written=usage.ru_oublock * 512,
    )


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each figure."""
    return Cost(
        wall=median(cost.wall for cost in costs),
        cpu=median(cost.cpu for cost in costs),
        memory=max(cost.memory for cost in costs),
        written=max(cost.written for cost in costs),
    )


def cpu_of(pids: Sequence[int]) -> float:
    """Seconds that processes have used."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / _TICKS


def memory_of(pids: Sequence[int]) -> int:
    """Bytes of their proportional set size."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) << 10


def against(name: str, found: float, bar: float) -> str:
    """A figure with its bar, and whether it is within."""
    return f"{name:<44}{found:>8.2f}  bar {bar:<5g} {'ok' if found <= bar else 'OVER'}"


def cache() -> Path:
    """Where images are kept from one run to the next, outside the tree."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "dataimportcron" / "bench"
