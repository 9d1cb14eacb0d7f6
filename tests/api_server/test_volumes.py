"""DataVolumes and their claims on a real API server: reserved, adopted, waited for; and who is told of them.

Its controller of persistent volumes binds claims to volumes that the tests have made.
"""

from __future__ import annotations

import json

import pytest

from dataimportcron import naming
from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.client.resources import DATA_VOLUMES, PVCS, STORAGE_CLASSES
from dataimportcron.cluster.documents.records import COMPLETE, owner_of
from dataimportcron.cluster.places import STATIC_VOLUMES
from dataimportcron.cluster.watch import ClusterWatch
from dataimportcron.messages import Step
from tests.api_server.import_stand import RESOURCE_QUOTA
from tests.api_server.volume_stand import AT_ONCE, BLANK, conditions, plane, stand, storage
from worker.binding.fingerprint import of_volume
from worker.binding.world import read

__all__ = ["plane", "stand"]


# -- reserved ----------------------------------------------------------------------------------------------------------


async def test_a_claim_waits_for_its_first_consumer_and_then_the_volume_goes_on(stand):
    await stand.volume(annotations={"mine": "1"})
    step, volume = await stand.look()
    assert (step.step, volume.status.phase, volume.status.claim_name) == (Step.WAIT, "WaitForFirstConsumer", "vm")
    assert conditions(volume)["Bound"][:2] == ("False", "WaitForFirstConsumer")
    claim = await stand.claim()
    assert owner_of(claim) == volume.metadata.uid
    annotations = claim["metadata"]["annotations"]
    assert annotations["cdi.kubevirt.io/storage.createdForDataVolume"] == volume.metadata.uid
    assert (annotations["cdi.kubevirt.io/storage.contentType"], annotations["mine"]) == ("kubevirt", "1")
    assert claim["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "dataimportcron"
    assert ("Normal", "WaitForFirstConsumer") in await stand.told()
    assert (await stand.look())[1].metadata.resource_version == volume.metadata.resource_version
    stand.make_volume()
    await stand.annotate(**{"volume.kubernetes.io/selected-node": "n"})
    assert (await stand.look())[0].step is Step.WAIT
    stand.plane.kubectl("delete", "pvc", "vm", "-n", stand.namespace)
    await stand.volume("now", annotations=AT_ONCE)
    step, volume = await stand.look("now")
    assert (step.step, volume.status.phase) == (Step.BLANK, "Pending")


async def test_a_class_that_cannot_decide_whether_a_claim_waits_is_not_looked_for(stand, monkeypatch):
    asked, answer = [], stand.connection.list

    async def spied(kind, *arguments, **options):
        asked.append(kind)
        return await answer(kind, *arguments, **options)

    monkeypatch.setattr(stand.connection, "list", spied)
    await stand.volume(annotations=AT_ONCE)
    assert (await stand.look())[0].step is Step.BLANK
    assert asked.count(STORAGE_CLASSES) == 1, "for what the claim is to be"
    assert (await stand.look())[0].step is Step.BLANK
    assert asked.count(STORAGE_CLASSES) == 1


async def test_what_a_volume_waits_for_is_news_of_its_claim_and_its_own_claim_is_none(stand):
    await stand.volume(storage=storage(""))

    async def heard():
        world = await read(stand.objects, stand.volumes)
        return of_volume(await stand.objects.get(DataVolume, stand.namespace, "vm"), world)

    before = await heard()
    watch = ClusterWatch(stand.objects)
    step, volume = await stand.look()
    assert (step.reason, volume.status.phase) == ("Pending", "Pending")

    async def seen():
        return (stand.namespace, "vm") in await stand.claims.all()

    await stand.until(seen)
    assert await heard() == before
    stand.make_volume("")

    async def is_news():
        return await heard() != before

    await stand.until(is_news)
    assert (await watch.look())[0]
    watch.close()
    assert (await stand.look())[0].step is Step.BLANK


async def test_k21_a_claim_of_somebody_else_is_waited_for_and_never_touched(stand):
    foreign = await stand.make_claim()
    await stand.volume()
    step, volume = await stand.look()
    assert (step.step, step.reason) == (Step.WAIT, "ErrResourceExists")
    assert 'Resource "vm" already exists and is not managed by DataVolume' in conditions(volume)["Running"][2]
    assert ("Warning", "ErrResourceExists") in await stand.told()
    await stand.volumes.delete(stand.namespace, "vm")
    assert (await stand.claim())["metadata"] == foreign["metadata"]
    await stand.connection.delete(PVCS, "vm", stand.namespace)

    async def ours():
        return (await stand.look())[0].reason == "WaitForFirstConsumer"

    await stand.until(ours)


async def test_k22_a_quota_is_said_and_healed(stand):
    quota = {**RESOURCE_QUOTA, "metadata": {"name": "tight", "namespace": stand.namespace}}
    stand.plane.apply({**quota, "spec": {"hard": {"persistentvolumeclaims": "0"}}})

    async def enforced():
        return (stand.plane.get("resourcequota", "tight", "-n", stand.namespace).get("status") or {}).get("hard")

    await stand.until(enforced)
    await stand.volume()
    step, volume = await stand.look()
    assert (step.step, step.reason, volume.status.phase) == (Step.WAIT, "ErrExceededQuota", "Pending")
    assert "exceeded quota: tight" in conditions(volume)["Bound"][2]
    assert ("Warning", "ErrExceededQuota") in await stand.told()
    stand.plane.apply({**quota, "spec": {"hard": {"persistentvolumeclaims": "1"}}})

    async def made():
        return (await stand.look())[0].reason == "WaitForFirstConsumer"

    await stand.until(made)


async def test_a_volume_waits_for_a_storage_class_before_anything_is_decided(stand):
    await stand.volume(storage=storage())
    step, _ = await stand.look()
    assert (step.step, step.reason) == (Step.WAIT, "ErrClaimNotValid")
    assert "no storageClass to choose profile" in step.message
    stand.plane.kubectl("annotate", "storageclass", "late", "storageclass.kubernetes.io/is-default-class=true")
    try:
        assert (await stand.look())[0].reason == "WaitForFirstConsumer"
        assert (await stand.claim())["spec"]["storageClassName"] == "late"
    finally:
        stand.plane.kubectl("annotate", "storageclass", "late", "storageclass.kubernetes.io/is-default-class-")


@pytest.mark.parametrize("source", ["http", "s3", "gcs", "upload", "imageio", "vddk"])
async def test_a_source_of_cdis_waits_with_words_and_makes_nothing(stand, source):
    url = {"url": "https://images.example/disk.qcow2"}
    needed = {
        "upload": {},
        "imageio": url | {"diskId": "1", "secretRef": "s"},
        "vddk": url | {"uuid": "u", "backingFile": "f", "thumbprint": "t", "secretRef": "s"},
    }
    await stand.volume(source={source: needed.get(source, url)})
    step, volume = await stand.look()
    assert (step.step, step.reason, volume.status.phase) == (Step.WAIT, "UnsupportedSource", "Pending")
    assert f"source {source} is not served here; KubeVirt CDI serves it" in conditions(volume)["Ready"][2]
    assert await stand.connection.list(PVCS, stand.namespace) == []


# -- adopted -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [BLANK, {"pvc": {"namespace": "elsewhere", "name": "absent"}}], ids=["blank", "pvc"])
@pytest.mark.parametrize("way", ["asked for", "populated"])
async def test_a_claim_that_is_there_becomes_the_volume_as_it_is(stand, way, source):
    stand.make_volume("")
    await stand.make_claim(
        storage_class="", annotations={naming.ANNOTATION_POPULATED_FOR: "vm"} if way == "populated" else {}
    )
    await stand.bound()
    asked = (
        {naming.ANNOTATION_ALLOW_ADOPTION: "true"} if way == "asked for" else {naming.ANNOTATION_PRE_POPULATED: "vm"}
    )
    await stand.volume(source=source, annotations=asked)
    step, volume = await stand.look()
    assert (step.step, volume.status.phase, volume.status.progress) == (Step.DONE, "Succeeded", "100.0%")
    assert conditions(volume)["Bound"] == ("True", "Bound", "PVC vm Bound")
    claim = await stand.claim()
    assert owner_of(claim) == volume.metadata.uid
    found = await stand.volumes.find(stand.namespace, "vm")
    assert found.size == 120 << 20
    assert COMPLETE not in claim["metadata"]["annotations"]


async def test_cdis_feature_adopts_and_an_annotation_outranks_it(stand):
    stand.plane.apply(
        {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "CDIConfig",
            "metadata": {"name": "config"},
            "spec": {"featureGates": ["DataVolumeClaimAdoption"]},
        }
    )
    try:
        await stand.make_claim("yes")
        await stand.make_claim("no")
        await stand.volume("yes")
        await stand.volume("no", annotations={naming.ANNOTATION_ALLOW_ADOPTION: "false"})
        assert (await stand.look("yes"))[0].step is Step.DONE
        assert (await stand.look("no"))[0].reason == "ErrResourceExists"
    finally:
        stand.plane.kubectl("delete", "cdiconfig", "config")


async def test_a_restore_is_waited_for_and_nothing_is_made_meanwhile(stand):
    await stand.volume(annotations={naming.ANNOTATION_PRE_POPULATED: "vm"})
    step, volume = await stand.look()
    assert (step.step, volume.status.phase) == (Step.WAIT, "Pending")
    assert "somebody else fills it" in step.message
    assert await stand.connection.list(PVCS, stand.namespace) == []
    await stand.make_claim()
    assert (await stand.look())[0].step is Step.WAIT
    await stand.annotate(**{naming.ANNOTATION_POPULATED_FOR: "vm"})
    assert (await stand.look())[0].step is Step.DONE


async def test_a_volume_that_is_reserved_for_the_claim_is_taken_as_it_is(stand):
    reserved = stand.make_volume(reserved="vm")
    source = {"pvc": {"namespace": stand.namespace, "name": "absent"}}
    await stand.volume(source=source, annotations={naming.ANNOTATION_STATIC_VOLUME: ""})
    assert (await stand.look())[0].step is Step.WAIT
    assert json.loads((await stand.claim())["metadata"]["annotations"][STATIC_VOLUMES]) == [reserved]
    await stand.bound()
    step, volume = await stand.look()
    assert (step.step, volume.status.phase) == (Step.DONE, "Succeeded")
    claim = await stand.claim()
    assert claim["spec"]["volumeName"] == reserved
    assert STATIC_VOLUMES not in claim["metadata"]["annotations"]


async def test_without_a_reserved_volume_the_source_is_what_fills_it(stand):
    stand.make_volume(reserved="another")
    await stand.volume(annotations={naming.ANNOTATION_STATIC_VOLUME: ""} | AT_ONCE)
    assert (await stand.look())[0].step is Step.BLANK


async def test_what_something_else_populates_is_ready_when_it_is_bound(stand):
    snapshot = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
    await stand.connection.create(
        DATA_VOLUMES,
        {"metadata": stand.metadata("vm"), "spec": {"storage": storage("", dataSource=snapshot)}},
    )
    step, volume = await stand.look()
    assert (step.step, volume.status.phase) == (Step.WAIT, "Pending")
    claim = await stand.claim()
    assert claim["spec"]["dataSource"] == snapshot
    assert owner_of(claim) == volume.metadata.uid
    stand.make_volume("")
    await stand.bound()
    assert (await stand.look())[0].step is Step.DONE


# -- labels of clones --------------------------------------------------------------------------------------------------


async def test_k20_a_clone_inherits_which_machine_its_disk_suits(stand):
    preference, kind = naming.MACHINE_LABELS[2:]
    stand.make_volume("", size="64Mi")
    await stand.make_claim("golden", "", labels={preference: "fedora", kind: "VirtualMachinePreference", "app": "x"})
    await stand.bound("golden")
    source = {"pvc": {"namespace": stand.namespace, "name": "golden"}}
    await stand.volume("clone", source=source, annotations=AT_ONCE)
    await stand.volume("own", source=source, annotations=AT_ONCE)
    stand.plane.kubectl("label", "datavolume", "own", f"{naming.MACHINE_LABELS[0]}=u1.small", "-n", stand.namespace)

    async def labels(name):
        step, volume = await stand.look(name)
        assert step.step is Step.CLONE
        return {key: value for key, value in volume.metadata.labels.items() if key in naming.MACHINE_LABELS}

    assert await labels("clone") == {preference: "fedora", kind: "VirtualMachinePreference"}

    async def labelled():
        found = await stand.objects.get(DataVolume, stand.namespace, "own")
        return found.metadata.labels

    await stand.until(labelled)
    assert await labels("own") == {naming.MACHINE_LABELS[0]: "u1.small"}
