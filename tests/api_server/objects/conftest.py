"""A real API server, and the adapters on it: without CDI, with CDI's CRDs, and beside CDI."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from types import SimpleNamespace

import pytest

from dataimportcron.cluster.classes.storage import Claim
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.client.resources import (
    CONFIG_MAPS,
    DATA_IMPORT_CRONS,
    DATA_SOURCES,
    DATA_VOLUMES,
    EVENTS,
    PVCS,
    SECRETS,
)
from dataimportcron.cluster.documents.dialect import Dialect, beside, standalone
from dataimportcron.cluster.events import ClusterEvents
from dataimportcron.cluster.objects import ClusterObjects
from dataimportcron.errors import DataImportCronError, NotServedError
from tests.api_server.objects import definitions
from tests.cluster.control_plane import control_plane as run_control_plane
from tests.support.running import all_closed, running

SPACES = ("golden", "one", "two", "a", "a-b", "b", "none")
OWN_CRONS = DATA_IMPORT_CRONS.of_group("dataimportcron.io")
KINDS = (DATA_IMPORT_CRONS, OWN_CRONS, DATA_SOURCES, DATA_VOLUMES, PVCS, CONFIG_MAPS, SECRETS, EVENTS)


def now():
    return datetime.now(UTC)  # noqa: TID251 -- the tests' clock


async def until(condition, seconds=30.0):
    """Wait until something is so."""
    end = monotonic() + seconds
    while not (found := condition()):
        assert monotonic() < end, "it has not come to be so"
        await asyncio.sleep(0.02)
    return found


async def until_async(condition, seconds=30.0):
    end = monotonic() + seconds
    while not (found := await condition()):
        assert monotonic() < end, "it has not come to be so"
        await asyncio.sleep(0.05)
    return found


@contextmanager
def serving(folder, crds):
    """A control plane of its own: whatever is in it is looked at."""
    with run_control_plane(folder) as plane:
        plane.define(*crds)
        plane.apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in SPACES))
        yield plane


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """A cluster with our CRDs and no CDI."""
    with serving(tmp_path_factory.mktemp("alone"), definitions.ours()) as plane:
        yield plane


@pytest.fixture(scope="session")
def with_cdi(tmp_path_factory):
    """A cluster with CDI's CRDs, and ours beside them."""
    with serving(tmp_path_factory.mktemp("with-cdi"), definitions.with_cdi()) as plane:
        yield plane


@dataclass(frozen=True)
class Bench:
    """The adapters on one cluster, and what the ports do not say about them."""

    plane: object
    connection: Connection
    dialect: Dialect
    objects: ClusterObjects
    events: ClusterEvents

    @property
    def home(self):
        return SimpleNamespace(objects=self.objects, events=self.events)

    def events_of(self, resource):
        found = self.plane.get("events", "-n", resource.metadata.namespace)["items"]
        return [
            event | {"first": event["firstTimestamp"], "last": event["lastTimestamp"]}
            for event in found
            if event["involvedObject"]["uid"] == resource.metadata.uid
        ]


async def claim(volume):
    document = volume.document()
    resources = document["spec"]["storage"]["resources"]
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "none", "resources": resources}
    return Claim(body={"metadata": {"labels": document["metadata"].get("labels") or {}}, "spec": spec})


async def empty(connection):
    """Remove all objects of the tests' namespaces."""

    async def left():
        count = 0
        for kind in KINDS:
            try:
                items = await connection.list(kind)
            except NotServedError:
                continue
            for item in items:
                metadata = item["metadata"]
                if metadata["namespace"] in SPACES and metadata["name"] != "kube-root-ca.crt":
                    count += 1
                    with suppress(DataImportCronError):
                        await connection.delete(kind, metadata["name"], metadata["namespace"])
        return count

    async def is_empty():
        return await left() == 0

    await until_async(is_empty)


@asynccontextmanager
async def bench_on(plane, dialect, **options):
    async with connected(kubeconfig=str(plane.kubeconfig)) as connection:
        objects = ClusterObjects(connection, dialect, claim=claim, **options)
        try:
            async with running(objects.run()):
                await asyncio.wait_for(objects.wait_synced(), 30)
                yield Bench(plane, connection, dialect, objects, ClusterEvents(connection, dialect, now=now))
        finally:
            await empty(connection)
    await all_closed()


async def served(plane, group):
    async with connected(kubeconfig=str(plane.kubeconfig)) as connection:
        return await connection.resources_of(group, "v1beta1")


@pytest.fixture
async def connection(alone):
    async with connected(kubeconfig=str(alone.kubeconfig)) as made:
        yield made
        await empty(made)
    await all_closed()


@pytest.fixture(params=["standalone", "standalone with CDI's CRDs", "beside"])
async def bench(request):
    plane = request.getfixturevalue("alone" if request.param == "standalone" else "with_cdi")
    if request.param == "beside":
        dialect = beside(await served(plane, "dataimportcron.io"))
    else:
        dialect = standalone(await served(plane, "cdi.kubevirt.io"))
    async with bench_on(plane, dialect) as made:
        yield made


@pytest.fixture
async def standing(alone):
    async with bench_on(alone, standalone(await served(alone, "cdi.kubevirt.io"))) as made:
        yield made


@pytest.fixture
async def standing_beside(with_cdi):
    async with bench_on(with_cdi, beside(await served(with_cdi, "dataimportcron.io"))) as made:
        yield made
