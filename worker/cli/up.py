"""`dataimportcron up`: the Temporal server and a worker as children, restarted when they end, gone when we go."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Final

from dataimportcron.errors import TransientError
from dataimportcron.host import dev_server
from dataimportcron.host.files import try_lock
from dataimportcron.host.state import StateError, StateFolder
from worker.cli.common import state_option

_PR_SET_PDEATHSIG: Final = 1
_PATIENCE: Final = 20.0
"""Seconds that a child has to end by itself."""
_SHORTEST_LIFE: Final = 10.0
"""Seconds; a child that ends sooner is started again with growing delays."""
_LONGEST_DELAY: Final = 30.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Where the state is."""
    state_option(parser)
    parser.epilog = (
        "The state folder is --state, else $DATAIMPORTCRON_STATE, else /var/lib/dataimportcron for root, else "
        "dataimportcron in $XDG_STATE_HOME (~/.local/state)."
    )


def run(arguments: argparse.Namespace) -> int:
    """Supervise until SIGTERM or Ctrl-C."""
    state = StateFolder.find(arguments.state)
    state.prepare()
    lock = try_lock(state.run / "up.lock")
    if lock is None:
        raise StateError(
            f"`dataimportcron up` runs already on {state.path}", hint="stop it, or choose another --state folder"
        )
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    endpoint = dev_server.choose_endpoint(state)
    environment = os.environ | {"DATAIMPORTCRON_STATE": str(state.path), "TEMPORAL_VERSION_CHECK_DISABLED": "1"}
    server = Child("server", dev_server.command(state, endpoint), environment)
    worker = Child("worker", [sys.executable, "-m", "worker", "worker", "--watch-stdin"], environment)
    children = (server, worker)
    try:
        server.start()
        dev_server.wait_ready(endpoint)
        worker.start()
        print(f"state       {state.path}\nTemporal    {endpoint.address}\nUI          {endpoint.ui}")
        print(f"site        {state.identity().site}\nstop        Ctrl-C", flush=True)
        while not stopping:
            time.sleep(0.1)
            for child in children:
                child.tend()
    except TransientError as error:
        raise StateError(error.message, hint="see the server's words above") from error
    finally:
        worker.stop()
        server.stop()
    return 0


@dataclass(slots=True)
class Child:
    """A child process that is kept running."""

    name: str
    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    delay: float = field(default=0.5)
    due: float = 0.0

    def start(self) -> None:
        """Start it; its standard input is a pipe that ends with us, and the kernel signals it when we die."""
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            env=self.environment,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 -- single-threaded here, and it only makes a system call
        )
        self.started = time.monotonic()

    def tend(self) -> None:
        """Start it again if it has ended, later each time that it does not live long."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            lived = now - self.started
            self.delay = 0.5 if lived > _SHORTEST_LIFE else min(self.delay * 2, _LONGEST_DELAY)
            self.due = now + self.delay
            print(f"the {self.name} ended ({_status(self.process.returncode)}); started again", file=sys.stderr)
            self.process = None
        if self.process is None and now >= self.due:
            self.start()

    def stop(self) -> None:
        """End it, by force if it must be."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _status(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"status {code}"


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
