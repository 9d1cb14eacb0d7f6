"""What else an operator may do with Temporal's own verbs, to anything, in mid-import: it converges.

The binding's comparison is set to run every half second instead of every five minutes.
"""

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from temporalio import workflow
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import (
    PauseActivityRequest,
    PauseWorkflowExecutionRequest,
    ResetActivityRequest,
    ResetWorkflowExecutionRequest,
    UnpauseActivityRequest,
    UnpauseWorkflowExecutionRequest,
    UpdateActivityOptionsRequest,
)
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from dataimportcron import naming
from dataimportcron.api.types import DataImportCron, DataVolume
from dataimportcron.errors import RegistryUnavailableError
from dataimportcron.host import clock
from dataimportcron.messages import Outcome, PollResult
from dataimportcron.naming import import_name
from tests.support import sight
from tests.support.home import DATA_SOURCE, NAME, NAMESPACE, SIZE
from tests.support.temporal import dev_server, eventually
from tests.workflow.conftest import SITE
from worker.binding import bind
from worker.doctor import engine as doctor
from worker.doctor.finding import Level
from worker.temporal import Endpoint

NO_SANDBOX = UnsandboxedWorkflowRunner()


@workflow.defn(name="DataImportCron")
class BrokenDataImportCron:
    """The cron's code with a bug."""

    @workflow.run
    async def run(self, start: dict[str, Any]) -> str:
        raise RuntimeError(f"a bug in front of {start['cron']['name']}")


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(bind, "RESYNC", 0.5)


@asynccontextmanager
async def in_mid_import(bound, home):
    home.importer.gate.clear()
    digest = home.release(b"large")
    async with bound() as cron:
        home.apply()
        await eventually(lambda: home.importer.running == 1)
        yield cron, import_name(DATA_SOURCE, digest)


async def converges(home, name):
    """The import is whole, the DataSource points to it, the cron says so; nothing else is there."""
    home.importer.gate.set()
    await eventually(lambda: home.points_to() == name, 60)
    await eventually(lambda: home.condition("UpToDate")[0] == "True", 60)
    assert home.volumes() == {name: "Succeeded"}


async def points_of(handle):
    """The events that an execution can be reset to."""
    return [
        event.event_id
        async for event in handle.fetch_history_events()
        if event.HasField("workflow_task_completed_event_attributes")
    ]


async def reset(cron, workflow_id, point):
    await cron.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=cron.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id),
            reason="test",
            request_id=f"reset-{workflow_id}-{point}",
            workflow_task_finish_event_id=point,
        )
    )


@pytest.mark.parametrize("which", [0, 1, -2, -1])
async def test_the_cron_is_reset_to_a_point_before_and_during_its_import(bound, home, which):
    async with in_mid_import(bound, home) as (cron, name):
        points = await points_of(cron.handle)
        await reset(cron, cron.id, points[which])
        await converges(home, name)
        assert home.importer.started == home.importer.started[:1]


@pytest.mark.parametrize("which", [0, -1])
async def test_the_cron_is_reset_to_a_point_before_what_it_has_finished(bound, home, which):
    home.release(b"one")
    async with bound() as cron:
        home.apply()
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        newer = home.release(b"two")
        await cron.handle.execute_update("poll_now", "test", result_type=PollResult)
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, newer))
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        before = home.volumes()
        points = await points_of(cron.handle)
        await reset(cron, cron.id, points[which])
        result = await cron.handle.execute_update("poll_now", "again", result_type=PollResult)
        assert result.digest == newer
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        assert home.points_to() == import_name(DATA_SOURCE, newer)
        assert home.volumes() == before
        assert len(home.importer.started) == 2


@pytest.mark.parametrize("which", [0, -1])
async def test_the_import_is_reset(bound, home, which):
    async with in_mid_import(bound, home) as (cron, name):
        child = cron.import_handle(name)
        points = await points_of(child)
        await reset(cron, child.id, points[which])
        await converges(home, name)


@pytest.mark.parametrize("verb", ["terminate", "cancel"])
async def test_the_import_is_ended_and_started_again_without_anybody(bound, home, verb):
    async with in_mid_import(bound, home) as (cron, name):
        child = cron.import_handle(name)
        await getattr(child, verb)()
        await converges(home, name)
        outcomes = [record.outcome for record in (await cron.state()).history]
        assert outcomes[0] is Outcome.SUCCEEDED
        assert (await cron.state()).running is None


@pytest.mark.parametrize("verb", ["terminate", "cancel"])
async def test_the_cron_is_ended_and_started_again_with_its_memory(bound, home, verb):
    home.release(b"one")
    async with bound() as cron:
        home.apply()

        async def has_imported():
            # The condition is written before the execution hears of it: what it must remember is its own.
            return home.condition("UpToDate")[0] == "True" and len((await cron.state()).history) == 1

        await eventually(has_imported)
        ended = (await cron.handle.describe()).run_id
        await getattr(cron.handle, verb)()

        async def remembers():
            described = await cron.handle.describe()
            return described.run_id != ended and len((await cron.state()).history) == 1

        await eventually(remembers, 40)
        newer = home.release(b"two")
        await cron.handle.execute_update("poll_now", "test", result_type=PollResult)
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, newer))
        assert len(home.volumes()) == 2, "no volume is deleted because an execution ended"


async def test_what_was_ended_while_no_worker_ran_is_restored_at_its_start(bound, home, monkeypatch):
    monkeypatch.setattr(bind, "RESYNC", 300.0)
    home.importer.gate.clear()
    name = import_name(DATA_SOURCE, home.release(b"large"))
    async with bound() as cron:
        home.apply()
        await eventually(lambda: home.importer.running == 1)
    await cron.handle.terminate()
    await cron.import_handle(name).terminate()
    async with bound():
        await converges(home, name)


@pytest.mark.parametrize("verb", ["terminate", "cancel", "reset"])
async def test_the_population_of_a_users_data_volume_is_restored(bound, home, verb):
    home.importer.gate.clear()
    digest = home.release(b"large")
    volume = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": "mine", "namespace": NAMESPACE},
        "spec": {
            "source": {"registry": {"url": f"docker://quay.io/kubevirt/fedora@{digest}"}},
            "storage": {"resources": {"requests": {"storage": SIZE}}},
        },
    }
    async with bound() as cron:
        home.store.apply(volume)
        await eventually(lambda: home.importer.running == 1)
        handle = cron.import_handle("mine")
        if verb == "reset":
            await reset(cron, handle.id, (await points_of(handle))[-1])
        else:
            await getattr(handle, verb)()
        home.importer.gate.set()
        await eventually(lambda: home.volumes() == {"mine": "Succeeded"}, 60)


def of_activity(cron, request, workflow_id, kind, **values):
    return request(
        namespace=cron.client.namespace, execution=WorkflowExecution(workflow_id=workflow_id), type=kind, **values
    )


async def test_a_paused_import_rests_until_it_is_unpaused(bound, home):
    async with in_mid_import(bound, home) as (cron, name):
        service, child = cron.client.workflow_service, cron.import_handle(name)
        await service.pause_activity(
            of_activity(cron, PauseActivityRequest, child.id, "import_data_volume", identity="anna", reason="upgrade")
        )
        await eventually(lambda: home.importer.running == 0, 40)
        await eventually(lambda: "ActivityPaused" in [reason for reason, _ in sight.warnings(home)], 40)
        for kind, its in ((DataImportCron, NAME), (DataVolume, name)):
            (words,) = {words for reason, words in sight.warnings(home, kind, its) if reason == "ActivityPaused"}
            assert f"In execution {child.id} activity import_data_volume is paused by anna: upgrade." in words
        endpoint = Endpoint(address=cron.client.service_client.config.target_host)
        found = [it async for it in doctor.check(endpoint, SITE, [home.cron()], clock.now()) if "paused" in it.found]
        assert [(it.level, it.what) for it in found] == [(Level.NOTE, f"execution {child.id}")]
        assert found[0].cure == f"temporal activity unpause --workflow-id {child.id} --activity-type import_data_volume"
        home.importer.gate.set()
        # The operator's will is done: the cron goes on polling meanwhile, and the import stays where it is.
        for _ in range(3):
            await cron.handle.execute_update("poll_now", "meanwhile", result_type=PollResult)
        assert home.volumes()[name] != "Succeeded"
        await service.unpause_activity(of_activity(cron, UnpauseActivityRequest, child.id, "import_data_volume"))
        await converges(home, name)


async def test_a_paused_import_can_be_deleted(bound, home):
    async with in_mid_import(bound, home) as (cron, name):
        child = cron.import_handle(name)
        await cron.client.workflow_service.pause_activity(
            of_activity(cron, PauseActivityRequest, child.id, "import_data_volume", identity="test")
        )
        await eventually(lambda: home.importer.running == 0, 40)
        home.store.delete(home.cron())
        await eventually(lambda: not home.store.deletions(), 40)

        async def closed():
            return (await cron.handle.describe()).status is WorkflowExecutionStatus.COMPLETED

        await eventually(closed)
        assert home.volumes() == {}


async def test_a_paused_poll_is_harmless(bound, home):
    home.source.failure = RegistryUnavailableError("quay.io answered 503")
    async with bound() as cron:
        home.apply(schedule="0 0 1 1 *")
        await eventually(lambda: home.condition("UpToDate")[1] == "RegistryUnavailable")
        with suppress(RPCError):  # between two tries of the cron's there is none to be paused
            await cron.client.workflow_service.pause_activity(
                of_activity(cron, PauseActivityRequest, cron.id, "look_up_digest", identity="test")
            )
        digest = home.release(b"one")
        home.source.failure = None
        await cron.handle.execute_update("poll_now", "test", result_type=PollResult)
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, digest))


async def test_an_import_is_reset_and_given_other_options_while_it_waits_for_its_next_try(bound, home):
    name = import_name(DATA_SOURCE, home.release(b"one"))
    home.importer.failure = RegistryUnavailableError("quay.io: connection reset")
    async with bound() as cron:
        home.apply()
        await eventually(lambda: home.condition("UpToDate")[1] == "ImportFailed")
        service, child = cron.client.workflow_service, cron.import_handle(name)
        options = ActivityOptions()
        options.retry_policy.initial_interval.FromSeconds(1)
        await service.update_activity_options(
            of_activity(
                cron,
                UpdateActivityOptionsRequest,
                child.id,
                "import_data_volume",
                activity_options=options,
                update_mask=FieldMask(paths=["retry_policy.initial_interval"]),
            )
        )
        home.importer.failure = None
        with suppress(RPCError):  # it may have succeeded by now
            await service.reset_activity(of_activity(cron, ResetActivityRequest, child.id, "import_data_volume"))
        await converges(home, name)


@pytest.mark.parametrize("whose", ["cron", "import"])
async def test_a_paused_execution_goes_on_where_it_was(home, running, whose):
    home.importer.gate.clear()
    name = import_name(DATA_SOURCE, home.release(b"large"))
    async with (
        dev_server("--dynamic-config-value", "frontend.WorkflowPauseEnabled=true") as env,
        running(env.client, home) as cron,
    ):
        binding = asyncio.create_task(home.home.bind(env.client, site=SITE, machine="machine-1"))
        try:
            home.apply()
            await eventually(lambda: home.importer.running == 1)
            paused = cron.id if whose == "cron" else cron.import_handle(name).id
            await env.client.workflow_service.pause_workflow_execution(
                PauseWorkflowExecutionRequest(
                    namespace=env.client.namespace, workflow_id=paused, identity="test", request_id="pause"
                )
            )
            home.importer.gate.set()
            await asyncio.sleep(1)
            await env.client.workflow_service.unpause_workflow_execution(
                UnpauseWorkflowExecutionRequest(
                    namespace=env.client.namespace, workflow_id=paused, identity="test", request_id="unpause"
                )
            )
            await converges(home, name)
        finally:
            binding.cancel()
            await asyncio.gather(binding, return_exceptions=True)


async def test_what_temporal_reports_as_stuck_is_said_on_the_object(home):
    """No worker runs that knows the execution: its only one fails its tasks."""
    once = ("--dynamic-config-value", "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=1")
    broken = [BrokenDataImportCron]
    async with (
        dev_server(*once) as env,
        Worker(env.client, task_queue=naming.task_queue(SITE), workflows=broken, workflow_runner=NO_SANDBOX),
    ):
        binding = asyncio.create_task(home.home.bind(env.client, site=SITE, machine="machine-1"))
        try:
            home.apply()
            await eventually(lambda: "EngineProblem" in [reason for reason, _ in sight.warnings(home)], 40)
            (words,) = {words for reason, words in sight.warnings(home) if reason == "EngineProblem"}
            assert f"execution {SITE}/dataimportcron/{NAMESPACE}/{NAME} makes no progress" in words
            assert "WorkflowTaskFailed" in words
            assert home.store.get(DataImportCron, NAMESPACE, NAME)
        finally:
            binding.cancel()
            await asyncio.gather(binding, return_exceptions=True)
