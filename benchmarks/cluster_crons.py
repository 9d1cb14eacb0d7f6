"""A hundred crons on a cluster at one tick, what their polls cost, and what they do between two ticks: nothing.

They have their first import from the start, as objects without a disk, because a hundred real ones would measure the
machine: `cluster_imports` has what a real one costs. The claims are of a class that waits for its first consumer.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.cluster_site import Request, Site, cluster_cpu
from benchmarks.measure import MIB
from dataimportcron.api.conditions import Phase
from dataimportcron.api.types import CDI_GROUP, VERSION, DataImportCron
from dataimportcron.cluster.claims.claims import Claims
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import DATA_IMPORT_CRONS, PVCS
from dataimportcron.cluster.documents.dialect import standalone
from dataimportcron.cluster.documents.records import COMPLETE, Record
from dataimportcron.cluster.objects import ClusterObjects
from dataimportcron.host import clock
from dataimportcron.manifests import import_of
from dataimportcron.naming import import_name
from dataimportcron.projection import data_volume_status

NAMESPACE: Final = "bench"
PERIOD: Final = 120.0
EVEN, ODD = "*/2 * * * *", "1-59/2 * * * *"
"""Schedules that tick once in a period, in even and in odd minutes."""
_AT_A_TIME: Final = 20
_SPACE, _EARLY, _REST = 5.0, 2.0, 5.0
"""Seconds before a tick at least, for which it is measured before it, and after the last poll."""
_PATIENCE: Final = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What a tick cost.

    Attributes:
        at: when it was, in seconds since the epoch.
        seconds: from it until the last cron's status says that it has polled.
        cpu: seconds of all workers, for one poll.
        node_cpu: seconds of everything on the node, the workers included, for one poll.
        writes: to the API server, by verb and resource.
        polls: how many crons ticked.
    """

    at: float
    seconds: float
    cpu: float
    node_cpu: float
    writes: Counter[str]
    polls: int


def document(name: str, schedule: str, image: str) -> dict[str, Any]:
    """A cron as it is applied."""
    storage = {"resources": {"requests": {"storage": "1Mi"}}, "storageClassName": "csi-wait"}
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataImportCron",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "template": {"spec": {"source": {"registry": {"url": f"docker://{image}"}}, "storage": storage}},
            "schedule": schedule,
            "managedDataSource": name,
        },
    }


async def add(connection: Connection, documents: Sequence[dict[str, Any]], digest: str) -> None:
    """Make crons with their first import, complete; no worker runs meanwhile, which would begin it."""
    objects = ClusterObjects(connection, standalone(await connection.resources_of(CDI_GROUP, VERSION)))
    claims = Claims(connection, owned=True)

    async def one(applied: dict[str, Any]) -> None:
        cron, now = DataImportCron.model_validate(applied), clock.now()
        name = import_name(cron.spec.managed_data_source, digest)
        wanted = import_of(cron, name, digest, digest, now)
        volume = await objects.create(data_volume_status(wanted, Phase.SUCCEEDED, now))
        made = (await claims.planned(volume)).body
        record = Record(uid=volume.metadata.uid, size=MIB, digest=digest)
        made["metadata"].setdefault("annotations", {})[COMPLETE] = record.to_json()
        await connection.create(PVCS, made)
        await connection.create(DATA_IMPORT_CRONS, applied)

    for part in range(0, len(documents), _AT_A_TIME):
        await asyncio.gather(*map(one, documents[part : part + _AT_A_TIME]))


async def settle(connection: Connection) -> None:
    """Wait until every cron has found its import."""
    deadline = time.monotonic() + _PATIENCE
    while missing := await _unsettled(connection):
        if time.monotonic() > deadline:
            sys.exit(f"{len(missing)} crons are not up to date within {_PATIENCE:.0f} s, one is {missing[0]}")
        await asyncio.sleep(1)


async def _unsettled(connection: Connection) -> list[dict[str, Any]]:
    crons = await connection.list(DATA_IMPORT_CRONS, NAMESPACE)
    return [cron for cron in crons if not (cron.get("status") or {}).get("lastImportedPVC")]


def tick(site: Site, names: frozenset[str], schedule: str) -> Tick:
    """Wait for the next tick of a schedule, and until its crons have polled."""
    offset = 0.0 if schedule == EVEN else PERIOD / 2
    now = time.time()
    at = now + _SPACE + (offset - now - _SPACE) % PERIOD
    time.sleep(at - now - _EARLY)
    site.log.requests()
    cpu, node_cpu = site.cpu(), cluster_cpu()
    seen: list[Request] = []
    polled: dict[str, float] = {}
    while len(polled) < len(names):
        if time.time() > at + PERIOD / 2 - _SPACE:
            sys.exit(f"{len(polled)} of {len(names)} crons have polled within {PERIOD / 2 - _SPACE:.0f} s")
        time.sleep(0.1)
        new = site.log.requests()
        seen += new
        for request in new:
            if request.resource == "dataimportcrons/status" and request.name in names and request.at >= at:
                polled.setdefault(request.name, request.at)
    time.sleep(_REST)
    seen += site.log.requests()
    number = len(names)
    return Tick(
        at=at,
        seconds=max(polled.values()) - at,
        cpu=(site.cpu() - cpu) / number,
        node_cpu=(cluster_cpu() - node_cpu) / number,
        writes=Counter(f"{one.verb} {one.resource}" for one in seen if one.writes),
        polls=number,
    )
