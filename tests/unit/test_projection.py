"""What statuses and events say, case by case."""

from datetime import timedelta

import pytest

from dataimportcron import naming, projection
from dataimportcron.api.conditions import Phase
from dataimportcron.api.meta import Condition
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataSource
from dataimportcron.manifests import with_labels, with_status
from dataimportcron.ports import ClaimState, CloneSource
from tests.support.facts import NOW, A, an_import, condition, failing
from tests.support.home import NAMESPACE

PREFERENCE = "instancetype.kubevirt.io/default-preference"
CLAIM = ClaimState(uid="1")


def a_source(kind="", **named):
    source = {kind: {"name": "fedora", **named}} if kind else {}
    document = {"metadata": {"name": "fedora-ds", "namespace": NAMESPACE}, "spec": {"source": source}}
    return DataSource.model_validate(document)


def a_snapshot(*, ready=True):
    document = {"metadata": {"name": "fedora", "namespace": NAMESPACE}, "status": {"readyToUse": ready}}
    return VolumeSnapshot.model_validate(document)


def shown(data_source, now=NOW, **found):
    absent = {"volume": None, "snapshot": None, "claim": None, "target": None}
    return projection.data_source_projection(data_source, now, **{**absent, **found})


READY = shown(a_source("pvc"), claim=CLAIM)


@pytest.mark.parametrize(
    ("data_source", "found", "reason", "message"),
    [
        (a_source(), {}, "NoSource", "No source PVC set"),
        (a_source("pvc"), {}, "NotFound", "PVC not found"),
        (a_source("pvc"), {"volume": an_import(A, "")}, "Pending", "Import DataVolume phase Pending"),
        (a_source("pvc"), {"volume": an_import(A, Phase.FAILED)}, "Failed", "Import DataVolume phase Failed"),
        (a_source("snapshot"), {}, "NotFound", "Snapshot not found"),
        (
            a_source("snapshot"),
            {"snapshot": a_snapshot(ready=False)},
            "SnapshotNotReady",
            "Snapshot phase is not ready",
        ),
        (a_source("dataSource"), {}, "NotFound", "DataSource not found"),
        (a_source("dataSource"), {"target": a_source("pvc")}, "NoSource", "No source PVC set"),
        (a_source("dataSource"), {"target": shown(a_source("pvc"))}, "NotFound", "PVC not found"),
        (
            a_source("dataSource"),
            {"target": a_source("dataSource")},
            "MaxReferenceDepthReached",
            "DataSource reference chain exceeds maximum depth of 1",
        ),
        (
            a_source("dataSource", name="fedora-ds"),
            {"target": a_source()},
            "SelfReference",
            "DataSource cannot self-reference",
        ),
        (
            a_source("dataSource", namespace="elsewhere"),
            {"target": READY},
            "CrossNamespaceReference",
            "DataSource cannot reference a DataSource in another namespace",
        ),
    ],
)
def test_why_a_data_source_is_not_ready(data_source, found, reason, message):
    after = shown(data_source, **found)
    assert condition(after, "Ready") == ("False", reason, message)
    assert after.status.source is None


@pytest.mark.parametrize(
    ("data_source", "found", "resolved"),
    [
        (a_source("pvc"), {"volume": an_import(A)}, ("pvc", NAMESPACE)),
        (a_source("pvc", namespace="vms"), {"claim": CLAIM}, ("pvc", "vms")),
        (a_source("snapshot"), {"snapshot": a_snapshot()}, ("snapshot", NAMESPACE)),
        (a_source("snapshot", namespace="vms"), {"snapshot": a_snapshot()}, ("snapshot", "vms")),
        (a_source("dataSource"), {"target": shown(a_source("pvc"), claim=CLAIM)}, ("pvc", NAMESPACE)),
        (
            a_source("dataSource", namespace=NAMESPACE),
            {"target": shown(a_source("pvc"), claim=CLAIM)},
            ("pvc", NAMESPACE),
        ),
    ],
)
def test_what_a_ready_data_source_stands_for(data_source, found, resolved):
    after = shown(data_source, **found)
    assert condition(after, "Ready") == ("True", "Ready", "DataSource is ready to be consumed")
    form, namespace = resolved
    assert after.status.source.document() == {form: {"name": "fedora", "namespace": namespace}}


def test_d09_another_source_is_a_transition_although_it_stays_ready():
    first = shown(a_source("pvc"), claim=CLAIM)
    later = NOW + timedelta(hours=1)
    assert shown(first, later, claim=CLAIM) == first
    moved = first.model_copy(update={"spec": a_source("pvc", name="other").spec})
    assert shown(moved, later, claim=CLAIM).status.conditions[0].last_transition_time == later


def test_d10_labels_flow_from_whatever_it_stands_for_once_it_is_ready():
    volume, snapshot = (with_labels(it, {PREFERENCE: "fedora", "x": "y"}) for it in (an_import(A), a_snapshot()))
    pending = with_status(volume, phase="Pending")
    assert shown(a_source("pvc"), volume=pending).metadata.labels == {}
    claim = ClaimState(uid="1", labels={PREFERENCE: "fedora"})
    volume = with_labels(volume, {naming.LABEL_CRON: None})
    for kind, found in (("pvc", {"volume": volume}), ("snapshot", {"snapshot": snapshot}), ("pvc", {"claim": claim})):
        assert shown(a_source(kind), **found).metadata.labels == {PREFERENCE: "fedora"}


COMPLETE = ("False", "Completed", "Import Complete")
BOUND, BEGUN = ("True", "Bound", "PVC v Bound"), ("False", "TransferRunning", "")
WAITS, FAULT = ("False", "Unschedulable", "no node"), ("False", "Error", "it broke")


@pytest.mark.parametrize(
    ("phase", "given", "bound_ready_running", "progress"),
    [
        (Phase.IMPORT_SCHEDULED, {}, [("False", "Pending", "PVC v Pending"), *2 * [("False", "", "")]], "7.00%"),
        (Phase.PENDING, {"reason": "Unschedulable", "message": "no node"}, [WAITS, WAITS, WAITS], "7.00%"),
        (Phase.IMPORT_IN_PROGRESS, {"progress": "12.00%"}, [BOUND, BEGUN, ("True", "", "")], "12.00%"),
        (Phase.IMPORT_IN_PROGRESS, {"reason": "Error", "message": "it broke"}, [BOUND, FAULT, FAULT], "7.00%"),
        (Phase.SUCCEEDED, {"progress": "99.00%"}, [BOUND, ("True", "", ""), COMPLETE], "100.0%"),
    ],
)
def test_a_data_volume_in_each_of_its_phases(phase, given, bound_ready_running, progress):
    after = projection.data_volume_status(with_status(named_v(), progress="7.00%"), phase, NOW, **given)
    assert (after.status.phase, after.status.claim_name, after.status.progress) == (phase, "v", progress)
    assert [condition(after, kind) for kind in ("Bound", "Ready", "Running")] == bound_ready_running


def test_progress_that_nobody_knows_is_said_so():
    assert projection.data_volume_status(named_v(), Phase.PENDING, NOW).status.progress == "N/A"


def named_v(phase=""):
    volume = an_import(A, phase)
    return volume.model_copy(update={"metadata": volume.metadata.model_copy(update={"name": "v"})})


@pytest.mark.parametrize(
    ("phase", "source", "words"),
    [
        (Phase.IMPORT_SCHEDULED, None, ("ImportScheduled", "Import into v scheduled")),
        (Phase.IMPORT_IN_PROGRESS, None, ("ImportInProgress", "Import into v in progress")),
        (Phase.SUCCEEDED, None, ("ImportSucceeded", "Successfully imported into PVC v")),
        (Phase.CLONE_SCHEDULED, "a/b", ("CloneScheduled", f"Cloning from a/b into {NAMESPACE}/v scheduled")),
        (Phase.CLONE_IN_PROGRESS, "a/b", ("CloneInProgress", f"Cloning from a/b into {NAMESPACE}/v in progress")),
        (Phase.SUCCEEDED, "a/b", ("CloneSucceeded", f"Successfully cloned from a/b into {NAMESPACE}/v")),
    ],
)
def test_k18_each_phase_has_its_event(phase, source, words):
    assert projection.phase_event(named_v(phase), CloneSource.parse(source) if source else None) == words


def test_only_running_says_that_an_import_fails_or_waits():
    bound = Condition(type="Bound", status="False", reason="Error", message="of the claim")
    pulling = Condition(type="Running", status="True", reason="Error", message="over")
    volume = with_status(an_import(A, Phase.PENDING), conditions=[bound, pulling])
    assert not projection.erroneous(volume)
    assert projection.failure_of(volume) == projection.waiting_for(volume) == "over"
    silent = with_status(volume, conditions=[bound, pulling.model_copy(update={"status": "False", "message": ""})])
    assert (projection.failure_of(silent), projection.waiting_for(silent)) == ("Import failed", "")
    waiting = with_status(volume, conditions=[Condition(type="Running", status="False", reason="Pending")])
    assert not projection.erroneous(waiting)
    waits = projection.progressing(volume)
    assert (waits.status, waits.message) == ("False", "Import DataVolume phase Pending: over")
    assert projection.progressing(with_status(volume, phase="ImportInProgress")).message == "Import is progressing"


def test_an_import_that_failed_for_good_is_in_the_phase_of_that_name():
    assert projection.progressing(failing(an_import(A), Phase.FAILED)).reason == "Failed"
