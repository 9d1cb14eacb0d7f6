"""Temporal: whether it answers, is set up, has workers, and runs an execution for each cron."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
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
_ON_A_HOST: Final = "dataimportcron up, or `dataimportcron worker`"


async def check(
    endpoint: Endpoint, site: str, crons: Sequence[DataImportCron], now: datetime, *, start_worker: str = _ON_A_HOST
) -> AsyncIterator[Finding]:
    """All checks, in the order in which they need one another.

    Args:
        endpoint: where Temporal is.
        site: whose executions are meant.
        crons: each has one.
        now: the time.
        start_worker: what is done about queues that nobody polls.
    """
    try:
        client = await connect(endpoint)
    except DataImportCronError as error:
        yield failed("Temporal", error)
        return
    yield good("Temporal", f"answers at {client.service_client.config.target_host}, namespace {client.namespace}")
    asked = (
        _retention(client),
        _search_attributes(client),
        _workers(client, site, now, start_worker),
        _paused(client, site),
        _executions(client, site, crons),
    )
    for look in asked:
        try:
            for finding in await look:
                yield finding
        except RPCError as error:
            yield bad(
                "Temporal", f"refuses a question: {error.message}", "see that the namespace exists and may be read"
            )


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


async def _workers(client: Client, site: str, now: datetime, start_worker: str) -> list[Finding]:
    """Whether both queues are polled, and whether the server's clock is ours."""
    workflows, activities = enums.TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, enums.TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    own, imports = naming.task_queue(site), naming.import_task_queue(site)
    findings, polled = [], [now]
    for queue, kind in ((own, workflows), (own, activities), (imports, activities)):
        request = service.DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=taskqueue.TaskQueue(name=queue), task_queue_type=kind
        )
        described = await client.workflow_service.describe_task_queue(request, timeout=_PATIENCE)
        seen = [poller.last_access_time.ToDatetime(UTC) for poller in described.pollers]
        polled += seen
        if not any(now - moment < _FRESH for moment in seen):
            what = "workflows" if kind == workflows else "activities"
            findings.append(bad("workers", f"nobody polls {queue} for {what}", start_worker))
    ahead = max(polled) - now
    if ahead > _SKEW:
        found = f"Temporal's clock is {ahead.total_seconds():.0f} s ahead of this machine's"
        findings.append(bad("clock", found, "set it: see timedatectl"))
    return findings or [good("workers", f"{own} and its queue of imports are polled")]


async def _paused(client: Client, site: str) -> list[Finding]:
    """What an operator has paused, and perhaps forgotten."""
    found = [paused async for paused in paused_activities(client, site)]
    return [note(f"execution {paused.workflow_id}", paused.found, paused.cure) for paused in found]


async def _executions(client: Client, site: str, crons: Sequence[DataImportCron]) -> list[Finding]:
    """Those that do not run."""
    found = await asyncio.gather(*(_execution(client, site, cron) for cron in crons))
    return [finding for finding in found if finding is not None]


async def _execution(client: Client, site: str, cron: DataImportCron) -> Finding | None:
    """Whether the cron's execution runs; None if it does."""
    namespace, name = cron.metadata.namespace, cron.metadata.name
    handle = client.get_workflow_handle(naming.cron_workflow_id(site, namespace, name))
    try:
        status = (await handle.describe(rpc_timeout=_PATIENCE)).status
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        found = "has no execution"
    else:
        if status is WorkflowExecutionStatus.RUNNING:
            return None
        found = f"is {status.name.lower() if status else 'unknown'}"
    return bad(f"execution {handle.id}", found, "a worker starts it within five minutes; at once when it starts")
