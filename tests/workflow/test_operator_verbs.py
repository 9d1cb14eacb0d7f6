"""What an operator may do to executions, each in the middle of an import, on the real server with a real binding."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from temporalio.client import WorkflowExecutionStatus

from dataimportcron import naming
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.api.validation import validate
from dataimportcron.messages import CronState, ObjectDeleted, Outcome, PollResult, RunningImport, Verdict
from dataimportcron.naming import import_name
from dataimportcron.planning import clean_up_of
from tests.support.home import DATA_SOURCE, NAMESPACE, URL, TestHome, cron_document
from tests.support.temporal import dev_server, eventually
from tests.workflow.conftest import SITE
from worker.binding import bind
from worker.run import workers
from workflows.data_import_cron import DataImportCronWorkflow


def blank_volume(name):
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Mi"}}}},
    }


@asynccontextmanager
async def in_mid_import(bound, home):
    home.importer.gate.clear()
    digest = home.release(b"large")
    async with bound() as cron:
        home.apply()
        await eventually(lambda: home.importer.running == 1)
        yield cron, digest, import_name(DATA_SOURCE, digest)


async def test_terminate_the_cron(bound, home):
    async with in_mid_import(bound, home) as (cron, digest, name):
        await cron.handle.terminate("test")
        home.importer.gate.set()
        await eventually(lambda: home.volumes()[name] == "Succeeded")
        home.apply(importsToKeep=3)
        await eventually(lambda: home.points_to() == name)
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        assert home.importer.started == [digest]


async def test_cancel_the_cron(bound, home):
    async with in_mid_import(bound, home) as (cron, _, name):
        await cron.handle.cancel()

        async def closed():
            return (await cron.handle.describe()).status is WorkflowExecutionStatus.CANCELED

        await eventually(closed, 40)  # who is told before that takes the news along, until the next resync
        assert home.importer.running == 0
        home.importer.gate.set()
        home.apply(importsToKeep=3)
        await eventually(lambda: home.points_to() == name, 40)
        assert home.volumes() == {name: "Succeeded"}


async def test_delete_in_mid_import_and_apply_again(bound, home):
    async with in_mid_import(bound, home) as (_, digest, name):
        first = home.cron()
        home.store.delete(first)
        home.importer.gate.set()
        home.apply()
        assert home.cron().metadata.uid != first.metadata.uid
        await eventually(lambda: home.points_to() == name, 40)
        await eventually(lambda: home.condition("UpToDate")[0] == "True", 40)
        await eventually(lambda: not home.store.deletions())
        assert set(home.importer.started) == {digest}


async def test_deletion_in_mid_import_stops_it_for_good(bound, home):
    async with in_mid_import(bound, home) as (cron, digest, name):
        home.store.delete(home.cron())

        async def closed():
            return (await cron.handle.describe()).status is WorkflowExecutionStatus.COMPLETED

        await eventually(closed, 40)
        await eventually(lambda: not home.store.deletions())
        assert home.importer.running == 0
        home.importer.gate.set()
        # Whatever happens next in the home, nobody takes the import up again.
        home.store.apply(blank_volume("other"))
        await eventually(lambda: home.volumes() == {"other": "Succeeded"})
        assert home.importer.started == [digest]
        described = await cron.import_handle(name).describe()
        assert described.status is WorkflowExecutionStatus.CANCELED


async def test_a_deletion_does_not_wait_for_an_import_that_is_long_gone(dev, home, running):
    gone = RunningImport(data_volume="fedora-0", digest="sha256:0", started=datetime(2026, 1, 1, tzinfo=UTC), run_id="")
    async with running(dev.client, home) as cron:
        ref = home.apply()
        handle = await cron.start(ref, CronState(running=gone))
        home.store.delete(home.cron())
        await handle.signal(DataImportCronWorkflow.deleted, ref.uid)
        assert await asyncio.wait_for(handle.result(), 20) == "deleted"


async def test_the_end_of_a_rival_is_news(bound, home):
    home.release(b"one")
    async with bound():
        home.apply()
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        other = cron_document() | {"metadata": {"name": "other", "namespace": NAMESPACE}}
        home.store.apply(other)

        def reason():
            conditions = home.store.get(DataImportCron, NAMESPACE, "other").status.conditions
            return [condition.reason for condition in conditions if condition.type == "UpToDate"]

        await eventually(lambda: reason() == ["ErrDataSourceAlreadyManaged"])
        home.store.delete(home.cron())
        await eventually(lambda: reason() == ["UpToDate"])
        labels = home.store.get(DataSource, NAMESPACE, DATA_SOURCE).metadata.labels
        assert labels[naming.LABEL_CRON] == "other"


async def test_deletion_with_retention_none_removes_everything(bound, home):
    home.release(b"one")
    async with bound() as cron:
        home.apply(retentionPolicy="None")
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        (name,) = home.volumes()
        file = home.folder / "volumes" / NAMESPACE / f"{name}.img"
        assert file.exists()
        home.store.delete(home.cron())

        async def closed():
            return (await cron.handle.describe()).status is WorkflowExecutionStatus.COMPLETED

        await eventually(closed)
        await eventually(lambda: not home.volumes() and not file.exists())
        await eventually(lambda: not home.store.deletions())


async def test_retention_none_of_a_cron_that_went_with_its_execution_while_nobody_looked(bound, home, monkeypatch):
    home.release(b"one")
    async with bound() as cron:
        home.apply(retentionPolicy="None")
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
    await cron.handle.terminate()
    last = home.cron()
    home.store.delete(last)
    home.store.forget(last.metadata.uid)
    kept = home.store.list(DataVolume)
    monkeypatch.setattr(bind, "RESYNC", 0.5)
    async with bound() as cron:
        await eventually(lambda: not home.volumes() and not home.store.list(DataSource))
    assert kept


async def test_a_cron_that_finds_its_object_gone_is_told_its_last_policy_before_it_cleans_up(dev, home, running):
    digest = home.release(b"one")
    async with running(dev.client, home) as cron:
        ref = home.apply(retentionPolicy="None")
        await cron.start(ref)
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        home.apply(retentionPolicy="All")
        last = home.cron()
        home.store.delete(last)
        await cron.handle.signal(DataImportCronWorkflow.changed, ref.uid)

        async def found_gone():
            return (await cron.state()).decision.verdict is Verdict.GONE

        await eventually(found_gone)
        gone = ObjectDeleted(uid=ref.uid, clean_up=clean_up_of(last))
        await cron.handle.signal(DataImportCronWorkflow.object_deleted, gone)
        assert await asyncio.wait_for(cron.handle.result(), 20) == "deleted"
        assert home.volumes() == {import_name(DATA_SOURCE, digest): "Succeeded"}
        assert home.points_to() == import_name(DATA_SOURCE, digest)


async def test_a_cron_that_nobody_tells_cleans_up_by_the_policy_that_it_knows(skipping, home, running):
    home.release(b"one")
    async with running(skipping.client, home) as cron:
        ref = home.apply(retentionPolicy="None")
        await cron.start(ref)
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        home.store.delete(home.cron())
        await cron.handle.signal(DataImportCronWorkflow.changed, ref.uid)

        async def found_gone():
            return (await cron.state()).decision.verdict is Verdict.GONE

        await eventually(found_gone)
        await skipping.sleep(timedelta(seconds=30))
        assert await cron.handle.result() == "deleted"
        assert home.volumes() == {}


async def test_continue_as_new_in_mid_import_loses_nothing(home, running):
    home.importer.gate.clear()
    digest = home.release(b"large")
    name = import_name(DATA_SOURCE, digest)
    # The server suggests it after so few events that every poll leads to it.
    async with (
        dev_server("--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=20") as env,
        running(env.client, home) as cron,
    ):
        first = await cron.start(home.apply())
        await eventually(lambda: home.importer.running == 1)
        newer = home.release(b"newer")
        runs = {first.first_execution_run_id}
        for _ in range(8):
            result = await cron.handle.execute_update("poll_now", "", result_type=PollResult)
            assert (result.digest, result.message) == (newer, f"Import {name} goes first")
            runs.add((await cron.handle.describe()).run_id)
        assert len(runs) > 1
        assert (await cron.state()).running.data_volume == name
        home.importer.gate.set()
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, newer), 40)
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        history = (await cron.state()).history
        assert [(r.digest, r.outcome) for r in history] == [(newer, Outcome.SUCCEEDED), (digest, Outcome.SUCCEEDED)]
        assert home.importer.started == [digest, newer]


async def test_a_deletion_that_cannot_be_done_holds_up_nobody(bound, home, monkeypatch):
    home.release(b"one")
    stuck = "stuck-volume"
    delete = home.home.volumes.delete
    allowed = asyncio.Event()

    async def refuse(namespace, name):
        if name == stuck and not allowed.is_set():
            raise OSError(30, "Read-only file system")
        await delete(namespace, name)

    monkeypatch.setattr(home.home.volumes, "delete", refuse)
    async with bound():
        volume, _ = home.store.apply(blank_volume(stuck))
        await eventually(lambda: home.volumes().get(stuck) == "Succeeded")
        home.store.delete(volume)
        await eventually(lambda: stuck not in home.volumes())
        home.apply()
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        assert [gone.metadata.name for gone in home.store.deletions()] == [stuck]
        allowed.set()
        await eventually(lambda: not home.store.deletions())


async def test_two_hosts_on_one_temporal_namespace_never_meet(dev, home, running, tmp_path):
    other = TestHome(tmp_path / "other")
    ours, theirs = home.release(b"ours"), other.release(b"theirs")
    first, second = workers(dev.client, other.home, site="other-host")
    async with running(dev.client, home), first, second:
        tasks = [
            asyncio.create_task(home.home.bind(dev.client, site=SITE, machine="machine-1")),
            asyncio.create_task(other.home.bind(dev.client, site="other-host", machine="machine-2")),
        ]
        try:
            home.apply()
            other.apply()
            await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, ours))
            await eventually(lambda: other.points_to() == import_name(DATA_SOURCE, theirs))
            assert home.importer.started == [ours]
            assert other.importer.started == [theirs]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_site_of_another_machine_is_refused(dev, home, running):
    home.release(b"one")
    async with running(dev.client, home) as cron:
        await dev.client.start_workflow(
            DataImportCronWorkflow.run,
            {"site": SITE, "cron": {"namespace": NAMESPACE, "name": "x", "uid": "u"}, "state": None},
            id=cron.id,
            task_queue="nobody",
            memo={"machine": "machine-9"},
        )
        binding = asyncio.create_task(home.home.bind(dev.client, site=SITE, machine="machine-1"))
        try:
            home.apply()
            await asyncio.sleep(3)
            assert home.source.lookups == 0, URL
        finally:
            binding.cancel()
            await asyncio.gather(binding, return_exceptions=True)


def test_the_documents_of_these_tests_are_valid():
    assert validate(cron_document()) == []
