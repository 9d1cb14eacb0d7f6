"""A DataVolume that waits: it looks soon, then seldom, at once when it is told to, and for as long as it takes."""

from datetime import timedelta

from dataimportcron import naming
from dataimportcron.api.types import DataVolume
from dataimportcron.messages import VolumeInput
from tests.support.home import NAMESPACE
from tests.support.temporal import dev_server, eventually
from tests.workflow.conftest import SITE
from workflows.data_volume import DataVolumeWorkflow

CLONE = {
    "apiVersion": "cdi.kubevirt.io/v1beta1",
    "kind": "DataVolume",
    "metadata": {"name": "clone", "namespace": NAMESPACE},
    "spec": {
        "source": {"pvc": {"namespace": NAMESPACE, "name": "golden"}},
        "storage": {"resources": {"requests": {"storage": "1Mi"}}},
    },
}
GOLDEN = CLONE | {
    "metadata": {"name": "golden", "namespace": NAMESPACE},
    "spec": CLONE["spec"] | {"source": {"blank": {}}},
}


async def populate(client, name="clone"):
    return await client.start_workflow(
        DataVolumeWorkflow.run,
        VolumeInput(site=SITE, namespace=NAMESPACE, name=name),
        id=naming.volume_workflow_id(SITE, NAMESPACE, name),
        task_queue=naming.task_queue(SITE),
    )


async def patience(handle):
    """Seconds of each time that it has waited."""
    history = await handle.fetch_history()
    timers = [event.timer_started_event_attributes for event in history.events]
    return [timer.start_to_fire_timeout.ToTimedelta().total_seconds() for timer in timers if timer.timer_id]


async def test_it_looks_soon_then_seldom_and_at_once_when_told(skipping, home, running):
    home.store.apply(CLONE)
    async with running(skipping.client, home):
        handle = await populate(skipping.client)
        await skipping.sleep(timedelta(minutes=10))
        waited = await patience(handle)
        assert waited[:6] == [5, 10, 20, 40, 60, 60]
        assert set(waited[6:]) == {60}
        await handle.signal(DataVolumeWorkflow.changed)

        async def anew():
            return (await patience(handle))[-1] == 5

        await eventually(anew)
        home.store.apply(GOLDEN)
        golden = await populate(skipping.client, "golden")
        await golden.result()
        await handle.signal(DataVolumeWorkflow.changed)
        await handle.result()
    assert home.store.get(DataVolume, NAMESPACE, "clone").status.phase == "Succeeded"


async def test_it_waits_for_longer_than_a_history_can_be(home, running):
    home.store.apply(CLONE)
    short = "--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=40"
    async with dev_server(*short) as dev, running(dev.client, home):
        handle = await populate(dev.client)
        later = dev.client.get_workflow_handle(handle.id)

        async def continued():
            await later.signal(DataVolumeWorkflow.changed)
            return (await later.describe()).run_id != handle.first_execution_run_id

        await eventually(continued, 40)
        home.store.apply(GOLDEN)
        await (await populate(dev.client, "golden")).result()
        await later.signal(DataVolumeWorkflow.changed)
        await later.result()
    assert home.store.get(DataVolume, NAMESPACE, "clone").status.phase == "Succeeded"
