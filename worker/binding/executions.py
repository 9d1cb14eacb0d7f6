"""Executions as the binding handles them: by object, idempotently, and only those of its own machine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError, RPCStatusCode

from dataimportcron import naming
from dataimportcron.errors import PermanentError
from dataimportcron.messages import CleanUp, CronInput, CronState, ObjectDeleted, ObjectRef, VolumeInput
from worker.paused import paused_activities
from workflows.data_import_cron import DataImportCronWorkflow
from workflows.data_volume import DataVolumeWorkflow

logger = logging.getLogger(__name__)

_OBJECT = SearchAttributeKey.for_keyword(naming.SEARCH_OBJECT)
_PROBLEMS = SearchAttributeKey.for_keyword_list("TemporalReportedProblems")
"""Temporal's own, there without being registered."""
_QUERY_TIMEOUT = timedelta(seconds=10)
_STOP_TIMEOUT = 10.0
"""Seconds to wait for a cancelled population in one go; the volume is not touched before it has ended."""


class ForeignExecutionError(PermanentError):
    """An execution has our id but belongs to another machine: two homes share a site's name."""

    reason = "ForeignExecution"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An execution that does not go on, by its object; `kind` is that of the workflow id: dataimportcron or datavolume.

    Attributes:
        kind: the first part of the rest of the workflow id.
        namespace: of the object.
        name: of the object.
        reason: EngineProblem, or ActivityPaused.
        message: what is so and how it ends.
    """

    kind: str
    namespace: str
    name: str
    reason: str
    message: str


class Executions:
    """Starts, signals and stops the executions of one site."""

    def __init__(self, client: Client, *, site: str, machine: str) -> None:
        self._client = client
        self.site = site
        self._machine = machine

    async def notify_cron(self, cron: ObjectRef) -> None:
        """Make sure that the cron's execution runs and has heard of a change.

        One that was cancelled or terminated is started anew with the memory of the closed run.
        """
        workflow_id = self._cron_id(cron)
        described = await self._describe(workflow_id)
        if described is not None and described.status is WorkflowExecutionStatus.RUNNING:
            # Not as a start with a signal: one that ends just now would be started anew without its memory.
            if await self._signal_running(workflow_id, cron.uid):
                return
            described = await self._describe(workflow_id)
        state = None
        if described is not None and described.status is not WorkflowExecutionStatus.RUNNING:
            state = await self._last_state(cron, described)
        await self._start_cron(cron, state, "changed", cron.uid)

    async def _signal_running(self, workflow_id: str, uid: str) -> bool:
        """Signal a change; False where the execution has ended."""
        try:
            await self._client.get_workflow_handle(workflow_id).signal(DataImportCronWorkflow.changed, uid)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return False
        return True

    async def end_cron(self, cron: ObjectRef, clean_up: CleanUp) -> None:
        """Let the cron's execution clean up after its object; one that does not run is started just for that."""
        deleted = ObjectDeleted(uid=cron.uid, clean_up=clean_up)
        await self._start_cron(cron, CronState(clean_up=clean_up), "object_deleted", deleted)

    async def nudge_cron(self, namespace: str, name: str) -> None:
        """Tell a running cron that something changed, whatever its object's uid."""
        handle = self._client.get_workflow_handle(naming.cron_workflow_id(self.site, namespace, name))
        await handle.signal(DataImportCronWorkflow.changed, "")

    async def notify_volume(self, start: VolumeInput) -> None:
        """Make sure that the DataVolume's population runs and has heard of a change."""
        workflow_id = naming.volume_workflow_id(self.site, start.namespace, start.name)
        await self._describe(workflow_id)
        await self._client.start_workflow(
            DataVolumeWorkflow.run,
            start,
            id=workflow_id,
            task_queue=naming.task_queue(self.site),
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            start_signal="changed",
            memo={naming.MEMO_MACHINE: self._machine},
            search_attributes=self._attributes(start.namespace, start.name),
            static_summary=start.name,
        )

    async def stop_volume(self, namespace: str, name: str) -> None:
        """Cancel the DataVolume's population and wait until it has ended; it is no error if none runs."""
        handle = self._client.get_workflow_handle(naming.volume_workflow_id(self.site, namespace, name))
        try:
            await handle.cancel()
            await asyncio.wait_for(handle.result(), _STOP_TIMEOUT)
        except WorkflowFailureError as error:
            logger.debug("population of %s/%s ended: %s", namespace, name, error.cause)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def running_crons(self) -> dict[tuple[str, str], str]:
        """The run id of each cron of this site that runs, by namespace and name, as visibility knows it (it lags)."""
        prefix = naming.cron_workflow_id(self.site, "", "").rstrip("/")
        return {place: run_id async for place, run_id in self._running("DataImportCron", prefix)}

    async def running_volumes(self) -> AsyncIterator[tuple[str, str]]:
        """Namespace and name of each DataVolume of this site that is being populated, as visibility knows it."""
        prefix = naming.volume_workflow_id(self.site, "", "").rstrip("/")
        async for place, _ in self._running("DataVolume", prefix):
            yield place

    async def _running(self, workflow_type: str, prefix: str) -> AsyncIterator[tuple[tuple[str, str], str]]:
        query = (
            f"WorkflowType = '{workflow_type}' AND ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH '{prefix}'"
        )
        async for execution in self._client.list_workflows(query):
            namespace, _, name = execution.id.removeprefix(f"{prefix}/").partition("/")
            yield (namespace, name), execution.run_id

    async def problems(self) -> AsyncIterator[Problem]:
        """Executions of this site that Temporal reports as stuck or that an operator has paused a step of.

        As visibility knows it: it lags.
        """
        stuck = f"{_PROBLEMS.name} IS NOT NULL AND ExecutionStatus = 'Running'"
        async for execution in self._client.list_workflows(f"{stuck} AND WorkflowId STARTS_WITH '{self.site}/'"):
            words = ", ".join(execution.typed_search_attributes.get(_PROBLEMS) or ())
            yield self._problem(
                execution.id,
                "EngineProblem",
                f"Temporal reports that execution {execution.id} makes no progress ({words}); the worker's log "
                "and the Temporal UI show the failure. It goes on by itself once a worker runs that can go on with it",
            )
        async for paused in paused_activities(self._client, self.site):
            message = f"In execution {paused.workflow_id} {paused.found}. It goes on after: {paused.cure}"
            yield self._problem(paused.workflow_id, "ActivityPaused", message)

    def _problem(self, workflow_id: str, reason: str, message: str) -> Problem:
        kind, _, rest = workflow_id.removeprefix(f"{self.site}/").partition("/")
        namespace, _, name = rest.partition("/")
        return Problem(kind=kind, namespace=namespace, name=name, reason=reason, message=message)

    async def _start_cron(
        self, cron: ObjectRef, state: CronState | None, signal: str, argument: str | ObjectDeleted
    ) -> None:
        await self._client.start_workflow(
            DataImportCronWorkflow.run,
            CronInput(site=self.site, cron=cron, state=state),
            id=self._cron_id(cron),
            task_queue=naming.task_queue(self.site),
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            start_signal=signal,
            start_signal_args=[argument],
            memo={naming.MEMO_MACHINE: self._machine},
            search_attributes=self._attributes(cron.namespace, cron.name),
            static_summary=f"{cron.namespace}/{cron.name}",
            static_details=f"DataImportCron **{cron.name}** in namespace **{cron.namespace}**",
        )

    async def _describe(self, workflow_id: str) -> WorkflowExecutionDescription | None:
        """The execution of that id, None if there never was one.

        Raises:
            ForeignExecutionError: it belongs to another machine.
        """
        try:
            described = await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        machine = await described.memo_value(naming.MEMO_MACHINE, default=self._machine)
        if machine != self._machine:
            raise ForeignExecutionError(
                f"Execution {workflow_id} belongs to machine {machine}, not to this one ({self._machine})",
                hint="two state folders share a site's name; give one of them another, or end the foreign execution",
            )
        return described

    async def _last_state(self, cron: ObjectRef, closed: WorkflowExecutionDescription) -> CronState | None:
        """What a closed run remembered, None where it belonged to another life of the object or cannot be asked."""
        handle: WorkflowHandle[DataImportCronWorkflow, str] = self._client.get_workflow_handle_for(
            DataImportCronWorkflow.run, closed.id, run_id=closed.run_id
        )
        try:
            owner = await handle.query(DataImportCronWorkflow.owner, rpc_timeout=_QUERY_TIMEOUT)
            if owner != cron.uid:
                return None
            return await handle.query(DataImportCronWorkflow.state, rpc_timeout=_QUERY_TIMEOUT)
        except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
            logger.warning("the memory of %s is lost: %s", closed.id, error)
            return None

    def _cron_id(self, cron: ObjectRef) -> str:
        return naming.cron_workflow_id(self.site, cron.namespace, cron.name)

    def _attributes(self, namespace: str, name: str) -> TypedSearchAttributes:
        return TypedSearchAttributes([SearchAttributePair(_OBJECT, naming.object_key(namespace, name))])
