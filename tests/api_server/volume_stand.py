"""The stand of tests of DataVolumes and DataSources on an API server whose controllers bind claims, without nodes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from uuid import uuid4

import pytest
from temporalio.testing import ActivityEnvironment

from activities.data_volume import DataVolumeActivities
from dataimportcron import naming
from dataimportcron.api.types import DataSource, DataVolume
from dataimportcron.cluster.authorizer import ClusterAuthorizer
from dataimportcron.cluster.claims.claim_watch import ClaimWatch
from dataimportcron.cluster.claims.claims import Claims
from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.client.resources import (
    DATA_SOURCES,
    DATA_VOLUMES,
    EVENTS,
    NAMESPACES,
    PVCS,
    VOLUME_SNAPSHOTS,
)
from dataimportcron.cluster.documents.dialect import standalone
from dataimportcron.cluster.events import ClusterEvents
from dataimportcron.cluster.objects import ClusterObjects
from dataimportcron.cluster.volumes import ClusterVolumes
from dataimportcron.errors import DataImportCronError
from dataimportcron.messages import PopulateInput
from tests.api_server.import_stand import LATE_BINDING
from tests.support.facts import NOW
from tests.support.running import all_closed
from worker.binding.data_sources import DataSourceProjector
from worker.binding.world import read

BLANK = {"blank": {}}
AT_ONCE = {naming.ANNOTATION_BIND_IMMEDIATE: "true"}
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
SNAPSHOT_DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "volumesnapshots.snapshot.storage.k8s.io",
        "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in for tests"},
    },
    "spec": {
        "group": "snapshot.storage.k8s.io",
        "scope": "Namespaced",
        "names": {"plural": "volumesnapshots", "kind": "VolumeSnapshot", "listKind": "VolumeSnapshotList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": ANYTHING, "status": ANYTHING}}},
            }
        ],
    },
}


@pytest.fixture(scope="module")
def plane(api):
    """With a class that waits for consumers, and snapshots."""
    api.apply(LATE_BINDING)
    api.define(SNAPSHOT_DEFINITION)
    return api


class Stand:
    """The adapters over a namespace, what the activities say of it, and what Kubernetes' users do."""

    def __init__(self, plane, connection, dialect, namespace):
        self.plane, self.connection, self.namespace = plane, connection, namespace
        self.objects = ClusterObjects(connection, dialect)
        self.claims = ClaimWatch(connection)
        self.claims.listen(self.objects.wake)
        claims = Claims(connection, owned=True)
        self.volumes = ClusterVolumes(connection, self.objects, claims, followed=self.claims)
        self.events = ClusterEvents(connection, dialect, now=lambda: NOW)
        self.activities = DataVolumeActivities(
            self.objects, self.volumes, ClusterAuthorizer(connection, self.objects, beside=False), self.events
        )
        self.projector = DataSourceProjector(self.objects, self.volumes, now=lambda: NOW)

    def metadata(self, name, **more):
        return {"name": name, "namespace": self.namespace, **more}

    async def volume(self, name="vm", source=None, annotations=None, **spec):
        """A DataVolume as its user writes it."""
        spec = {"source": source or BLANK} | (spec or {"storage": storage("late")})
        await self.connection.create(
            DATA_VOLUMES, {"metadata": self.metadata(name, annotations=annotations or {}), "spec": spec}
        )

    async def look(self, name="vm"):
        """One look at a DataVolume: what is to be done next, and how it stands then."""
        step = await ActivityEnvironment().run(
            self.activities.prepare_data_volume, PopulateInput(namespace=self.namespace, name=name, now=NOW)
        )
        return step, await self.objects.get(DataVolume, self.namespace, name)

    async def claim(self, name="vm"):
        return await self.connection.get(PVCS, name, self.namespace)

    async def make_claim(self, name="vm", storage_class="late", **metadata):
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}}
        body = {"metadata": self.metadata(name, **metadata), "spec": spec | {"storageClassName": storage_class}}
        return await self.connection.create(PVCS, body)

    def make_volume(self, storage_class="late", reserved="", size="128Mi"):
        """A PersistentVolume, as an administrator makes it."""
        name = f"pv-{uuid4().hex[:8]}"
        spec = {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": f"/nowhere/{name}"},
        }
        if reserved:
            spec["claimRef"] = {"namespace": self.namespace, "name": reserved}
        self.plane.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})
        return name

    async def annotate(self, name="vm", **annotations):
        patch = {"metadata": {"annotations": annotations}}
        await self.connection.patch(PVCS, name, self.namespace, patch)

    async def bound(self, name="vm"):
        async def look():
            return (await self.claim(name)).get("status", {}).get("phase") == "Bound"

        await self.until(look)

    async def told(self, name="vm"):
        """Type and reason of the events of a DataVolume."""
        found = await self.connection.list(EVENTS, self.namespace)
        return [(it["type"], it["reason"]) for it in found if it["involvedObject"]["name"] == name]

    async def until(self, look):
        async with asyncio.timeout(30):
            while not (found := await look()):  # noqa: ASYNC110 -- the API server is asked, it does not tell
                await asyncio.sleep(0.05)
        return found

    async def data_source(self, name="fedora", **source):
        spec = {"source": source}
        await self.connection.create(DATA_SOURCES, {"metadata": self.metadata(name), "spec": spec})

    async def projected(self, name="fedora"):
        """A DataSource's Ready, after a look at all; with what it stands for and its labels."""
        await self.projector.project(await read(self.objects, self.volumes), everything=False)
        found = await self.objects.get(DataSource, self.namespace, name)
        [ready] = found.status.conditions
        return ready.status, ready.reason, found

    async def becomes(self, reason, name="fedora"):
        """The DataSource, as soon as its Ready has that reason."""

        async def look():
            with suppress(DataImportCronError, ValueError):
                _, now, found = await self.projected(name)
                return found if now == reason else None

        return await self.until(look)

    async def snapshot(self, name="fedora", ready=True, **labels):
        await self.connection.create(
            VOLUME_SNAPSHOTS,
            {"metadata": self.metadata(name, labels=labels), "spec": {"source": {"persistentVolumeClaimName": "x"}}},
        )
        await self.set_ready(name, ready)

    async def set_ready(self, name, ready):
        status = {"status": {"readyToUse": ready}}
        await self.connection.patch(VOLUME_SNAPSHOTS, name, self.namespace, status, subresource="status")


def storage(storage_class=None, **more):
    named = {"storageClassName": storage_class} if storage_class is not None else {}
    return {"resources": {"requests": {"storage": "64Mi"}}} | named | more


def conditions(volume):
    return {it.type: (it.status, it.reason, it.message) for it in volume.status.conditions}


@pytest.fixture
async def stand(plane):
    name = f"n-{uuid4().hex[:8]}"
    async with connected(kubeconfig=str(plane.kubeconfig)) as connection:
        await connection.create(NAMESPACES, {"metadata": {"name": name}})
        served = await connection.resources_of("cdi.kubevirt.io", "v1beta1")
        made = Stand(plane, connection, standalone(served), name)
        following = [asyncio.create_task(it.run()) for it in (made.objects, made.claims)]
        await made.objects.wait_synced()
        await made.claims.all()
        yield made
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        await connection.delete(NAMESPACES, name)
    await all_closed()
