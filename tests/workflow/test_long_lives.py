"""What a cron keeps over months: its memory across runs, its timers' bounds, its signals, and one poll per downtime."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from temporalio.client import WorkflowExecutionStatus

from dataimportcron.errors import RegistryUnavailableError, TooManyRequestsError
from dataimportcron.messages import HISTORY_LENGTH, CronState, ImportRecord, Outcome
from dataimportcron.naming import import_name
from tests.support import sight
from tests.support.home import DATA_SOURCE
from tests.support.temporal import dev_server, eventually
from workflows.data_import_cron import DataImportCronWorkflow


def a_record(number):
    return ImportRecord(
        digest=f"sha256:{number:064x}",
        data_volume=f"fedora-{number:012x}",
        started=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number),
        duration=12.5,
        bytes_read=2**20 * number,
        outcome=Outcome.SUCCEEDED,
        message="",
        run_id=f"run-{number}",
    )


FULL = CronState(history=tuple(a_record(number) for number in range(HISTORY_LENGTH, 0, -1)))


async def runs_of(cron, first):
    """Each run of the chain, oldest first, with its history's events."""
    run_id, found = first, []
    while run_id:
        handle = cron.client.get_workflow_handle(cron.id, run_id=run_id)
        events = [event async for event in handle.fetch_history_events()]
        found.append(events)
        closing = events[-1].workflow_execution_continued_as_new_event_attributes
        run_id = closing.new_execution_run_id
    return found


async def test_a_hundred_imports_survive_continue_as_new_and_are_a_table(skipping, home, running):
    digest = home.release(b"one")
    async with running(skipping.client, home) as cron:
        first = await cron.start(home.apply(schedule="0 0 * * *"), FULL)
        await cron.handle.signal(DataImportCronWorkflow.changed, "")
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        await skipping.sleep(timedelta(days=10))
        assert (await cron.handle.describe()).run_id != first.first_execution_run_id
        history = (await cron.state()).history
        assert len(history) == HISTORY_LENGTH
        assert history[0].digest == digest
        assert history[1:] == FULL.history[:-1]
        table = await sight.details(cron.handle)
        heads = table.replace("\N{NO-BREAK SPACE}", "")
        assert "| started (UTC) | digest | seconds | MiB read | outcome |" in heads
        assert "| 2026-04-11 00:00 | `000000000000` | 12.5 | 100.0 | Succeeded |" in table


@pytest.mark.parametrize(
    ("schedule", "failure", "days"),
    [
        ("* * * * *", None, 0),
        ("@every 1s", None, 0),
        ("0 0 1 1 *", None, 3),
        ("", None, 3),
        ("0 0 1 1 *", TooManyRequestsError("x", retry_after=10_000_000), 3),
        ("0 0 1 1 *", TooManyRequestsError("x", retry_after=0.001), 0),
        ("* * * * *", RegistryUnavailableError("x"), 0),
    ],
)
async def test_no_timer_is_longer_than_a_day_or_shorter_than_a_second(  # noqa: PLR0913, PLR0917 -- three of them are fixtures
    skipping, home, running, schedule, failure, days
):
    home.release(b"one")
    home.source.failure = failure
    async with running(skipping.client, home) as cron:
        first = await cron.start(home.apply(schedule=schedule))
        await eventually(lambda: home.condition("UpToDate")[1])
        await skipping.sleep(timedelta(seconds=30) if schedule == "@every 1s" else timedelta(minutes=5))
        if days:
            await skipping.sleep(timedelta(days=days))
        timers = [
            event.timer_started_event_attributes.start_to_fire_timeout.ToTimedelta()
            for events in await runs_of(cron, first.first_execution_run_id)
            for event in events
            if event.HasField("timer_started_event_attributes")
        ]
        assert timers
        assert min(timers) >= timedelta(seconds=1)
        assert max(timers) <= timedelta(hours=24)


async def test_missed_ticks_are_one_poll(dev, home, running):
    """On the real server: the other one's time stands still while a task waits for a worker."""
    home.release(b"one")
    loop, resolve, polled = asyncio.get_running_loop(), home.source.resolve, []

    async def noted(image, *, fresh=False):
        polled.append(loop.time())
        return await resolve(image, fresh=fresh)

    home.source.resolve = noted
    async with running(dev.client, home) as cron:
        await cron.start(home.apply(schedule="@every 2s"))
        await eventually(lambda: len(polled) >= 2)
    missed = len(polled)
    await asyncio.sleep(5)  # the time that passes is what is tested: two ticks without a worker
    assert len(polled) == missed
    async with running(dev.client, home) as cron:
        await eventually(lambda: len(polled) >= missed + 3)
        caught_up, *others = polled[missed : missed + 3]
        gaps = [later - earlier for earlier, later in pairwise([caught_up, *others])]
        assert min(gaps) > 1, "one poll for all that were missed, then the usual rhythm"


async def test_no_signal_is_lost_across_continue_as_new(home, running):
    home.release(b"0")
    async with (
        dev_server("--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=20") as env,
        running(env.client, home) as cron,
    ):
        first = await cron.start(home.apply())
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        number = 0
        while number < 30 or (await cron.handle.describe()).run_id == first.first_execution_run_id:
            for _ in range(15):
                # Each is worth nothing unless the last one is heard: only it can find the last digest.
                number += 1
                last = home.release(f"{number}".encode())
                await cron.handle.signal(DataImportCronWorkflow.poll, f"release {number}")
            await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, last), 60)  # noqa: B023 -- called here
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        runs = await runs_of(cron, first.first_execution_run_id)
        assert len(runs) > 1
        assert (await cron.handle.describe()).status is WorkflowExecutionStatus.RUNNING
        # One that gave way to a newer digest before it had a DataVolume is Cancelled; it may have begun meanwhile.
        history = (await cron.state()).history
        begun = [record.digest for record in history if record.digest in home.importer.started]
        assert begun == home.importer.started[::-1]
        whole = {record.data_volume for record in history if record.outcome is Outcome.SUCCEEDED}
        assert {name for name, phase in home.volumes().items() if phase == "Succeeded"} <= whole


async def test_ids_and_the_memo_say_whose_they_are(bound, home):
    digest = home.release(b"one")
    async with bound() as cron:
        home.apply()
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, digest))
        assert cron.id == "test-host/dataimportcron/golden-images/fedora-cron"
        child = cron.import_handle(import_name(DATA_SOURCE, digest))
        assert child.id == f"test-host/datavolume/golden-images/{import_name(DATA_SOURCE, digest)}"
        for handle in (cron.handle, child):
            described = await handle.describe()
            assert await described.memo_value("machine") == "machine-1"
            assert described.typed_search_attributes.search_attributes
        assert (await child.describe()).status is WorkflowExecutionStatus.COMPLETED
