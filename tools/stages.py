#!/usr/bin/env python3
"""Runs the stages of the test suite and says what each took.

    tools/stages.py [STAGE…]      all stages, or those named

Expects the environment of tools/setup.sh (`make test` does both). What comes first runs one after another; then the
lanes run side by side, because each waits for its servers most of the time. A stage prints what it has to say when it
is over. One that fails ends its lane, and the other lanes go no further than to the end of the stage that they are in.
A folder that is missing or holds no test fails its stage, and so does a skipped test: nothing is left out in silence.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final
from xml.etree import ElementTree as ET

ROOT: Final = Path(__file__).resolve().parent.parent
_BEAT_SECONDS: Final = 60

Command = Sequence[str]
_CHECK: Final[Sequence[Command]] = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
)
_KUBERNETES: Final[Command] = (sys.executable, "-m", "tests.cluster", "build")


@dataclass(frozen=True)
class Stage:
    """What is run, in order; the tests last.

    Attributes:
        folders: of tests/.
    """

    name: str
    folders: Sequence[str] = ()
    before: Sequence[Command] = ()


FIRST: Final = (Stage("static", ("architecture",), _CHECK), Stage("unit", ("unit", "activities")))
LANES: Final = (
    (
        Stage("registry", ("registry", "importer", "fuzz")),
        Stage("host", ("contract", "host")),
        Stage("workflow", ("workflow", "replay")),
        Stage("e2e", ("e2e",)),
    ),
    (
        Stage("image", ("image",)),
        Stage("api_server", ("api_server",), (_KUBERNETES,)),
        Stage("cluster", ("cluster",), (_KUBERNETES,)),
    ),
)
ON_DEMAND: Final = (Stage("check", (), _CHECK),)
"""A part of `static`: what `make check` runs."""


@dataclass
class Result:
    """What came of a stage."""

    stage: Stage
    code: int
    seconds: float
    cpu: float
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def is_good(self) -> bool:
        """Whether it passed, all of it."""
        return self.code == 0 and self.skipped == 0


@dataclass
class Run:
    """One run of some stages: what is going on, and what came of it."""

    folder: Path
    started: float = field(default_factory=time.monotonic)
    results: list[Result] = field(default_factory=list)
    running: dict[str, float] = field(default_factory=dict)
    processes: set[subprocess.Popen[bytes]] = field(default_factory=set)
    stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def lane(self, stages: Sequence[Stage], *, alone: bool) -> None:
        """Run stages one after another until one fails, here or in another lane.

        Args:
            stages: in order.
            alone: print as it comes; else when a stage is over, so that lanes do not mix.
        """
        for stage in stages:
            if self.stopped:
                return
            if alone:
                self.say(f"\n== {stage.name}")
                result = self._run(stage, None)
            else:
                self.say(f"== {stage.name}: begun")
                with tempfile.TemporaryFile(dir=self.folder) as output:
                    result = self._run(stage, output)
                    output.seek(0)
                    self.say(f"\n== {stage.name}\n{output.read().decode(errors='replace').rstrip()}")
            if result.skipped:
                self.say(f"{result.skipped} tests were skipped: a missing part must fail, not skip")
            with self._lock:
                self.results.append(result)
                self.stopped |= not result.is_good

    def say(self, text: str) -> None:
        """Print something whole."""
        with self._lock:
            print(text, flush=True)

    def beat(self, over: threading.Event) -> None:
        """Say each minute what is going on, so that a person sees that something does."""
        while not over.wait(_BEAT_SECONDS):
            now = time.monotonic()
            on = ", ".join(f"{name} for {now - since:.0f} s" for name, since in sorted(self.running.items()))
            if on:
                self.say(f"== {now - self.started:.0f} s: {on}")

    def _run(self, stage: Stage, output: IO[bytes] | None) -> Result:
        report = self.folder / f"{stage.name}.xml"
        tests = [f"tests/{folder}" for folder in stage.folders]
        pytest = (sys.executable, "-m", "pytest", "-q", "--durations=3", f"--junit-xml={report}", *tests)
        begun, code, cpu = time.monotonic(), 0, 0.0
        self.running[stage.name] = begun
        for command in (*stage.before, *((pytest,) if tests else ())):
            code, used = self._wait(command, output)
            cpu += used
            if code:
                break
        del self.running[stage.name]
        result = Result(stage, code, time.monotonic() - begun, cpu)
        _count(report, result)
        return result

    def _wait(self, command: Command, output: IO[bytes] | None) -> tuple[int, float]:
        """Exit code, and seconds of processor of it and of all that it waited for."""
        # In a group of its own, so that Ctrl-C comes by `main` alone, and once.
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
        )
        self.processes.add(process)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        finally:
            self.processes.discard(process)
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode, usage.ru_utime + usage.ru_stime


def _count(report: Path, result: Result) -> None:
    """Read a stage's figures from its report; a stage that fails without a failing test counts as one that failed."""
    with suppress(FileNotFoundError, ET.ParseError):
        for suite in ET.parse(report).getroot().iter("testsuite"):  # noqa: S314 -- pytest wrote it
            tests, failures, errors, skipped = (
                int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")
            )
            result.failed += failures + errors
            result.skipped += skipped
            result.passed += tests - failures - errors - skipped
    if not result.is_good and not result.failed:
        result.failed = 1


def _print_table(run: Run, wanted: Sequence[Stage]) -> None:
    print(f"\n== seconds per stage\n{'':<12}{'seconds':>8}{'CPU':>8}")
    for result in run.results:
        outcome = "ok" if result.is_good else f"FAILED, exit code {result.code}"
        print(f"{result.stage.name:<12}{result.seconds:>8.0f}{result.cpu:>8.0f}   {outcome}")
    print(f"{'all':<12}{time.monotonic() - run.started:>8.0f}{sum(result.cpu for result in run.results):>8.0f}")
    done = {result.stage.name for result in run.results}
    if missing := [stage.name for stage in wanted if stage.name not in done]:
        print(f"not run: {' '.join(missing)}")
    print(
        f"{sum(one.passed for one in run.results)} passed, {sum(one.failed for one in run.results)} failed", flush=True
    )


def _chosen(names: Sequence[str]) -> tuple[Sequence[Stage], Sequence[Sequence[Stage]]]:
    """Of the names given, what comes first, and the lanes; of none, all but what is run on demand."""
    usual = [*FIRST, *(stage for lane in LANES for stage in lane)]
    known = [stage.name for stage in (*usual, *ON_DEMAND)]
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"unknown stage '{unknown[0]}'; there are: {' '.join(known)}")
    wanted = set(names) or {stage.name for stage in usual}
    first = [stage for stage in (*FIRST, *ON_DEMAND) if stage.name in wanted]
    lanes = [chosen for lane in LANES if (chosen := [stage for stage in lane if stage.name in wanted])]
    return first, lanes


def main(names: Sequence[str]) -> int:
    """Run them; 0 if all are good, 130 after Ctrl-C."""
    first, lanes = _chosen(names)
    over = threading.Event()
    with tempfile.TemporaryDirectory(prefix="dataimportcron-stages-") as folder:
        run = Run(Path(folder))
        # SIGINT too: a shell's background jobs ignore it.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        threading.Thread(target=run.beat, args=(over,), daemon=True).start()
        # Stages run in threads, so that Ctrl-C meets none of them. These are not joined: in Python 3.11 a join that is
        # interrupted takes its thread for ended.
        pool, interrupted = ThreadPoolExecutor(len(LANES)), False
        try:
            pool.submit(run.lane, first, alone=True).result()
            for done in [pool.submit(run.lane, lane, alone=len(lanes) == 1) for lane in lanes]:
                done.result()
        except KeyboardInterrupt:
            interrupted = run.stopped = True
            # Once: a second signal would break off the clearing up that the first one began, here as there.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            for process in list(run.processes):
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
        pool.shutdown()
        over.set()
        _print_table(run, [*first, *(stage for lane in lanes for stage in lane)])
    if interrupted:
        return 130
    return 0 if all(result.is_good for result in run.results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
