"""DataVolume: one execution per volume that is populated; for an import, a row of its own in the Temporal UI."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

from activities.data_volume import DataVolumeActivities
from activities.population import PopulationActivities
from dataimportcron import naming
from dataimportcron.errors import CloneWithoutSourceError
from dataimportcron.messages import (
    FailInput,
    ImportFinished,
    Outcome,
    Populated,
    PopulateInput,
    Preparation,
    Step,
    VolumeInput,
)
from workflows.cancellation import heed_cancellation
from workflows.options import FIRST_PATIENCE, POPULATE, SOURCE_PATIENCE, STEP

_PHASE = SearchAttributeKey.for_keyword(naming.SEARCH_PHASE)

_POPULATIONS = {
    Step.IMPORT: PopulationActivities.import_data_volume,
    Step.CLONE: PopulationActivities.clone_data_volume,
    Step.BLANK: PopulationActivities.make_blank_data_volume,
}


@workflow.defn(name="DataVolume")
class DataVolumeWorkflow:
    """Prepares, populates and reports; whatever happens to it, the DataVolume's status says what is true."""

    @workflow.init
    def __init__(self, start: VolumeInput) -> None:
        self._start = start
        self._changed = False
        self._phase = ""

    @workflow.signal(description="what the DataVolume depends on has changed")
    def changed(self) -> None:
        """Look again at what the volume waits for."""
        self._changed = True

    @workflow.query(description="the step that the volume is in")
    def phase(self) -> str:
        """Prepare, Wait, Import, Clone, Blank, Done, Failed or Gone."""
        return self._phase

    @workflow.run
    async def run(self, start: VolumeInput) -> Populated:
        """Populate the volume; ends Failed where no retry can help."""
        del start  # __init__ has it
        try:
            populated, outcome = await self._populate()
        except FailureError as error:
            if is_cancelled_exception(error):
                await self._tell(Populated(message="cancelled"), Outcome.CANCELLED)
            raise
        except asyncio.CancelledError:
            await self._tell(Populated(message="cancelled"), Outcome.CANCELLED)
            raise
        # What is done is told even if a cancellation comes now: the cron waits for it.
        telling = asyncio.create_task(self._tell(populated, outcome))
        try:
            await asyncio.shield(telling)
        except asyncio.CancelledError:
            await telling
        if outcome is Outcome.FAILED:
            raise ApplicationError(populated.message, type="PopulationFailed", non_retryable=True)
        return populated

    async def _populate(self) -> tuple[Populated, Outcome]:
        patience = FIRST_PATIENCE
        while True:
            ready = await workflow.execute_activity_method(
                DataVolumeActivities.prepare_data_volume,
                self._input(),
                summary=f"prepare {self._start.name}",
                **STEP,
            )
            heed_cancellation()
            self._show(ready.step, ready.message)
            if ready.step in _POPULATIONS:
                if (ended := await self._run_step(ready)) is not None:
                    return ended
                continue  # what was to be cloned has gone: the preparation waits for it
            if ready.step is Step.FAILED:
                return await self._fail(ready.uid, ready.reason, ready.message)
            if ready.step is Step.GONE:
                return Populated(message=ready.message), Outcome.CANCELLED
            if ready.step is Step.DONE:
                return Populated(message=ready.message), Outcome.SUCCEEDED
            patience = FIRST_PATIENCE if await self._wait(patience) else min(2 * patience, SOURCE_PATIENCE)
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(self._start)

    async def _run_step(self, ready: Preparation) -> tuple[Populated, Outcome] | None:
        """Populate the volume; None where what was to be cloned has gone meanwhile."""
        try:
            populated = await workflow.execute_activity_method(
                _POPULATIONS[ready.step],
                replace(self._input(), uid=ready.uid, source=ready.source),
                task_queue=naming.import_task_queue(self._start.site),
                summary=f"{ready.step.value.lower()} {ready.source} -> {self._start.name}",
                **POPULATE,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            cause = error.cause
            reason = (cause.type if isinstance(cause, ApplicationError) else None) or "TimedOut"
            if reason == CloneWithoutSourceError.reason:
                return None
            return await self._fail(ready.uid, reason, cause.message if isinstance(cause, FailureError) else str(error))
        self._show(Step.DONE, f"{populated.bytes_read} bytes read, {populated.bytes_written} bytes written")
        return populated, Outcome.SUCCEEDED

    async def _wait(self, patience: timedelta) -> bool:
        """Wait for news of what the volume waits for, no longer than `patience`; whether there was any."""
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._changed, timeout=patience, timeout_summary="look at the source again"
            )
        changed, self._changed = self._changed, False
        return changed

    async def _fail(self, uid: str, reason: str, message: str) -> tuple[Populated, Outcome]:
        await workflow.execute_activity_method(
            DataVolumeActivities.fail_data_volume,
            FailInput(
                namespace=self._start.namespace,
                name=self._start.name,
                now=workflow.now(),
                reason=reason,
                message=message,
                uid=uid,
            ),
            summary=f"{self._start.name}: {reason}",
            **STEP,
        )
        self._show(Step.FAILED, message)
        return Populated(message=message), Outcome.FAILED

    async def _tell(self, populated: Populated, outcome: Outcome) -> None:
        """Signal the cron; one that is not there is no failure, because its next look sees the volume itself."""
        cron = self._start.cron
        if cron is None:
            return
        handle = workflow.get_external_workflow_handle(
            naming.cron_workflow_id(self._start.site, cron.namespace, cron.name)
        )
        finished = ImportFinished(
            data_volume=self._start.name,
            digest=self._start.digest,
            outcome=outcome,
            message=populated.message,
            bytes_read=populated.bytes_read,
            run_id=workflow.info().first_execution_run_id,
        )
        try:
            await handle.signal("import_finished", finished)
        except FailureError as error:
            workflow.logger.info("the cron does not listen: %s", error)

    def _input(self) -> PopulateInput:
        start = self._start
        return PopulateInput(
            namespace=start.namespace,
            name=start.name,
            now=workflow.now(),
            cron=start.cron,
            digest=start.digest,
            manifest_digest=start.manifest_digest,
        )

    def _show(self, step: Step, message: str) -> None:
        if self._phase == step.value:
            return
        self._phase = step.value
        workflow.upsert_search_attributes([_PHASE.value_set(self._phase)])
        workflow.set_current_details(f"**{step.value}**: {message}")
