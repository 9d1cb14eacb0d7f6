"""The product on a real Kubernetes, against a bare pod in the same run, and against figures of KubeVirt CDI.

CDI's figures are of its version 1.66 on the same test cluster with two quiet cores: it polls by a Job, and so a poll
costs it a pod. They cannot be measured here, as CDI is not to be had; that makes them text, and the load of the machine
is printed beside ours. Polls are not spread here (`poll_jitter = 0`): all hundred fall on one second.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from typing import Any, Final

from benchmarks.cluster_crons import EVEN, NAMESPACE, ODD, Tick, add, document, settle, tick
from benchmarks.cluster_imports import imports
from benchmarks.cluster_site import Site, site
from benchmarks.measure import KIB, MIB, against
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.kubeconfig import connected
from demo.push import Image, disk_layer, push

_CRONS: Final = 100
_CDI_TICK, _CDI_CPU, _CDI_WRITES, _CDI_MEMORY = 36.4, 0.65, 32, 0.51 * MIB
"""Seconds until all of 100 have polled, CPU seconds and API writes of a poll, bytes of a cron in CDI's controller."""
_BAR: Final = 1 / 8
_SETTLE, _WINDOW = 30.0, 60.0
"""Seconds after a tick until all is at rest, and for which it is watched."""


def main() -> None:
    """Print imports, ticks, the idle minute and memory."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with site() as running:
        asyncio.run(_measure(running))


async def _measure(running: Site) -> None:
    async with connected(kubeconfig=str(running.cluster.kubeconfig)) as connection:
        _say_load()
        await imports(running, connection)
        _say_load()
        await _crons(running, connection)
        _say_load()


async def _crons(running: Site, connection: Connection) -> None:
    """First those of one image, then as many more of a repository each."""
    running.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    image = _small_image(running)
    digest = push(running.registry, "bench/shared", "latest", image)
    host = running.cluster.registry
    one = [document("single", EVEN, f"{host}/bench/shared:latest")]
    shared = [document(f"shared-{index:03}", EVEN, f"{host}/bench/shared:latest") for index in range(_CRONS - 1)]
    own = [document(f"own-{index:03}", ODD, f"{host}/bench/own-{index:03}:latest") for index in range(_CRONS)]
    for each in own:
        push(running.registry, f"bench/{each['metadata']['name']}", "latest", image)

    await _with(running, connection, one, digest)
    with_one = _idle(running, _shown("one cron", running, one, EVEN), "one cron")
    await _with(running, connection, shared, digest)
    found = _shown(f"{_CRONS} crons, one image", running, one + shared, EVEN)
    with_all = _idle(running, found, f"{_CRONS} crons")
    each_of = (with_all - with_one) / (_CRONS - 1)
    print(f"a cron more takes {each_of / KIB:.0f} KiB of both workers; CDI's controller {_CDI_MEMORY / KIB:.0f} KiB")
    print(against("memory of a cron, ours:CDI's", each_of / _CDI_MEMORY, 1))
    await _with(running, connection, own, digest)
    _shown(f"{_CRONS} crons, a repository each", running, own, ODD)


async def _with(running: Site, connection: Connection, documents: list[dict[str, Any]], digest: str) -> None:
    """Start the workers anew, with more crons."""
    running.stop()
    await add(connection, documents, digest)
    running.start()
    await settle(connection)


def _shown(title: str, running: Site, documents: list[dict[str, Any]], schedule: str) -> Tick:
    """One tick, printed."""
    names = frozenset(each["metadata"]["name"] for each in documents)
    found = tick(running, names, schedule)
    writes = found.writes.total() / found.polls
    print(
        f"{title}: all polled after {found.seconds:.2f} s, {writes:.2f} API writes each: {_listed(found.writes)}",
        flush=True,
    )
    if found.polls == _CRONS:  # of one alone, the node's CPU would be that of the node at rest
        print(f"a poll costs {1000 * found.cpu:.0f} ms CPU of the workers, {1000 * found.node_cpu:.0f} ms of the node")
        print(against("seconds until all have polled, ours:CDI's", found.seconds / _CDI_TICK, _BAR))
        print(against("workers' CPU of a poll, ours:CDI's", found.cpu / _CDI_CPU, _BAR))
        print(against("node's CPU of a poll, ours:CDI's", found.node_cpu / _CDI_CPU, _BAR))
        print(against(f"API writes of a quiet poll (CDI: {_CDI_WRITES})", writes, 1))
    return found


def _idle(running: Site, last: Tick, title: str) -> int:
    """The minute between two ticks; returns the workers' memory in it, in bytes."""
    time.sleep(max(last.at + _SETTLE - time.time(), 0))
    running.log.requests()
    before = running.cpu()
    time.sleep(_WINDOW)
    used, requests, memory = running.cpu() - before, running.log.requests(), running.memory()
    print(f"{title}, an idle minute: {100 * used / _WINDOW:.2f} % CPU, {memory / MIB:.0f} MiB of both workers")
    asked = Counter(f"{request.verb} {request.resource}" for request in requests)
    print(f"what both asked the API server for in it, Leases not counted: {_listed(asked)}")
    print(against("API writes in it", sum(request.writes for request in requests), 0))
    return memory


def _listed(found: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in found.most_common()) or "nothing"


def _small_image(running: Site) -> Image:
    disk = running.work / "small.raw"
    disk.write_bytes(os.urandom(64 * KIB))
    return Image(layers=(disk_layer(disk, running.work),))


def _say_load() -> None:
    """Load of the machine: what else runs there slows all of this."""
    print(f"load average {os.getloadavg()[0]:.1f} of {os.cpu_count()} cores", flush=True)


if __name__ == "__main__":
    main()
