"""A worker of the previous version, from its wheel, beside today's: on the same folder, site and queues."""

import asyncio

import pytest

from dataimportcron import naming
from dataimportcron.api.types import DataVolume
from dataimportcron.messages import Outcome
from dataimportcron.naming import import_name
from tests.support.older import unpacked_wheel
from tests.support.real_host import NAMESPACE, RealHost, separate_worker
from tests.support.temporal import eventually
from tests.workflow.conftest import SITE
from worker.run import workers
from workflows.data_import_cron import DataImportCronWorkflow

CRONS = ("alma", "debian", "fedora", "ubuntu")


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    return unpacked_wheel(tmp_path_factory.mktemp("older"))


def handle_of(client, name):
    return client.get_workflow_handle_for(DataImportCronWorkflow.run, naming.cron_workflow_id(SITE, NAMESPACE, name))


async def served_by(client):
    """Which workers have done workflow tasks, and which have done activities, of all crons that run."""
    tasks, activities = set(), set()
    for name in CRONS:
        async for event in handle_of(client, name).fetch_history_events():
            if event.HasField("workflow_task_completed_event_attributes"):
                tasks.add(event.workflow_task_completed_event_attributes.identity)
            if event.HasField("activity_task_started_event_attributes"):
                activities.add(event.activity_task_started_event_attributes.identity)
    return tasks, activities


async def test_both_do_tasks_of_the_same_crons_and_nothing_jams(dev, tmp_path, older):
    host = RealHost(tmp_path)
    released = {name: host.release(name, f"{name} 0".encode()) for name in CRONS}
    digests = {name: [digest] for name, digest in released.items()}
    first, second = workers(dev.client, host.home, site=SITE)
    address = dev.client.service_client.config.target_host

    def all_imported():
        wanted = {name: import_name(name, digests[name][-1]) for name in CRONS}
        return {name: host.points_to(name) for name in CRONS} == wanted

    async with first, second:
        binding = asyncio.create_task(host.home.bind(dev.client, site=SITE, machine="machine-1"))
        try:
            with separate_worker(host, address, SITE, code=older):
                for name in CRONS:
                    host.apply(name)
                await eventually(all_imported, 60)
                for number in range(1, 4):
                    for name in CRONS:
                        digests[name].append(host.release(name, f"{name} {number}".encode()))
                    await eventually(all_imported, 60)

                async def both():
                    tasks, activities = await served_by(dev.client)
                    return len(tasks) == len(activities) == 2 and "separate" in tasks & activities

                await eventually(both, 60)
            # The older one has gone; today's takes over what it held.
            for name in CRONS:
                digests[name].append(host.release(name, f"{name} last".encode()))
            await eventually(all_imported, 60)
            for name in CRONS:
                assert host.content(host.points_to(name)) == f"{name} last".encode()
                await eventually(lambda name=name: host.up_to_date(name) == ("True", "UpToDate"))
                history = (await handle_of(dev.client, name).query(DataImportCronWorkflow.state)).history
                assert [record.digest for record in history] == digests[name][::-1]
                assert {record.outcome for record in history} == {Outcome.SUCCEEDED}
            assert {v.status.phase for v in host.home.store.list(DataVolume, NAMESPACE)} == {"Succeeded"}
        finally:
            binding.cancel()
            await asyncio.gather(binding, return_exceptions=True)


def test_a_shallow_clone_is_told_what_to_fetch(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.support.older.COMMIT", "0" * 40)
    with pytest.raises(RuntimeError, match="git fetch --unshallow"):
        unpacked_wheel(tmp_path)
