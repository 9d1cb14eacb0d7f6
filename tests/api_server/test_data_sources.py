"""DataSources on a real API server: their statuses and labels follow from what they name (D-01 to D-17)."""

from __future__ import annotations

from contextlib import suppress

from dataimportcron.cluster.client.resources import DATA_SOURCES, DATA_VOLUMES, PVCS, VOLUME_SNAPSHOTS
from dataimportcron.cluster.documents.records import COMPLETE, Record
from dataimportcron.errors import DataImportCronError
from tests.api_server.volume_stand import plane, stand
from tests.support.facts import NOW

__all__ = ["plane", "stand"]


async def test_d01_to_d05_a_claim_with_and_without_a_data_volume(stand):
    place = {"namespace": "", "name": "golden"}
    await stand.data_source()
    assert (await stand.becomes("NoSource")).status.source is None
    await stand.data_source("second", pvc=place)
    await stand.data_source("third", pvc=place | {"namespace": stand.namespace})
    for name in ("second", "third"):
        assert (await stand.becomes("NotFound", name)).status.conditions[0].message == "PVC not found"
    await stand.make_claim("golden", labels={"test.kubevirt.io/test": "1", "invalid": "2"})
    for name in ("second", "third"):
        found = await stand.becomes("Ready", name)
        assert found.status.source.pvc.namespace == stand.namespace
        assert found.metadata.labels == {"test.kubevirt.io/test": "1"}
    await stand.volume("golden")
    for name in ("second", "third"):
        found = await stand.becomes("Pending", name)
        assert found.status.conditions[0].message == "Import DataVolume phase Pending"
        assert found.status.source is None
    status = {"status": {"phase": "Succeeded"}}
    await stand.connection.patch(DATA_VOLUMES, "golden", stand.namespace, status, subresource="status")
    for name in ("second", "third"):
        await stand.becomes("Ready", name)
    stand.plane.kubectl("delete", "datavolume", "golden", "-n", stand.namespace)
    stand.plane.kubectl("delete", "pvc", "golden", "-n", stand.namespace, "--wait=false")
    for name in ("second", "third"):
        await stand.becomes("NotFound", name)


async def test_d04_the_claim_of_a_complete_data_volume_is_seen_to_go_and_to_come(stand):
    await stand.data_source(pvc={"namespace": stand.namespace, "name": "golden"})
    await stand.volume("golden")
    status = {"status": {"phase": "Succeeded"}}
    await stand.connection.patch(DATA_VOLUMES, "golden", stand.namespace, status, subresource="status")
    record = Record(uid="u", size=64 << 20).to_json()
    await stand.make_claim("golden", annotations={COMPLETE: record})
    await stand.becomes("Ready")
    stand.plane.kubectl("delete", "pvc", "golden", "-n", stand.namespace, "--wait=false")
    await stand.becomes("NotFound")
    await stand.make_claim("golden", annotations={COMPLETE: record})
    await stand.becomes("Ready")


async def test_d06_d08_d10_snapshots(stand):
    for name in ("first", "second"):
        await stand.data_source(name, snapshot={"namespace": stand.namespace, "name": "fedora"})
        assert (await stand.becomes("NotFound", name)).status.conditions[0].message == "Snapshot not found"
    await stand.snapshot(ready=False, **{"instancetype.kubevirt.io/default-preference": "fedora"})
    for name in ("first", "second"):
        found = await stand.becomes("SnapshotNotReady", name)
        assert found.status.conditions[0].message == "Snapshot phase is not ready"
        assert found.metadata.labels == {}
    await stand.set_ready("fedora", True)
    for name in ("first", "second"):
        found = await stand.becomes("Ready", name)
        assert found.status.source.snapshot.name == "fedora"
        assert found.metadata.labels == {"instancetype.kubevirt.io/default-preference": "fedora"}
    await stand.connection.delete(VOLUME_SNAPSHOTS, "fedora", stand.namespace)
    for name in ("first", "second"):
        await stand.becomes("NotFound", name)


async def test_d09_d12_to_d17_pointers_and_their_transitions(stand):
    await stand.make_claim("one")
    await stand.make_claim("two")
    await stand.data_source("target")
    await stand.data_source("pointer", dataSource={"namespace": "", "name": "target"})
    await stand.data_source("far", dataSource={"namespace": "elsewhere", "name": "far"})
    await stand.data_source("self", dataSource={"namespace": stand.namespace, "name": "self"})
    await stand.data_source("deep", dataSource={"namespace": "", "name": "pointer"})
    await stand.data_source("astray", dataSource={"namespace": "", "name": "absent"})
    for name, reason in {
        "pointer": "NoSource",
        "far": "CrossNamespaceReference",
        "self": "SelfReference",
        "deep": "MaxReferenceDepthReached",
        "astray": "NotFound",
    }.items():
        assert (await stand.becomes(reason, name)).status.source is None

    async def point(name):
        patch = {"spec": {"source": {"pvc": {"namespace": stand.namespace, "name": name}}}}
        await stand.connection.patch(DATA_SOURCES, "target", stand.namespace, patch)

        async def follows():
            with suppress(DataImportCronError):
                _, _, target = await stand.projected("target")
                _, _, pointer = await stand.projected("pointer")
                sources = [it.status.source for it in (target, pointer)]
                return target if all(it is not None and it.pvc.name == name for it in sources) else None

        return await stand.until(follows)

    await point("one")
    before = (await stand.projected("pointer"))[2]
    assert before.spec.source.data_source.name == "target"
    target = (await stand.projected("target"))[2]
    assert target.status.conditions[0].last_transition_time == NOW
    stand.projector._now = lambda: NOW.replace(hour=13)
    moved = await point("two")
    assert moved.status.conditions[0].last_transition_time == NOW.replace(hour=13)
    await stand.connection.delete(PVCS, "two", stand.namespace)
    await stand.becomes("NotFound", "pointer")
    before = (await stand.projected("pointer"))[2].metadata.resource_version
    assert (await stand.projected("pointer"))[2].metadata.resource_version == before
