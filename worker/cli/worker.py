"""`dataimportcron worker`: a worker alone, beside a Temporal server that runs already."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import threading

from dataimportcron.host.state.folder import StateFolder
from worker import logs
from worker.build import host_home
from worker.cli.common import context_option, endpoint_for, state_option
from worker.engine import await_engine, reading_files, saying_outages
from worker.notify import notify
from worker.process import tune
from worker.run import serve, stop_on_signals

logger = logging.getLogger(__name__)

_METRICS = "0.0.0.0:9090"
"""In a pod; its network is the cluster's to guard."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Which home it serves."""
    state_option(parser)
    context_option(parser)
    parser.add_argument("--watch-stdin", action="store_true", help="end when the standard input ends")
    parser.epilog = (
        "With --context it serves a Kubernetes cluster: Temporal is where TEMPORAL_ADDRESS or a profile says, settings "
        "are in the file of DATAIMPORTCRON_SETTINGS (/etc/dataimportcron/settings.toml), and DATAIMPORTCRON_IMAGE "
        "names the image of import pods. In a pod it answers /livez and /readyz at port 8081, /metrics at 9090."
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    tune()
    logs.set_up(metrics=_METRICS if arguments.context == "in-cluster" else "")
    if arguments.watch_stdin:
        threading.Thread(target=_end_with_stdin, name="stdin", daemon=True).start()
    if arguments.context:
        from worker.cluster import serve_cluster  # noqa: PLC0415 -- Kubernetes' client takes a second to import

        asyncio.run(serve_cluster(arguments.context))
        return 0
    state = StateFolder.find(arguments.state)
    state.prepare()
    asyncio.run(_serve(state))
    return 0


async def _serve(state: StateFolder) -> None:
    stop = stop_on_signals()
    endpoint = endpoint_for(state)
    identity, home = state.identity(), host_home(state)
    async with saying_outages(home, endpoint):
        async with reading_files(home):
            client = await await_engine(endpoint, stop)
        if client is None:
            return
        logger.info("serving site %s by Temporal at %s", identity.site, client.service_client.config.target_host)
        notify("READY=1", f"STATUS=serving site {identity.site}")
        await serve(client, home, site=identity.site, machine=identity.machine, stop=stop)


def _end_with_stdin() -> None:
    """A worker ends with the `up` that started it, even when that was killed."""
    while os.read(0, 4096):
        pass
    os._exit(1)
