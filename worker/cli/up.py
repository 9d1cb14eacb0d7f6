"""`dataimportcron up`: the Temporal server and a worker as children, restarted when they end, gone when we go.

Where the environment names the user's own Temporal there is no server, and the worker is the only child.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Final

from dataimportcron.errors import TransientError
from dataimportcron.host import dev_server
from dataimportcron.host.files import try_lock
from dataimportcron.host.state.folder import StateError, StateFolder
from worker.cli.common import endpoint_for, own_temporal, state_option

_PR_SET_PDEATHSIG: Final = 1
_PATIENCE: Final = 20.0
"""Seconds that a child has to end by itself."""
_TICK: Final = 0.1
"""Seconds between two looks at the children."""
_LEAST_SPACE: Final = 1 << 20
"""Bytes that a server needs to start, whatever it needs later."""
_SHORTEST_LIFE: Final = 10.0
"""Seconds; a child that ends sooner is started again with growing delays."""
_LONGEST_DELAY: Final = 30.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Where the state is."""
    state_option(parser)
    parser.epilog = (
        "The state folder is --state, else $DATAIMPORTCRON_STATE, else /var/lib/dataimportcron for root, else "
        "dataimportcron in $XDG_STATE_HOME (~/.local/state). Where TEMPORAL_ADDRESS, TEMPORAL_PROFILE or "
        "TEMPORAL_CONFIG_FILE is set, that Temporal is used, and no server is started. Ctrl-C and SIGTERM end it with "
        "exit code 0."
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
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    environment = os.environ | {"DATAIMPORTCRON_STATE": str(state.path), "TEMPORAL_VERSION_CHECK_DISABLED": "1"}
    worker = Child("worker", [sys.executable, "-m", "worker", "worker", "--watch-stdin"], environment)
    try:
        if own_temporal():
            _say(state, _own_temporal(state))
            _supervise([worker], stop)
        else:
            _with_server(state, worker, environment, stop)
    except OSError as error:
        raise StateError(f"State folder {state.path}: {error}", hint="see what its disk says: df, dmesg") from error
    return 0


def _with_server(state: StateFolder, worker: Child, environment: dict[str, str], stop: threading.Event) -> None:
    """Run the embedded server and the worker."""
    alone = _await_predecessor(state, stop)
    if alone is None:
        return
    last = dev_server.endpoint_of(state)
    endpoint = dev_server.choose_endpoint(state)
    if last not in {None, endpoint}:
        print(f"the ports of last time are taken, {last.port} or {last.ui_port}; others are used", file=sys.stderr)
    server = Child("server", dev_server.command(state, endpoint), environment, inherited=(alone,))
    try:
        server.start()
        dev_server.wait_ready(endpoint, ended=lambda: stop.is_set() or server.ended())
    except TransientError as error:
        server.stop()
        if stop.is_set():
            return
        raise _not_started(state, error) from error
    _say(state, f"Temporal    {endpoint.address}\nUI          {endpoint.ui}")
    _supervise([server, worker], stop)


def _await_predecessor(state: StateFolder, stop: threading.Event) -> int | None:
    """A lock that the server will hold too: after a kill -9 of `up`, its server may still be writing the database.

    Raises:
        StateError: the old server does not end.
    """
    path = state.run / "server.lock"
    deadline = time.monotonic() + _PATIENCE
    said = False
    while (lock := try_lock(path)) is None and time.monotonic() < deadline and not stop.wait(_TICK):
        if not said:
            print("waiting for the server of an `up` that was killed", file=sys.stderr)
        said = True
    if lock is None and not stop.is_set():
        raise StateError(
            f"The server of an earlier `up` holds {path}, and does not end",
            hint=f"end it: fuser {path} names its process",
        )
    return lock


def _supervise(children: list[Child], stop: threading.Event) -> None:
    """Keep children running until `stop` is set; they end in the other order."""
    try:
        while not stop.wait(_TICK):
            for child in children:
                child.tend()
    finally:
        for child in reversed(children):
            child.stop()


def _say(state: StateFolder, engine: str) -> None:
    print(f"state       {state.path}\n{engine}")
    folders = state.manifest_folders()
    if folders:
        print(f"manifests   {', '.join(map(str, folders))}")
    print(f"site        {state.identity().site}\nstop        Ctrl-C", flush=True)


def _own_temporal(state: StateFolder) -> str:
    """What is to be said of the user's own Temporal.

    Raises:
        TemporalSettingsError: its configuration cannot be used, which no later try would change.
    """
    options = endpoint_for(state).options()
    namespace = f"namespace {options['namespace']}"
    return f"Temporal    {options['target_host']}, {namespace} (your own: no server is started here)"


def _not_started(state: StateFolder, error: TransientError) -> StateError:
    database = state.path / "temporal.db"
    if shutil.disk_usage(state.path).free < _LEAST_SPACE:
        return StateError(
            f"{error.message}: the file system of {state.path} is full", hint="make room there, and start again"
        )
    return StateError(
        error.message,
        hint=f"its words are above; if they are about the database, move {database}* away and start again: objects and "
        "volumes stay, what is lost is the history of executions",
    )


@dataclass(slots=True)
class Child:
    """A child process that is kept running."""

    name: str
    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    delay: float = 0.5
    due: float = 0.0
    inherited: tuple[int, ...] = ()

    def ended(self) -> bool:
        """Whether it has ended since it was started."""
        return self.process is not None and self.process.poll() is not None

    def start(self) -> None:
        """Start it; its standard input is a pipe that ends with us, and the kernel signals it when we die."""
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            env=self.environment,
            start_new_session=True,
            pass_fds=self.inherited,
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
