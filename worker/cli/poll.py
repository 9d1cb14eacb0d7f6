"""`dataimportcron poll`: force a poll and say what was decided."""

from __future__ import annotations

import argparse
import asyncio
from datetime import timedelta

from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

from dataimportcron import naming
from dataimportcron.api.types import DataImportCron
from dataimportcron.errors import TransientError
from dataimportcron.host.store import Store
from dataimportcron.messages import PollResult
from worker.cli.common import endpoint_for, namespace_option, open_state, state_option
from worker.temporal import connect
from workflows.data_import_cron import DataImportCronWorkflow

_TIMEOUT = timedelta(minutes=2)


def configure(parser: argparse.ArgumentParser) -> None:
    """Which cron."""
    parser.add_argument("name", help="the DataImportCron")
    parser.add_argument("--reason", default="command line", help="shown in the Temporal UI")
    namespace_option(parser)
    state_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Poll; 1 if the poll failed."""
    state = open_state(arguments)
    Store(state).record(DataImportCron, arguments.namespace, arguments.name)
    return asyncio.run(
        _poll(arguments, naming.cron_workflow_id(state.identity().site, arguments.namespace, arguments.name))
    )


async def _poll(arguments: argparse.Namespace, workflow_id: str) -> int:
    client = await connect(endpoint_for(open_state(arguments)))
    handle = client.get_workflow_handle_for(DataImportCronWorkflow.run, workflow_id)
    try:
        result: PollResult = await handle.execute_update(
            "poll_now", arguments.reason, result_type=PollResult, rpc_timeout=_TIMEOUT
        )
    except (RPCError, WorkflowUpdateFailedError) as error:
        unknown = isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND
        raise TransientError(
            f"DataImportCron {arguments.name} could not be polled: {error.cause or error}",
            hint="its execution has not started yet; try again in a few seconds"
            if unknown
            else "is a worker running? `dataimportcron up` starts one",
        ) from error
    print(f"{result.reason}: {result.message}")
    if result.digest:
        print(f"digest      {result.digest}\nDataVolume  {result.data_volume}\ndecision    {result.verdict.value}")
    return 1 if result.verdict.value == "Failed" else 0
