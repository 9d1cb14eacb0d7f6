"""One host as the demonstration and the tests drive it: `dataimportcron up` on a state folder, and its command line.

What is checked is read from the object store, as a person reads it with `get`; what is done is done by commands.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.errors import ObjectNotFoundError
from dataimportcron.host.dev_server import endpoint_of
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.store import Store
from demo.registry import RunningRegistry

T = TypeVar("T")

PROGRAM = (sys.executable, "-m", "worker")


class Disappointed(Exception):  # noqa: N818 -- it is what it is
    """Something did not come true in time."""


def wait_for(what: str, seconds: float, look: Callable[[], T | None]) -> T:
    """Look until there is something; returns it.

    Raises:
        Disappointed: there is nothing after so many seconds.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(ObjectNotFoundError):
            found = look()
            if found:
                return found
        time.sleep(0.1)
    raise Disappointed(f"{what}: not within {seconds:.0f} s")


@dataclass(slots=True)
class Host:
    """A host's state folder, and `up` on it."""

    folder: Path
    settings: str = ""
    up: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def state(self) -> StateFolder:
        """The state folder."""
        return StateFolder(self.folder)

    @property
    def store(self) -> Store:
        """The objects, read afresh."""
        return Store(self.state)

    @property
    def environment(self) -> dict[str, str]:
        """For commands on this host."""
        root = str(Path(__file__).parent.parent)
        return os.environ | {
            "DATAIMPORTCRON_STATE": str(self.folder),
            "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        }

    def prepare(self) -> None:
        """Make the folder, with its settings; its volumes lie in it unless these say otherwise."""
        self.state.prepare()
        own = "" if "default_folder" in self.settings else f'default_folder = "{self.folder}/volumes"\n'
        (self.folder / "settings.toml").write_text(own + self.settings)

    def mirror(self, registry: str, by: RunningRegistry) -> None:
        """Let `registry` be read from `by` alone: `server` names the mirror, so nobody else is asked."""
        folder = self.folder / "certs.d" / registry
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts.toml").write_text(
            f'server = "{by.url}"\n\n[host."{by.url}"]\ncapabilities = ["pull", "resolve"]\n'
        )

    def start(self) -> None:
        """Start `up` and wait until its server and worker are there."""
        with (self.folder / "up.log").open("ab") as log:
            self.up = subprocess.Popen(
                [*PROGRAM, "up"], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_for("`dataimportcron up`", 60, lambda: self.pid_of("worker worker"))

    def stop(self) -> None:
        """Stop `up`, and with it all that it started."""
        if self.up is not None:
            self.up.terminate()
            try:
                self.up.wait(60)
            except subprocess.TimeoutExpired:
                self.up.kill()
                self.up.wait()
            self.up = None

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one command of the command line."""
        done = subprocess.run(
            [*PROGRAM, *arguments], env=self.environment, capture_output=True, text=True, check=False, timeout=180
        )
        if check and done.returncode:
            raise Disappointed(
                f"dataimportcron {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def pid_of(self, words: str) -> int | None:
        """Process id of our own descendant whose arguments contain `words`."""
        if self.up is None:
            return None
        return next((pid for pid, line in descendants(self.up.pid) if words in line), None)

    def kill(self, words: str) -> int:
        """`kill -9` one of our own processes; returns its id."""
        pid = wait_for(f"a process {words!r}", 30, lambda: self.pid_of(words))
        os.kill(pid, signal.SIGKILL)
        return pid

    def cron(self, namespace: str, name: str) -> DataImportCron:
        """A DataImportCron."""
        return self.store.get(DataImportCron, namespace, name)

    def volume(self, namespace: str, name: str) -> DataVolume:
        """A DataVolume."""
        return self.store.get(DataVolume, namespace, name)

    def volumes(self, namespace: str) -> list[str]:
        """Names of the DataVolumes."""
        return [volume.metadata.name for volume in self.store.list(DataVolume, namespace)]

    def data_source(self, namespace: str, name: str) -> DataSource:
        """A DataSource."""
        return self.store.get(DataSource, namespace, name)

    def points_to(self, namespace: str, name: str) -> str:
        """The volume that a ready DataSource points to, "" while it is not ready."""
        data_source = self.data_source(namespace, name)
        ready = any(c.type == "Ready" and c.status == "True" for c in data_source.status.conditions)
        pvc = data_source.spec.source.pvc
        return pvc.name if ready and pvc else ""

    def file(self, namespace: str, name: str) -> Path:
        """The file of a volume in the default folder."""
        return self.folder / "volumes" / namespace / f"{name}.img"

    @property
    def ui(self) -> str:
        """URL of the Temporal UI."""
        endpoint = endpoint_of(self.state)
        return endpoint.ui if endpoint else ""


@contextmanager
def host(folder: Path, settings: str = "") -> Iterator[Host]:
    """A host that is stopped at the end, whatever happens."""
    running = Host(folder, settings)
    running.prepare()
    try:
        yield running
    finally:
        running.stop()


def descendants(pid: int) -> list[tuple[int, str]]:
    """All processes below one, with their arguments."""
    children: dict[int, list[int]] = {}
    lines: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                # It may end between the two looks: then it is none.
                lines[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.append((child, lines[child]))
            waiting.append(child)
    return found
