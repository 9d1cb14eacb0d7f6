"""What becomes of the claim of a DataVolume before anything is written to it; which claims are whole without us."""

import pytest

from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.claims.claim_watch import SELECTED_NODE, state_of
from dataimportcron.cluster.documents.records import ATTEMPT, COMPLETE, Record, is_whole
from dataimportcron.cluster.places import STATIC_VOLUMES, Places, is_given, is_reserved_for, waits_for_consumer

OWNER = {"kind": "DataVolume", "name": "vm", "uid": "u1", "controller": True}
WAITING = {"metadata": {"name": "late"}, "volumeBindingMode": "WaitForFirstConsumer"}
AT_ONCE = {"metadata": {"name": "early"}, "volumeBindingMode": "Immediate"}
POPULATED = "cdi.kubevirt.io/storage.populatedFor"
ADOPTION = "cdi.kubevirt.io/allowClaimAdoption"
FEATURE = frozenset({"DataVolumeClaimAdoption"})


def volume(spec=None, **annotations):
    metadata = {"name": "vm", "namespace": "golden", "uid": "u1", "annotations": annotations}
    return DataVolume.model_validate({"metadata": metadata, "spec": spec or {"source": {"blank": {}}}})


def claim(*owners, phase="Bound", annotations=None, **spec):
    return {
        "metadata": {
            "name": "vm",
            "namespace": "golden",
            "uid": "c1",
            "ownerReferences": list(owners),
            "annotations": annotations or {},
        },
        "spec": {
            "storageClassName": "late",
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": "Filesystem",
            "resources": {"requests": {"storage": "1Gi"}},
            **spec,
        },
        "status": {"phase": phase},
    }


@pytest.mark.parametrize(
    ("found", "whole"),
    [
        (claim(), True),
        (claim(phase="Pending"), False),
        (claim(phase="Lost"), False),
        (claim(OWNER), False),
        (claim(OWNER, annotations={COMPLETE: Record(uid="u1", size=1).to_json()}), True),
        (claim(OWNER, annotations={POPULATED: "vm"}), True),
        (claim(OWNER, annotations={POPULATED: "another"}), False),
        (claim({**OWNER, "controller": False}), True),
        (claim({**OWNER, "kind": "StatefulSet"}), True),
        (claim(annotations={ATTEMPT: "1"}), False),
    ],
)
def test_a_claim_is_whole_by_a_record_a_word_or_because_it_is_its_users(found, whole):
    assert is_whole(found) is whole
    assert state_of(found).whole is whole


def test_a_claim_that_stands_for_a_data_volume_is_whole_by_its_record_alone():
    found = claim()
    found["metadata"]["labels"] = {"dataimportcron.io/volume": "true"}
    assert not is_whole(found)


def test_a_claim_that_goes_is_not_whole():
    found = claim()
    found["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    assert not is_whole(found)
    assert state_of(found).state == "Terminating"


@pytest.mark.parametrize(
    ("wanted", "found", "features", "given"),
    [
        (volume(), claim(), frozenset(), False),
        (volume(), claim(), FEATURE, True),
        (volume(**{ADOPTION: "false"}), claim(), FEATURE, False),
        (volume(**{ADOPTION: "true"}), claim(), frozenset(), True),
        (volume(**{ADOPTION: "yes"}), claim(), FEATURE, False),
        (volume(**{ADOPTION: "true"}), claim({**OWNER, "uid": "u2"}), frozenset(), False),
        (volume(**{ADOPTION: "true"}), claim(OWNER), frozenset(), False),
        (volume(), claim(annotations={POPULATED: "vm"}), frozenset(), True),
        (volume(), claim(phase="Pending", annotations={POPULATED: "vm"}), frozenset(), True),
        (volume(), claim(OWNER, annotations={POPULATED: "vm"}), frozenset(), True),
        (volume(), claim(annotations={POPULATED: "another"}), frozenset(), False),
        (volume(), claim({**OWNER, "uid": "u2"}, annotations={POPULATED: "vm"}), frozenset(), False),
    ],
)
def test_whose_word_makes_a_claim_a_data_volumes(wanted, found, features, given):
    assert is_given(wanted, found, features=features) is given


def test_a_claim_that_something_else_fills_is_whole_when_it_is_bound():
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
    wanted = volume({"storage": {"dataSource": source}})
    assert is_given(wanted, claim(OWNER, dataSource=source), features=frozenset())
    assert not is_given(wanted, claim(OWNER, phase="Pending", dataSource=source), features=frozenset())
    assert not is_given(wanted, claim(dataSource=source), features=frozenset())


@pytest.mark.parametrize(
    ("wanted", "found", "storage_class", "phase"),
    [
        (volume(), claim(phase="Pending"), WAITING, "WaitForFirstConsumer"),
        (volume(), claim(phase="Pending"), AT_ONCE, ""),
        (volume(), claim(phase="Pending"), None, ""),
        (volume(), claim(phase="Bound"), WAITING, ""),
        (volume(**{"cdi.kubevirt.io/storage.bind.immediate.requested": "true"}), claim(phase="Pending"), WAITING, ""),
        (volume(), claim(phase="Pending", annotations={SELECTED_NODE: "n"}), WAITING, "WaitForFirstConsumer"),
        (volume(), claim(phase="Pending", dataSourceRef={"kind": "X"}), WAITING, "PendingPopulation"),
        (volume(), claim(phase="Pending", dataSource={"kind": "X"}), WAITING, "WaitForFirstConsumer"),
        (volume(), claim(phase="Pending", dataSource={"kind": "X"}, annotations={SELECTED_NODE: "n"}), WAITING, ""),
    ],
)
def test_a_claim_waits_for_its_first_consumer(wanted, found, storage_class, phase):
    waiting = Places.waiting(wanted, found, storage_class)
    assert (waiting.phase, waiting.reason) == (phase, phase)
    assert (found["status"]["phase"] == "Pending" and waits_for_consumer(wanted, found, storage_class)) is bool(phase)


def test_a_claim_without_a_class_waits_for_a_volume_without_taking_a_turn():
    waiting = Places.waiting(volume(), claim(phase="Pending", storageClassName=""), None)
    assert (waiting.reason, waiting.phase) == ("Pending", "")
    assert "no storage class" in waiting.message
    assert Places.waiting(volume(), claim(storageClassName=""), None).reason == ""
    reserved = claim(phase="Pending", storageClassName="early", annotations={STATIC_VOLUMES: "[]"})
    assert "a volume of its own" in Places.waiting(volume(), reserved, AT_ONCE).message


def persistent_volume(phase="Available", **spec):
    return {
        "spec": {
            "claimRef": {"namespace": "golden", "name": "vm"},
            "storageClassName": "late",
            "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
            "capacity": {"storage": "2Gi"},
            **spec,
        },
        "status": {"phase": phase},
    }


@pytest.mark.parametrize(
    ("found", "reserved"),
    [
        (persistent_volume(), True),
        (persistent_volume(phase="Bound"), False),
        (persistent_volume(claimRef={"namespace": "other", "name": "vm"}), False),
        (persistent_volume(claimRef=None), False),
        (persistent_volume(storageClassName=None), False),
        (persistent_volume(volumeMode="Block"), False),
        (persistent_volume(accessModes=["ReadOnlyMany"]), False),
        (persistent_volume(capacity={"storage": "1023Mi"}), False),
    ],
)
def test_a_volume_is_reserved_for_a_claim_that_it_fits(found, reserved):
    assert is_reserved_for(found, claim()) is reserved
