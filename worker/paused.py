"""Activities that an operator has paused with Temporal's own verb: nothing is wrong, and nothing goes on."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass

from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

_PAUSED = SearchAttributeKey.for_keyword_list("TemporalPauseInfo")
"""Temporal's own, there without being registered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedActivity:
    """One that waits to be unpaused; `by` is who has paused it, and why, as far as that was said."""

    workflow_id: str
    activity: str
    by: str

    @property
    def found(self) -> str:
        """What is so, for a person."""
        return f"activity {self.activity} is paused{f' by {self.by}' if self.by else ''}"

    @property
    def cure(self) -> str:
        """The command that ends it."""
        workflow_id = shlex.quote(self.workflow_id)
        return f"temporal activity unpause --workflow-id {workflow_id} --activity-type {self.activity}"


async def paused_activities(client: Client, site: str) -> AsyncIterator[PausedActivity]:
    """Those of a site's executions, as visibility knows them (it lags)."""
    query = f"{_PAUSED.name} IS NOT NULL AND ExecutionStatus = 'Running' AND WorkflowId STARTS_WITH '{site}/'"
    async for execution in client.list_workflows(query):
        try:
            described = await client.get_workflow_handle(execution.id).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            continue
        for pending in described.raw_description.pending_activities:
            if pending.paused:
                manual = pending.pause_info.manual
                by = ": ".join(filter(None, (manual.identity, manual.reason)))
                yield PausedActivity(workflow_id=execution.id, activity=pending.activity_type.name, by=by)
