"""`dataimportcron poll`: force a poll, say what was decided, and with --wait follow the import to its end."""

from __future__ import annotations

import argparse
import asyncio
from datetime import timedelta

from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from dataimportcron.api.types import DataImportCron
from dataimportcron.messages import PollResult, Verdict
from worker.cli import text
from worker.cli.common import context_option, namespace_option, state_option
from worker.cli.engine import open_engine, unanswered
from worker.cli.follow import Follower
from worker.cli.home import CommandHome, open_home

_TIMEOUT = timedelta(minutes=2)


def configure(parser: argparse.ArgumentParser) -> None:
    """Which cron."""
    parser.add_argument("name", help="the DataImportCron")
    parser.add_argument("--wait", action="store_true", help="until the DataSource points to the newest image")
    parser.add_argument("--reason", default="command line", help="shown in the Temporal UI")
    namespace_option(parser)
    state_option(parser)
    context_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Poll; 1 if the poll failed or, with --wait, the import did."""
    home = open_home(arguments)
    home.get(DataImportCron, arguments.namespace, arguments.name)
    result = asyncio.run(_poll(arguments, home))
    text.say(f"{result.reason}: {result.message}")
    if result.digest:
        print(f"digest: {result.digest}\nDataVolume: {result.data_volume}\ndecision: {result.verdict.value}")
    if result.verdict is Verdict.FAILED:
        return 1
    if not arguments.wait:
        return 0
    return Follower(home, arguments.namespace, arguments.name).follow(result.data_volume)


async def _poll(arguments: argparse.Namespace, home: CommandHome) -> PollResult:
    engine = await open_engine(home)
    handle = engine.cron(arguments.namespace, arguments.name)
    try:
        result: PollResult = await handle.execute_update(
            "poll_now", arguments.reason, result_type=PollResult, rpc_timeout=_TIMEOUT
        )
    except (RPCError, WorkflowUpdateFailedError) as error:
        raise unanswered(f"DataImportCron {arguments.name} could not be polled", error) from error
    return result
