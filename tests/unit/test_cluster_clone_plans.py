"""How something is cloned, and which objects that takes, decided from what is known."""

from dataclasses import replace

import pytest

from dataimportcron import naming
from dataimportcron.cluster.classes.storage import StorageFacts
from dataimportcron.cluster.clones.plans import (
    ANNOTATION_CLONE_OF,
    ANNOTATION_WAY,
    Origin,
    Place,
    Way,
    noted_way,
    on_the_node_of,
    place_of,
    plan_of,
    way_of,
)
from dataimportcron.cluster.documents.records import LABEL_CLONE
from dataimportcron.errors import InvalidObjectError
from dataimportcron.values import CloneSource, SourceKind

GIB = 1 << 30
PVC = CloneSource(namespace="golden", name="fedora")
SNAPSHOT = replace(PVC, kind=SourceKind.SNAPSHOT)
ORIGIN = Origin(source=PVC, driver="csi.test", mode="Filesystem", capacity=2 * GIB, disk=GIB, recorded=True)
PLACE = Place(driver="csi.test", mode="Filesystem", size=2 * GIB, strategy="csi-clone", disk=GIB, snapshot_class="snap")
OWNER = {"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "name": "vm", "uid": "u1", "controller": True}


def claim(namespace="golden", **spec):
    return {
        "metadata": {
            "name": "vm",
            "namespace": namespace,
            "annotations": {"kept": "yes"},
            "ownerReferences": [OWNER],
        },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "volumeMode": "Filesystem",
            "storageClassName": "csi",
            "resources": {"requests": {"storage": str(2 * GIB)}},
        }
        | spec,
    }


def plan(way, namespace="golden", origin=ORIGIN, place=PLACE):
    return plan_of(claim(namespace), origin, place, way, "u1")


@pytest.mark.parametrize(
    ("origin", "place", "way"),
    [
        ({}, {}, Way.CSI_CLONE),
        ({}, {"strategy": "snapshot"}, Way.SNAPSHOT),
        ({}, {"strategy": "snapshot", "snapshot_class": ""}, Way.COPY),
        ({}, {"strategy": "copy"}, Way.COPY),
        ({}, {"driver": "other"}, Way.COPY),
        ({"driver": ""}, {"driver": ""}, Way.COPY),
        ({"mode": "Block"}, {}, Way.COPY),
        ({}, {"mode": "Block"}, Way.COPY),
        ({"mode": "Block"}, {"mode": "Block"}, Way.CSI_CLONE),
        ({}, {"size": GIB}, Way.CSI_CLONE),
        ({}, {"size": 2 * GIB + 1}, Way.COPY),
        ({}, {"size": 2 * GIB + 1, "grows": True}, Way.CSI_CLONE),
        ({}, {"size": 3 * GIB, "grows": True, "strategy": "snapshot"}, Way.SNAPSHOT),
        ({"source": SNAPSHOT}, {}, Way.RESTORE),
        ({"source": SNAPSHOT}, {"strategy": "copy"}, Way.RESTORE),
        ({"source": SNAPSHOT}, {"driver": "other"}, Way.RESTORE_AND_COPY),
        ({"source": SNAPSHOT}, {"mode": "Block"}, Way.RESTORE_AND_COPY),
        ({"source": SNAPSHOT}, {"size": 3 * GIB}, Way.RESTORE_AND_COPY),
        ({"source": SNAPSHOT}, {"size": 3 * GIB, "grows": True}, Way.RESTORE),
    ],
)
def test_the_way_of_a_clone(origin, place, way):
    assert way_of(replace(ORIGIN, **origin), replace(PLACE, **place)) is way


@pytest.mark.parametrize(
    ("origin", "place", "said"),
    [
        ({}, {}, ""),
        ({"driver": ""}, {"driver": "", "strategy": "copy"}, ""),
        ({}, {"strategy": "snapshot", "snapshot_class": ""}, "No compatible volumesnapshotclass found"),
        ({"driver": ""}, {"driver": ""}, "Provisioners are incompatible"),
        ({}, {"mode": "Block"}, "The volume modes of source and target are incompatible"),
        ({}, {"size": 3 * GIB}, "No volume expansion is possible"),
        ({"source": SNAPSHOT}, {"snapshot_class": "", "strategy": "snapshot"}, ""),
        (
            {"source": SNAPSHOT},
            {"driver": "other"},
            "The storageclass provisioner does not match the volumesnapshotcontent driver",
        ),
        ({"source": SNAPSHOT}, {"size": 3 * GIB, "strategy": "copy"}, "No volume expansion is possible"),
    ],
)
def test_why_a_pod_copies_is_said_on_the_claim_in_cdis_words(origin, place, said):
    origin, place = replace(ORIGIN, **origin), replace(PLACE, restoring_class="csi", **place)
    made = plan(way_of(origin, place), origin=origin, place=place)
    assert made.target["metadata"]["annotations"].get("cdi.kubevirt.io/cloneFallbackReason", "") == said


def test_a_place_is_read_from_what_is_known_of_the_cluster():
    classes = [
        {"metadata": {"name": "csi"}, "provisioner": "csi.test", "allowVolumeExpansion": True},
        {"metadata": {"name": "late"}, "provisioner": "csi.test", "volumeBindingMode": "WaitForFirstConsumer"},
        {"metadata": {"name": "other"}, "provisioner": "other"},
    ]
    facts = StorageFacts(classes=classes, snapshot_classes=[{"metadata": {"name": "snap"}, "driver": "csi.test"}])

    def at(name):
        return place_of(claim(storageClassName=name), ORIGIN, facts, strategy="snapshot", disk=GIB)

    assert at("csi") == replace(PLACE, strategy="snapshot", grows=True, restoring_class="csi")
    assert (at("late").binding, at("late").grows, at("late").restoring_class) == ("WaitForFirstConsumer", False, "late")
    assert (at("other").driver, at("other").snapshot_class, at("other").restoring_class) == ("other", "", "csi")
    assert (at("unknown").driver, at("unknown").binding) == ("", "")


@pytest.mark.parametrize(
    ("way", "source", "kind"),
    [
        (Way.CSI_CLONE, {"kind": "PersistentVolumeClaim", "name": "fedora"}, "csi-clone"),
        (
            Way.SNAPSHOT,
            {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "clone-u1"},
            "snapshot",
        ),
        (
            Way.RESTORE,
            {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "fedora"},
            "snapshot",
        ),
        (Way.COPY, None, "copy"),
    ],
)
def test_in_one_namespace_the_target_is_the_clone(way, source, kind):
    made = plan(way, origin=replace(ORIGIN, capacity=3 * GIB))
    assert (made.temporary, made.restored) == (None, None)
    assert made.target["spec"].get("dataSource") == source
    assert made.target["spec"]["accessModes"] == ["ReadWriteMany"]
    # A driver makes nothing smaller than what it comes from.
    asked = 2 * GIB if way is Way.COPY else 3 * GIB
    assert made.target["spec"]["resources"]["requests"] == {"storage": str(asked)}
    assert made.target["metadata"]["annotations"] == {
        "kept": "yes",
        ANNOTATION_WAY: way.value,
        naming.ANNOTATION_CLONE_SOURCE: "golden/fedora",
        "cdi.kubevirt.io/cloneType": kind,
    }
    assert made.target["metadata"]["ownerReferences"] == [OWNER]


def test_the_snapshot_of_a_clone_goes_with_its_volume():
    made = plan(Way.SNAPSHOT)
    assert made.waits_for_snapshot
    assert made.snapshot["spec"] == {
        "volumeSnapshotClassName": "snap",
        "source": {"persistentVolumeClaimName": "fedora"},
    }
    metadata = made.snapshot["metadata"]
    assert (metadata["name"], metadata["namespace"], metadata["labels"][LABEL_CLONE]) == ("clone-u1", "golden", "u1")
    assert metadata["ownerReferences"] == [OWNER]


def test_in_another_namespace_a_temporary_claim_is_filled():
    made = plan(Way.SNAPSHOT, "apps")
    assert made.target["spec"]["dataSourceRef"]["kind"] == "Handover"
    assert "dataSource" not in made.target["spec"]
    assert not made.waits_for_snapshot
    metadata = made.temporary["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("clone-u1", "golden")
    assert (metadata["annotations"], "ownerReferences" in metadata) == ({ANNOTATION_CLONE_OF: "apps/vm"}, False)
    assert made.temporary["spec"]["dataSource"]["name"] == made.snapshot["metadata"]["name"] == "clone-u1"


def test_a_snapshot_that_is_copied_is_restored_by_its_own_driver():
    origin = replace(ORIGIN, source=SNAPSHOT, mode="Block")
    made = plan(Way.RESTORE_AND_COPY, "apps", origin, replace(PLACE, driver="other", restoring_class="csi"))
    assert (made.restored["metadata"]["name"], made.restored["metadata"]["namespace"]) == ("restore-u1", "golden")
    assert made.restored["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "volumeMode": "Block",
        "storageClassName": "csi",
        "resources": {"requests": {"storage": str(2 * GIB)}},
        "dataSource": {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "fedora"},
    }
    assert made.read == "restore-u1"
    with pytest.raises(InvalidObjectError, match=r"golden/fedora cannot be restored: no StorageClass .* csi\.test"):
        plan(Way.RESTORE_AND_COPY, origin=origin)


def test_a_clone_that_was_begun_goes_on_in_its_way():
    begun = plan(Way.COPY).target
    assert noted_way(begun, PVC) is Way.COPY
    assert noted_way(begun, replace(PVC, name="another")) is None
    assert noted_way(claim(), PVC) is None
    assert noted_way(None, PVC) is None


@pytest.mark.parametrize(
    ("origin", "place", "inspected"),
    [
        ({}, {}, False),
        ({}, {"disk": GIB + 1}, True),
        ({"recorded": False}, {}, True),
        ({"recorded": False, "mode": "Block"}, {}, False),
        ({}, {"binding": "WaitForFirstConsumer"}, True),
        ({}, {"binding": ""}, True),
    ],
)
def test_a_pod_looks_at_what_a_driver_has_filled_only_where_it_must(origin, place, inspected):
    made = plan(Way.CSI_CLONE, origin=replace(ORIGIN, **origin), place=replace(PLACE, **place))
    assert made.is_inspected(claim()) is inspected


def test_a_pod_that_waits_for_the_volume_has_picked_its_node():
    node = {"volume.kubernetes.io/selected-node": "node1"}
    picked = claim() | {"metadata": claim()["metadata"] | {"annotations": node}}
    made = plan(Way.CSI_CLONE, "apps", place=replace(PLACE, binding="WaitForFirstConsumer"))
    assert not made.is_inspected(picked)
    assert on_the_node_of(made.temporary, picked)["metadata"]["annotations"] == {ANNOTATION_CLONE_OF: "apps/vm"} | node
    assert on_the_node_of(made.temporary, claim()) == made.temporary


@pytest.mark.parametrize(
    ("binding", "annotation", "waits"),
    [
        ("Immediate", "other", False),
        ("", "other", False),
        ("WaitForFirstConsumer", "other", True),
        ("WaitForFirstConsumer", "cdi.kubevirt.io/storage.bind.immediate.requested", False),
        ("WaitForFirstConsumer", "volume.kubernetes.io/selected-node", False),
    ],
)
def test_a_target_waits_for_its_first_consumer(binding, annotation, waits):
    target = claim() | {"metadata": claim()["metadata"] | {"annotations": {annotation: "true"}}}
    made = plan(Way.COPY, place=replace(PLACE, binding=binding))
    assert made.awaits_consumer(target) is waits
    assert not made.awaits_consumer(target | {"status": {"phase": "Bound"}})
