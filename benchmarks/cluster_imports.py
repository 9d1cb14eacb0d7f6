"""From a digest, or from `kubectl apply`, to a DataSource that is Ready, against a bare pod with a claim of its own.

What no importer can do without is a claim that is provisioned and a pod that is scheduled, started and seen to end: the
peer does just that, with the same storage class, size and Pod Security, and runs `true`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any, Final

from temporalio.client import Client

from benchmarks.cluster_site import Site
from benchmarks.measure import MIB, against
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import DATA_SOURCES, PODS, PVCS, Json
from dataimportcron.errors import ObjectNotFoundError
from dataimportcron.naming import cron_workflow_id, import_name
from demo.cluster.installation import condition
from demo.push import Image, Layer, disk_layer, push
from tests.cluster.objects import claim, pod

NAMESPACE: Final = "golden-images"
"""It enforces Pod Security `restricted`."""
_STORAGE_CLASS: Final = "csi"
_DATA, _SIZE = 48 * MIB, 64 * MIB
_YEARLY: Final = "0 0 1 1 *"
_UPDATED: Final = "updated"
_TIMES: Final = 5
_LOOK: Final = 0.02
"""Seconds between two looks."""
_PATIENCE: Final = 120.0
_BAR: Final = 1.0
"""Seconds beyond the peer."""


async def imports(site: Site, connection: Connection) -> None:
    """Print both, in turns with their peers."""
    runs = _Runs(site, connection, await Client.connect(site.place.temporal))
    print(f"the first import: {await runs.applied(_UPDATED):.2f} s")
    await runs.bare_applied()
    kinds: dict[str, Callable[[], Awaitable[float]]] = {
        "digest": runs.updated,
        "pod": runs.bare,
        "apply": runs.applied,
        "pod, applied": runs.bare_applied,
    }
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(_TIMES):
        for name, run in kinds.items():
            found[name].append(await run())
    for name, seconds in found.items():
        print(f"{name:<14}{median(seconds):>6.2f} s   runs: {', '.join(f'{one:.2f}' for one in seconds)}")
    middle = {name: median(seconds) for name, seconds in found.items()}
    print(against("digest to Ready, 64 MiB: seconds beyond a pod", middle["digest"] - middle["pod"], _BAR))
    print(against("apply to Ready, 64 MiB: seconds beyond a pod", middle["apply"] - middle["pod, applied"], _BAR))


class _Runs:
    """Each returns seconds, and leaves the cluster at rest."""

    def __init__(self, site: Site, connection: Connection, temporal: Client) -> None:
        self._site = site
        self._connection = connection
        self._temporal = temporal
        self._layer = _disk(site.work)
        self._number = 0

    def _next(self) -> str:
        self._number += 1
        return f"number-{self._number}"

    def _push(self, name: str) -> str:
        """Another digest of the same disk, which the registry has; returns the digest."""
        image = Image(layers=(self._layer,), labels={"number": self._next()})
        return push(self._site.registry, f"bench/{name}", "latest", image)

    async def updated(self) -> float:
        """From the signal that forces a poll, which finds a new digest."""
        target = import_name(_UPDATED, self._push(_UPDATED))
        workflow = cron_workflow_id(self._site.place.site, NAMESPACE, _UPDATED)
        handle = self._temporal.get_workflow_handle(workflow)
        begin = time.monotonic()
        await handle.signal("poll")
        return await self._until(lambda: self._points_to(_UPDATED, target)) - begin

    async def applied(self, name: str = "") -> float:
        """From `kubectl apply` of a new cron."""
        name = name or self._next()
        target = import_name(name, self._push(name))
        begin = time.monotonic()
        await asyncio.to_thread(self._site.cluster.apply, self._cron(name))
        return await self._until(lambda: self._points_to(name, target)) - begin

    async def bare(self) -> float:
        """From the creation of claim and pod."""
        made, runner = self._pod()
        begin = time.monotonic()
        await self._connection.create(PVCS, made)
        await self._connection.create(PODS, runner)
        return await self._ended(made["metadata"]["name"]) - begin

    async def bare_applied(self) -> float:
        """From `kubectl apply` of claim and pod."""
        made, runner = self._pod()
        begin = time.monotonic()
        await asyncio.to_thread(self._site.cluster.apply, made, runner)
        return await self._ended(made["metadata"]["name"]) - begin

    def _pod(self) -> tuple[Json, Json]:
        name = self._next()
        made = claim(name, NAMESPACE, _STORAGE_CLASS, size="64Mi")
        return made, pod(self._site.cluster, name, NAMESPACE, "true", volumes={"/disk": name})

    async def _ended(self, name: str) -> float:
        """The moment when it is seen that a pod has ended; then it goes, with its claim."""

        async def succeeded() -> bool:
            found = await self._connection.get(PODS, name, NAMESPACE)
            return bool(found["status"].get("phase") == "Succeeded")

        async def gone() -> bool:
            try:
                await self._connection.get(PVCS, name, NAMESPACE)
            except ObjectNotFoundError:
                return True
            return False

        end = await self._until(succeeded)
        await self._connection.delete(PODS, name, NAMESPACE)
        await self._connection.delete(PVCS, name, NAMESPACE)
        await self._until(gone)
        return end

    async def _points_to(self, name: str, target: str) -> bool:
        try:
            found = await self._connection.get(DATA_SOURCES, name, NAMESPACE)
        except ObjectNotFoundError:
            return False
        pointed = (found["spec"]["source"].get("pvc") or {}).get("name")
        return pointed == target and condition(found, "Ready")[0] == "True"

    async def _until(self, look: Callable[[], Awaitable[bool]]) -> float:
        """The moment when it is seen to be so."""
        async with asyncio.timeout(_PATIENCE):
            while not await look():  # noqa: ASYNC110 -- the API server is asked, as a person would
                await asyncio.sleep(_LOOK)
        return time.monotonic()

    def _cron(self, name: str) -> dict[str, Any]:
        repository = f"docker://{self._site.cluster.registry}/bench/{name}:latest"
        storage = {"resources": {"requests": {"storage": "64Mi"}}, "storageClassName": _STORAGE_CLASS}
        return {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataImportCron",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "template": {"spec": {"source": {"registry": {"url": repository}}, "storage": storage}},
                "schedule": _YEARLY,
                "managedDataSource": name,
                "importsToKeep": _TIMES + 1,
            },
        }


def _disk(folder: Path) -> Layer:
    raw = folder / "disk.raw"
    with raw.open("wb") as file:
        file.write(os.urandom(_DATA))
        file.truncate(_SIZE)
    return disk_layer(raw, folder)
