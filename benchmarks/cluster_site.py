"""The product on a real cluster, as a benchmark sees it: what its workers use, and what they ask the API server for.

Both are read where they stand, from the kernel and from the API server's audit log, so that looking costs the cluster
nothing. The audit log is written before an answer is sent.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import httpx

from benchmarks.measure import cpu_of, memory_of
from demo.cluster.__main__ import registry_client
from demo.cluster.installation import NAMESPACE, STANDALONE, Installation, temporal
from demo.host import wait_for
from deploy.image.build import CHECKOUT, build, cache
from tests.cluster.full import Cluster, cluster
from tests.cluster.images import busybox
from tests.cluster.keeper import cgroups

USER: Final = f"system:serviceaccount:{NAMESPACE}:dataimportcron"
_WRITING: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_SELECTOR: Final = "app.kubernetes.io/component=worker"
_ARGUMENTS: Final = b"\0--context\0in-cluster\0"
"""Of a worker in a pod."""
_REPLICAS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a worker has asked the API server for.

    Attributes:
        verb: of the API.
        resource: a subresource stands behind a slash.
        name: of the object, "" where the server chooses it.
        at: seconds since the epoch, when it was answered.
    """

    verb: str
    resource: str
    name: str
    at: float

    @property
    def writes(self) -> bool:
        """Whether it may have changed something."""
        return self.verb in _WRITING


class AuditLog:
    """What the workers ask the API server for, but for Leases."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = path.stat().st_size

    def requests(self) -> list[Request]:
        """Those since the last call, or since the start."""
        with self._path.open("rb") as log:
            log.seek(self._read)
            whole, ending, _ = log.read().rpartition(b"\n")
        self._read += len(whole + ending)
        return [found for line in whole.splitlines() if (found := _request(line)) is not None]


def _request(line: bytes) -> Request | None:
    event = json.loads(line)
    what = event.get("objectRef") or {}
    if event["user"]["username"] != USER or what.get("resource") == "leases":
        return None
    return Request(
        verb=event["verb"],
        resource="/".join(filter(None, (what.get("resource"), what.get("subresource")))),
        name=what.get("name", ""),
        at=datetime.fromisoformat(event["stageTimestamp"]).timestamp(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A cluster with the product.

    Attributes:
        cluster: it.
        place: the product on it.
        registry: a client of the cluster's registry.
        work: a folder for what is made.
        log: what the workers ask the API server for.
    """

    cluster: Cluster
    place: Installation
    registry: httpx.Client
    work: Path
    log: AuditLog

    def workers(self) -> list[int]:
        """The workers' processes, as the machine counts."""
        pids = [int(pid) for path in cgroups()[0].rglob("cgroup.procs") for pid in path.read_text().split()]
        return [pid for pid in pids if _ARGUMENTS in _arguments(pid)]

    def cpu(self) -> float:
        """Seconds that the workers have used."""
        return cpu_of(self.workers())

    def memory(self) -> int:
        """Bytes that the workers have."""
        return memory_of(self.workers())

    def stop(self) -> None:
        """End the workers."""
        self.place.kubectl("scale", "deployment/dataimportcron", "--replicas=0")
        wait_for("the workers' end", 90, lambda: not self.workers())

    def start(self) -> None:
        """Start them again, and wait until they serve."""
        self.place.kubectl("scale", "deployment/dataimportcron", f"--replicas={_REPLICAS}")
        self.place.wait_ready()
        self.place.kubectl("wait", "--for=condition=Ready", "pod", "-l", _SELECTOR, "--timeout=90s")


def cluster_cpu() -> float:
    """Seconds that everything on the node has used: API server, etcd, kubelet, pods, registry."""
    for group in cgroups():
        for name, key, unit in (("cpuacct.usage", "", 1e9), ("cpu.stat", "usage_usec", 1e6)):
            with suppress(OSError, StopIteration):
                lines = (group / name).read_text().splitlines()
                return int(next(line for line in lines if line.startswith(key)).split()[-1]) / unit
    raise FileNotFoundError("no control group of the cluster counts CPU")


def _arguments(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


@contextmanager
def site() -> Iterator[Site]:
    """A cluster with two workers, standalone; nothing of it is left at the end."""
    work = Path(tempfile.mkdtemp(prefix="dataimportcron-bench-"))
    try:
        image = build(CHECKOUT, cache())
        with cluster() as running, temporal(running, work), registry_client(running) as client:
            place = Installation(running, work, STANDALONE)
            archive = work / "busybox.tar"
            busybox(archive)
            running.push(archive, "busybox:1")
            place.install(image)
            log = AuditLog(running.folder / "audit.log")
            yield Site(cluster=running, place=place, registry=client, work=work, log=log)
    finally:
        shutil.rmtree(work, ignore_errors=True)
