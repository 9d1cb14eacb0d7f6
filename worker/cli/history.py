"""`dataimportcron history`: one row per import."""

from __future__ import annotations

import argparse
import asyncio
from datetime import timedelta

from temporalio.client import WorkflowQueryFailedError
from temporalio.service import RPCError

from dataimportcron import naming
from dataimportcron.api.types import DataImportCron
from dataimportcron.errors import TransientError
from dataimportcron.host.store import Store
from dataimportcron.messages import CronState
from worker.cli.common import endpoint_for, namespace_option, open_state, state_option, table
from worker.temporal import connect
from workflows.data_import_cron import DataImportCronWorkflow

_TIMEOUT = timedelta(seconds=30)


def configure(parser: argparse.ArgumentParser) -> None:
    """Which cron."""
    parser.add_argument("name", help="the DataImportCron")
    namespace_option(parser)
    state_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the imports that the cron remembers, newest first."""
    state = open_state(arguments)
    Store(state).record(DataImportCron, arguments.namespace, arguments.name)
    remembered = asyncio.run(_ask(arguments))
    if not remembered.history:
        print(f"DataImportCron {arguments.name} has imported nothing yet.")
        return 0
    rows = [["STARTED (UTC)", "DATAVOLUME", "DIGEST", "SECONDS", "MIB READ", "OUTCOME", "MESSAGE"]]
    rows += [
        [
            f"{entry.started:%Y-%m-%d %H:%M:%S}",
            entry.data_volume,
            entry.digest[:19],
            f"{entry.duration:.1f}",
            f"{entry.bytes_read / 2**20:.1f}",
            entry.outcome.value,
            entry.message if entry.outcome.value != "Succeeded" else "",
        ]
        for entry in remembered.history
    ]
    print(table(rows))
    return 0


async def _ask(arguments: argparse.Namespace) -> CronState:
    state = open_state(arguments)
    client = await connect(endpoint_for(state))
    workflow_id = naming.cron_workflow_id(state.identity().site, arguments.namespace, arguments.name)
    handle = client.get_workflow_handle_for(DataImportCronWorkflow.run, workflow_id)
    try:
        return await handle.query(DataImportCronWorkflow.state, rpc_timeout=_TIMEOUT)
    except (RPCError, WorkflowQueryFailedError) as error:
        raise TransientError(
            f"The history of {arguments.name} could not be read: {error}",
            hint="is a worker running? `dataimportcron up` starts one",
        ) from error
