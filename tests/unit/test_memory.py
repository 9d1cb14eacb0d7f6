"""What a cron remembers, step by step, without Temporal."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dataimportcron import memory
from dataimportcron.messages import (
    HISTORY_LENGTH,
    POLL_FAILURES_LENGTH,
    CleanUp,
    CronState,
    Decision,
    Ended,
    ImportFinished,
    Outcome,
    Trigger,
    Verdict,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
WAIT = Decision(verdict=Verdict.WAIT, reason="UpToDate", message="Latest import is up to date", polled=True)
IMPORT = Decision(verdict=Verdict.IMPORT, reason="Outdated", message="new", digest="sha256:a", data_volume="fedora-a")


def failed(reason="RegistryUnavailable", message="quay.io: connection refused"):
    return Decision(verdict=Verdict.FAILED, reason=reason, message=message, polled=True)


def finished(name="fedora-a", outcome=Outcome.SUCCEEDED, run_id="run-1", **values):
    return ImportFinished(
        data_volume=name, digest="sha256:a", outcome=outcome, message="", bytes_read=7, run_id=run_id, **values
    )


def after(*decisions, state=None):
    state = state or CronState()
    for number, decision in enumerate(decisions):
        state = memory.decided(state, decision, Trigger.TICK, NOW + timedelta(minutes=number))
    return state


def importing(run_id="run-1"):
    return memory.import_started(CronState(), IMPORT, run_id, NOW)


def test_failed_polls_with_the_same_words_in_a_row_are_one_entry():
    (entry,) = after(failed(), failed(), failed()).poll_failures
    assert (entry.polls, entry.first, entry.last) == (3, NOW, NOW + timedelta(minutes=2))


def test_other_words_are_another_entry_newest_first():
    state = after(failed(), failed("ImageNotFound", "no such tag"), failed())
    assert [(entry.reason, entry.polls) for entry in state.poll_failures] == [
        ("RegistryUnavailable", 1),
        ("ImageNotFound", 1),
        ("RegistryUnavailable", 1),
    ]


def test_failed_polls_stay_when_polls_succeed_again():
    state = after(failed(), WAIT)
    assert [entry.reason for entry in state.poll_failures] == ["RegistryUnavailable"]
    assert state.decision == WAIT


def test_a_success_in_between_begins_another_entry_of_the_same_words():
    polled = replace(WAIT, polled=True)
    state = after(failed(), failed(), polled, failed())
    assert [(entry.polls, entry.first, entry.ended) for entry in state.poll_failures] == [
        (1, NOW + timedelta(minutes=3), False),
        (2, NOW, True),
    ]
    assert [entry.polls for entry in after(failed(), replace(WAIT, polled=False), failed()).poll_failures] == [2]


def test_tries_that_failed_before_a_success_belong_to_the_entry_that_it_ends():
    healed = replace(WAIT, polled=True, retries_failed=4, last_failed=LATER)
    newest, oldest = after(failed(), healed, failed()).poll_failures
    assert (newest.polls, oldest.polls, oldest.last) == (1, 5, LATER)


def test_only_so_many_failures_are_remembered():
    state = after(*(failed(message=f"failure {number}") for number in range(POLL_FAILURES_LENGTH + 5)))
    assert len(state.poll_failures) == POLL_FAILURES_LENGTH
    assert state.poll_failures[0].message == f"failure {POLL_FAILURES_LENGTH + 4}"


def test_retries_that_temporal_made_unseen_are_counted():
    healed = replace(WAIT, retries_failed=4, last_failed=LATER)
    (entry,) = after(failed(), healed).poll_failures
    assert (entry.polls, entry.first, entry.last) == (5, NOW, LATER)
    (entry,) = after(failed(), replace(healed, last_failed=None)).poll_failures
    assert (entry.polls, entry.last) == (5, NOW)
    assert after(healed).poll_failures == (), "what failed before was never told"


def test_older_failures_stay_whatever_becomes_of_the_newest():
    newest, oldest = after(failed("ImageNotFound"), failed(), failed(), replace(WAIT, retries_failed=1)).poll_failures
    assert (newest.reason, newest.polls, newest.ended) == ("RegistryUnavailable", 3, True)
    assert (oldest.reason, oldest.polls, oldest.ended) == ("ImageNotFound", 1, False)


def test_a_look_that_asks_nobody_is_no_poll():
    quiet = replace(failed(), polled=False)
    state = memory.decided(CronState(), quiet, Trigger.CHANGE, NOW)
    assert (state.polls, state.poll_failures) == (0, ())


def test_polls_are_those_that_asked_and_all_looks_that_were_to_ask():
    state = memory.decided(after(replace(WAIT, polled=False)), WAIT, Trigger.CHANGE, NOW)
    assert state.polls == 2


def test_what_deletion_needs_outlives_a_decision_without_it():
    known = replace(WAIT, clean_up=CleanUp(retention_policy="None", data_source="fedora"))
    assert after(known, failed()).clean_up == known.clean_up


def test_an_import_is_recorded_with_its_duration():
    state = memory.import_finished(importing(), finished(), LATER)
    (record,) = state.history
    assert (record.started, record.duration, record.bytes_read, record.outcome) == (NOW, 300.0, 7, Outcome.SUCCEEDED)
    assert state.running is None


def test_an_end_that_is_seen_before_it_is_told_is_one_import():
    seen = memory.decided(importing(), replace(WAIT, ended=Ended(outcome=Outcome.SUCCEEDED)), Trigger.CHANGE, LATER)
    assert seen.running is None
    told = memory.import_finished(seen, finished(), LATER + timedelta(minutes=1))
    (record,) = told.history
    assert (record.started, record.duration, record.bytes_read) == (NOW, 300.0, 7)


def test_an_adopted_import_that_is_seen_and_told_is_one_import():
    seen = memory.decided(importing(""), replace(WAIT, ended=Ended(outcome=Outcome.SUCCEEDED)), Trigger.CHANGE, LATER)
    (record,) = memory.import_finished(seen, finished(run_id="run-9"), LATER).history
    assert (record.run_id, record.duration) == ("run-9", 300.0)


def test_an_end_that_is_told_after_a_newer_import_ended_keeps_its_place():
    seen = memory.decided(importing(), replace(WAIT, ended=Ended(outcome=Outcome.SUCCEEDED)), Trigger.CHANGE, LATER)
    newer = memory.import_finished(seen, finished("fedora-b", run_id="run-2"), LATER)
    told = memory.import_finished(newer, finished(), LATER).history
    assert [(record.data_volume, record.bytes_read) for record in told] == [("fedora-b", 7), ("fedora-a", 7)]


def test_a_failed_end_that_is_only_seen_is_recorded_with_its_words():
    ended = Ended(outcome=Outcome.FAILED, message="no disk")
    (record,) = memory.decided(importing(), replace(WAIT, ended=ended), Trigger.CHANGE, LATER).history
    assert (record.outcome, record.message, record.bytes_read) == (Outcome.FAILED, "no disk", 0)


def test_an_end_that_nobody_waits_for_is_no_import():
    assert after(replace(WAIT, ended=Ended(outcome=Outcome.SUCCEEDED))).history == ()


@pytest.mark.parametrize("decision", [WAIT, replace(IMPORT, verdict=Verdict.PROMOTE, data_volume="fedora-b"), IMPORT])
def test_a_decision_about_something_else_leaves_the_running_import(decision):
    assert after(decision, state=importing()).running == importing().running


def test_an_import_that_is_forgotten_is_waited_for_no_more():
    assert memory.import_forgotten(importing()) == CronState()


@pytest.mark.parametrize(("known", "told"), [("run-1", finished(run_id="run-2")), ("", finished("fedora-b"))])
def test_an_end_of_another_run_or_volume_is_another_import(known, told):
    ended = replace(WAIT, ended=Ended(outcome=Outcome.SUCCEEDED))
    seen = memory.decided(importing(known), ended, Trigger.CHANGE, LATER)
    assert len(memory.import_finished(seen, told, LATER).history) == 2


def test_a_promotion_by_an_older_worker_says_that_the_import_ended():
    old = Decision(verdict=Verdict.PROMOTE, reason="ImportSucceeded", message="", data_volume="fedora-a")
    state = memory.decided(importing(), old, Trigger.CHANGE, LATER)
    assert (state.running, state.history[0].outcome) == (None, Outcome.SUCCEEDED)


def test_the_end_of_another_import_leaves_the_running_one():
    state = memory.import_finished(importing(), finished("fedora-b", run_id="run-2"), LATER)
    assert state.running is not None
    assert [record.data_volume for record in state.history] == ["fedora-b"]


def test_the_same_volume_again_is_another_import():
    state = memory.import_finished(importing(), finished(), LATER)
    state = memory.import_started(state, IMPORT, "run-2", LATER)
    state = memory.import_finished(state, finished(run_id="run-2"), LATER)
    assert [record.run_id for record in state.history] == ["run-2", "run-1"]


def test_a_hundred_imports_are_remembered_newest_first():
    state = CronState()
    for number in range(HISTORY_LENGTH + 10):
        started = memory.import_started(state, IMPORT, f"run-{number}", NOW)
        state = memory.import_finished(started, finished(run_id=f"run-{number}"), LATER)
    assert len(state.history) == HISTORY_LENGTH
    assert state.history[0].run_id == f"run-{HISTORY_LENGTH + 9}"
