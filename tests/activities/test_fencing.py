"""A worker that was stopped in the middle of an activity and wakes up late writes nothing wrong, wherever it stood."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from itertools import count

import pytest
from temporalio.exceptions import ApplicationError

from activities.data_source import DataSourceActivities
from activities.population import PopulationActivities
from activities.retention import RetentionActivities
from dataimportcron.api.conditions import Phase
from dataimportcron.api.types import DataSource, DataVolume
from dataimportcron.errors import RegistryUnavailableError
from dataimportcron.messages import CleanUp, CleanUpInput, DropInput, FailInput, PromoteInput, Trigger
from tests.activities.conftest import NOW
from tests.support.home import DATA_SOURCE, NAMESPACE


class Stopped:
    """The objects as a worker sees them that is stopped just before one of its calls; `meanwhile` others work on."""

    def __init__(self, objects, before, meanwhile) -> None:
        self._objects, self._before, self._meanwhile = objects, before, meanwhile
        self.calls = 0

    def __getattr__(self, verb):
        async def call(*arguments, **options):
            self.calls += 1
            if self._before in {self.calls, verb}:
                self._before = None
                await self._meanwhile()
            return await getattr(self._objects, verb)(*arguments, **options)

        return call


def retention(home, before, meanwhile):
    """The activities of a worker that is stopped."""
    stopped = Stopped(home.home.objects, before, meanwhile)
    return RetentionActivities(stopped, home.home.volumes, home.home.authorizer, home.home.events)


async def two_imports(steps, home, **spec):
    ref = home.apply(**spec)
    decisions = []
    for content in (b"one", b"two"):
        home.release(content)
        decisions.append(await steps.import_(ref))
        await steps.promote(ref, decisions[-1])
    return ref, *decisions


def promotion(ref, decision, *, hours=0):
    now = NOW + timedelta(hours=hours)
    return PromoteInput(cron=ref, data_volume=decision.data_volume, digest=decision.digest, now=now)


async def test_a_late_promotion_never_moves_the_data_source_back(steps, home):
    ref, old, new = await two_imports(steps, home)

    for before in count(1):

        async def newer_comes(hours=before):
            home.release(b"two")
            await steps.look(ref)
            await steps.run(steps.data_source.update_data_source, promotion(ref, new, hours=hours))

        home.release(b"one")
        await steps.look(ref)
        stopped = Stopped(home.home.objects, before, newer_comes)
        late = DataSourceActivities(stopped, home.home.volumes, home.home.authorizer, home.home.events)
        with suppress(ApplicationError):  # a conflict is tried again
            await steps.run(late.update_data_source, promotion(ref, old))
        if stopped.calls < before:
            break
        assert home.points_to() == new.data_volume, f"stopped before call {before}"
        status = home.cron().status
        assert [entry.data_volume_name for entry in status.current_imports] == [new.data_volume]
        assert status.last_imported_pvc.name == new.data_volume
        said = await steps.run(late.update_data_source, promotion(ref, old))
        assert said == f"nothing: the current import is {new.data_volume} now"
    assert before > 6, "it was stopped at each of its calls"


async def test_a_late_pruning_never_deletes_what_has_been_promoted_since(steps, home):
    ref, old, new = await two_imports(steps, home, importsToKeep=1)

    async def the_old_digest_returns():
        home.release(b"one")
        await steps.look(ref)
        await steps.run(steps.data_source.update_data_source, promotion(ref, old, hours=1))

    late = retention(home, "delete", the_old_digest_returns)
    with pytest.raises(ApplicationError, match="changed since it was read"):
        await steps.run(late.prune_imports, promotion(ref, new))
    assert home.points_to() == old.data_volume
    assert old.data_volume in home.volumes()
    pruned = await steps.run(late.prune_imports, promotion(ref, new))
    assert pruned.removed == (new.data_volume,)
    assert list(home.volumes()) == [old.data_volume]


async def test_a_late_drop_never_deletes_an_import_that_has_succeeded_since(steps, home):
    home.release(b"one")
    ref = home.apply()
    decision = await steps.look(ref)
    populate = steps.populate(ref, decision)
    await steps.run(steps.volume.prepare_data_volume, populate)

    async def it_succeeds():
        await steps.run(steps.population.import_data_volume, populate)

    late = retention(home, "patch", it_succeeds)
    drop = DropInput(cron=ref, data_volume=decision.data_volume)
    with pytest.raises(ApplicationError, match="changed since it was read"):
        await steps.run(late.drop_import, drop)
    assert not await steps.run(late.drop_import, drop)
    assert home.volumes() == {decision.data_volume: "Succeeded"}


async def test_a_late_failure_never_spoils_a_complete_volume(steps, home):
    home.release(b"one")
    ref = home.apply()
    decision = await steps.import_(ref)
    home.importer.failure = RegistryUnavailableError("reset by peer")
    (home.folder / "volumes" / NAMESPACE / f"{decision.data_volume}.img").unlink()
    with pytest.raises(ApplicationError):
        await steps.run(steps.population.import_data_volume, steps.populate(ref, decision))
    volume = home.store.get(DataVolume, NAMESPACE, decision.data_volume)
    assert volume.status.phase == Phase.SUCCEEDED
    assert next(c for c in volume.status.conditions if c.type == "Running").reason == "Completed"


def populating(home, before, meanwhile):
    objects = Stopped(home.home.objects, before, meanwhile)
    return PopulationActivities(
        objects, home.source, home.home.volumes, home.importer, home.home.cloner, home.home.authorizer,
        home.home.events,
    ), objects  # fmt: skip


@pytest.mark.parametrize("before", [2, 3, 4, 5])
async def test_a_late_import_writes_nothing_into_a_data_volume_that_was_made_anew(steps, home, before):
    home.release(b"one")
    ref = home.apply()
    populate = steps.populate(ref, await steps.look(ref))
    await steps.run(steps.volume.prepare_data_volume, populate)
    anew = []

    async def it_is_made_anew():
        volume = home.store.get(DataVolume, NAMESPACE, populate.name)
        home.store.delete(volume)
        await home.home.volumes.delete(NAMESPACE, populate.name)
        home.store.forget(volume.metadata.uid)
        await steps.run(steps.volume.prepare_data_volume, populate)
        anew.append(home.store.get(DataVolume, NAMESPACE, populate.name))

    late, objects = populating(home, before, it_is_made_anew)
    with pytest.raises(ApplicationError, match="was deleted and made anew") as conflict:
        await steps.run(late.import_data_volume, populate)
    assert not conflict.value.non_retryable
    assert objects.calls > before
    assert [home.store.get(DataVolume, NAMESPACE, populate.name)] == anew
    await steps.run(late.import_data_volume, populate)
    assert home.volumes() == {populate.name: "Succeeded"}


async def test_a_cancellation_that_comes_when_the_volume_is_whole_does_not_hide_it(steps, home):
    home.release(b"one")
    ref = home.apply()
    populate = steps.populate(ref, await steps.look(ref))
    await steps.run(steps.volume.prepare_data_volume, populate)
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def it_is_cancelled():
        entered.set()
        await go_on.wait()

    late, _ = populating(home, 4, it_is_cancelled)
    running = asyncio.ensure_future(steps.run(late.import_data_volume, populate))
    await entered.wait()
    running.cancel()
    go_on.set()
    assert (await running).message == "Complete"
    assert home.volumes() == {populate.name: "Succeeded"}


async def test_x12_a_look_never_writes_over_what_others_wrote_meanwhile(steps, home):
    home.release(b"one")
    ref = home.apply()

    async def a_person_edits():
        home.apply(importsToKeep=7)

    stopped = Stopped(home.home.objects, "patch", a_person_edits)
    digest = type(steps.digest)(stopped, home.source, home.home.volumes, home.home.authorizer, home.home.events)
    steps.digest, usual = digest, steps.digest
    with pytest.raises(ApplicationError) as conflict:
        await steps.look(ref)
    assert conflict.value.type == "Conflict"
    assert conflict.value.next_retry_delay.total_seconds() < 1
    steps.digest = usual
    await steps.look(ref)
    assert home.cron().spec.imports_to_keep == 7


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), TimeoutError(), RegistryUnavailableError("x"), ValueError("broken")]
)
async def test_x15_no_error_but_not_found_leads_to_clean_up(steps, home, error):
    ref, *_ = await two_imports(steps, home, retentionPolicy="None")

    async def trouble():
        raise error

    for before in (1, "get"):
        late = retention(home, before, trouble)
        clean_up = CleanUp(retention_policy="None", data_source=DATA_SOURCE)
        with pytest.raises((ApplicationError, type(error))):
            await steps.run(late.clean_up, CleanUpInput(cron=ref, clean_up=clean_up, now=NOW))
    assert len(home.volumes()) == 2
    assert home.store.get(DataSource, NAMESPACE, DATA_SOURCE)


async def test_x16_a_repeated_activity_changes_nothing(steps, home):
    ref, old, new = await two_imports(steps, home)
    before = {v.metadata.name: v.metadata.uid for v in home.store.list(DataVolume, NAMESPACE)}
    for decision in (old, new):
        for _ in range(2):
            await steps.run(steps.volume.prepare_data_volume, steps.populate(ref, decision))
            await steps.promote(ref, new)
    await steps.look(ref, Trigger.CHANGE)
    assert {v.metadata.name: v.metadata.uid for v in home.store.list(DataVolume, NAMESPACE)} == before
    assert home.importer.started == [old.digest, new.digest]


@pytest.mark.parametrize(
    ("whose", "phase"), [("another", Phase.IMPORT_SCHEDULED), ("its own", Phase.FAILED), ("not recorded", Phase.FAILED)]
)
async def test_a_late_failure_is_not_written_into_the_successor_of_its_volume(steps, home, whose, phase):
    ref = home.apply()
    home.release(b"one")
    decision = await steps.look(ref)
    ready = await steps.run(steps.volume.prepare_data_volume, steps.populate(ref, decision))
    uid = {"another": "the-last-ones-uid", "its own": ready.uid, "not recorded": ""}[whose]
    failure = FailInput(
        namespace=NAMESPACE, name=decision.data_volume, now=NOW, reason="ImageNotFound", message="no such tag", uid=uid
    )
    await steps.run(steps.volume.fail_data_volume, failure)
    volume = home.store.get(DataVolume, NAMESPACE, decision.data_volume)
    assert volume.status.phase == phase
    if phase == Phase.FAILED:
        running = next(it for it in volume.status.conditions if it.type == "Running")
        assert (running.reason, running.message) == ("ImagePullFailed", "failed to pull image: no such tag")
    events = home.store.record(DataVolume, NAMESPACE, decision.data_volume).events
    assert ("ImageNotFound" in [event["reason"] for event in events]) is (phase == Phase.FAILED)
