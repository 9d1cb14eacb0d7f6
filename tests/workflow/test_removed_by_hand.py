"""A golden volume's file is removed by a person: it is said, clones wait, and a poll brings it back."""

from temporalio.client import WorkflowExecutionStatus

from dataimportcron.api.types import DataSource, DataVolume
from dataimportcron.errors import CloneWithoutSourceError
from dataimportcron.messages import PollResult, Verdict
from dataimportcron.values import CloneSource
from tests.support.home import DATA_SOURCE, NAMESPACE, URL
from tests.support.temporal import eventually
from worker.binding import bind

CLONE = {
    "apiVersion": "cdi.kubevirt.io/v1beta1",
    "kind": "DataVolume",
    "metadata": {"name": "clone", "namespace": NAMESPACE},
    "spec": {"sourceRef": {"kind": "DataSource", "name": DATA_SOURCE}, "storage": {}},
}


def ready(home):
    conditions = home.store.get(DataSource, NAMESPACE, DATA_SOURCE).status.conditions
    return next((c.status, c.reason, c.message) for c in conditions if c.type == "Ready")


def waits_for(home):
    conditions = home.store.get(DataVolume, NAMESPACE, "clone").status.conditions
    return [c.reason for c in conditions if c.type == "Running"]


async def test_it_is_noticed_waited_for_and_imported_again(bound, home, monkeypatch):
    monkeypatch.setattr(bind, "RESYNC", 0.5)
    digest = home.release(b"one")
    async with bound() as cron:
        home.apply()
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        assert ready(home) == ("True", "Ready", "DataSource is ready to be consumed")
        (name,) = home.volumes()
        before = home.store.get(DataVolume, NAMESPACE, name).metadata.uid
        (home.folder / "volumes" / NAMESPACE / f"{name}.img").unlink()
        await eventually(lambda: ready(home) == ("False", "NotFound", "PVC not found"))
        await eventually(lambda: home.condition("UpToDate")[:2] == ("False", "Outdated"))
        home.store.apply(CLONE)
        await eventually(lambda: waits_for(home) == ["CloneWithoutSource"])
        result = await cron.handle.execute_update("poll_now", "test", result_type=PollResult)
        assert (result.verdict, result.message) == (Verdict.IMPORT, f"The volume of import {name} is gone")
        await eventually(lambda: home.volumes() == {name: "Succeeded", "clone": "Succeeded"})
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        await eventually(lambda: ready(home)[:2] == ("True", "Ready"))
        assert home.store.get(DataVolume, NAMESPACE, name).metadata.uid != before
        assert home.importer.started == [digest, digest]


async def test_i07_a_current_import_whose_object_is_deleted_is_made_anew_and_the_data_source_heals(bound, home):
    digest = home.release(b"one")
    async with bound():
        home.apply()
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        (name,) = home.volumes()
        before = home.store.get(DataVolume, NAMESPACE, name)
        home.store.delete(before)
        await eventually(lambda: home.volumes() == {name: "Succeeded"}, 40)
        await eventually(lambda: ready(home)[:2] == ("True", "Ready"))
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        assert home.points_to() == name
        assert home.store.get(DataVolume, NAMESPACE, name).metadata.uid != before.metadata.uid
        assert home.importer.started == [digest, digest]


async def test_a_clone_whose_source_goes_while_it_is_queued_waits_too(bound, home, monkeypatch):
    home.release(b"one")
    refused, clone = [], home.home.cloner.run

    async def run(source, volume, report):
        if not refused:
            refused.append(source)
            raise CloneWithoutSourceError(f"The source volume {source} does not exist")
        return await clone(source, volume, report)

    monkeypatch.setattr(home.home.cloner, "run", run)
    async with bound():
        home.apply()
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        home.store.apply(CLONE)
        await eventually(lambda: home.volumes()["clone"] == "Succeeded")
        assert refused == [CloneSource(namespace=NAMESPACE, name=home.points_to())]


async def test_a_population_whose_object_went_while_nobody_looked_is_stopped(bound, home, monkeypatch):
    monkeypatch.setattr(bind, "RESYNC", 0.5)
    monkeypatch.setattr(home.store, "deletions", list)
    async with bound() as cron:
        home.release(b"one")
        home.importer.gate.clear()
        storage = {"resources": {"requests": {"storage": "1Mi"}}}
        mine = CLONE | {"spec": {"source": {"registry": {"url": URL}}, "storage": storage}}
        mine, _ = home.store.apply(mine)
        await eventually(lambda: home.importer.started)
        home.store.delete(mine)
        populating = cron.import_handle("clone")
        await eventually(lambda: status_of(populating))
        assert await status_of(populating) is WorkflowExecutionStatus.CANCELED


async def status_of(handle):
    """Of an execution that has ended, None while it runs."""
    status = (await handle.describe()).status
    return None if status is WorkflowExecutionStatus.RUNNING else status
