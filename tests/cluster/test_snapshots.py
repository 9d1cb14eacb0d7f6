"""Imports that are kept as snapshots, with the real CSI driver: taken, restored from, given up for volumes again."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.data_source import DataSourceActivities
from activities.data_volume import DataVolumeActivities
from activities.digest import DigestActivities
from activities.population import PopulationActivities
from activities.retention import RetentionActivities
from dataimportcron import naming
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.cluster.authorizer import ClusterAuthorizer
from dataimportcron.cluster.claims.claims import Claims
from dataimportcron.cluster.classes.placements import Placements
from dataimportcron.cluster.classes.profile_keeper import ProfileKeeper
from dataimportcron.cluster.classes.storage_watch import StorageWatch
from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.client.resources import CONFIG_MAPS, PVCS, STORAGE_PROFILES, VOLUME_SNAPSHOTS
from dataimportcron.cluster.cloner import ClusterCloner
from dataimportcron.cluster.documents.dialect import beside, standalone
from dataimportcron.cluster.events import ClusterEvents
from dataimportcron.cluster.importer import ClusterImporter
from dataimportcron.cluster.jobs.pods import PodSettings
from dataimportcron.cluster.objects import ClusterObjects
from dataimportcron.cluster.volumes import ClusterVolumes
from dataimportcron.errors import ConflictError, ObjectNotFoundError
from dataimportcron.messages import LookupInput, ObjectRef, PopulateInput, PromoteInput, Trigger, Verdict
from dataimportcron.values import ResolvedImage, SourceKind
from demo.cluster.installation import define_cdis
from deploy.image.build import CHECKOUT
from tests.cluster.images import write_image
from tests.cluster.objects import claim, pod, run_pod
from tests.cluster.releases import layer_of, program
from tests.support.fakes import FakeSource

__all__ = ["program"]

MIB = 1 << 20
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DISK = os.urandom(MIB)


@pytest.fixture(scope="module")
def release(cluster, tmp_path_factory):
    archive = tmp_path_factory.mktemp("release") / "disk.tar"
    write_image(archive, "snapshots:1", layer_of(**{"disk/disk.img": DISK}))
    return cluster.push(archive, "snapshots:1")


@pytest.fixture(scope="module")
def defined(cluster):
    """A cluster that knows the kinds of both groups."""
    define_cdis(cluster)
    cluster.kubectl("apply", "--server-side", "-f", str(CHECKOUT / "deploy" / "crds" / "beside"))
    cluster.wait("condition=Established", "crd", "dataimportcrons.dataimportcron.io")
    return cluster


class Cron:
    """One cron on a cluster, and the activities, in the order in which its execution runs them."""

    def __init__(self, cluster, connection, dialect, namespace, storage, source, program):  # noqa: PLR0913, PLR0917 -- one per part
        self.cluster, self.connection, self.namespace = cluster, connection, namespace
        self.label = dialect.label(naming.LABEL_CRON)
        claims = Claims(connection, owned=not dialect.beside, overheads={"": "0.5"})

        self.objects = ClusterObjects(connection, dialect, namespace=namespace, claim=claims.planned)
        self.volumes = ClusterVolumes(connection, self.objects, claims, Placements(storage))
        events = ClusterEvents(connection, dialect, now=lambda: NOW)
        pods = PodSettings(image=program)
        importer = ClusterImporter(connection, self.objects, claims, pods)
        cloner = ClusterCloner(connection, self.objects, claims, pods)
        authorizer = ClusterAuthorizer(connection, self.objects, beside=dialect.beside)
        self.digest = DigestActivities(self.objects, source, self.volumes, authorizer, events)
        self.prepare = DataVolumeActivities(self.objects, self.volumes, authorizer, events)
        self.population = PopulationActivities(self.objects, source, self.volumes, importer, cloner, authorizer, events)
        self.data_source = DataSourceActivities(self.objects, self.volumes, authorizer, events)
        self.retention = RetentionActivities(self.objects, self.volumes, authorizer, events)
        self.ref = None

    async def apply(self, url):
        source = {"registry": {"url": url, "certConfigMap": "certs"}}
        storage = {"resources": {"requests": {"storage": "16Mi"}}, "storageClassName": "csi"}
        document = {
            "metadata": {"name": "fedora-cron", "namespace": self.namespace},
            "spec": {
                "schedule": "@daily",
                "managedDataSource": "fedora",
                "template": {"spec": {"source": source, "storage": storage}},
            },
        }
        made = await self.objects.create(DataImportCron.model_validate(document))
        self.ref = ObjectRef(namespace=self.namespace, name="fedora-cron", uid=made.metadata.uid)

    async def run(self, activity, message):
        """Run it as an execution does: what meets a change of somebody else's is tried again."""
        while True:
            try:
                return await ActivityEnvironment().run(activity, message)
            except ApplicationError as error:
                if error.type != ConflictError.reason:
                    raise

    async def look(self, trigger=Trigger.TICK):
        return await self.run(self.digest.look_up_digest, LookupInput(cron=self.ref, trigger=trigger, now=NOW))

    async def import_(self, decision):
        populate = PopulateInput(
            namespace=self.namespace, name=decision.data_volume, now=NOW, cron=self.ref, digest=decision.digest,
            manifest_digest=decision.manifest_digest,
        )  # fmt: skip
        await self.run(self.prepare.prepare_data_volume, populate)
        await self.run(self.population.import_data_volume, populate)

    async def promote(self, decision):
        promote = PromoteInput(cron=self.ref, data_volume=decision.data_volume, digest=decision.digest, now=NOW)
        return await self.run(self.data_source.update_data_source, promote)

    async def decided(self, verdict):
        async def look():
            decision = await self.look(Trigger.CHANGE)
            return decision if decision.verdict is verdict else None

        return await self.until(look)

    async def until(self, look, seconds=180):
        async with asyncio.timeout(seconds):
            while not (found := await look()):  # noqa: ASYNC110 -- the API server is asked, it does not tell
                await asyncio.sleep(0.1)
        return found

    async def gone(self, get, *what):
        async def is_gone():
            try:
                await get(*what)
            except ObjectNotFoundError:
                return True
            return False

        return await self.until(is_gone)

    async def prefer(self, form):
        """What an administrator says of the class."""
        await self.connection.patch(STORAGE_PROFILES, "csi", "", {"spec": {"dataImportCronSourceFormat": form}})

        async def heard():
            spec = (await self.objects.list(DataImportCron))[0].spec.template.spec
            return (await self.volumes.placement(spec)).form == form

        await self.until(heard)

    async def points_to(self):
        data_source = await self.objects.get(DataSource, self.namespace, "fedora")
        source = data_source.spec.source
        return source.pvc.name if source.pvc else "", source.snapshot.name if source.snapshot else ""

    async def restore(self, name, snapshot, storage_class="csi"):
        source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": snapshot}
        wanted = claim(name, self.namespace, storage_class, size="32Mi", dataSource=source)
        await self.connection.create(PVCS, wanted)

    def digest_of(self, name):
        """Of the disk on a claim, as far as the image goes."""
        script = f"head -c {len(DISK)} /disk/disk.img | sha256sum"
        reading = pod(self.cluster, f"read-{os.urandom(3).hex()}", self.namespace, script, volumes={"/disk": name})
        return run_pod(self.cluster, reading).split()[0]


@pytest.fixture(params=["standalone", "beside"])
async def cron(request, defined, namespace, program, release):
    url, source = f"docker://{defined.registry}/snapshots:1", FakeSource()
    source.images[url] = ResolvedImage(digest=release, manifest_digest=release)
    async with connected(kubeconfig=str(defined.kubeconfig)) as connection:
        alone = request.param == "standalone"
        group = "cdi.kubevirt.io" if alone else "dataimportcron.io"
        dialect = (standalone if alone else beside)(await connection.resources_of(group, "v1beta1"))
        certs = {"ca.crt": defined.registry_ca.read_text()}
        await connection.create(CONFIG_MAPS, {"metadata": {"name": "certs", "namespace": namespace}, "data": certs})
        storage = StorageWatch(connection, config=True)
        # Beside CDI the profiles are CDI's, which would fill them so.
        keeper = ProfileKeeper(connection, storage, overheads={}, resources={}, now=lambda: NOW, may_write=lambda: True)
        made = Cron(defined, connection, dialect, namespace, storage, source, program)
        tasks = [asyncio.create_task(work) for work in (storage.run(), keeper.run(), made.objects.run())]
        try:
            await asyncio.wait_for(made.objects.wait_synced(), 30)
            await made.apply(url)
            await made.until(lambda: _profile(connection))
            yield made
        finally:
            with suppress(ObjectNotFoundError):
                await connection.patch(STORAGE_PROFILES, "csi", "", {"spec": {"dataImportCronSourceFormat": None}})
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _profile(connection):
    return (await connection.list(STORAGE_PROFILES, field_selector="metadata.name=csi"))[:1]


async def test_an_import_becomes_a_snapshot_serves_and_becomes_a_volume_again(cron):
    await cron.prefer("snapshot")
    decision = await cron.look()
    name = decision.data_volume
    await cron.import_(decision)
    claim_uid = (await cron.connection.get(PVCS, name, cron.namespace))["metadata"]["uid"]
    assert "is being taken" in await cron.promote(decision)
    assert await cron.points_to() == ("", "")
    await cron.promote(await cron.decided(Verdict.PROMOTE))
    assert await cron.points_to() == ("", name)
    await cron.gone(cron.objects.get, DataVolume, cron.namespace, name)
    await cron.gone(cron.connection.get, PVCS, name, cron.namespace)
    settled = await cron.decided(Verdict.WAIT)
    assert settled.reason == "UpToDate"
    snapshot = await cron.objects.get(VolumeSnapshot, cron.namespace, name)
    found = await cron.connection.get(VOLUME_SNAPSHOTS, name, cron.namespace)
    assert found["metadata"]["labels"][cron.label] == "fedora-cron", "as the cluster spells it"
    assert snapshot.metadata.labels["cdi.kubevirt.io/dataImportCron"] == "fedora-cron", "as the models spell it"
    assert found["metadata"]["annotations"]["cdi.kubevirt.io/storage.import.sourceVolumeMode"] == "Filesystem"

    # Somebody restores from it, now or once his pod comes.
    await cron.restore("clone", name)
    assert cron.digest_of("clone") == hashlib.sha256(DISK).hexdigest()
    await cron.restore("waiting", name, "csi-wait")
    user = await cron.volumes.in_use(cron.namespace, name, SourceKind.SNAPSHOT)
    assert user == f"PersistentVolumeClaim {cron.namespace}/waiting is being restored from it"

    # Back to volumes: the snapshot serves until the volume is there, and stays for as long as it is restored from.
    await cron.prefer("pvc")
    decision = await cron.decided(Verdict.IMPORT)
    assert decision.data_volume == name
    await cron.import_(decision)
    assert await cron.points_to() == ("", name)
    await cron.promote(decision)
    assert await cron.points_to() == (name, "")
    assert (await cron.connection.get(PVCS, name, cron.namespace))["metadata"]["uid"] != claim_uid
    assert await cron.objects.get(VolumeSnapshot, cron.namespace, name)
    await cron.connection.delete(PVCS, "waiting", cron.namespace)
    await cron.promote(await cron.decided(Verdict.PROMOTE))
    await cron.gone(cron.objects.get, VolumeSnapshot, cron.namespace, name)
    assert (await cron.decided(Verdict.WAIT)).reason == "UpToDate"
    assert cron.digest_of("clone") == hashlib.sha256(DISK).hexdigest(), "an earlier clone is its own"
