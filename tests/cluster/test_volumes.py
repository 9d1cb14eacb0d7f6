"""Claims of DataVolumes on a real cluster: bound by a consumer, adopted, filled by the driver, gone in mid-import."""

from __future__ import annotations

import pytest

from dataimportcron import naming
from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.client.resources import JOBS, PODS, PVCS, VOLUME_SNAPSHOTS
from dataimportcron.cluster.documents.records import owner_of
from dataimportcron.errors import DataImportCronError
from tests.cluster.objects import claim, pod, run_pod
from tests.cluster.releases import program
from tests.cluster.test_imports import SLOW, home, release

__all__ = ["home", "program", "release"]

WRITES = "echo golden > /disk/disk.img"
READS = "cat /disk/disk.img"


async def volume_of(home, name="fedora-1"):
    return await home.objects.get(DataVolume, home.namespace, name)


async def adopted(home, name="fedora-1"):
    async def look():
        return await home.volumes.adopt(await volume_of(home, name))

    return await home.until(look)


async def test_a_volume_is_filled_where_its_first_consumer_wants_it(home, release):
    spec = await home.volume(storageClassName="csi-wait")
    waiting = await home.volumes.reserve(await volume_of(home))
    assert (waiting.reason, waiting.phase) == ("WaitForFirstConsumer", "WaitForFirstConsumer")
    made = await home.claims.find(home.namespace, "fedora-1")
    assert owner_of(made) == spec.uid
    # KubeVirt's own pod for this mounts the claim and ends.
    run_pod(home.cluster, pod(home.cluster, "consumer", home.namespace, "true", volumes={"/disk": "fedora-1"}))
    assert (await home.volumes.reserve(await volume_of(home))).reason == ""
    await home.importer().run(home.image, release, spec, home.said.append)
    assert (await home.claims.find(home.namespace, "fedora-1"))["metadata"]["uid"] == made["metadata"]["uid"]
    assert home.is_whole()


async def test_a_claim_that_somebody_has_filled_is_adopted_with_its_bytes(home):
    home.cluster.apply(claim("fedora-1", home.namespace, "csi"))
    run_pod(home.cluster, pod(home.cluster, "writer", home.namespace, WRITES, volumes={"/disk": "fedora-1"}))
    made = DataVolume.model_validate(
        {
            "metadata": {
                "name": "fedora-1",
                "namespace": home.namespace,
                "annotations": {naming.ANNOTATION_ALLOW_ADOPTION: "true"},
            },
            "spec": {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "32Mi"}}}},
        }
    )
    await home.objects.create(made)
    await adopted(home)
    assert home.read(READS) == "golden\n"
    home.cluster.kubectl("delete", "pods", "--all", "-n", home.namespace, "--now")  # ended ones too keep a claim
    await home.objects.delete(await volume_of(home))
    await home.volumes.delete(home.namespace, "fedora-1")  # as the binding does; the garbage collector takes its time

    async def gone():
        return await home.claims.find(home.namespace, "fedora-1") is None

    await home.until(gone)


async def test_a_volume_that_the_driver_restores_is_whole_when_it_is_bound(home):
    home.cluster.apply(claim("golden", home.namespace, "csi"))
    run_pod(home.cluster, pod(home.cluster, "writer", home.namespace, WRITES, volumes={"/disk": "golden"}))
    source = {"source": {"persistentVolumeClaimName": "golden"}, "volumeSnapshotClassName": "csi"}
    place = {"name": "golden", "namespace": home.namespace}
    await home.connection.create(VOLUME_SNAPSHOTS, {"metadata": place, "spec": source})
    restored = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "golden"}
    storage = {
        "storageClassName": "csi",
        "accessModes": ["ReadWriteOnce"],
        "volumeMode": "Filesystem",
        "dataSource": restored,
        "resources": {"requests": {"storage": "64Mi"}},
    }
    await home.objects.create(
        DataVolume.model_validate(
            {"metadata": {"name": "fedora-1", "namespace": home.namespace}, "spec": {"pvc": storage}}
        )
    )
    assert not await home.volumes.adopt(await volume_of(home))
    assert (await home.volumes.reserve(await volume_of(home))).reason == ""
    await adopted(home)
    assert home.read(READS) == "golden\n"


async def test_a_data_volume_that_goes_in_mid_import_leaves_nothing(home, release):
    spec = await home.volume()
    assert (await home.volumes.reserve(await volume_of(home))).reason == ""
    task = await home.started(home.importer(rate=SLOW), home.image, release, spec)
    await home.objects.delete(await volume_of(home))
    await home.volumes.delete(home.namespace, "fedora-1")
    with pytest.raises(DataImportCronError):
        await task

    async def nothing():
        return not [it for kind in (JOBS, PODS, PVCS) for it in await home.connection.list(kind, home.namespace)]

    await home.until(nothing)
