"""Runs a program and measures it: processor time and peak memory of itself, not of whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# What the kernel counts as a child's peak begins with its parent's size; so the parent is a process that has little.
_LAUNCHER = """
import os, resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
print(f"\\n{usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}", file=sys.stderr)
code = os.waitstatus_to_exitcode(status)
sys.exit(code if code >= 0 else 128 - code)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How a program ended.

    Attributes:
        code: its exit code; 128 and the number of a signal that ended it.
        output: what it printed.
        complaint: what it printed to standard error.
        cpu: seconds of processor time.
        peak: the most memory that was resident, in KiB.
    """

    code: int
    output: str
    complaint: str
    cpu: float
    peak: int


def measured(command: Sequence[str], *, cpu_limit: int = 60, timeout: float = 120) -> Measured:
    """Run a program to its end.

    Args:
        command: the program, with its whole path, and its arguments.
        cpu_limit: seconds of processor time after which the kernel ends it.
        timeout: seconds after which it is killed.

    Raises:
        subprocess.TimeoutExpired: it was killed.
    """
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(cpu_limit), *command]
    with subprocess.Popen(
        launcher, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, complaint = process.communicate(timeout=timeout)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    complaint, _, figures = complaint.rstrip("\n").rpartition("\n")
    cpu, peak = figures.split()
    return Measured(code=process.returncode, output=output, complaint=complaint, cpu=float(cpu), peak=int(peak))
