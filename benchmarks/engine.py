"""Our worker and a bare one as processes, beside the server that `up` starts, and what they cost.

Ours is the worker as `up` runs it, with binding, object store and volumes, except for its source, which answers at
once: `polls` has what a lookup costs. The peer, `benchmarks.bare`, has the same settings, number of executions and
ticks, and the SDK's own sandbox with the same modules passed through. The crons have their first import, a file of
zeros: `imports` has what a real one costs.

Each prints what it has used so far whenever it reads a line, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from benchmarks.bare import TASK_QUEUE, BareWorkflow, NothingActivities, Polls, Ticks
from dataimportcron import naming
from dataimportcron.api.conditions import Phase
from dataimportcron.api.types import DataImportCron
from dataimportcron.host import clock, dev_server
from dataimportcron.host.dev_server import ServerEndpoint
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.store import Store
from dataimportcron.host.volumes import HostVolumes
from dataimportcron.manifests import import_of, volume_spec
from dataimportcron.projection import data_volume_status
from dataimportcron.values import ImageSource, ResolvedImage, VolumeSpec
from tests.support.fault_registry import Reply
from worker.build import host_home
from worker.process import tune
from worker.run import WORKFLOW_TASKS, workers, workflow_runner

NAMESPACE = "bench"
SITE, MACHINE = "bench", "bench-machine"
DIGEST = f"sha256:{'d15c' * 16}"
EVERY_MINUTE, PERIOD = "* * * * *", 60.0
"""When both tick: as a schedule, and in seconds."""
_EARLY = 2.0
"""Seconds before a tick at which its measurement begins."""
_REST = 3.0
"""Seconds until the work of a tick, or of a restart, is surely done."""
_SHOWN = 200
"""After so many crons that were applied, it is said how many they are."""
_AT_A_TIME = 20
"""So many signals are sent at a time."""
_PATIENCE = 600.0
_TAIL = 4000
"""Characters of the log of a worker that ends badly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of a worker since it was started: polls that it made, executions that made one, CPU seconds, resident bytes."""

    polls: int
    polled: int
    cpu: float
    memory: int


class WorkerProcess:
    """A worker: `bare ADDRESS`, or `ours ADDRESS FOLDER`.

    Instead of ours it may be `unbound`, which is ours without the binding, or `sourced`, which asks registries.
    """

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "benchmarks.engine", *arguments]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 -- it is read when the process has ended badly
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )

    def usage(self) -> Usage:
        """What it has used; waits until it serves."""
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            sys.exit(f"a worker ended with {self._process.wait()}:\n{self._log.read()[-_TAIL:]}")
        return Usage(**json.loads(line))

    def wait_for_polls(self, polls: int, seconds: float) -> float:
        """Wait until it has made so many; returns the moment, of the monotonic clock."""
        return self._wait("polls", polls, seconds)

    def wait_for_all(self, executions: int, seconds: float) -> float:
        """Wait until so many have polled since it was started, some of them twice; returns the moment too."""
        return self._wait("polled", executions, seconds)

    def _wait(self, figure: str, wanted: int, seconds: float) -> float:
        deadline = time.monotonic() + seconds
        while (reached := getattr(self.usage(), figure)) < wanted:
            if time.monotonic() > deadline:
                sys.exit(f"{reached} of {wanted} {figure} within {seconds:.0f} s")
            time.sleep(0.1)
        return time.monotonic()

    def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()
        self._process.communicate()

    def stop(self) -> None:
        """Let it hand over."""
        self._process.communicate()


@contextmanager
def server(folder: Path) -> Iterator[ServerEndpoint]:
    """The server as `up` starts it."""
    state = StateFolder(folder)
    state.prepare()
    endpoint = dev_server.choose_endpoint(state)
    command = dev_server.command(state, endpoint)
    with (folder / "server.log").open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            dev_server.wait_ready(endpoint)
            yield endpoint
        finally:
            process.terminate()


@dataclass(slots=True, kw_only=True)
class Side:
    """One of the two: its worker, and its executions.

    Attributes:
        arguments: that start its worker.
        process: the worker.
        empty: resident bytes of the worker before it had an execution.
        after: seconds after the full minute at which it ticks.
        ids: of its workflows.
    """

    arguments: tuple[str, ...]
    process: WorkerProcess
    empty: int
    after: float
    ids: list[str] = field(default_factory=list)

    def tick(self) -> tuple[float, float]:
        """Wait for its next tick; returns the seconds until all have polled, and CPU seconds of a poll."""
        time.sleep((self.after - time.time() - _EARLY) % PERIOD)
        before = self.process.usage()
        begin = time.monotonic() + _EARLY
        end = self.process.wait_for_polls(before.polls + len(self.ids), PERIOD)
        time.sleep(_REST)
        return end - begin, (self.process.usage().cpu - before.cpu) / len(self.ids)

    def restart(self) -> float:
        """`kill -9` of its worker, and another; returns the moment of the start, of the monotonic clock."""
        self.process.kill()
        begin = time.monotonic()
        self.process = WorkerProcess(*self.arguments)
        return begin

    async def signal_all(self, client: Client) -> None:
        """Force a poll of each."""
        for part in range(0, len(self.ids), _AT_A_TIME):
            handles = map(client.get_workflow_handle, self.ids[part : part + _AT_A_TIME])
            await asyncio.gather(*(handle.signal("poll") for handle in handles))

    async def so_far(self, client: Client) -> tuple[int, int]:
        """Events of all executions' histories, and polls that its worker has made."""
        described = await asyncio.gather(*(client.get_workflow_handle(name).describe() for name in self.ids))
        return sum(one.history_length for one in described), self.process.usage().polls

    async def poll_all(self, client: Client) -> float:
        """Force a poll of each after a restart, and let it rest; returns the moment when all have polled.

        All are in the cache then, and what the restart itself took is given back.
        """
        self.process.usage()
        await self.signal_all(client)
        end = await asyncio.to_thread(self.process.wait_for_all, len(self.ids), 300)
        await asyncio.sleep(_REST)
        return end


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Ours and the peer, beside one server."""

    ours: Side
    bare: Side
    client: Client
    endpoint: ServerEndpoint

    @property
    def sides(self) -> dict[str, Side]:
        """Both by name."""
        return {"ours": self.ours, "bare": self.bare}

    async def level(self) -> None:
        """Poll the bare executions until their histories are as long as the crons'.

        The SDK's core keeps half a kibibyte of each event of a run in memory.
        """
        wanted, _ = await self.ours.so_far(self.client)
        while (reached := await self.bare.so_far(self.client))[0] < wanted:
            await self.bare.signal_all(self.client)
            await asyncio.to_thread(self.bare.process.wait_for_polls, reached[1] + len(self.bare.ids), _PATIENCE)


@asynccontextmanager
async def pair(folder: Path, number: int) -> AsyncIterator[Pair]:
    """So many crons that have their first import, and as many bare executions; they tick half a minute apart."""
    with server(folder) as endpoint:
        client = await Client.connect(endpoint.address)
        prepare(folder)
        sides = [
            _side(0.0, "ours", endpoint.address, str(folder)),
            _side(PERIOD / 2, "bare", endpoint.address),
        ]
        both = Pair(ours=sides[0], bare=sides[1], client=client, endpoint=endpoint)
        try:
            both.bare.ids = await _start_bare(client, number, Ticks(PERIOD, both.bare.after))
            both.ours.ids = crons(folder, number)
            deadline = time.monotonic() + _PATIENCE
            store = Store(StateFolder(folder))
            while (missing := unsettled(store)) > 0:
                if time.monotonic() > deadline:
                    sys.exit(f"{missing} of {number} crons are not up to date within {_PATIENCE:.0f} s")
                await asyncio.sleep(1 + number / 200)
            yield both
        finally:
            for side in sides:
                side.process.stop()


def _side(after: float, *arguments: str) -> Side:
    process = WorkerProcess(*arguments)
    return Side(arguments=arguments, process=process, empty=process.usage().memory, after=after)


def prepare(folder: Path, settings: str = "") -> StateFolder:
    """A state folder whose crons poll at their tick, not some seconds later."""
    state = StateFolder(folder)
    state.prepare()
    (folder / "settings.toml").write_text(f'poll_jitter = 0\ndefault_folder = "{folder}/volumes"\n{settings}')
    return state


def crons(folder: Path, number: int, schedule: str = EVERY_MINUTE) -> list[str]:
    """Add so many crons; returns their workflow ids."""
    state = prepare(folder)
    ids = []
    # What is made here shall be there, not survive a power cut: a thousand crons would wait for the disk for minutes.
    with mock.patch.object(os, "fsync"):
        for index in range(number):
            ids.append(add_cron(state, document(f"cron-{index:04}", schedule)))
            if (index + 1) % _SHOWN == 0:
                print(f"{index + 1} of {number} crons are applied", file=sys.stderr, flush=True)
    return ids


def add_cron(state: StateFolder, applied: dict[str, Any]) -> str:
    """Apply a cron and give it its first import, as if it had been there before; returns its workflow id."""
    store, now = Store(state), clock.now()
    cron, _ = store.apply(applied)
    if not isinstance(cron, DataImportCron):
        raise TypeError
    name = cron.metadata.name
    wanted = import_of(cron, naming.import_name(name, DIGEST), DIGEST, DIGEST, now)
    volume = store.create(data_volume_status(wanted, Phase.SUCCEEDED, now))
    _fill(HostVolumes(state), volume_spec(volume))
    return naming.cron_workflow_id(SITE, NAMESPACE, name)


def _fill(volumes: HostVolumes, volume: VolumeSpec) -> None:
    place = volumes.place(volume)
    place.partial.parent.mkdir(parents=True, exist_ok=True)
    with place.partial.open("wb") as file:
        file.truncate(volume.size)
    volumes.finish(volume, digest=DIGEST, writable=False)


async def _start_bare(client: Client, number: int, ticks: Ticks) -> list[str]:
    ids = [f"bare-{index:04}" for index in range(number)]
    for name in ids:
        await client.start_workflow(BareWorkflow.run, ticks, id=name, task_queue=TASK_QUEUE)
    return ids


def unsettled(store: Store) -> int:
    """How many crons have not found their first import; the store is kept, or each look would read all files."""
    return sum(not cron.status.last_imported_pvc for cron in store.list(DataImportCron))


def manifest(delay: float = 0.0) -> Reply:
    """The answer of a `fault_registry` for an image with DIGEST; its body is never asked for."""
    headers = {"Docker-Content-Digest": DIGEST, "Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    return Reply(headers=headers, delay=delay)


def document(name: str, schedule: str = EVERY_MINUTE, *, host: str = "quay.io", **annotations: str) -> dict[str, Any]:
    """A cron as it is applied, and the DataSource of its name."""
    source = {"registry": {"url": f"docker://{host}/bench/{name}:latest"}}
    storage = {"resources": {"requests": {"storage": "1Mi"}}}
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataImportCron",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations},
        "spec": {
            "template": {"spec": {"source": source, "storage": storage}},
            "schedule": schedule,
            "managedDataSource": name,
        },
    }


# -- in the worker's process ------------------------------------------------------------------------------------------


class _Source:
    """`ports.Source` that answers at once."""

    def __init__(self) -> None:
        self.polls = Polls()

    async def resolve(self, image: ImageSource, *, fresh: bool = False) -> ResolvedImage:  # noqa: ARG002 -- the port's
        self.polls.note(image.url)
        return ResolvedImage(digest=DIGEST, manifest_digest=DIGEST)

    def close(self) -> None:
        """There is nothing to close."""


async def _ours(address: str, folder: Path, *, bound: bool, sourced: bool) -> None:
    tune()  # as `dataimportcron worker` does
    state = StateFolder(folder)
    home = host_home(state)
    source = _Source()
    if not sourced:
        home.source = source
    client = await Client.connect(address)
    first, second = workers(client, home, site=SITE)
    async with first, second:
        binding = asyncio.create_task(home.bind(client, site=SITE, machine=MACHINE)) if bound else None
        await _answer(source.polls)
        if binding is not None:
            binding.cancel()
            await asyncio.gather(binding, return_exceptions=True)


async def _bare(address: str) -> None:
    work = NothingActivities()
    async with Worker(
        await Client.connect(address),
        task_queue=TASK_QUEUE,
        workflows=[BareWorkflow],
        activities=[work.do_nothing],
        # The SDK's own, which the peer would have; the same modules are passed through.
        workflow_runner=SandboxedWorkflowRunner(restrictions=workflow_runner().restrictions),
        max_cached_workflows=2000,
        max_concurrent_activities=2000,
        max_concurrent_workflow_tasks=WORKFLOW_TASKS,
        graceful_shutdown_timeout=timedelta(seconds=10),
    ):
        await _answer(work.polls)


async def _answer(polls: Polls) -> None:
    # Temporal's core writes its warnings to standard output: they shall not be taken for answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    while await asyncio.to_thread(sys.stdin.readline):
        used = {"polls": polls.made, "polled": len(polls.whose), "cpu": time.process_time(), "memory": _resident()}
        print(json.dumps(used), file=answers, flush=True)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Be one of the workers."""
    way, address, *rest = sys.argv[1:]
    if way == "bare":
        asyncio.run(_bare(address))
    else:
        asyncio.run(_ours(address, Path(rest[0]), bound=way != "unbound", sourced=way == "sourced"))


if __name__ == "__main__":
    main()
