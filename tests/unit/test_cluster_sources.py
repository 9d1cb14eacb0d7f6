"""Whether a claim or a snapshot can be cloned now, in the words that a person reads."""

from copy import deepcopy

import pytest

from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.clones.clones import Clones
from dataimportcron.cluster.clones.sources import clonable_claim, clonable_snapshot
from dataimportcron.cluster.documents.records import COMPLETE, Record
from dataimportcron.values import Clonable

MIB = 1 << 20
OWNER = {"kind": "DataVolume", "name": "disk", "uid": "u1", "controller": True}


def claim(**metadata):
    return {
        "metadata": {"name": "disk", "namespace": "golden", "uid": "c1", **metadata},
        "spec": {},
        "status": {"phase": "Bound"},
    }


MOUNT = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
READ = {"volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": True}]}
DEVICE = {"volumeDevices": [{"name": "v", "devicePath": "/dev/v"}]}


def pod(use=MOUNT, *, phase="Running", uid=None, **source):
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "disk"} | source}
    return {
        "metadata": {
            "name": "vm",
            "namespace": "golden",
            "labels": {"dataimportcron.io/volume-uid": uid} if uid else {},
        },
        "spec": {"volumes": [volume, {"name": "other", "emptyDir": {}}], "containers": [{"name": "c", **use}]},
        "status": {"phase": phase},
    }


def finished(phase):
    document = {"metadata": {"name": "disk", "namespace": "golden"}, "spec": {}, "status": {"phase": phase}}
    return DataVolume.model_validate(document)


RECORD = {COMPLETE: Record(uid="u1", size=7 * MIB).to_json()}
WITHOUT = "CloneWithoutSource"


@pytest.mark.parametrize(
    ("metadata", "owner", "found"),
    [
        ({}, None, Clonable(size=9 * MIB)),
        ({"annotations": RECORD}, None, Clonable(size=9 * MIB)),
        ({"annotations": RECORD, "ownerReferences": [OWNER]}, None, Clonable(size=9 * MIB)),
        ({"ownerReferences": [OWNER]}, finished("Succeeded"), Clonable(size=9 * MIB)),
        (
            {"ownerReferences": [OWNER]},
            finished("ImportInProgress"),
            Clonable(reason=WITHOUT, message="The source pvc disk is not populated yet"),
        ),
        (
            {"labels": {"dataimportcron.io/volume": "true"}},
            None,
            Clonable(reason=WITHOUT, message="The source pvc disk is not populated yet"),
        ),
        (
            {"labels": {"dataimportcron.io/clone": "u9"}},
            None,
            Clonable(reason=WITHOUT, message="The source pvc disk is not populated yet"),
        ),
        (
            {"deletionTimestamp": "2026-01-01T00:00:00Z"},
            None,
            Clonable(reason=WITHOUT, message="The source pvc disk is being deleted"),
        ),
    ],
)
def test_a_claim_is_whole_by_its_record_or_because_nobody_fills_it(metadata, owner, found):
    assert clonable_claim(claim(**metadata), owner, [], 9 * MIB) == found


async def test_a_recorded_size_is_believed_without_a_question():
    assert await Clones(None, None).disk_of(claim(annotations=RECORD)) == 7 * MIB


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ("Pending", "The source pvc disk is not bound to a volume yet"),
        ("Lost", "The source pvc disk has lost its volume"),
    ],
)
def test_a_claim_without_a_volume(phase, message):
    waiting = claim() | {"status": {"phase": phase}}
    assert clonable_claim(waiting, None, [], MIB) == Clonable(reason=WITHOUT, message=message)


@pytest.mark.parametrize(
    ("user", "used"),
    [
        (pod(), True),
        (pod(DEVICE), True),
        (pod(phase="Pending"), True),
        (pod(phase="Succeeded"), False),
        (pod(READ), False),
        (pod(DEVICE, readOnly=True), False),
        (pod(claimName="another"), False),
        (pod(DEVICE, uid="another"), False),
        (pod(uid="c1"), True),
    ],
)
def test_a_claim_that_a_pod_may_write_to(user, used):
    found = clonable_claim(claim(), None, [user], MIB)
    message = "pod golden/vm using PersistentVolumeClaim disk"
    assert found == (Clonable(reason="CloneSourceInUse", message=message) if used else Clonable(size=MIB))


READY = {
    "metadata": {"name": "snap1", "namespace": "golden"},
    "spec": {"volumeSnapshotClassName": "csi"},
    "status": {"readyToUse": True},
}


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        ({}, "", ""),
        ({"status": {}}, "SnapshotNotReady", "The source snapshot snap1 has no status"),
        ({"status": {"readyToUse": False}}, "SnapshotNotReady", "The source snapshot snap1 is not ready"),
        (
            {"status": {"readyToUse": False, "error": {"message": "no space"}}},
            "SnapshotNotReady",
            "The source snapshot snap1 is in error: no space",
        ),
        (
            {"spec": {}},
            "CloneValidationFailed",
            "The source snapshot snap1 does not have a volume snapshot class",
        ),
        (
            {"metadata": {"name": "snap1", "deletionTimestamp": "2026-01-01T00:00:00Z"}},
            WITHOUT,
            "The source snapshot snap1 is being deleted",
        ),
    ],
)
def test_a_snapshot(change, reason, message):
    expected = Clonable(reason=reason, message=message) if reason else Clonable(size=MIB)
    assert clonable_snapshot(deepcopy(READY) | change, MIB) == expected
