"""A resync finds what is amiss, and leaves a cron alone whose execution knows all."""

from datetime import timedelta

import pytest

from dataimportcron import naming
from dataimportcron.api.types import DataSource
from dataimportcron.host import clock
from dataimportcron.manifests import with_annotations
from tests.support.home import DATA_SOURCE, NAMESPACE
from tests.support.temporal import eventually
from worker.binding import bind
from worker.binding.executions import Executions


@pytest.fixture
def resyncs(monkeypatch):
    """A list that grows with each resync; they are frequent."""
    made, running = [], Executions.running_crons

    async def counted(self):
        made.append(await running(self))
        return made[-1]

    monkeypatch.setattr(bind, "RESYNC", 0.5)
    monkeypatch.setattr(Executions, "running_crons", counted)
    return made


async def several(resyncs):
    until = len(resyncs) + 4
    await eventually(lambda: len(resyncs) >= until, 60)


async def length(cron):
    return (await cron.handle.describe()).history_length


async def test_what_is_at_rest_is_not_woken(bound, home, resyncs):
    home.release(b"one")
    async with bound() as cron:
        home.apply()
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        await several(resyncs)
        before = await length(cron)
        await several(resyncs)
        assert await length(cron) == before


async def test_a_data_source_whose_import_was_forgotten_is_pointed_to_it_again(bound, home, resyncs):
    home.release(b"one")
    async with bound():
        home.apply()
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        name = home.points_to()
        await several(resyncs)
        before = home.store.get(DataSource, NAMESPACE, DATA_SOURCE)
        home.store.patch(before, before.model_copy(update={"spec": type(before.spec)()}))
        await eventually(lambda: home.points_to() == name, 60)


async def test_an_execution_that_was_terminated_is_made_anew(bound, home, resyncs):
    home.release(b"one")
    async with bound() as cron:
        home.apply()
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        await several(resyncs)
        run = (await cron.handle.describe()).run_id
        await cron.handle.terminate()
        await eventually(lambda: resyncs[-1].get((NAMESPACE, cron.id.rpartition("/")[2]), run) != run, 60)


async def test_a_poll_that_was_requested_for_later_is_made_when_its_time_has_come(bound, home, resyncs):
    home.release(b"one")
    async with bound():
        home.apply()
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        await several(resyncs)
        before = home.cron()
        soon = f"{clock.now() + timedelta(seconds=3):%Y-%m-%dT%H:%M:%SZ}"
        home.store.patch(before, with_annotations(before, {naming.ANNOTATION_NEXT_CRON_TIME: soon}))
        await eventually(lambda: naming.ANNOTATION_NEXT_CRON_TIME not in home.cron().metadata.annotations, 60)
