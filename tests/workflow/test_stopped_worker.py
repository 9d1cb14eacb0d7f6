"""A worker process that is stopped in mid-import, while another takes over, and that wakes up when all is done."""

import asyncio
import os
import signal

from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.activity.v1 import ActivityOptions
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import UpdateActivityOptionsRequest

from dataimportcron import naming
from dataimportcron.api.types import DataVolume
from dataimportcron.messages import Outcome
from dataimportcron.naming import import_name
from demo.host import descendants
from tests.support.older import ROOT
from tests.support.real_host import NAMESPACE, RealHost, separate_worker
from tests.support.temporal import eventually
from tests.workflow.conftest import SITE
from worker.run import workers
from workflows.data_import_cron import DataImportCronWorkflow


async def _lower_heartbeat_timeout(client, digest):
    """Let the import's silence be noticed sooner than usual, by Temporal's own verb for that."""
    workflow_id = naming.volume_workflow_id(SITE, NAMESPACE, import_name("fedora", digest))
    options = ActivityOptions()
    options.heartbeat_timeout.FromSeconds(3)
    await client.workflow_service.update_activity_options(
        UpdateActivityOptionsRequest(
            namespace=client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id),
            type="import_data_volume",
            activity_options=options,
            update_mask=FieldMask(paths=["heartbeat_timeout"]),
        )
    )


async def test_it_writes_nothing_wrong_when_it_wakes_up(dev, tmp_path):
    host = RealHost(tmp_path)
    with (host.state.path / "settings.toml").open("a") as settings:
        settings.write(f"import_rate = {2**18}\n")
    content, newer = os.urandom(2**20 - 1) + b"1", os.urandom(2**18) + b"2"
    first = host.release("fedora", content)
    address = dev.client.service_client.config.target_host
    handle = dev.client.get_workflow_handle_for(
        DataImportCronWorkflow.run, naming.cron_workflow_id(SITE, NAMESPACE, "fedora")
    )
    with separate_worker(host, address, SITE, code=ROOT) as stopped:
        binding = asyncio.create_task(host.home.bind(dev.client, site=SITE, machine="machine-1"))
        try:
            host.apply("fedora")
            await eventually(lambda: any("dataimportcron.importer" in line for _, line in descendants(stopped.pid)), 60)
            await _lower_heartbeat_timeout(dev.client, first)
            os.kill(stopped.pid, signal.SIGSTOP)
            try:
                one, two = workers(dev.client, host.home, site=SITE)
                async with one, two:
                    # Its heartbeat has to time out first, and what was kept for it to be given to another.
                    await eventually(lambda: host.points_to("fedora") == import_name("fedora", first), 90)
                    second = host.release("fedora", newer)
                    await eventually(lambda: host.points_to("fedora") == import_name("fedora", second), 60)
                    await eventually(lambda: host.up_to_date("fedora") == ("True", "UpToDate"))
                    before = host.home.store.list(DataVolume, NAMESPACE)
                    os.kill(stopped.pid, signal.SIGCONT)
                    stopped.stdin.close()
                    assert await asyncio.to_thread(stopped.wait, 60) == 0
                    assert host.points_to("fedora") == import_name("fedora", second)
                    assert host.up_to_date("fedora") == ("True", "UpToDate")
                    after = host.home.store.list(DataVolume, NAMESPACE)
                    assert [(v.metadata.uid, v.status) for v in after] == [(v.metadata.uid, v.status) for v in before]
                    assert host.content(import_name("fedora", first)) == content
                    assert host.content(import_name("fedora", second)) == newer
                    state = await handle.query(DataImportCronWorkflow.state)
                    outcomes = [(record.digest, record.outcome) for record in state.history]
                    assert outcomes == [(second, Outcome.SUCCEEDED), (first, Outcome.SUCCEEDED)]
            finally:
                if stopped.poll() is None:
                    os.kill(stopped.pid, signal.SIGCONT)
        finally:
            binding.cancel()
            await asyncio.gather(binding, return_exceptions=True)
