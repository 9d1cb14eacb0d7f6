"""A DataVolume that clones, from `create` to Succeeded, against what its storage needs for the same without us.

By the CSI driver and by a snapshot the peer is a bare claim of the same `dataSource`, until it is bound. A copy needs a
fresh claim, a pod, and the bytes written once: the peer is such a pod that runs `true`, and `cp --sparse` of the same
disk on this machine. KubeVirt CDI's figures are text, of its version 1.66 on the same test cluster with two quiet
cores; the load of the machine is printed beside ours.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.cluster_site import Site, site
from benchmarks.measure import MIB, against
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.client.resources import (
    DATA_VOLUMES,
    PODS,
    PVCS,
    STORAGE_CLASSES,
    VOLUME_SNAPSHOTS,
    Json,
    ResourceType,
)
from dataimportcron.errors import ObjectNotFoundError
from demo.push import Image, disk_layer, push
from tests.cluster.objects import claim, pod

_NAMESPACE: Final = "golden-images"
_CLASS: Final = "csi"
_SNAPSHOT_CLASS: Final = "csi"
_STRATEGY: Final = "cdi.kubevirt.io/clone-strategy"
_TIMES: Final = 5
_LOOK: Final = 0.02
"""Seconds between two looks."""
_PATIENCE: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    """A disk to be cloned; sizes are in MiB, and CDI's seconds are by CSI, from a snapshot, and by its copy."""

    name: str
    disk: int
    data: int
    cdi: tuple[float, float, float]


_SIZES: Final = (
    _Size(name="64 MiB", disk=64, data=48, cdi=(0.81, 0.84, 9.85)),
    _Size(name="1 GiB", disk=1024, data=512, cdi=(0.81, 1.23, 15.5)),
)


def main() -> None:
    """Print each way and size."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with site() as running:
        asyncio.run(_measure(running))


async def _measure(running: Site) -> None:
    async with connected(kubeconfig=str(running.cluster.kubeconfig)) as connection:
        print(f"{'way, size':<22}{'ours':>9}{'peer':>9}{'CDI':>9}   seconds; medians of {_TIMES}, in turns")
        for size in _SIZES:
            runs = _Runs(running, connection, size)
            await runs.import_source()
            ways: dict[str, Callable[[], Awaitable[float]]] = {
                "csi-clone": runs.bare_clone,
                "snapshot": runs.bare_restore,
                "copy": runs.bare_copy,
            }
            for (way, peer), cdi in zip(ways.items(), size.cdi, strict=True):
                await runs.choose(way)
                await _print(f"{way}, {size.name}", runs.ours, peer, cdi)
            await runs.choose(None)


async def _print(
    name: str, run: Callable[[], Awaitable[float]], peer: Callable[[], Awaitable[float]], cdi: float
) -> None:
    ours, theirs = [], []
    for _ in range(_TIMES):
        ours.append(await run())
        theirs.append(await peer())
    print(f"{name:<22}{median(ours):>9.2f}{median(theirs):>9.2f}{cdi:>9.2f}   load {os.getloadavg()[0]:.1f}")
    print(against(f"{name}: ours:CDI's", median(ours) / cdi, 1), flush=True)
    print(f"{name}: ours:peer's {median(ours) / median(theirs):.2f}", flush=True)


class _Runs:
    """Each returns seconds, and leaves the cluster at rest."""

    def __init__(self, running: Site, connection: Connection, size: _Size) -> None:
        self._site = running
        self._connection = connection
        self._size = size
        self._source = f"source-{size.disk}"
        self._disk = running.work / f"{self._source}.raw"
        self._number = 0

    async def import_source(self) -> None:
        """The volume that is cloned, imported as any other."""
        _write(self._disk, self._size)
        push(
            self._site.registry,
            f"bench/{self._source}",
            "latest",
            Image(layers=(disk_layer(self._disk, self._site.work),)),
        )
        url = f"docker://{self._site.cluster.registry}/bench/{self._source}:latest"
        await self._connection.create(DATA_VOLUMES, self._data_volume(self._source, {"registry": {"url": url}}))
        await self._until(lambda: self._succeeded(self._source))

    async def choose(self, way: str | None) -> None:
        """Say by CDI's annotation how the class is cloned; None for as it is known to be."""
        await self._connection.patch(STORAGE_CLASSES, _CLASS, "", {"metadata": {"annotations": {_STRATEGY: way}}})

    async def ours(self) -> float:
        """A DataVolume."""
        name = self._next()
        wanted = self._data_volume(name, {"pvc": {"name": self._source, "namespace": _NAMESPACE}})
        begin = time.monotonic()
        await self._connection.create(DATA_VOLUMES, wanted)
        taken = await self._until(lambda: self._succeeded(name)) - begin
        await self._connection.delete(DATA_VOLUMES, name, _NAMESPACE)
        await self._gone(PVCS, name)
        return taken

    async def bare_clone(self) -> float:
        """A claim that is a clone."""
        return await self._bound({"kind": "PersistentVolumeClaim", "name": self._source})

    async def bare_restore(self) -> float:
        """A snapshot, and a claim made from it."""
        name = self._next()
        snapshot = {
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshot",
            "metadata": {"name": name, "namespace": _NAMESPACE},
            "spec": {
                "volumeSnapshotClassName": _SNAPSHOT_CLASS,
                "source": {"persistentVolumeClaimName": self._source},
            },
        }
        begin = time.monotonic()
        await self._connection.create(VOLUME_SNAPSHOTS, snapshot)
        ready = await self._until(lambda: self._is_ready(name)) - begin
        source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name}
        restored = await self._bound(source)
        await self._connection.delete(VOLUME_SNAPSHOTS, name, _NAMESPACE)
        return ready + restored

    async def bare_copy(self) -> float:
        """A pod with a fresh claim, and the bytes."""
        name = self._next()
        begin = time.monotonic()
        await self._connection.create(PVCS, await self._claim(name))
        await self._connection.create(PODS, pod(self._site.cluster, name, _NAMESPACE, "true", volumes={"/disk": name}))
        ran = await self._until(lambda: self._ended(name)) - begin
        await self._connection.delete(PODS, name, _NAMESPACE)
        await self._connection.delete(PVCS, name, _NAMESPACE)
        await self._gone(PVCS, name)
        copy = self._site.work / "copy.raw"
        begin = time.monotonic()
        command = ["cp", "--sparse=always", "--reflink=never", str(self._disk), str(copy)]
        await asyncio.to_thread(subprocess.run, command, check=True)
        copied = time.monotonic() - begin
        copy.unlink()
        return ran + copied

    async def _bound(self, source: Json) -> float:
        name = self._next()
        wanted = await self._claim(name, dataSource=source)
        begin = time.monotonic()
        await self._connection.create(PVCS, wanted)
        taken = await self._until(lambda: self._has_volume(name)) - begin
        await self._connection.delete(PVCS, name, _NAMESPACE)
        await self._gone(PVCS, name)
        return taken

    async def _claim(self, name: str, **spec: object) -> Json:
        """A claim as large as the source's volume, which may be larger than what was asked for."""
        source = await self._connection.get(PVCS, self._source, _NAMESPACE)
        size = source["status"]["capacity"]["storage"]
        block = source["spec"]["volumeMode"] == "Block"
        return claim(name, _NAMESPACE, _CLASS, size=size, block=block, **spec)

    def _data_volume(self, name: str, source: Json) -> Json:
        storage = {
            "resources": {"requests": {"storage": f"{self._size.disk}Mi"}},
            "storageClassName": _CLASS,
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": "Filesystem",
        }
        return {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataVolume",
            "metadata": {"name": name, "namespace": _NAMESPACE},
            "spec": {"source": source, "storage": storage},
        }

    async def _succeeded(self, name: str) -> bool:
        found = await self._connection.get(DATA_VOLUMES, name, _NAMESPACE)
        return bool((found.get("status") or {}).get("phase") == "Succeeded")

    async def _has_volume(self, name: str) -> bool:
        found = await self._connection.get(PVCS, name, _NAMESPACE)
        return bool((found.get("status") or {}).get("phase") == "Bound")

    async def _is_ready(self, name: str) -> bool:
        found = await self._connection.get(VOLUME_SNAPSHOTS, name, _NAMESPACE)
        return bool((found.get("status") or {}).get("readyToUse"))

    async def _ended(self, name: str) -> bool:
        found = await self._connection.get(PODS, name, _NAMESPACE)
        return bool(found["status"].get("phase") == "Succeeded")

    async def _gone(self, resource: ResourceType, name: str) -> None:
        async def gone() -> bool:
            try:
                await self._connection.get(resource, name, _NAMESPACE)
            except ObjectNotFoundError:
                return True
            return False

        await self._until(gone)

    async def _until(self, look: Callable[[], Awaitable[bool]]) -> float:
        """The moment when it is seen to be so."""
        async with asyncio.timeout(_PATIENCE):
            while not await look():  # noqa: ASYNC110 -- the API server is asked, as a person would
                await asyncio.sleep(_LOOK)
        return time.monotonic()

    def _next(self) -> str:
        self._number += 1
        return f"clone-of-{self._size.disk}-{self._number}"


def _write(path: Path, size: _Size) -> None:
    """Data in pieces of a MiB with holes between them, so that sparseness counts."""
    step = size.disk / size.data
    with path.open("wb") as file:
        file.truncate(size.disk * MIB)
        for index in range(size.data):
            os.pwrite(file.fileno(), os.urandom(MIB), int(index * step) * MIB)
