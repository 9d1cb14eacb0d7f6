"""Two queues: imports wait for volumes and registries, polls wait for nobody's import."""

from dataimportcron import naming
from dataimportcron.messages import PollResult
from tests.support.home import NAMESPACE, SIZE
from tests.support.temporal import eventually
from tests.workflow.conftest import SITE

MANY = 100


def waiting_import(number, digest):
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": f"large-{number}", "namespace": NAMESPACE},
        "spec": {
            "source": {"registry": {"url": f"docker://quay.io/kubevirt/large@{digest}"}},
            "storage": {"resources": {"requests": {"storage": SIZE}}},
        },
    }


async def test_a_hundred_imports_that_wait_starve_no_poll(bound, home):
    home.importer.gate.clear()
    digest = home.release(b"large")
    async with bound() as cron:
        for number in range(MANY):
            home.store.apply(waiting_import(number, digest))
        await eventually(lambda: list(home.volumes().values()).count("ImportScheduled") >= MANY - 20, 60)
        assert home.importer.running == home.home.concurrent_imports
        home.apply()
        await eventually(lambda: home.source.lookups >= 1)
        result = await cron.handle.execute_update("poll_now", "test", result_type=PollResult)
        assert result.digest == digest
        assert home.importer.running == home.home.concurrent_imports
        home.importer.gate.set()
        await eventually(lambda: set(home.volumes().values()) == {"Succeeded"}, 120)


async def test_polls_and_imports_are_on_queues_of_their_own(bound, home):
    digest = home.release(b"one")
    async with bound() as cron:
        home.apply()
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        child = cron.import_handle(naming.import_name("fedora", digest))
        queues = set()
        for handle in (cron.handle, child):
            async for event in handle.fetch_history_events():
                if event.HasField("activity_task_scheduled_event_attributes"):
                    scheduled = event.activity_task_scheduled_event_attributes
                    queues.add((scheduled.activity_type.name, scheduled.task_queue.name))
        assert {queue for name, queue in queues if name == "import_data_volume"} == {naming.import_task_queue(SITE)}
        assert {queue for name, queue in queues if name != "import_data_volume"} == {naming.task_queue(SITE)}
