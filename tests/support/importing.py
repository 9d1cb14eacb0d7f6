"""The importer as others run it: a process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataimportcron.importer.report import Progress, Result, parse_line

ROOT = Path(__file__).parents[2]


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start it; `options` are those of Popen."""
    command = [sys.executable, "-m", "dataimportcron.importer", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def run(*arguments: object) -> tuple[int, Sequence[Progress], Result]:
    """Run it: exit code, progress, result."""
    with start(*arguments) as process:
        out, complaint = process.communicate(timeout=60)
    lines = [parse_line(line) for line in out.splitlines()]
    assert lines, complaint
    assert None not in lines, out
    assert "Traceback" not in complaint
    return process.returncode, lines[:-1], lines[-1]


def until_read(process: subprocess.Popen[str], least: int) -> Progress:
    """Read the progress of a running import until it says that more than `least` bytes are there."""
    for line in process.stdout:
        progress = parse_line(line)
        assert isinstance(progress, Progress), line
        if progress.bytes_read > least:
            return progress
    raise AssertionError(f"it ended before it had read {least} bytes")
