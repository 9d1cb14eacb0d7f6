from datetime import UTC, datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from dataimportcron.api.conditions import (
    DataSourceReason,
    Phase,
    ProgressingReason,
    RunningReason,
    UpToDateReason,
    phase_message,
)
from dataimportcron.api.meta import Condition, ObjectMeta, with_condition
from dataimportcron.api.types import DataImportCron, Secret

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def condition(**changes):
    fields = {"type": "UpToDate", "status": "False", "reason": "NoDigest", "message": "No source digest"}
    return Condition(**fields | changes)


def test_a_new_condition_gets_both_times():
    (stamped,) = with_condition([], condition(), NOON)
    assert (stamped.last_transition_time, stamped.last_heartbeat_time) == (NOON, NOON)


def test_the_same_words_change_no_time():
    before = with_condition([], condition(), NOON)
    assert with_condition(before, condition(), LATER) == before


@pytest.mark.parametrize("change", [{"reason": "Outdated"}, {"message": "other"}])
def test_other_words_of_the_same_status_change_the_heartbeat_alone(change):
    (stamped,) = with_condition(with_condition([], condition(), NOON), condition(**change), LATER)
    assert (stamped.last_transition_time, stamped.last_heartbeat_time) == (NOON, LATER)


def test_another_status_changes_both_times():
    (stamped,) = with_condition(with_condition([], condition(), NOON), condition(status="True"), LATER)
    assert (stamped.last_transition_time, stamped.last_heartbeat_time) == (LATER, LATER)


def test_there_is_one_condition_of_each_type_and_the_others_stay():
    progressing = condition(type="Progressing")
    conditions = with_condition(with_condition([], condition(), NOON), progressing, NOON)
    changed = with_condition(conditions, condition(status="True"), LATER)
    assert [c.type for c in changed] == ["UpToDate", "Progressing"]
    assert changed[1] == conditions[1]
    assert conditions[0].status == "False"


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (NOON, "2026-03-01T12:00:00Z"),
        (NOON.replace(microsecond=999_999), "2026-03-01T12:00:00Z"),
        (NOON.astimezone(timezone(timedelta(hours=2))), "2026-03-01T12:00:00Z"),
        (datetime(999, 1, 2, tzinfo=UTC), "0999-01-02T00:00:00Z"),
        (datetime(2026, 3, 1, 12), "2026-03-01T12:00:00Z"),  # noqa: DTZ001 -- as a document may have it
    ],
)
def test_a_time_is_written_in_utc_and_whole_seconds(moment, expected):
    assert ObjectMeta(name="x", creation_timestamp=moment).document()["creationTimestamp"] == expected


def test_a_null_is_a_field_that_is_not_there():
    document = {"metadata": {"name": "x", "creationTimestamp": None, "labels": None}, "spec": None, "status": None}
    cron = DataImportCron.model_validate(document)
    assert cron.metadata.labels == {}
    assert cron.spec.schedule == ""
    assert cron.document()["metadata"] == {"name": "x"}


def test_models_with_the_same_fields_share_the_set_of_their_names_and_a_copy_has_its_own():
    first, second = ObjectMeta(name="x", uid="1"), ObjectMeta.model_validate({"name": "y", "uid": "2"})
    assert first.model_fields_set is second.model_fields_set
    assert first.model_copy(update={"generation": 1}).document() == {"name": "x", "uid": "1", "generation": 1}
    assert first.model_fields_set == {"name", "uid"}
    assert second.document() == {"name": "y", "uid": "2"}


def test_models_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        ObjectMeta(name="x").name = "y"


def test_a_secret_hides_its_values_from_repr():
    secret = Secret(data={"password": "aHVudGVyMg=="}, string_data={"user": "hunter2"})
    assert "hunter2" not in repr(secret)
    assert "aHVudGVyMg" not in repr(secret)


@pytest.mark.parametrize(
    ("reason", "word", "message"),
    [
        (ProgressingReason.NO_IMPORT, "NoImport", "No current import"),
        (ProgressingReason.IMPORT_SCHEDULED, "ImportScheduled", "Import is scheduled"),
        (ProgressingReason.IMPORT_PROGRESSING, "ImportProgressing", "Import is progressing"),
        (ProgressingReason.NOT_AUTHORIZED, "NotAuthorized", "Not authorized to create DataVolume"),
        (UpToDateReason.NO_DIGEST, "NoDigest", "No source digest"),
        (UpToDateReason.OUTDATED, "Outdated", "Source digest updated since last import"),
        (UpToDateReason.IMPORT_PROGRESSING, "ImportProgressing", "Import is progressing"),
        (UpToDateReason.UP_TO_DATE, "UpToDate", "Latest import is up to date"),
        (DataSourceReason.READY, "Ready", "DataSource is ready to be consumed"),
        (DataSourceReason.NO_SOURCE, "NoSource", "No source PVC set"),
        (DataSourceReason.NOT_FOUND, "NotFound", ""),
        (DataSourceReason.SNAPSHOT_NOT_READY, "SnapshotNotReady", "Snapshot phase is not ready"),
        (DataSourceReason.SELF_REFERENCE, "SelfReference", "DataSource cannot self-reference"),
        (RunningReason.COMPLETED, "Completed", "Import Complete"),
    ],
)
def test_a_reason_is_its_word_and_knows_its_sentence(reason, word, message):
    assert (reason, str(reason), f"{reason}", reason.message) == (word, word, word, message)


def test_a_phase_may_be_a_reason():
    assert phase_message(Phase.PENDING) == "Import DataVolume phase Pending"
