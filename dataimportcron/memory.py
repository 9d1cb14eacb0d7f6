"""What a cron remembers: pure steps from one CronState to the next.

The workflow decides when a step is due and holds the state; what the state becomes is said here, where it can be read
and tested without Temporal. No step changes what it is given.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dataimportcron.messages import (
    HISTORY_LENGTH,
    POLL_FAILURES_LENGTH,
    CronState,
    Decision,
    Ended,
    ImportFinished,
    ImportRecord,
    Outcome,
    PollFailure,
    RunningImport,
    Trigger,
    Verdict,
)


def decided(state: CronState, decision: Decision, trigger: Trigger, now: datetime) -> CronState:
    """After a look: its decision, what it says about the import that runs, and the failure that it is, if it is one."""
    polled = decision.polled or trigger is not Trigger.CHANGE
    state = _import_seen(state, decision, now)
    return replace(
        state,
        decision=decision,
        next_poll=decision.next_poll,
        polls=state.polls + (1 if polled else 0),
        clean_up=decision.clean_up or state.clean_up,
        poll_failures=_failures(state.poll_failures, decision, now) if polled else state.poll_failures,
    )


def import_started(state: CronState, decision: Decision, run_id: str, now: datetime) -> CronState:
    """After the import that a decision asked for has started; `run_id` is "" for one that ran already."""
    running = RunningImport(data_volume=decision.data_volume, digest=decision.digest, started=now, run_id=run_id)
    return replace(state, running=running)


def import_finished(state: CronState, finished: ImportFinished, now: datetime) -> CronState:
    """After an import's end, as it tells it itself; an entry that was made when its end was seen is completed."""
    running = state.running if state.running and state.running.data_volume == finished.data_volume else None
    known = None if running else next((entry for entry in state.history if _is_of(entry, finished)), None)
    started = running.started if running else known.started if known else now
    record = ImportRecord(
        digest=finished.digest,
        data_volume=finished.data_volume,
        started=started,
        duration=known.duration if known else (now - started).total_seconds(),
        bytes_read=finished.bytes_read,
        outcome=finished.outcome,
        message=finished.message,
        run_id=finished.run_id,
    )
    if known is None:
        history = (record, *state.history)[:HISTORY_LENGTH]
    else:  # in its place: a newer import may have ended meanwhile
        history = tuple(record if entry is known else entry for entry in state.history)
    return replace(state, history=history, running=None if running else state.running)


def import_forgotten(state: CronState) -> CronState:
    """After an import that was cancelled has not answered: nobody waits for it any more."""
    return replace(state, running=None)


def _is_of(entry: ImportRecord, finished: ImportFinished) -> bool:
    """Whether an entry is about the run that has finished; one that was adopted is known by its volume alone."""
    return entry.data_volume == finished.data_volume and entry.run_id in {"", finished.run_id}


def _import_seen(state: CronState, decision: Decision, now: datetime) -> CronState:
    """An import whose end stands on its DataVolume is over, even if its signal never comes."""
    running = state.running
    if running is None:
        return state
    ended = decision.ended
    if ended is None and decision.verdict is Verdict.PROMOTE and decision.data_volume == running.data_volume:
        ended = Ended(outcome=Outcome.SUCCEEDED)  # decisions of 0.1 do not say so themselves
    if ended is None:
        return state
    seen = ImportFinished(
        data_volume=running.data_volume,
        digest=running.digest,
        outcome=ended.outcome,
        message=ended.message,
        bytes_read=0,
        run_id=running.run_id,
    )
    return import_finished(state, seen, now)


def _failures(known: tuple[PollFailure, ...], decision: Decision, now: datetime) -> tuple[PollFailure, ...]:
    """The polls that failed, newest first; the same words in a row, with no success in between, are one entry."""
    if known and decision.retries_failed:
        retried = replace(
            known[0], polls=known[0].polls + decision.retries_failed, last=decision.last_failed or known[0].last
        )
        known = (retried, *known[1:])
    if decision.verdict is not Verdict.FAILED:
        return (replace(known[0], ended=True), *known[1:]) if known and decision.polled else known
    if known and not known[0].ended and (known[0].reason, known[0].message) == (decision.reason, decision.message):
        return (replace(known[0], last=now, polls=known[0].polls + 1), *known[1:])
    failure = PollFailure(reason=decision.reason, message=decision.message, first=now, last=now)
    return (failure, *known)[:POLL_FAILURES_LENGTH]
