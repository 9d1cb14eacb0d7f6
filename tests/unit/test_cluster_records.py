"""Records on claims, labels from images, ImageStreams, and who uses a claim."""

from __future__ import annotations

import pytest

from dataimportcron.cluster.claims.uses import cloning, cloning_by_cdi, mounting, restoring, snapshotting
from dataimportcron.cluster.documents.records import (
    ATTEMPT,
    COMPLETE,
    Record,
    attempt_of,
    is_made,
    labels_from,
    record_of,
)
from dataimportcron.cluster.jobs.image_streams import newest, split
from dataimportcron.errors import ImageNotFoundError, InvalidReferenceError
from dataimportcron.values import CloneSource, SourceKind, VolumeSpec

RECORD = Record(uid="u1", size=10, digest="sha256:1", bytes_read=5, bytes_written=4, virtual_size=8)
VOLUME = CloneSource(namespace="golden", name="fedora-1")
SNAPSHOT = CloneSource(namespace="golden", name="fedora-1", kind=SourceKind.SNAPSHOT)
SPEC = VolumeSpec(namespace="golden", name="fedora-1", uid="u1", size=10)


def claim(**annotations):
    return {"metadata": {"name": "fedora-1", "namespace": "golden", "uid": "c", "annotations": annotations}}


def test_a_record_is_read_as_it_was_written():
    assert record_of(claim(**{COMPLETE: RECORD.to_json()})) == RECORD
    newer = RECORD.to_json().replace("{", '{"later": true, ', 1)
    assert record_of(claim(**{COMPLETE: newer})) == RECORD


@pytest.mark.parametrize("text", ["", "{}", "null", '{"uid": "u1"}', "half {"])
def test_what_is_no_record(text):
    assert record_of(claim(**{COMPLETE: text})) is None
    assert record_of(claim()) is None


@pytest.mark.parametrize(("text", "number"), [("7", 7), ("", 0), ("-1", 0), ("seven", 0)])
def test_attempts(text, number):
    assert attempt_of(claim(**{ATTEMPT: text})) == number


@pytest.mark.parametrize(
    ("uid", "digest", "size", "expected"),
    [("u1", "", 99, True), ("u2", "sha256:1", 10, True), ("u2", "sha256:1", 11, False), ("u2", "", 10, False)],
)
def test_a_volume_that_somebody_left_is_adopted_by_its_digest(uid, digest, size, expected):
    complete = claim(**{COMPLETE: RECORD.to_json()})
    spec = VolumeSpec(namespace="golden", name="fedora-1", uid=uid, size=size)
    assert is_made(complete, spec, digest) is expected
    assert not is_made({**complete, "status": {"phase": "Lost"}}, SPEC, digest)


def test_labels_from_an_images_environment():
    environment = {
        "INSTANCETYPE_KUBEVIRT_IO_DEFAULT_PREFERENCE": "fedora",
        "INSTANCETYPE_KUBEVIRT_IO_DEFAULT_INSTANCETYPE_KIND": "VirtualMachineInstancetype",
        "A_B_KUBEVIRT_IO_C": "no label!",
        "_KUBEVIRT_IO_": "x",
        "PATH": "/bin",
    }
    assert labels_from(environment) == {
        "instancetype.kubevirt.io/default-preference": "fedora",
        "instancetype.kubevirt.io/default-instancetype-kind": "VirtualMachineInstancetype",
    }


STREAM = {
    "metadata": {"name": "rhel", "namespace": "golden"},
    "status": {
        "tags": [
            {"tag": "9", "items": [{"image": "sha256:9", "dockerImageReference": "reg/rhel@sha256:9"}, {"image": "x"}]},
            {"tag": "8", "items": [{"image": "sha256:8", "dockerImageReference": "reg/rhel@sha256:8"}]},
            {"tag": "empty"},
        ]
    },
}


def test_an_image_stream_means_the_newest_image_of_its_tag():
    assert newest(STREAM, "8").digest == "sha256:8"
    assert newest(STREAM, "").image == "reg/rhel@sha256:9"
    with pytest.raises(ImageNotFoundError, match="golden/rhel has no tag 7"):
        newest(STREAM, "7")
    with pytest.raises(ImageNotFoundError, match="tag empty has no items"):
        newest(STREAM, "empty")
    with pytest.raises(ImageNotFoundError, match="has no tag"):
        newest({"metadata": {"name": "new"}}, "")


def test_names_of_image_streams():
    assert split("rhel") == ("rhel", "")
    assert split("rhel:9") == ("rhel", "9")


@pytest.mark.parametrize("name", ["", "rhel:", "rhel:9:1", ":9"])
def test_names_that_are_none(name):
    with pytest.raises(InvalidReferenceError, match="Illegal ImageStream name"):
        split(name)


def user(name, phase="Running", labels=None, claim_name="fedora-1"):
    return {
        "metadata": {"name": name, "namespace": "golden", "labels": labels or {}},
        "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": claim_name}}, {"emptyDir": {}}]},
        "status": {"phase": phase},
    }


def test_who_uses_a_claim():
    pods = [
        user("ended", "Succeeded"),
        user("ours", labels={"dataimportcron.io/volume-uid": "c"}),
        user("elsewhere", claim_name="other"),
        user("vm", "Pending"),
    ]
    assert list(mounting(claim(), pods)) == ["pod golden/vm using PersistentVolumeClaim fedora-1"]


def test_who_is_cloned_from_a_claim():
    def clone(name, phase, **spec):
        return {"metadata": {"name": name, "namespace": "golden"}, "spec": spec, "status": {"phase": phase}}

    source = {"kind": "PersistentVolumeClaim", "name": "fedora-1"}
    claims = [
        clone("done", "Bound", dataSource=source),
        clone("other", "Pending", dataSource={**source, "name": "other"}),
        clone("queued", "Pending", dataSourceRef=source),
    ]
    assert list(cloning(claim(), claims)) == ["PersistentVolumeClaim golden/queued is being cloned from it"]


def test_whom_cdi_clones():
    def note(name, kind, source):
        return {"metadata": {"name": name, "namespace": "golden"}, "spec": {"source": {"kind": kind, "name": source}}}

    notes = [
        note("other", "PersistentVolumeClaim", "other"),
        note("snapshot", "VolumeSnapshot", "fedora-1"),
        note("mine", "PersistentVolumeClaim", "fedora-1"),
    ]
    assert list(cloning_by_cdi(VOLUME, notes)) == ["CDI is cloning it, says VolumeCloneSource golden/mine"]
    assert list(cloning_by_cdi(SNAPSHOT, notes)) == ["CDI is cloning it, says VolumeCloneSource golden/snapshot"]


def test_who_is_restored_from_a_snapshot():
    def claim_of(name, kind, phase="Pending"):
        source = {"kind": kind, "name": "fedora-1"}
        metadata = {"name": name, "namespace": "golden"}
        return {"metadata": metadata, "spec": {"dataSourceRef": source}, "status": {"phase": phase}}

    claims = [
        claim_of("done", "VolumeSnapshot", "Bound"),
        claim_of("clone", "PersistentVolumeClaim"),
        claim_of("queued", "VolumeSnapshot"),
    ]
    assert list(restoring(SNAPSHOT, claims)) == ["PersistentVolumeClaim golden/queued is being restored from it"]


def test_what_is_being_snapshotted():
    def snapshot(name, ready):
        return {
            "metadata": {"name": name, "namespace": "golden"},
            "spec": {"source": {"persistentVolumeClaimName": "fedora-1"}},
            "status": {"readyToUse": ready},
        }

    found = list(snapshotting(claim(), [snapshot("done", ready=True), snapshot("young", ready=False)]))
    assert found == ["VolumeSnapshot golden/young is being taken of it"]
