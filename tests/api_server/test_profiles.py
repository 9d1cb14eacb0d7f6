"""StorageProfiles and the CDIConfig, kept on a real API server where CDI is not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from dataimportcron.cluster.classes.profile_keeper import ProfileKeeper
from dataimportcron.cluster.classes.storage_watch import StorageWatch
from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.client.resources import (
    CDI_CONFIGS,
    STORAGE_CLASSES,
    STORAGE_PROFILES,
    VOLUME_SNAPSHOT_CLASSES,
)
from dataimportcron.errors import ObjectNotFoundError

RESOURCES = {"requests": {"cpu": "100m"}, "limits": {"memory": "600Mi"}}


def now():
    return datetime.now(UTC)  # noqa: TID251 -- the tests' clock


def snapshot_classes():
    """The definition of VolumeSnapshotClasses, in its outline."""
    kind = {"kind": "VolumeSnapshotClass", "plural": "volumesnapshotclasses", "singular": "volumesnapshotclass"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "volumesnapshotclasses.snapshot.storage.k8s.io",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"},
        },
        "spec": {
            "group": "snapshot.storage.k8s.io",
            "scope": "Cluster",
            "names": kind,
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


class Kept:
    """What is there, as a keeper has it at last."""

    def __init__(self, connection):
        self.connection = connection

    @asynccontextmanager
    async def running(self, may_write=lambda: True):
        storage = StorageWatch(self.connection, config=True)
        keeper = ProfileKeeper(
            self.connection, storage, overheads={}, resources=RESOURCES, now=now, may_write=may_write
        )
        tasks = [asyncio.create_task(work) for work in (storage.run(), keeper.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def make(self, name, provisioner="csi.example"):
        await self.connection.create(STORAGE_CLASSES, {"metadata": {"name": name}, "provisioner": provisioner})

    async def until(self, look):
        async with asyncio.timeout(30):
            while not (found := await look()):  # noqa: ASYNC110 -- the API server is asked, it does not tell
                await asyncio.sleep(0.05)
        return found

    async def find(self, kind, name):
        try:
            return await self.connection.get(kind, name)
        except ObjectNotFoundError:
            return None

    async def status(self, name, **expected):
        """Wait until the status of a profile says so."""

        async def says():
            status = ((await self.find(STORAGE_PROFILES, name)) or {}).get("status") or {}
            return status if {key: status.get(key) for key in expected} == expected else None

        return await self.until(says)

    async def gone(self, name):
        async def is_gone():
            return await self.find(STORAGE_PROFILES, name) is None

        return await self.until(is_gone)

    async def version_of(self, kind, name):
        return (await self.connection.get(kind, name))["metadata"]["resourceVersion"]


@pytest.fixture
async def kept(api):
    async with connected(kubeconfig=str(api.kubeconfig)) as connection:
        yield Kept(connection)
        for kind in (STORAGE_CLASSES, STORAGE_PROFILES, CDI_CONFIGS):
            for one in await connection.list(kind):
                await connection.delete(kind, one["metadata"]["name"])


async def test_profiles_follow_their_classes_and_what_a_person_says(kept, api):
    async with kept.running():
        await kept.make("fast", "ebs.csi.aws.com")
        await kept.make("plain")
        found = await kept.status("fast", provisioner="ebs.csi.aws.com", cloneStrategy="copy")
        assert found["claimPropertySets"] == [{"accessModes": ["ReadWriteOnce"], "volumeMode": "Block"}]
        await kept.status("plain", claimPropertySets=[], dataImportCronSourceFormat="pvc")

        mine = {"cloneStrategy": "csi-clone", "dataImportCronSourceFormat": "snapshot"}
        await kept.connection.patch(STORAGE_PROFILES, "plain", "", {"spec": mine})
        await kept.status("plain", **mine)

        # Snapshots come to the cluster later.
        api.define(snapshot_classes())
        snapshots = {"metadata": {"name": "snaps"}, "driver": "ebs.csi.aws.com", "deletionPolicy": "Delete"}
        await kept.connection.create(VOLUME_SNAPSHOT_CLASSES, snapshots)
        await kept.status("fast", cloneStrategy="snapshot", snapshotClass="snaps")
        await kept.connection.delete(VOLUME_SNAPSHOT_CLASSES, "snaps")
        await kept.status("fast", cloneStrategy="copy", snapshotClass=None)

        for name in ("fast", "plain"):
            await kept.connection.delete(STORAGE_CLASSES, name)
        await kept.gone("fast")
        assert (await kept.connection.get(STORAGE_PROFILES, "plain"))["spec"] == mine
        await kept.connection.patch(STORAGE_PROFILES, "plain", "", {"spec": dict.fromkeys(mine)})
        await kept.gone("plain")


async def test_the_configuration_is_made_and_says_what_holds(kept):
    async def overheads():
        status = ((await kept.find(CDI_CONFIGS, "config")) or {}).get("status") or {}
        return status.get("filesystemOverhead") or {}

    async with kept.running():
        await kept.until(overheads)
        await kept.make("fast")
        spec = {"filesystemOverhead": {"global": "0.1", "storageClass": {"fast": "0.02"}}}
        await kept.connection.patch(CDI_CONFIGS, "config", "", {"spec": spec})

        async def obeyed():
            return await overheads() == {"global": "0.1", "storageClass": {"fast": "0.02"}}

        await kept.until(obeyed)
        status = (await kept.connection.get(CDI_CONFIGS, "config"))["status"]
        assert status["defaultPodResourceRequirements"] == RESOURCES


async def test_a_second_keeper_changes_nothing(kept):
    await kept.make("first", "ebs.csi.aws.com")
    async with kept.running():
        await kept.status("first", storageClass="first")
        await kept.until(lambda: kept.find(CDI_CONFIGS, "config"))
    before = await kept.version_of(STORAGE_PROFILES, "first")
    async with kept.running():
        await kept.make("second")
        await kept.status("second", storageClass="second")
        assert await kept.version_of(STORAGE_PROFILES, "first") == before


async def test_one_that_may_not_write_makes_nothing(kept):
    await kept.make("third")
    asked = asyncio.Event()

    def may_write():
        asked.set()
        return False

    async with kept.running(may_write):
        await asyncio.wait_for(asked.wait(), 30)
    assert await kept.connection.list(STORAGE_PROFILES) == []
    assert await kept.connection.list(CDI_CONFIGS) == []
