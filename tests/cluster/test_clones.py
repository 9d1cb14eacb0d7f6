"""Clones by a real CSI driver and by pods: every way, both volume modes, both namespaces, and what a crash leaves."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from uuid import uuid4

import pytest

from dataimportcron.cluster.client.resources import DATA_VOLUMES, JOBS, PVCS
from dataimportcron.cluster.clones.temporaries import Temporaries
from dataimportcron.cluster.documents.records import COMPLETE, LABEL_CLONE
from dataimportcron.errors import CloneWithoutSourceError, VolumeTooSmallError
from dataimportcron.values import CloneSource, SourceKind
from tests.cluster.clone_stand import BLOCK, FILES, GOLDEN, MIB, SIZE, Home, Killed, Mortal, golden, home, record
from tests.cluster.objects import claim, pod
from tests.cluster.releases import program

__all__ = ["golden", "home", "program"]


async def test_every_way_in_one_namespace(home, golden):
    wanted = [
        ("files", "16Mi", {"storageClassName": "csi", **FILES}, "SnapshotClone"),
        ("files", "20Mi", {"storageClassName": "csi", **FILES}, "HostClone"),
        ("files", "16Mi", {"storageClassName": "csi-wait", **FILES}, "SnapshotClone"),
        ("files", "16Mi", {"storageClassName": "clones", **FILES}, "CSIClone"),
        ("files", "20Mi", {"storageClassName": "clones", **FILES}, "CSIClone"),
        ("files", "16Mi", {"storageClassName": "no-clone", **FILES}, "HostClone"),
        ("files", "20Mi", {"storageClassName": "clones", **BLOCK}, "HostClone"),
        ("device", "16Mi", {"storageClassName": "clones", **FILES}, "HostClone"),
        ("device", "16Mi", {"storageClassName": "csi", **BLOCK}, "SnapshotClone"),
        ("device", "20Mi", {"storageClassName": "clones", **BLOCK}, "CSIClone"),
        ("device", "16Mi", {"storageClassName": "hostpath-provisioner", **BLOCK}, "HostClone"),
    ]
    specs = [await home.volume(size=size, **storage) for _, size, storage, _ in wanted]
    done = await asyncio.gather(*(home.clone(source, spec) for (source, *_), spec in zip(wanted, specs, strict=True)))
    assert [it.phase for it in done] == [phase for *_, phase in wanted]
    assert home.sums(*specs) == [(spec.size, golden, 0) for spec in specs]
    found = [await home.volumes.find(GOLDEN, spec.name) for spec in specs]
    assert [it.size for it in found] == [spec.size for spec in specs]
    assert {(it.done, it.total) for it in done} == {(SIZE, SIZE)}
    assert await home.left() == []


async def test_every_way_into_another_namespace(home, golden, namespace):
    wanted = [
        ("files", {"storageClassName": "clones", **FILES}, "CSIClone"),
        ("files", {"storageClassName": "csi-wait", **FILES}, "SnapshotClone"),
        ("device", {"storageClassName": "no-clone", **FILES}, "HostClone"),
    ]
    specs = [await home.volume(namespace, **storage) for _, storage, _ in wanted]
    done = await asyncio.gather(*(home.clone(source, spec) for (source, *_), spec in zip(wanted, specs, strict=True)))
    assert [it.phase for it in done] == [phase for *_, phase in wanted]
    assert home.sums(*specs, namespace=namespace) == [(SIZE, golden, 0)] * 3
    assert await home.left() == []
    again = await home.clone("files", specs[0])
    assert (again.phase, again.done) == ("CSIClone", 0)


async def test_from_a_snapshot(home, golden, namespace):
    snapshots = [
        {
            "apiVersion": "snapshot.storage.k8s.io/v1",
            "kind": "VolumeSnapshot",
            "metadata": {"name": name, "namespace": GOLDEN, "annotations": {COMPLETE: record()}},
            "spec": {"volumeSnapshotClassName": "csi", "source": {"persistentVolumeClaimName": name}},
        }
        for name in ("files", "device")
    ]
    home.cluster.apply(*snapshots)
    wanted = [
        ("files", GOLDEN, "", {"storageClassName": "csi", **FILES}, "SnapshotClone"),
        ("files", GOLDEN, "16Mi", {"storageClassName": "no-clone", **FILES}, "HostClone"),
        ("device", GOLDEN, "20Mi", {"storageClassName": "clones", **BLOCK}, "SnapshotClone"),
        ("device", GOLDEN, "", {"storageClassName": "csi", **FILES}, "HostClone"),
    ]
    sources = [CloneSource(namespace=GOLDEN, name=name, kind=SourceKind.SNAPSHOT) for name, *_ in wanted]

    async def ready():
        return [(await home.volumes.clonable(it)).reason for it in sources] == [""] * len(sources)

    await home.until(ready)
    specs = [await home.volume(place, size=size, **storage) for _, place, size, storage, _ in wanted]
    cloner = home.cloner()
    done = await asyncio.gather(
        *(cloner.run(source, spec, home.said.append) for source, spec in zip(sources, specs, strict=True))
    )
    assert [it.phase for it in done] == [phase for *_, phase in wanted]
    assert home.sums(*specs) == [(spec.size or SIZE, golden, 0) for spec in specs]
    away = await home.volume(namespace, storageClassName="csi", **FILES)
    await cloner.run(sources[0], away, home.said.append)
    assert home.sums(away, namespace=namespace) == [(SIZE, golden, 0)]
    assert await home.left() == []


@pytest.mark.parametrize(
    "clone",
    [
        ("files", False, {"storageClassName": "no-clone", **FILES}, 6),
        ("device", True, {"storageClassName": "csi", **BLOCK}, 8),
    ],
    ids=["copy", "snapshot elsewhere"],
)
async def test_a_worker_that_is_killed_after_any_write(home, golden, namespace, clone):
    source, elsewhere, storage, least = clone
    place, named = namespace if elsewhere else GOLDEN, CloneSource(namespace=GOLDEN, name=source)

    async def killed_after(number):
        spec, mortal = await home.volume(place, **storage), Mortal(home.connection, number)
        try:
            await home.cloner(mortal).run(named, spec, home.said.append)
        except Killed:
            await home.cloner().run(named, spec, home.said.append)
        return spec, mortal.writes

    first, writes = await killed_after(0)
    assert len(writes) >= least
    specs = [first, *(spec for spec, _ in await asyncio.gather(*map(killed_after, range(1, len(writes) + 1))))]
    assert home.sums(*specs, namespace=place) == [(SIZE, golden, 0)] * len(specs)
    assert await home.left() == []
    mine = {claim["metadata"]["name"] for claim in await home.connection.list(PVCS, place)}
    assert {spec.name for spec in specs} <= mine


async def begun(home, spec):
    """A copy into another namespace that a killed worker has left in its middle."""
    with suppress(Killed):
        await home.cloner(Mortal(home.connection, 5)).run(CloneSource(namespace=GOLDEN, name="files"), spec, print)
    assert {name.split("/")[1].split("-")[0] for name in await home.left()} == {"clone"}


async def test_what_a_killed_worker_has_left_is_swept_up_when_its_volume_is_gone(home, namespace):
    spec = await home.volume(namespace, storageClassName="no-clone", **FILES)
    await begun(home, spec)
    temporaries = Temporaries(home.connection)
    await temporaries.sweep()
    assert await home.left() != []
    await home.connection.delete(DATA_VOLUMES, spec.name, namespace)
    await temporaries.sweep()

    async def gone():
        return not await home.connection.list(PVCS, GOLDEN, label_selector=LABEL_CLONE)

    await home.until(gone)
    assert await home.left() == []


async def test_a_job_that_a_killed_worker_has_left_is_swept_up_when_its_volume_is_whole(home):
    spec = await home.volume(storageClassName="no-clone", **FILES)
    mortal = Mortal(home.connection, 5)
    with suppress(Killed):
        await home.cloner(mortal).run(CloneSource(namespace=GOLDEN, name="files"), spec, print)
    assert mortal.writes[-1] == "patch persistentvolumeclaims"
    assert await home.volumes.find(GOLDEN, spec.name) is not None
    assert await home.left() != []
    await Temporaries(home.connection).sweep()
    assert await home.left() == []


async def test_a_deleted_volume_takes_its_temporaries_with_it(home, namespace):
    spec = await home.volume(namespace, storageClassName="no-clone", **FILES)
    await begun(home, spec)
    await home.volumes.delete(namespace, spec.name)
    assert await home.left() == []


@pytest.mark.parametrize("hands_over", [False, True], ids=["cancelled", "handed over"])
async def test_a_clone_that_is_stopped_in_its_middle(home, golden, namespace, hands_over):
    spec = await home.volume(namespace, storageClassName="no-clone", **FILES)
    cloner = home.cloner(hands_over=lambda: hands_over)
    task = asyncio.create_task(cloner.run(CloneSource(namespace=GOLDEN, name="files"), spec, home.said.append))

    async def job():
        return task.done() or [it for it in await home.connection.list(JOBS, GOLDEN) if not it["spec"]["suspend"]]

    await home.until(job)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert bool(await home.left()) is hands_over
    await home.clone("files", spec)
    assert home.sums(spec, namespace=namespace) == [(SIZE, golden, 0)]


async def test_a_class_that_waits_for_the_first_consumer(home, golden, namespace):
    async def cloned(place):
        here = Home(home.cluster, home.connection, home.objects, home.settings)
        spec = await here.volume(place, waits=True, storageClassName="csi-wait", **FILES)
        task = asyncio.create_task(here.clone("files", spec))

        async def told():
            return [it.message for it in here.said if it.waits_for == "WaitForFirstConsumer"]

        await here.until(told)
        home.cluster.apply(pod(home.cluster, "consumer", place, "sleep 600", volumes={"/disk": spec.name}))
        await task
        home.cluster.kubectl("delete", "pod", "consumer", "-n", place, "--now")
        return spec

    places = (GOLDEN, namespace)
    specs = await asyncio.gather(*map(cloned, places))
    for place, spec in zip(places, specs, strict=True):
        assert home.sums(spec, namespace=place) == [(SIZE, golden, 0)]
    assert await home.left() == []


async def test_blank_volumes(home):
    files, device = await home.volume(source="", **FILES), await home.volume(source="", **BLOCK)
    for spec in (files, device):
        await home.cloner().blank(spec)
        await home.cloner().blank(spec)
    zeros = hashlib.sha256(bytes(SIZE)).hexdigest()
    assert home.sums(files, device) == [(SIZE, zeros, 0)] * 2
    assert (await home.volumes.find(GOLDEN, files.name)).size == SIZE
    assert await home.left() == []


async def test_what_cannot_be_cloned(home):
    spec = await home.volume(size="8Mi")
    with pytest.raises(VolumeTooSmallError, match=rf"{8 * MIB} bytes .* {SIZE} bytes"):
        await home.clone("files", spec)
    with pytest.raises(CloneWithoutSourceError, match="golden-clones/absent doesn't exist"):
        await home.clone("absent", spec)
    assert (await home.volumes.find(GOLDEN, spec.name)) is None
    assert await home.left() == []


async def test_what_is_said_of_sources(home):
    async def said(name, kind=SourceKind.PVC):
        found = await home.volumes.clonable(CloneSource(namespace=GOLDEN, name=name, kind=kind))
        return found.size, found.reason, found.message

    assert await said("files") == (SIZE, "", "")
    assert await said("absent") == (0, "CloneWithoutSource", "The source pvc absent doesn't exist")
    assert await said("snap1", SourceKind.SNAPSHOT) == (
        0,
        "CloneWithoutSource",
        "The source snapshot snap1 doesn't exist",
    )
    home.cluster.apply(pod(home.cluster, "vm", GOLDEN, "sleep 600", volumes={"/disk": "files"}))
    used = f"pod {GOLDEN}/vm using PersistentVolumeClaim files"
    assert await said("files") == (0, "CloneSourceInUse", used)
    home.cluster.kubectl("delete", "pod", "vm", "-n", GOLDEN, "--now")
    half = await home.volume(storageClassName="csi", **FILES)
    with suppress(Killed):
        await home.cloner(Mortal(home.connection, 2)).run(CloneSource(namespace=GOLDEN, name="files"), half, print)

    async def bound():
        return (await home.connection.get(PVCS, half.name, GOLDEN))["status"]["phase"] == "Bound"

    await home.until(bound)
    assert await said(half.name) == (0, "CloneWithoutSource", f"The source pvc {half.name} is not populated yet")
    await home.volumes.delete(GOLDEN, half.name)


async def test_a_pod_that_no_node_can_give_both_volumes(home, cluster):
    name = f"elsewhere-{uuid4().hex[:6]}"
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["another"]}]}]
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "storageClassName": name,
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "local": {"path": "/nowhere"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
            },
        },
        claim(name, GOLDEN, name, size="1Gi", volumeName=name),
    )
    cluster.wait("jsonpath={.status.phase}=Bound", "-n", GOLDEN, f"pvc/{name}")
    spec = await home.volume(size="", storageClassName="csi", **FILES)
    source = CloneSource(namespace=GOLDEN, name=name)
    task = asyncio.create_task(home.cloner().run(source, spec, home.said.append))

    async def told():
        return next((it.message for it in home.said if it.waits_for == "Unschedulable"), "")

    both = f"No node can mount both PersistentVolumeClaim {spec.name} and {name}: their volumes are bound to different"
    assert (await home.until(told)).startswith(both)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert await home.left() == []
    cluster.kubectl("delete", "pv", name, "--wait=false")
