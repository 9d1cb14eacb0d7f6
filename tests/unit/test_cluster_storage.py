"""From a DataVolume to its claim (S-01, S-02, S-12, labels, sizes)."""

from __future__ import annotations

from fractions import Fraction

import pytest

from dataimportcron.cluster.classes.storage import (
    DEFAULT_OVERHEAD,
    StorageFacts,
    claim_of,
    class_of,
    disk_size,
    inflated,
    usable,
)
from dataimportcron.errors import InvalidObjectError

MIB = 1 << 20
POPULATED_FOR = "cdi.kubevirt.io/storage.populatedFor"
OVERHEAD = Fraction(DEFAULT_OVERHEAD)


def storage_class(name, provisioner="csi.example", created="2026-01-01T00:00:00Z", **marks):
    annotations = {
        {
            "default": "storageclass.kubernetes.io/is-default-class",
            "virt": "storageclass.kubevirt.io/is-default-virt-class",
        }[mark]: value
        for mark, value in marks.items()
    }
    return {
        "metadata": {"name": name, "annotations": annotations, "creationTimestamp": created},
        "provisioner": provisioner,
    }


def volume(labels=None, annotations=None, **spec):
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {
            "name": "fedora-1",
            "namespace": "golden",
            "uid": "u1",
            "labels": labels or {},
            "annotations": annotations or {},
        },
        "spec": spec,
    }


def requesting(size, **members):
    return {"resources": {"requests": {"storage": size}}, **members}


def spec_of(data_volume, **facts):
    return claim_of(data_volume, StorageFacts(**facts), owned=True).body["spec"]


def profile(name, *sets, annotations=None):
    properties = [{"accessModes": access, "volumeMode": mode} for access, mode in sets]
    return {
        name: {
            "metadata": {"name": name, "annotations": annotations or {}},
            "status": {"claimPropertySets": properties},
        }
    }


def test_a_claim_is_larger_than_its_disk_by_what_a_file_system_needs():
    assert inflated(64 * MIB, OVERHEAD) == 71135396
    assert spec_of(volume(storage=requesting("64Mi")))["resources"] == {"requests": {"storage": "71135396"}}


@pytest.mark.parametrize("size", [1, MIB - 1, MIB, 64 * MIB, 5 << 30, (5 << 30) + 1])
def test_a_disk_fits_on_the_claim_that_is_made_for_it(size):
    aligned = -(-size // MIB) * MIB
    assert usable(inflated(size, OVERHEAD), OVERHEAD) == aligned


def test_a_claim_of_its_own_is_taken_as_it_stands():
    wanted = requesting("64Mi", accessModes=["ReadOnlyMany"], storageClassName="slow", volumeName="pv-1")
    claim = spec_of(volume(pvc=wanted))
    assert claim == {
        "accessModes": ["ReadOnlyMany"],
        "volumeMode": "Filesystem",
        "storageClassName": "slow",
        "volumeName": "pv-1",
        "resources": {"requests": {"storage": str(64 * MIB)}},
    }


@pytest.mark.parametrize(
    ("form", "mode", "size"),
    [("storage", "Filesystem", 64), ("storage", "Block", 64), ("pvc", "Filesystem", 60), ("pvc", "Block", 64)],
)
def test_size_of_the_disk(form, mode, size):
    claim = {"spec": {"volumeMode": mode}}
    assert disk_size(volume(**{form: requesting("64Mi")}), claim, StorageFacts()) == size * MIB


def test_overhead_of_a_class_and_of_all():
    facts = {"overheads": {"": "0.1", "fast": "0"}}
    assert spec_of(volume(storage=requesting("10Mi")), **facts)["resources"]["requests"]["storage"] == str(11 * MIB)
    fast = volume(storage=requesting("10Mi", storageClassName="fast"))
    assert spec_of(fast, **facts)["resources"]["requests"]["storage"] == str(10 * MIB)


def test_the_class_is_named_or_that_of_virtual_machines_or_the_default():
    plain, virt = storage_class("plain", default="true"), storage_class("virt", virt="true")
    assert class_of({"storageClassName": "mine"}, [plain, virt]) == "mine"
    assert class_of({}, [plain, virt]) == "virt"
    assert class_of({}, [plain, storage_class("virt", virt="false")]) == "plain"
    assert class_of({}, [storage_class("other")]) == ""


def test_an_empty_class_is_asked_for_and_none_is_left_open():
    assert spec_of(volume(storage=requesting("1Gi", storageClassName="")))["storageClassName"] == ""
    assert "storageClassName" not in spec_of(volume(storage=requesting("1Gi")))


def test_of_several_defaults_the_newest_counts():
    old = storage_class("b-old", created="2026-01-01T00:00:00Z", default="true")
    new = storage_class("a-new", created="2026-02-01T00:00:00Z", default="true")
    assert class_of({}, [new, old]) == class_of({}, [old, new]) == "a-new"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, (["ReadWriteMany"], "Block")),
        ({"volumeMode": "Filesystem"}, (["ReadWriteOnce"], "Filesystem")),
        ({"accessModes": ["ReadWriteOnce"]}, (["ReadWriteOnce"], "Filesystem")),
        ({"accessModes": ["ReadOnlyMany"]}, (["ReadOnlyMany"], "Block")),
        ({"accessModes": ["ReadOnlyMany"], "volumeMode": "Filesystem"}, (["ReadOnlyMany"], "Filesystem")),
    ],
)
def test_modes_by_profile(asked, expected):
    profiles = profile("c", (["ReadWriteMany"], "Block"), (["ReadWriteOnce"], "Filesystem"))
    made = spec_of(volume(storage=requesting("1Gi", storageClassName="c", **asked)), profiles=profiles)
    assert (made["accessModes"], made["volumeMode"]) == expected


def test_a_profile_outranks_the_table():
    classes = [storage_class("c", "rbd.csi.ceph.com")]
    wanted = volume(storage=requesting("1Gi", storageClassName="c"))
    assert spec_of(wanted, classes=classes)["accessModes"] == ["ReadWriteMany"]
    profiles = profile("c", (["ReadWriteOncePod"], "Filesystem"))
    assert spec_of(wanted, classes=classes, profiles=profiles)["accessModes"] == ["ReadWriteOncePod"]


def test_what_nobody_knows_is_assumed_and_said():
    facts = StorageFacts(classes=[storage_class("odd", "odd.example", default="true")])
    claim = claim_of(volume(storage=requesting("1Gi")), facts, owned=True)
    assert (claim.body["spec"]["accessModes"], claim.body["spec"]["volumeMode"]) == (["ReadWriteOnce"], "Filesystem")
    assert "storage class odd" in claim.notice
    known = StorageFacts(classes=[storage_class("ebs", "ebs.csi.aws.com", default="true")])
    assert claim_of(volume(storage=requesting("1Gi")), known, owned=True).notice == ""


@pytest.mark.parametrize(
    ("mark", "cron", "modes", "expected"),
    [
        ("true", True, None, ["ReadWriteOnce"]),
        ("true", True, ["ReadWriteMany"], ["ReadWriteMany"]),
        ("false", True, None, ["ReadWriteMany"]),
        ("true", False, None, ["ReadWriteMany"]),
    ],
)
def test_imports_of_crons_may_prefer_read_write_once(mark, cron, modes, expected):
    annotations = {"cdi.kubevirt.io/useReadWriteOnceForDataImportCron": mark}
    sets = (["ReadWriteMany"], "Block"), (["ReadWriteOnce"], "Block")
    wanted = volume(
        labels={"cdi.kubevirt.io/dataImportCron": "fedora"} if cron else {},
        storage=requesting("1Gi", storageClassName="c", **({"accessModes": modes} if modes else {})),
    )
    assert spec_of(wanted, profiles=profile("c", *sets, annotations=annotations))["accessModes"] == expected


def test_labels_flow_and_the_volume_owns_its_claim():
    wanted = volume(
        labels={"instancetype.kubevirt.io/default-preference": "fedora"},
        annotations={"a": "b", "kubectl.kubernetes.io/last-applied-configuration": "{}", POPULATED_FOR: "fedora-1"},
        storage=requesting("1Gi"),
    )
    metadata = claim_of(wanted, StorageFacts(), owned=True).body["metadata"]
    assert metadata["labels"]["instancetype.kubevirt.io/default-preference"] == "fedora"
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "dataimportcron"
    assert metadata["annotations"] == {
        "a": "b",
        "cdi.kubevirt.io/storage.contentType": "kubevirt",
        "cdi.kubevirt.io/storage.createdForDataVolume": "u1",
    }
    assert metadata["labels"]["alerts.k8s.io/KubePersistentVolumeFillingUp"] == "disabled"
    [owner] = metadata["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("DataVolume", "u1", True)
    assert "ownerReferences" not in claim_of(wanted, StorageFacts(), owned=False).body["metadata"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "neither spec.storage nor spec.pvc"),
        ({"storage": {}}, "expected a size"),
        ({"storage": requesting("0")}, "expected a size"),
        ({"pvc": requesting("1ki")}, "is no quantity"),
    ],
)
def test_what_is_no_claim(spec, words):
    with pytest.raises(InvalidObjectError, match=words):
        claim_of(volume(**spec), StorageFacts(), owned=True)
