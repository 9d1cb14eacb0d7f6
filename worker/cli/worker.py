"""`dataimportcron worker`: a worker alone, beside a Temporal server that runs already."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import threading

from dataimportcron.host.state import StateFolder
from worker import logs
from worker.build import host_home
from worker.cli.common import endpoint_for, state_option
from worker.run import serve, stop_on_signals
from worker.temporal import TemporalUnavailableError, connect, keep_history, require_search_attributes

_RETRY = 2.0
"""Seconds between two tries to reach a Temporal server that is not up yet."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Where the state is."""
    state_option(parser)
    parser.add_argument("--watch-stdin", action="store_true", help="end when the standard input ends")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    logs.set_up()
    if arguments.watch_stdin:
        threading.Thread(target=_end_with_stdin, name="stdin", daemon=True).start()
    state = StateFolder.find(arguments.state)
    state.prepare()
    asyncio.run(_serve(state))
    return 0


async def _serve(state: StateFolder) -> None:
    stop = stop_on_signals()
    endpoint = endpoint_for(state)
    while True:
        try:
            client = await connect(endpoint)
            break
        except TemporalUnavailableError as error:
            logging.getLogger(__name__).warning("%s; trying again", error.message)
            await asyncio.sleep(_RETRY)
            if stop.is_set():
                return
    if not endpoint.profile:
        await keep_history(client)
    await require_search_attributes(client)
    identity = state.identity()
    await serve(client, host_home(state), site=identity.site, machine=identity.machine, stop=stop)


def _end_with_stdin() -> None:
    """A worker ends with the `up` that started it, even when that was killed."""
    while os.read(0, 4096):
        pass
    os._exit(1)
