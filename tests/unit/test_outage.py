"""What is said on a cron while Temporal does not answer, and when."""

from datetime import UTC, datetime, timedelta

import pytest

from dataimportcron import naming, polling
from dataimportcron.api.meta import Condition, with_condition
from dataimportcron.api.types import DataImportCron
from dataimportcron.manifests import with_annotations, with_status
from dataimportcron.messages import Trigger
from tests.support.home import cron_document
from worker.binding.outage import GRACE, overdue, without_engine

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
WINDOW = timedelta(seconds=10)
WHY = "Temporal does not answer at 127.0.0.1:7233: Connection refused"


def polled(moment=NOON, schedule="0 * * * *"):
    cron = with_status(DataImportCron.model_validate(cron_document(schedule=schedule)), last_execution_timestamp=moment)
    up_to_date = Condition(type="UpToDate", status="True", reason="UpToDate", message="Latest import is up to date")
    return with_status(cron, conditions=with_condition([], up_to_date, moment))


def test_a_poll_is_overdue_when_its_jitter_and_grace_are_over():
    cron = polled(NOON + timedelta(minutes=1))
    due = polling.next_poll_of(cron, NOON + timedelta(minutes=1), WINDOW)
    assert due - NOON >= timedelta(hours=1)
    assert overdue(cron, due + GRACE, WINDOW) is None
    assert overdue(cron, due + GRACE + timedelta(seconds=1), WINDOW) == due


def test_a_poll_whose_timestamp_lost_its_fraction_was_made():
    window = timedelta(minutes=5)
    tick = polling.next_poll_of(polled(), NOON + timedelta(minutes=30), window)
    assert tick.microsecond
    after = polled(tick.replace(microsecond=0))
    assert overdue(after, tick + timedelta(minutes=30), window) is None


def test_a_cron_that_was_never_polled_counts_from_its_creation():
    cron = DataImportCron.model_validate(cron_document(schedule="0 * * * *"))
    assert overdue(cron, NOON, WINDOW) is None
    made = cron.model_copy(update={"metadata": cron.metadata.model_copy(update={"creation_timestamp": NOON})})
    assert overdue(made, NOON + timedelta(hours=2), WINDOW) is not None


@pytest.mark.parametrize("schedule", ["", "0 0 30 2 *"])
def test_a_cron_without_ticks_is_never_overdue(schedule):
    assert overdue(polled(schedule=schedule), NOON + timedelta(days=1000), WINDOW) is None


def test_a_suspended_cron_is_never_overdue():
    cron = with_annotations(polled(), {naming.ANNOTATION_SUSPEND: "true"})
    assert overdue(cron, NOON + timedelta(days=1000), WINDOW) is None


def test_it_is_said_once_and_counts_as_no_failed_poll():
    cron, later = polled(), NOON + timedelta(hours=3)
    said = without_engine(cron, later, timedelta(), WHY)
    [condition] = said.status.conditions
    assert (condition.status, condition.reason) == ("Unknown", "EngineUnavailable")
    assert condition.message == (
        f"{WHY}; the poll of 2026-11-23T13:00:00Z is overdue, and is made once when Temporal is back"
    )
    assert without_engine(said, later + timedelta(hours=1), timedelta(), "in other words") is said
    assert without_engine(cron, NOON, timedelta(), WHY) is cron
    # Nobody asked the registry: a change is no reason to ask it now, the overdue tick is.
    known = with_annotations(
        said, {naming.ANNOTATION_DESIRED_DIGEST: "sha256:1", naming.ANNOTATION_SOURCE: polling.source_key(said)}
    )
    assert not polling.poll_failed(known)
    assert not polling.poll_due(known, Trigger.CHANGE, later)
    assert polling.poll_due(known, Trigger.TICK, later)
