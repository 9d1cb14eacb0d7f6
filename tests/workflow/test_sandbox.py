import asyncio

from temporalio.worker import Worker

from tests.support.sandboxed import OwnModuleWorkflow
from worker.run import workflow_runner


async def test_executions_share_the_compiled_code_of_their_file_and_nothing_else(dev):
    async with Worker(
        dev.client, task_queue="sandboxed", workflows=[OwnModuleWorkflow], workflow_runner=workflow_runner()
    ):
        names = ["first", "second"]
        handles = [
            await dev.client.start_workflow(OwnModuleWorkflow.run, name, id=name, task_queue="sandboxed")
            for name in names
        ]
        started = await asyncio.gather(*(handle.query(OwnModuleWorkflow.started) for handle in handles))
        first, second = await asyncio.gather(*(handle.query(OwnModuleWorkflow.code) for handle in handles))
    assert started == [["first"], ["second"]]
    assert first == second
