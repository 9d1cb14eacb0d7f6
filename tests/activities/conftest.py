"""The activities on a real store, and one whole import by them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from temporalio.testing import ActivityEnvironment

from activities.data_source import DataSourceActivities
from activities.data_volume import DataVolumeActivities
from activities.digest import DigestActivities
from activities.population import PopulationActivities
from activities.retention import RetentionActivities
from dataimportcron.messages import LookupInput, PopulateInput, PromoteInput, Step, Trigger
from tests.support.home import NAMESPACE, TestHome

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def home(tmp_path) -> TestHome:
    return TestHome(tmp_path / "state")


@pytest.fixture
def run():
    return ActivityEnvironment().run


class Steps:
    """The activities, and one whole import by them."""

    def __init__(self, home: TestHome, run) -> None:
        objects, events = home.home.objects, home.home.events
        self.home, self.run = home, run
        self.digest = DigestActivities(objects, home.source, home.home.volumes, home.home.authorizer, events)
        self.volume = DataVolumeActivities(objects, home.home.volumes, home.home.authorizer, events)
        self.population = PopulationActivities(
            objects, home.source, home.home.volumes, home.importer, home.home.cloner, home.home.authorizer, events
        )
        self.data_source = DataSourceActivities(objects, home.home.volumes, home.home.authorizer, events)
        self.retention = RetentionActivities(objects, home.home.volumes, home.home.authorizer, events)

    async def look(self, ref, trigger=Trigger.TICK, **values):
        return await self.run(self.digest.look_up_digest, LookupInput(cron=ref, trigger=trigger, now=NOW, **values))

    def populate(self, ref, decision):
        return PopulateInput(
            namespace=NAMESPACE, name=decision.data_volume, now=NOW, cron=ref, digest=decision.digest,
            manifest_digest=decision.manifest_digest,
        )  # fmt: skip

    async def import_(self, ref):
        decision = await self.look(ref)
        populate = self.populate(ref, decision)
        ready = await self.run(self.volume.prepare_data_volume, populate)
        assert ready.step is Step.IMPORT
        await self.run(self.population.import_data_volume, populate)
        return decision

    async def clone(self, populate, ready):
        """The clone that a preparation has led to."""
        chosen = replace(populate, uid=ready.uid, source=ready.source)
        return await self.run(self.population.clone_data_volume, chosen)

    async def promote(self, ref, decision):
        promote = PromoteInput(cron=ref, data_volume=decision.data_volume, digest=decision.digest, now=NOW)
        said = await self.run(self.data_source.update_data_source, promote)
        return promote, said


@pytest.fixture
def steps(home, run) -> Steps:
    return Steps(home, run)
