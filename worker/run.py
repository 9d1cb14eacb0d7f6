"""The worker process: two Temporal workers and the binding, until told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxRestrictions

from activities.data_source import DataSourceActivities
from activities.data_volume import DataVolumeActivities
from activities.digest import DigestActivities
from activities.population import PopulationActivities
from activities.retention import RetentionActivities
from dataimportcron import naming
from worker.build import Home
from worker.sandbox import ContextFreeRunner
from workflows.data_import_cron import DataImportCronWorkflow
from workflows.data_volume import DataVolumeWorkflow

logger = logging.getLogger(__name__)

WORKFLOWS = (DataImportCronWorkflow, DataVolumeWorkflow)

PASSED_THROUGH = (
    "dataimportcron",
    "activities",
    "pydantic",
    "pydantic_core",
    "croniter",
    "dateutil",
    "workflows.cancellation",
    "workflows.details",
    "workflows.imports",
    "workflows.options",
)
"""Pure modules and the activities' signatures: loaded once, outside the sandbox, not once more for each execution.

The two files that define workflows stay inside. Of their neighbours, those that only build commands, constants or text
from what they are given are passed through: they take every moment from their caller or from `workflow.now`.
"""

_GRACE = timedelta(seconds=10)
"""What a step may still take when the worker is told to stop; imports are handed over at once."""

_HEARTBEAT_THROTTLE = timedelta(seconds=5)
"""A cancelled import hears of it with its next heartbeat."""

_STEPS_AT_A_TIME = 2000
"""Steps wait for registries, not for the processor: a slow registry's must leave room for all others."""

WORKFLOW_TASKS = 20
"""Workflow tasks at a time. One that is taken must be answered within ten seconds, or it is made again, its history
replayed from the start. After a restart all crons replay theirs, by one processor: of a hundred at a time, most were
late on a busy machine, and with five the processor waits for the server."""


def workflow_runner() -> ContextFreeRunner:
    """The sandbox, the same for worker, tests and replay."""
    return ContextFreeRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))


def workers(client: Client, home: Home, *, site: str, cache: int = 2000) -> tuple[Worker, Worker]:
    """The worker of workflows and short steps, and that of imports and clones, which wait long and starve nobody.

    Args:
        client: connected.
        home: where the activities' ports come from.
        site: names the task queues.
        cache: executions kept in memory; more crons than that cost twice the CPU.
    """
    digest = DigestActivities(
        home.objects, home.source, home.volumes, home.authorizer, home.events, jitter=home.poll_jitter
    )
    data_volume = DataVolumeActivities(home.objects, home.volumes, home.authorizer, home.events)
    data_source = DataSourceActivities(home.objects, home.volumes, home.authorizer, home.events)
    retention = RetentionActivities(home.objects, home.volumes, home.authorizer, home.events)
    population = PopulationActivities(
        home.objects, home.source, home.volumes, home.importer, home.cloner, home.authorizer, home.events
    )
    steps: list[Callable[..., Any]] = [
        digest.look_up_digest,
        data_volume.prepare_data_volume,
        data_volume.fail_data_volume,
        data_source.update_data_source,
        retention.prune_imports,
        retention.drop_import,
        retention.clean_up,
    ]
    return (
        Worker(
            client,
            task_queue=naming.task_queue(site),
            workflows=list(WORKFLOWS),
            activities=steps,
            workflow_runner=workflow_runner(),
            max_cached_workflows=cache,
            max_concurrent_activities=_STEPS_AT_A_TIME,
            max_concurrent_workflow_tasks=WORKFLOW_TASKS,
            graceful_shutdown_timeout=_GRACE,
        ),
        Worker(
            client,
            task_queue=naming.import_task_queue(site),
            activities=[
                population.import_data_volume,
                population.clone_data_volume,
                population.make_blank_data_volume,
            ],
            max_concurrent_activities=home.concurrent_imports,
            max_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
            default_heartbeat_throttle_interval=_HEARTBEAT_THROTTLE,
        ),
    )


async def serve(client: Client, home: Home, *, site: str, machine: str, stop: asyncio.Event) -> None:
    """Run both workers and, where this process leads, the binding, until `stop` is set; then hand over."""
    first, second = workers(client, home, site=site)
    async with first, second:
        binding = asyncio.create_task(home.bind(client, site=site, machine=machine), name="binding")
        stopped = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait({binding, stopped}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a binding that ends by itself has failed: let the process fail with it
        finally:
            for task in (binding, stopped):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
    home.source.close()


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
