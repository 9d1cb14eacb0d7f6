"""What the port's contract does not say of objects on a cluster: how little is written, and whose things are whose."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from dataimportcron import naming
from dataimportcron.api.conditions import UpToDateReason
from dataimportcron.api.meta import Condition, with_condition
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import ConfigMap, DataImportCron, DataSource, DataVolume, ObjectMeta, Secret
from dataimportcron.cluster.classes.storage_watch import StorageWatch
from dataimportcron.cluster.client.resources import (
    CONFIG_MAPS,
    DATA_IMPORT_CRONS,
    DATA_SOURCES,
    DATA_VOLUMES,
    PVCS,
    SECRETS,
    STORAGE_CLASSES,
)
from dataimportcron.cluster.watch import ClusterWatch
from dataimportcron.errors import (
    ConflictError,
    ForbiddenError,
    ForeignVolumeError,
    InvalidObjectError,
    ObjectNotFoundError,
)
from dataimportcron.manifests import managed_labels, with_annotations, with_labels, with_status
from tests.api_server.objects.conftest import OWN_CRONS, now, running, until


def cron(name="fedora", **registry):
    spec = {
        "schedule": "0 0 * * *",
        "managedDataSource": name,
        "retentionPolicy": "None",
        "template": {"spec": {"source": {"registry": {"url": "docker://quay.io/x", **registry}}}},
    }
    return DataImportCron.model_validate({"metadata": {"name": name, "namespace": "golden"}, "spec": spec})


def volume(name="fedora-1", **metadata):
    spec = {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Gi"}}}}
    return DataVolume.model_validate({"metadata": {"name": name, "namespace": "golden", **metadata}, "spec": spec})


class Counted:
    """Counts the requests of a connection that change something."""

    def __init__(self, connection, monkeypatch):
        self.writes = []
        answer = connection._json

        async def counting(what, method, *arguments, **options):
            if method != "GET":
                self.writes.append(f"{method} {what}")
            return await answer(what, method, *arguments, **options)

        monkeypatch.setattr(connection, "_json", counting)

    def take(self):
        taken, self.writes = self.writes, []
        return taken


async def test_a_quiet_poll_is_one_write(bench, monkeypatch):
    made = await bench.objects.create(cron())
    condition = Condition(type="UpToDate", status="True", reason=UpToDateReason.UP_TO_DATE)
    looked = await bench.objects.patch(made, with_status(made, conditions=with_condition([], condition, now())))
    counted = Counted(bench.connection, monkeypatch)
    await bench.objects.patch(looked, with_status(looked, last_execution_timestamp=now()))
    assert len(counted.take()) == 1
    written = await bench.objects.get(DataImportCron, "golden", "fedora")
    assert written.status.last_execution_timestamp is not None
    assert written.status.conditions == looked.status.conditions
    assert await bench.objects.patch(written, with_annotations(written, {"absent": None})) is written
    assert counted.take() == []


async def test_annotations_and_status_are_two_writes_only_where_they_must_be(bench, monkeypatch):
    made = await bench.objects.create(cron())
    counted = Counted(bench.connection, monkeypatch)
    after = with_annotations(with_status(made, source_format="pvc"), {"note": "n"})
    written = await bench.objects.patch(made, after)
    assert (written.status.source_format, written.metadata.annotations["note"]) == ("pvc", "n")
    expected = 2 if f"{DATA_IMPORT_CRONS.plural}/status" in await served(bench) else 1
    assert len(counted.take()) == expected


def group_of(bench):
    return bench.dialect.resource(DataImportCron).group


async def served(bench):
    return await bench.connection.resources_of(group_of(bench), "v1beta1")


async def test_the_generation_that_was_looked_at_is_told_where_there_is_a_status(standing):
    made = await standing.objects.create(cron())
    looked = await standing.objects.patch(made, with_status(made, source_format="pvc"))
    assert looked.status.observed_generation == 1
    changed = looked.model_copy(update={"spec": looked.spec.model_copy(update={"schedule": "@daily"})})
    changed = await standing.objects.patch(looked, changed)
    again = await standing.objects.patch(changed, with_annotations(changed, {}))
    assert (again.metadata.generation, again.status.observed_generation) == (2, 2)


async def test_what_another_writes_is_kept(standing):
    made = await standing.objects.create(cron())
    place = (DATA_IMPORT_CRONS, "fedora", "golden")
    patch = {"spec": {"laterField": {"deep": [1]}}, "metadata": {"annotations": {"theirs": "1"}}}
    await standing.connection.patch(*place, patch)
    with pytest.raises(ConflictError):
        await standing.objects.patch(made, with_labels(made, {"a": "1"}))
    read = await standing.objects.get(DataImportCron, "golden", "fedora")
    await standing.objects.patch(read, with_labels(read, {"a": "1"}))
    there = await standing.connection.get(DATA_IMPORT_CRONS, "fedora", "golden")
    assert there["spec"]["laterField"] == {"deep": [1]}
    assert there["metadata"]["annotations"] == {"theirs": "1"}


async def test_news_come_at_once_with_what_is_gone(bench):
    watch = ClusterWatch(bench.objects)
    made = await bench.objects.create(cron())
    await settled(watch)
    kind = bench.dialect.resource(DataImportCron)
    began = monotonic()
    await bench.connection.delete(kind, "fedora", "golden")
    gone = ()
    while not gone:
        _, gone = await watch.look()
    assert monotonic() - began < 0.9, "sooner than by a look each second"
    assert [one.metadata.uid for one in gone] == [made.metadata.uid]
    assert (await watch.look())[1] == gone, "until it is forgotten"
    watch.forget(made.metadata.uid)
    assert (await watch.look())[1] == ()
    watch.close()


async def settled(watch):
    while (await watch.look())[0]:
        pass


async def test_what_is_said_of_storage_is_news_too(standing):
    watch, storage = ClusterWatch(standing.objects), StorageWatch(standing.connection)
    storage.listen(standing.objects.wake)
    async with running(storage.run()):
        await storage.wait_read()
        while (await watch.look())[0]:
            pass
        await standing.connection.create(STORAGE_CLASSES, {"metadata": {"name": "fast"}, "provisioner": "csi.example"})
        try:
            while not (await watch.look())[0]:
                pass
            assert storage.facts().named("fast")["provisioner"] == "csi.example"
        finally:
            await standing.connection.delete(STORAGE_CLASSES, "fast")
    watch.close()


async def test_one_who_does_not_lead_hears_nothing(standing):
    leading = False
    watch = ClusterWatch(standing.objects, is_leading=lambda: leading)
    look = asyncio.ensure_future(watch.look())
    await standing.objects.create(cron())
    done, _ = await asyncio.wait([look], timeout=1.5)
    assert not done
    leading = True
    changed, _ = await asyncio.wait_for(look, 5)
    assert changed
    watch.close()


async def test_a_corrected_secret_is_news_and_nothing_of_it_is_kept(standing):
    note = {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"}
    metadata = {"name": "pull", "namespace": "golden"}
    body = {"metadata": {**metadata, "annotations": note}, "stringData": {"secretKey": "hunter2"}}
    await standing.connection.create(SECRETS, body)
    await standing.connection.create(CONFIG_MAPS, {"metadata": {**metadata}, "data": {"ca.crt": "x"}})
    await standing.objects.create(cron(secretRef="pull", certConfigMap="pull"))
    await standing.objects._references.look()
    [known] = await standing.objects.list(Secret, "golden")
    assert "hunter2" not in known.model_dump_json()
    watch = ClusterWatch(standing.objects)
    await settled(watch)
    await standing.connection.patch(SECRETS, "pull", "golden", {"stringData": {"secretKey": "hunter3"}})
    await standing.objects._references.look()
    while not (await watch.look())[0]:
        pass
    [corrected] = await standing.objects.list(Secret, "golden")
    assert corrected.metadata.resource_version != known.metadata.resource_version
    assert "secretKey" in (await standing.objects.get(Secret, "golden", "pull")).data
    assert (await standing.objects.get(ConfigMap, "golden", "pull")).data == {"ca.crt": "x"}
    watch.close()


async def test_an_object_that_cannot_be_read_is_said_and_stops_no_other(standing):
    body = {"metadata": {"name": "odd", "namespace": "golden"}, "spec": {"importsToKeep": {"not": "a number"}}}
    await standing.connection.create(DATA_IMPORT_CRONS, body)
    await standing.objects.create(cron())
    await until(standing.objects.unreadable)
    assert [one.metadata.name for one in await standing.objects.list(DataImportCron)] == ["fedora"]
    with pytest.raises(InvalidObjectError, match=r"golden/odd.*importsToKeep"):
        await standing.objects.get(DataImportCron, "golden", "odd")


async def test_a_cluster_without_snapshots_has_none(standing):
    assert await standing.objects.list(VolumeSnapshot, "golden") == []
    with pytest.raises(ObjectNotFoundError):
        await standing.objects.get(VolumeSnapshot, "golden", "fedora-1")
    assert standing.objects.problems() == [], "that is no problem"


async def test_nothing_is_written_once_writing_is_refused(standing):
    made = await standing.objects.create(cron())
    standing.objects.refusal = "CDI is here"
    for attempt in (
        standing.objects.create(cron("other")),
        standing.objects.patch(made, with_labels(made, {"a": "1"})),
        standing.objects.delete(made),
    ):
        with pytest.raises(ForbiddenError, match="CDI is here"):
            await attempt


# -- beside CDI -------------------------------------------------------------------------------------------------------


async def test_beside_cdi_an_import_is_a_plain_claim_without_a_label_of_cdis(standing_beside):
    made = await standing_beside.objects.create(cron())
    template = {"cdi.kubevirt.io/dataImportCron.other": "x", "dataimportcron.io/data-import-cron": "forged"}
    endpoint = {"cdi.kubevirt.io/storage.import.endpoint": "docker://quay.io/x"}
    labels = {**template, **managed_labels(made)}
    imported = await standing_beside.objects.create(volume(labels=labels, annotations=endpoint))
    imported = await standing_beside.objects.patch(imported, with_status(imported, phase="ImportInProgress"))
    there = await standing_beside.connection.get(PVCS, "fedora-1", "golden")
    assert there["metadata"]["uid"] == imported.metadata.uid
    assert not any(label.startswith(naming.LABEL_CRON) for label in there["metadata"]["labels"])
    assert there["metadata"]["labels"]["dataimportcron.io/data-import-cron"] == "fedora"
    assert not any(key.startswith("cdi.kubevirt.io/") for key in there["metadata"]["annotations"])
    assert there["metadata"]["annotations"]["dataimportcron.io/phase"] == "ImportInProgress"
    assert "ownerReferences" not in there["metadata"]
    [listed] = await standing_beside.objects.list(DataVolume, "golden")
    assert listed.metadata.labels[naming.LABEL_CRON] == "fedora"
    assert (listed.status.phase, listed.spec) == ("ImportInProgress", volume().spec)
    assert await standing_beside.connection.list(DATA_VOLUMES) == []
    assert await standing_beside.connection.list(DATA_IMPORT_CRONS) == []
    assert [item["apiVersion"] for item in await standing_beside.connection.list(OWN_CRONS)] == [
        "dataimportcron.io/v1beta1"
    ]


async def test_beside_cdi_a_claim_of_another_is_never_taken_for_an_import(standing_beside):
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "no"}
    await standing_beside.connection.create(
        PVCS, {"metadata": {"name": "fedora-1", "namespace": "golden"}, "spec": claim}
    )
    assert await standing_beside.objects.list(DataVolume) == []
    with pytest.raises(ForeignVolumeError, match=r"golden/fedora-1 .*migrate"):
        await standing_beside.objects.create(volume())


async def test_beside_cdi_what_a_cron_of_cdis_manages_is_left_to_it(standing_beside):
    metadata = {"name": "fedora", "namespace": "golden", "labels": {naming.LABEL_CRON: "theirs"}}
    await standing_beside.connection.create(DATA_SOURCES, {"metadata": metadata, "spec": {"source": {}}})
    read = await standing_beside.objects.get(DataSource, "golden", "fedora")
    with pytest.raises(ForbiddenError, match="CDI's DataImportCron theirs"):
        await standing_beside.objects.patch(read, with_labels(read, {naming.LABEL_CRON: "ours"}))
    with pytest.raises(ForbiddenError, match="theirs"):
        await standing_beside.objects.delete(read)
    there = await standing_beside.connection.get(DATA_SOURCES, "fedora", "golden")
    assert there["metadata"]["labels"] == {naming.LABEL_CRON: "theirs"}


async def test_beside_cdi_the_status_of_a_data_source_is_cdis(standing_beside, monkeypatch):
    made = await standing_beside.objects.create(DataSource(metadata=ObjectMeta(name="fedora", namespace="golden")))
    counted = Counted(standing_beside.connection, monkeypatch)
    condition = Condition(type="Ready", status="True", reason="Ready")
    await standing_beside.objects.patch(made, with_status(made, conditions=[condition]))
    assert counted.take() == []
