"""What a cron does with an import: start it, stop it, make it the one that is cloned."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

from activities.data_source import DataSourceActivities
from activities.retention import RetentionActivities
from dataimportcron import naming
from dataimportcron.messages import Decision, DropInput, ObjectRef, PromoteInput, VolumeInput
from workflows import options
from workflows.data_volume import DataVolumeWorkflow

_DIGEST = SearchAttributeKey.for_keyword(naming.SEARCH_DIGEST)
_OBJECT = SearchAttributeKey.for_keyword(naming.SEARCH_OBJECT)


async def start_import(site: str, cron: ObjectRef, decision: Decision) -> str:
    """Start the import as an execution of its own; returns its run id, "" for one that ran already and is adopted.

    ABANDON, because the parent close policy also fires on continue-as-new; ALLOW_DUPLICATE, because a digest may come
    back.
    """
    try:
        child = await workflow.start_child_workflow(
            DataVolumeWorkflow.run,
            VolumeInput(
                site=site,
                namespace=cron.namespace,
                name=decision.data_volume,
                cron=cron,
                digest=decision.digest,
                manifest_digest=decision.manifest_digest,
            ),
            id=naming.volume_workflow_id(site, cron.namespace, decision.data_volume),
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            parent_close_policy=ParentClosePolicy.ABANDON,
            memo=workflow.memo() or None,
            search_attributes=TypedSearchAttributes(
                [
                    SearchAttributePair(_OBJECT, naming.object_key(cron.namespace, decision.data_volume)),
                    SearchAttributePair(_DIGEST, decision.digest),
                ]
            ),
            static_summary=f"{cron.name}: {decision.data_volume}",
            static_details=f"Imports `{decision.digest}` for DataImportCron **{cron.name}**",
        )
    except WorkflowAlreadyStartedError:
        workflow.logger.info("import %s runs already and is adopted", decision.data_volume)
        return ""
    # Its end comes as a signal; the handle's own exception must not be reported as forgotten.
    child.add_done_callback(lambda task: task.cancelled() or task.exception())
    return child.first_execution_run_id or ""


async def request_cancel(site: str, cron: ObjectRef, data_volume: str) -> None:
    """Ask an import to stop; raises FailureError where no such execution runs."""
    await workflow.get_external_workflow_handle(naming.volume_workflow_id(site, cron.namespace, data_volume)).cancel()


async def promote(cron: ObjectRef, data_volume: str, digest: str, manifest_digest: str) -> None:
    """Point the DataSource to a complete import, then let retention remove what is beyond importsToKeep."""
    message = PromoteInput(
        cron=cron, data_volume=data_volume, digest=digest, now=workflow.now(), manifest_digest=manifest_digest
    )
    await workflow.execute_activity_method(
        DataSourceActivities.update_data_source, message, summary=f"point to {data_volume}", **options.STEP
    )
    await workflow.execute_activity_method(
        RetentionActivities.prune_imports, message, summary="prune beyond importsToKeep", **options.STEP
    )


async def prune(cron: ObjectRef, data_volume: str, digest: str) -> None:
    """Let retention remove what a lower importsToKeep, or a user who has gone, sets free."""
    await workflow.execute_activity_method(
        RetentionActivities.prune_imports,
        PromoteInput(cron=cron, data_volume=data_volume, digest=digest, now=workflow.now()),
        summary="prune beyond importsToKeep",
        **options.STEP,
    )


async def drop(cron: ObjectRef, data_volume: str, *, complete: bool) -> None:
    """Remove a failed import that a newer digest has replaced, or a complete one that is to be made anew elsewhere."""
    await workflow.execute_activity_method(
        RetentionActivities.drop_import,
        DropInput(cron=cron, data_volume=data_volume, complete=complete),
        summary=f"drop the {'old' if complete else 'failed'} {data_volume}",
        **options.STEP,
    )
