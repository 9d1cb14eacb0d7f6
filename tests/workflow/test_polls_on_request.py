"""`poll_now` and the signal `poll`, on the real server: the time-skipping one may lose an update."""

import asyncio

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from dataimportcron.errors import RegistryUnavailableError, TooManyRequestsError
from dataimportcron.messages import PollResult, Verdict
from dataimportcron.naming import import_name
from tests.support.home import DATA_SOURCE
from tests.support.temporal import eventually
from workflows.data_import_cron import DataImportCronWorkflow

PATIENT = TooManyRequestsError("quay.io asks for patience", retry_after=36000)


def poll_now(cron, **options):
    return cron.handle.execute_update("poll_now", "test", result_type=PollResult, **options)


async def settled(cron, home):
    await cron.start(home.apply())
    await eventually(lambda: home.condition("UpToDate")[0] == "True")


async def test_poll_now_returns_once_the_poll_is_decided_and_never_spans_an_import(dev, home, running):
    home.importer.gate.clear()
    digest = home.release(b"large")
    async with running(dev.client, home) as cron:
        await cron.start(home.apply(schedule=""))
        result = await asyncio.wait_for(poll_now(cron), 20)
        assert (result.verdict, result.digest) == (Verdict.IMPORT, digest)
        assert result.data_volume == import_name(DATA_SOURCE, digest)
        await eventually(lambda: home.importer.running == 1)
        during = await asyncio.wait_for(poll_now(cron), 20)
        assert (during.verdict, during.reason) == (Verdict.WAIT, "ImportProgressing")
        home.importer.gate.set()
        await eventually(lambda: home.points_to() == result.data_volume)


async def test_two_at_once_are_both_answered(dev, home, running):
    home.release(b"one")
    async with running(dev.client, home) as cron:
        await settled(cron, home)
        newer = home.release(b"two")
        results = await asyncio.gather(*(poll_now(cron) for _ in range(5)))
        assert {result.digest for result in results} == {newer}
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, newer))


async def test_one_that_comes_during_a_poll_is_answered_by_a_poll_of_its_own(dev, home, running):
    home.release(b"one")
    gate, entered, resolve = asyncio.Event(), asyncio.Event(), home.source.resolve

    async def slow(image, *, fresh=False):
        answer = await resolve(image, fresh=fresh)
        entered.set()
        await gate.wait()
        return answer

    async with running(dev.client, home) as cron:
        await settled(cron, home)
        home.source.resolve = slow
        first = asyncio.create_task(poll_now(cron))
        await entered.wait()
        newer = home.release(b"two")
        second = asyncio.create_task(poll_now(cron))
        gate.set()
        assert (await second).digest == newer, "what was asked before it cannot answer it"
        await first


async def test_one_update_id_is_one_poll(dev, home, running):
    home.release(b"one")
    async with running(dev.client, home) as cron:
        await settled(cron, home)
        before = home.source.lookups
        first = await poll_now(cron, id="once")
        home.release(b"two")
        assert await poll_now(cron, id="once") == first
        assert home.source.lookups == before + 1


@pytest.mark.parametrize("how", ["update", "signal"])
@pytest.mark.parametrize("failure", [PATIENT, RegistryUnavailableError("quay.io answered 503")], ids=lambda f: f.reason)
async def test_it_cuts_the_backoff_of_a_retry_short(dev, home, running, how, failure):
    home.source.failure = failure
    async with running(dev.client, home) as cron:
        await cron.start(home.apply(schedule="0 0 1 1 *"))
        await eventually(lambda: home.condition("UpToDate")[1] == failure.reason)
        digest = home.release(b"one")
        home.source.failure = None
        if how == "update":
            assert (await asyncio.wait_for(poll_now(cron), 20)).digest == digest
        else:
            await cron.handle.signal(DataImportCronWorkflow.poll, "somebody cannot wait")
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, digest))


async def test_it_cuts_short_a_retry_that_temporal_holds_back(dev, home, running):
    """The second failure is of an activity that Temporal will try again hours later."""
    home.source.failure = TooManyRequestsError("quay.io asks for patience", retry_after=1)
    async with running(dev.client, home) as cron:
        await cron.start(home.apply(schedule="0 0 1 1 *"))
        await eventually(lambda: home.condition("UpToDate")[1] == "TooManyRequests")
        home.source.failure = PATIENT
        asked = home.source.lookups
        await eventually(lambda: home.source.lookups > asked, 40)
        digest = home.release(b"one")
        home.source.failure = None
        assert (await asyncio.wait_for(poll_now(cron), 20)).digest == digest


async def test_it_is_refused_while_the_cron_is_being_deleted(dev, home, running):
    home.importer.gate.clear()
    home.release(b"large")
    async with running(dev.client, home) as cron:
        ref = home.apply()
        await cron.start(ref)
        await eventually(lambda: home.importer.running == 1)
        home.store.delete(home.cron())
        await cron.handle.signal(DataImportCronWorkflow.deleted, ref.uid)
        with pytest.raises((WorkflowUpdateFailedError, RPCError)) as refused:
            await poll_now(cron)
        if isinstance(refused.value, WorkflowUpdateFailedError):
            assert "is being deleted" in str(refused.value.cause)
        assert await cron.handle.result() == "deleted"
        with pytest.raises(RPCError):
            await poll_now(cron)


async def test_signals_about_another_life_of_the_object_are_passed_over(dev, home, running):
    home.release(b"one")
    async with running(dev.client, home) as cron:
        await settled(cron, home)
        await cron.handle.signal(DataImportCronWorkflow.deleted, "another-uid")
        newer = home.release(b"two")
        assert (await poll_now(cron)).digest == newer
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, newer))
