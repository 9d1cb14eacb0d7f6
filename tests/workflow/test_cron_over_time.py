"""A cron's life in skipped time: months in seconds, on Temporal's time-skipping server."""

from datetime import timedelta

from dataimportcron.messages import Outcome
from dataimportcron.naming import import_name
from tests.support.home import DATA_SOURCE, NAME, NAMESPACE
from tests.support.temporal import eventually
from workflows import options
from workflows.data_import_cron import DataImportCronWorkflow


async def test_first_poll_is_at_once_and_imports(skipping, home, running):
    digest = home.release(b"one")
    async with running(skipping.client, home) as cron:
        await cron.start(home.apply())
        name = import_name(DATA_SOURCE, digest)
        await eventually(lambda: home.points_to() == name)
        await eventually(lambda: home.condition("UpToDate")[:2] == ("True", "UpToDate"))
        state = await cron.state()
        assert [(r.digest, r.outcome) for r in state.history] == [(digest, Outcome.SUCCEEDED)]
        assert home.condition("Progressing") == ("False", "NoImport", "No current import")
        assert home.cron().status.current_imports[0].document() == {"DataVolumeName": name, "Digest": digest}


async def test_weeks_pass_and_each_new_digest_is_imported_once(skipping, home, running):
    digests = [home.release(b"week 0")]
    async with running(skipping.client, home) as cron:
        await cron.start(home.apply(importsToKeep=3))
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, digests[0]))
        for week in range(1, 6):
            digests.append(home.release(f"week {week}".encode()))
            await skipping.sleep(timedelta(days=7))
            await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, digests[-1]))
        await eventually(lambda: len(home.volumes()) == 3)
        assert sorted(home.volumes()) == sorted(import_name(DATA_SOURCE, d) for d in digests[-3:])
        assert home.importer.started == digests
        assert [r.digest for r in (await cron.state()).history] == digests[::-1]


async def test_quiet_months_cost_one_activity_a_poll_and_continue_as_new(skipping, home, running):
    home.release(b"the same")
    async with running(skipping.client, home) as cron:
        first = await cron.start(home.apply(schedule="0 0 * * *"))
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        before = home.source.lookups
        await skipping.sleep(timedelta(days=60))
        await eventually(lambda: home.source.lookups >= before + 59)
        assert home.source.lookups <= before + 61
        runs = await cron.handle.describe()
        assert runs.run_id != first.first_execution_run_id
        assert len((await cron.state()).history) == 1
        assert runs.history_length < 13 * 9


async def test_a_long_history_is_continued_before_a_week_is_over(skipping, home, running, monkeypatch):
    monkeypatch.setattr(options, "LONGEST_HISTORY", 100)
    home.release(b"the same")
    async with running(skipping.client, home) as cron:
        first = await cron.start(home.apply(schedule="0 * * * *"))
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        before = home.source.lookups
        await skipping.sleep(timedelta(days=1))
        await eventually(lambda: home.source.lookups >= before + 23)
        described = await cron.handle.describe()
        assert described.run_id != first.first_execution_run_id
        assert described.history_length < 100 + 13
        [record] = (await cron.state()).history
        assert record.outcome is Outcome.SUCCEEDED


async def test_every_polls_although_changes_keep_coming(skipping, home, running):
    home.release(b"one")
    async with running(skipping.client, home) as cron:
        await cron.start(home.apply(schedule="@every 1h"))
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        before = home.source.lookups
        for _ in range(50):
            await skipping.sleep(timedelta(minutes=5))
            await cron.handle.signal(DataImportCronWorkflow.changed, "")
        assert 3 <= home.source.lookups - before <= 5


async def test_digests_a_b_a_import_a_once(skipping, home, running):
    a = home.release(b"a")
    async with running(skipping.client, home) as cron:
        await cron.start(home.apply(importsToKeep=3))
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, a))
        b = home.release(b"b")
        await cron.handle.signal(DataImportCronWorkflow.poll)
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, b))
        home.release(b"a")
        await cron.handle.signal(DataImportCronWorkflow.poll, "back to a")
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, a))
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        assert home.importer.started == [a, b]
        assert home.cron().status.last_imported_pvc.document() == {
            "namespace": NAMESPACE,
            "name": import_name(DATA_SOURCE, a),
        }
        assert (await cron.handle.describe()).status.name == "RUNNING", NAME
