import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from temporalio.client import Client, WorkflowHandle

from dataimportcron import naming
from dataimportcron.messages import CronInput, CronState, ObjectRef
from tests.support.home import NAME, NAMESPACE, TestHome
from tests.support.temporal import dev_server, time_skipping
from worker import build
from worker.run import workers
from workflows.data_import_cron import DataImportCronWorkflow

SITE = "test-host"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """The binding looks for news five times as often as usual."""
    monkeypatch.setattr(build, "_SCAN", 0.2)


@pytest.fixture
def home(tmp_path) -> TestHome:
    return TestHome(tmp_path / "state")


@pytest.fixture
async def skipping():
    async with time_skipping() as env:
        yield env


@pytest.fixture
async def dev():
    async with dev_server() as env:
        yield env


class Running:
    """A worker that serves the test's home, and its one cron."""

    def __init__(self, client: Client, home: TestHome) -> None:
        self.client = client
        self.home = home
        self.id = naming.cron_workflow_id(SITE, NAMESPACE, NAME)

    @property
    def handle(self) -> WorkflowHandle:
        return self.client.get_workflow_handle_for(DataImportCronWorkflow.run, self.id)

    def import_handle(self, name: str) -> WorkflowHandle:
        return self.client.get_workflow_handle(naming.volume_workflow_id(SITE, NAMESPACE, name))

    async def start(self, ref: ObjectRef, state: CronState | None = None) -> WorkflowHandle:
        return await self.client.start_workflow(
            DataImportCronWorkflow.run,
            CronInput(site=SITE, cron=ref, state=state),
            id=self.id,
            task_queue=naming.task_queue(SITE),
        )

    async def state(self) -> CronState:
        return await self.handle.query(DataImportCronWorkflow.state, rpc_timeout=timedelta(seconds=10))


@pytest.fixture
def running():
    @asynccontextmanager
    async def serve(client: Client, home: TestHome) -> AsyncIterator[Running]:
        first, second = workers(client, home.home, site=SITE)
        async with first, second:
            yield Running(client, home)

    return serve


@pytest.fixture
def bound(dev, home, running):
    """A worker with its binding, an applied cron and an import that hangs in its middle."""

    @asynccontextmanager
    async def start():
        async with running(dev.client, home) as cron:
            binding = asyncio.create_task(home.home.bind(dev.client, site=SITE, machine="machine-1"))
            try:
                yield cron
            finally:
                binding.cancel()
                await asyncio.gather(binding, return_exceptions=True)

    return start
