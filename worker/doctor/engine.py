"""Temporal: whether it answers, is set up, has workers, and runs an execution for each cron."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import temporalio.api.enums.v1 as enums
import temporalio.api.taskqueue.v1 as taskqueue
import temporalio.api.workflowservice.v1 as service
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from dataimportcron import naming
from dataimportcron.api.types import DataImportCron
from dataimportcron.errors import DataImportCronError
from worker.doctor.finding import Finding, bad, failed, good, note
from worker.paused import paused_activities
from worker.temporal import Endpoint, connect, require_search_attributes

_PATIENCE: Final = timedelta(seconds=5)
_RETENTION: Final = timedelta(days=7)
_FRESH: Final = timedelta(minutes=2)
"""A poller asks at least once a minute; one that has not for longer is gone."""
_SKEW: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """What is done about Temporal and about workers, where they run.

    Attributes:
        start_temporal: about a server that does not answer.
        start_worker: about queues that nobody polls.
    """

    start_temporal: str
    start_worker: str


HOST: Final = Home(
    start_temporal="on a host `dataimportcron up` starts it; else see TEMPORAL_ADDRESS",
    start_worker="dataimportcron up, or `dataimportcron worker`",
)


async def check(
    endpoint: Endpoint, site: str, crons: Sequence[DataImportCron], now: datetime, *, home: Home = HOST
) -> AsyncIterator[Finding]:
    """All checks, in the order in which they need one another.

    Args:
        endpoint: where Temporal is.
        site: whose executions are meant.
        crons: each has one.
        now: the time.
        home: where the worker runs.
    """
    try:
        async with asyncio.timeout(2 * _PATIENCE.total_seconds()):
            client = await connect(endpoint)
    except DataImportCronError as error:
        yield failed("Temporal", error)
        return
    except TimeoutError:
        yield bad("Temporal", "does not answer", home.start_temporal)
        return
    yield good("Temporal", f"answers at {client.service_client.config.target_host}, namespace {client.namespace}")
    asked = (_retention(client), _search_attributes(client), _workers(client, site, now, home), _paused(client, site))
    for look in asked:
        try:
            for finding in await look:
                yield finding
        except RPCError as error:
            yield bad(
                "Temporal", f"refuses a question: {error.message}", "see that the namespace exists and may be read"
            )
    for stopped in await asyncio.gather(*(_execution(client, site, cron) for cron in crons)):
        if stopped is not None:
            yield stopped


async def _retention(client: Client) -> list[Finding]:
    request = service.DescribeNamespaceRequest(namespace=client.namespace)
    described = await client.workflow_service.describe_namespace(request, timeout=_PATIENCE)
    kept = described.config.workflow_execution_retention_ttl.ToTimedelta()
    if kept >= _RETENTION:
        return [good("retention", f"the UI shows closed imports for {kept.days} days")]
    command = f"temporal operator namespace update --namespace {client.namespace} --retention 90d"
    return [note("retention", f"closed imports vanish from the UI after {kept}; `history` has them longer", command)]


async def _search_attributes(client: Client) -> list[Finding]:
    try:
        await require_search_attributes(client)
    except DataImportCronError as error:
        return [failed("search attributes", error)]
    return [good("search attributes", ", ".join(naming.SEARCH_ATTRIBUTES))]


async def _workers(client: Client, site: str, now: datetime, home: Home) -> list[Finding]:
    """Whether both queues are polled, and whether the server's clock is ours."""
    kind_of_workflows = enums.TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
    kind_of_steps = enums.TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    steps = naming.task_queue(site)
    findings, newest = [], None
    for queue, kind in (
        (steps, kind_of_workflows),
        (steps, kind_of_steps),
        (naming.import_task_queue(site), kind_of_steps),
    ):
        request = service.DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=taskqueue.TaskQueue(name=queue), task_queue_type=kind
        )
        described = await client.workflow_service.describe_task_queue(request, timeout=_PATIENCE)
        seen = [poller.last_access_time.ToDatetime(UTC) for poller in described.pollers]
        newest = max([*seen, *([newest] if newest else [])], default=None)
        if not any(now - moment < _FRESH for moment in seen):
            what = "workflows" if kind == kind_of_workflows else "steps"
            findings.append(bad("workers", f"nobody polls {queue} for {what}", home.start_worker))
    if newest is not None and newest - now > _SKEW:
        ahead = (newest - now).total_seconds()
        findings.append(
            bad("clock", f"Temporal's clock is {ahead:.0f} s ahead of this machine's", "set it: see timedatectl")
        )
    return findings or [good("workers", f"{steps} and its queue of imports are polled")]


async def _paused(client: Client, site: str) -> list[Finding]:
    """What an operator has paused, and perhaps forgotten."""
    found = [paused async for paused in paused_activities(client, site)]
    return [note(f"execution {paused.workflow_id}", paused.found, paused.cure) for paused in found]


async def _execution(client: Client, site: str, cron: DataImportCron) -> Finding | None:
    """Whether the cron's execution runs; None if it does."""
    namespace, name = cron.metadata.namespace, cron.metadata.name
    handle = client.get_workflow_handle(naming.cron_workflow_id(site, namespace, name))
    try:
        described = await handle.describe(rpc_timeout=_PATIENCE)
    except RPCError as error:
        missing = error.status is RPCStatusCode.NOT_FOUND
        found = "has no execution" if missing else f"cannot be looked at: {error.message}"
        return bad(f"execution {handle.id}", found, "a worker starts it within five minutes; at once when it starts")
    if described.status is WorkflowExecutionStatus.RUNNING:
        return None
    status = described.status.name.lower() if described.status else "unknown"
    return bad(
        f"execution {handle.id}", f"is {status}", "a worker starts it within five minutes; at once when it starts"
    )
