"""DataImportCron: one execution per object, for as long as the object lives.

It sleeps until the next tick, a `poll`, a change, the end of its import, or deletion, and handles whichever came, the
most urgent first. It decides nothing itself: a look is one activity, and its result says what to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError, FailureError

from activities.digest import DigestActivities
from activities.retention import RetentionActivities
from dataimportcron import memory, naming
from dataimportcron.messages import (
    CleanUpInput,
    CronInput,
    CronState,
    Decision,
    ImportFinished,
    LookupInput,
    ObjectDeleted,
    ObjectRef,
    Outcome,
    PollResult,
    Trigger,
    Verdict,
)
from workflows import imports, options
from workflows.cancellation import cancel_requested, heed_cancellation
from workflows.details import IMPORT_FAILED, details_of, phase_of

_PHASE = SearchAttributeKey.for_keyword(naming.SEARCH_PHASE)
_DIGEST = SearchAttributeKey.for_keyword(naming.SEARCH_DIGEST)


@workflow.defn(name="DataImportCron")
class DataImportCronWorkflow:
    """The life of a DataImportCron."""

    @workflow.init
    def __init__(self, start: CronInput) -> None:
        self._site = start.site
        self._cron = start.cron
        self._state = start.state or CronState()
        self._forced: str | None = self._state.pending_poll
        self._changed = start.state is None or self._state.pending_change
        self._owed: Trigger | None = None
        self._asked = self._answered = 0
        self._finished: list[ImportFinished] = []
        self._deleted = False
        self._successor = ""
        self._shown: tuple[str, str] = ("", "")

    # -- what the world says -----------------------------------------------------------------------------------------

    @workflow.signal(description="poll now, whatever the schedule says; the reason is optional")
    def poll(self, reason: str = "") -> None:
        """Force a poll. Several signals before it are one poll."""
        self._forced = reason or "signal"

    @workflow.signal(description="the object, or something that it depends on, has changed")
    def changed(self, uid: str = "") -> None:
        """Look again. Another uid means that the object was deleted and made anew."""
        if uid and uid != self._cron.uid:
            self._deleted = True
            self._successor = uid
        self._changed = True

    @workflow.signal(description="the object with this uid was deleted")
    def deleted(self, uid: str) -> None:
        """Clean up and close, unless this is about another life of the object."""
        self._deleted = self._deleted or uid == self._cron.uid

    @workflow.signal(description="the object was deleted; how to clean up after it")
    def object_deleted(self, end: ObjectDeleted) -> None:
        """`deleted`, by the spec that the object had last; there may have been no look at that any more."""
        if end.uid == self._cron.uid:
            self._deleted = True
            self._state = replace(self._state, clean_up=end.clean_up)

    @workflow.signal(description="an import has ended")
    def import_finished(self, finished: ImportFinished) -> None:
        """Sent by the import itself."""
        self._finished.append(finished)

    @workflow.update(description="poll now and return what was decided; an import that follows is not waited for")
    async def poll_now(self, reason: str = "") -> PollResult:
        """Force a poll and wait for its decision."""
        self._forced = reason or "poll_now"
        self._asked += 1
        mine = self._asked
        await workflow.wait_condition(lambda: self._answered >= mine or self._deleted)
        decision = self._state.decision
        if self._answered < mine or decision is None:
            raise ApplicationError("The DataImportCron is being deleted", type="Deleted")
        return PollResult(
            verdict=decision.verdict,
            reason=decision.reason,
            message=decision.message,
            digest=decision.digest,
            data_volume=decision.data_volume,
        )

    @poll_now.validator
    def _may_poll(self, reason: str = "") -> None:  # noqa: ARG002 -- a validator takes what its update takes
        if self._deleted:
            raise ApplicationError("The DataImportCron is being deleted", type="Deleted")

    @workflow.query(description="all that the cron remembers, its last hundred imports among it")
    def state(self) -> CronState:
        """The state."""
        return self._state

    @workflow.query(description="uid of the object that this execution serves")
    def owner(self) -> str:
        """The uid."""
        return self._cron.uid

    # -- the loop ----------------------------------------------------------------------------------------------------

    @workflow.run
    async def run(self, start: CronInput) -> str:
        """Live until the object is deleted."""
        del start  # __init__ has it
        try:
            while True:
                heed_cancellation()
                self._show()
                if self._deleted:
                    if await self._end():
                        return "deleted"
                elif self._finished:
                    await self._take_in(self._finished.pop(0))
                elif (trigger := self._due()) is not None:
                    await self._look(trigger)
                elif self._may_continue_as_new():
                    self._continue_as_new(self._cron, self._state)
                else:
                    await self._sleep()
        except (asyncio.CancelledError, FailureError):
            if cancel_requested():
                await self._cancel_import()
            raise

    def _due(self) -> Trigger | None:
        """The strongest reason to look now; None if there is none."""
        next_poll = self._state.next_poll
        if self._forced is not None:
            return Trigger.POLL
        if self._owed is not None:
            return self._owed
        if next_poll is not None and next_poll <= workflow.now():
            return Trigger.TICK
        return Trigger.CHANGE if self._changed else None

    def _urgent(self) -> bool:
        return self._deleted or self._changed or self._forced is not None or bool(self._finished)

    async def _sleep(self) -> None:
        next_poll = self._state.next_poll
        wait = options.LONGEST_TIMER
        if next_poll is not None:
            wait = min(max(next_poll - workflow.now(), options.SHORTEST_TIMER), wait)
        summary = f"next poll {next_poll:%Y-%m-%d %H:%M:%S} UTC" if next_poll else "no poll is scheduled"
        # An update's handler finishes after this loop has gone to sleep, so the end of the run is looked for here too.
        await self._wait(wait, summary, lambda: self._urgent() or self._may_continue_as_new())

    async def _wait(self, wait: timedelta, summary: str, ended: Callable[[], bool] | None = None) -> None:
        """Wait for something urgent, or for `ended`, at most so long."""
        with suppress(TimeoutError):
            await workflow.wait_condition(ended or self._urgent, timeout=wait, timeout_summary=summary)

    # -- one look ----------------------------------------------------------------------------------------------------

    async def _look(self, trigger: Trigger) -> None:
        """Look at the source and do what the decision says; a transient failure leaves a retry owed."""
        reason, asked = self._forced or "", self._asked
        self._forced, self._owed, self._changed = None, None, False
        decision = await self._decide(trigger, reason, retry=False)
        if decision is None:
            # Something more urgent came, or the look itself failed: the same look is owed, later if it failed.
            if self._urgent():
                self._owed = trigger if trigger is not Trigger.CHANGE else None
                self._changed = True
            else:
                later = workflow.now() + options.UNKNOWN_TICK_DELAY
                planned = self._state.next_poll
                keep = planned is not None and workflow.now() < planned < later
                self._state = replace(self._state, next_poll=planned if keep else later)
            return
        self._state = memory.decided(self._state, decision, trigger, workflow.now())
        self._answered = asked
        await self._act(decision)
        if decision.verdict is Verdict.FAILED and decision.transient:
            if workflow.patched("show-before-retry"):
                self._show()
            await self._look_again(decision)

    async def _look_again(self, failed: Decision) -> None:
        """Retry a failed poll by the activity's retry policy until the next tick, a poll, or anything else comes."""
        until = failed.next_poll or workflow.now() + options.LONGEST_TIMER
        delay = min(max(timedelta(seconds=failed.retry_after), options.LOOK_AGAIN_DELAY), options.LONGEST_TIMER)
        await self._wait(min(delay, max(until - workflow.now(), options.SHORTEST_TIMER)), f"retry: {failed.reason}")
        left = min(until - workflow.now(), options.LONGEST_TIMER)
        if left <= options.SHORTEST_TIMER:
            return
        if self._urgent():
            # What came goes first, but the poll is still owed: a change alone would not ask the registry again.
            self._owed = None if self._forced is not None or self._deleted else Trigger.TICK
            return
        decision = await self._decide(Trigger.TICK, "retry", retry=True, left=left)
        if decision is not None:
            self._state = memory.decided(self._state, decision, Trigger.TICK, workflow.now())
            await self._act(decision)
        elif self._urgent() and self._forced is None and not self._deleted:
            self._owed = Trigger.TICK

    async def _decide(
        self, trigger: Trigger, reason: str, *, retry: bool, left: timedelta | None = None
    ) -> Decision | None:
        """Run the look; None if it was interrupted or failed. Only trouble of our own fails it."""
        running = self._state.running
        look = LookupInput(
            cron=self._cron,
            trigger=trigger,
            now=workflow.now(),
            reason=reason,
            running=running.data_volume if running else "",
            retry=retry,
        )
        config = options.LOOK_UP
        if left is not None:
            config = options.Options(**{**options.LOOK_AGAIN, "schedule_to_close_timeout": left})
        handle: workflow.ActivityHandle[Decision] = workflow.start_activity_method(
            DigestActivities.look_up_digest,
            look,
            summary=f"{trigger.value}{f': {reason}' if reason else ''}",
            **config,
        )
        await workflow.wait_condition(lambda: handle.done() or self._urgent())
        if not handle.done():
            try:
                await workflow.wait_condition(handle.done, timeout=options.INTERRUPT_GRACE)
            except TimeoutError:
                handle.cancel()
        try:
            return await handle
        except FailureError as error:
            if cancel_requested():
                raise
            workflow.logger.warning("the look ended without a decision: %s", error.cause or error)
            return None

    async def _act(self, decision: Decision) -> None:
        if decision.verdict is Verdict.GONE:
            # Whoever deleted the object may have changed its policy before, and no look has seen that.
            if not self._deleted and workflow.patched("await-last-policy"):
                await self._wait(options.LAST_POLICY_PATIENCE, "the last policy is told", lambda: self._deleted)
            self._deleted = True
        elif decision.verdict is Verdict.IMPORT:
            await self._start_import(decision)
        elif decision.verdict is Verdict.PROMOTE:
            await self._promote(decision.data_volume, decision.digest, decision.manifest_digest)
        elif decision.verdict is Verdict.PRUNE:
            await imports.prune(self._cron, decision.data_volume, decision.digest)

    # -- imports -----------------------------------------------------------------------------------------------------

    async def _start_import(self, decision: Decision) -> None:
        """Start the import that a decision asks for; a failing one that it replaces is stopped and dropped first."""
        if decision.replaces:
            await self._cancel_import()
            await imports.drop(self._cron, decision.replaces, complete=decision.anew)
        run_id = await imports.start_import(self._site, self._cron, decision)
        self._state = memory.import_started(self._state, decision, run_id, workflow.now())

    async def _take_in(self, finished: ImportFinished) -> None:
        """An import has ended: record it, promote it if it is whole, and look what comes next."""
        self._state = memory.import_finished(self._state, finished, workflow.now())
        if finished.outcome is Outcome.SUCCEEDED:
            await self._promote(finished.data_volume, finished.digest, "")
        self._changed = True

    async def _promote(self, data_volume: str, digest: str, manifest_digest: str) -> None:
        try:
            await imports.promote(self._cron, data_volume, digest, manifest_digest)
        except FailureError as error:
            if cancel_requested():
                raise
            workflow.logger.warning("promotion of %s failed: %s", data_volume, error.cause or error)

    async def _cancel_import(self) -> None:
        """Cancel the running import and wait until it says that it has stopped; not for ever, it may be long gone."""
        running = self._state.running
        if running is None:
            return

        def answered() -> bool:
            return any(finished.data_volume == running.data_volume for finished in self._finished)

        try:
            if not answered():
                await imports.request_cancel(self._site, self._cron, running.data_volume)
            await workflow.wait_condition(
                answered, timeout=options.CANCEL_PATIENCE, timeout_summary=f"{running.data_volume} stops"
            )
        except (TimeoutError, FailureError) as error:
            workflow.logger.info("import %s does not answer: %s", running.data_volume, error)
        for finished in self._finished:
            self._state = memory.import_finished(self._state, finished, workflow.now())
        self._finished.clear()
        self._state = memory.import_forgotten(self._state)

    # -- the end -----------------------------------------------------------------------------------------------------

    async def _end(self) -> bool:
        """Follow the retention policy and close; False where the object is there after all."""
        await self._cancel_import()
        ended = await workflow.execute_activity_method(
            RetentionActivities.clean_up,
            CleanUpInput(cron=self._cron, clean_up=self._state.clean_up, now=workflow.now()),
            summary=f"clean up {self._cron.name}",
            **options.STEP,
        )
        if ended.object_exists:
            self._deleted, self._successor, self._changed = False, "", True
            return False
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._successor:
            self._continue_as_new(replace(self._cron, uid=self._successor), None)
        return True

    def _may_continue_as_new(self) -> bool:
        return self._has_run_long() and workflow.all_handlers_finished() and not self._urgent()

    def _has_run_long(self) -> bool:
        info = workflow.info()
        if info.is_continue_as_new_suggested() or workflow.now() - info.start_time > options.LONGEST_RUN:
            return True
        return info.get_current_history_length() >= options.LONGEST_HISTORY and workflow.patched("longest-history")

    def _continue_as_new(self, cron: ObjectRef, state: CronState | None) -> None:
        if state is not None:
            state = replace(state, pending_poll=self._forced, pending_change=self._changed)
        workflow.continue_as_new(CronInput(site=self._site, cron=cron, state=state))

    # -- what a person sees ------------------------------------------------------------------------------------------

    def _show(self) -> None:
        """Upsert search attributes and details when they changed; each costs a row in the history."""
        phase = phase_of(self._state)
        if phase == IMPORT_FAILED and not workflow.patched("phase-ImportFailed"):
            phase = "Importing" if self._state.running else "Waiting"
        digest = self._state.decision.digest if self._state.decision else ""
        if (phase, digest) != self._shown:
            self._shown = (phase, digest)
            updates = [_PHASE.value_set(phase)]
            workflow.upsert_search_attributes([*updates, _DIGEST.value_set(digest)] if digest else updates)
        workflow.set_current_details(details_of(self._state))
