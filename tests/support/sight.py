"""What a person sees of a cron, in each of the places where it is said."""

from __future__ import annotations

from typing import Any

import temporalio.api.sdk.v1 as sdk
from temporalio.client import Client, WorkflowHandle
from temporalio.common import SearchAttributeKey

from dataimportcron import naming
from dataimportcron.api.types import DataImportCron
from tests.support.home import NAME, NAMESPACE, TestHome

_PHASE = SearchAttributeKey.for_keyword(naming.SEARCH_PHASE)


async def details(handle: WorkflowHandle[Any, Any]) -> str:
    """Current details, as the Temporal UI shows them."""
    metadata = await handle.query("__temporal_workflow_metadata", result_type=sdk.WorkflowMetadata)
    return str(metadata.current_details)


async def phase(handle: WorkflowHandle[Any, Any]) -> str:
    """The search attribute that lists are filtered by."""
    return (await handle.describe()).typed_search_attributes.get(_PHASE) or ""


def warnings(home: TestHome, kind: type = DataImportCron, name: str = NAME) -> list[tuple[str, str]]:
    """Reason and message of an object's Warning events."""
    events = home.store.record(kind, NAMESPACE, name).events
    return [(event["reason"], event["message"]) for event in events if event["type"] == "Warning"]


async def results(client: Client, workflow_id: str, activity: str) -> list[dict[str, Any]]:
    """What activities of one type returned, in the order of the history."""
    scheduled, found = {}, []
    async for event in client.get_workflow_handle(workflow_id).fetch_history_events():
        if event.HasField("activity_task_scheduled_event_attributes"):
            scheduled[event.event_id] = event.activity_task_scheduled_event_attributes.activity_type.name
        if event.HasField("activity_task_completed_event_attributes"):
            completed = event.activity_task_completed_event_attributes
            if scheduled[completed.scheduled_event_id] == activity:
                found += await client.data_converter.decode(completed.result.payloads)
    return found
