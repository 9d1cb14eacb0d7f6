"""What holds for the volumes of a class: how they are cloned, what imports are kept as (S-03, S-10)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dataimportcron.cluster.classes.placements import placement_of
from dataimportcron.cluster.classes.profiles import (
    clone_strategy,
    config_status,
    is_left_behind,
    profile_of,
    snapshot_class,
    snapshot_class_of_imports,
    source_format,
)
from dataimportcron.cluster.classes.provisioners import PROVISIONERS, capabilities_of, is_known_provisioner
from dataimportcron.cluster.classes.storage import StorageFacts
from dataimportcron.values import Placement, SourceKind

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GOOGLE = "pd.csi.storage.gke.io"
DEFAULT = {"snapshot.storage.kubernetes.io/is-default-class": "true"}


def storage_class(provisioner="csi.example", annotations=None, **parameters):
    metadata = {"name": "c", "annotations": annotations or {}}
    return {"metadata": metadata, "provisioner": provisioner, "parameters": parameters}


def snapshots_by(name, driver="csi.example", annotations=None, **parameters):
    return {
        "metadata": {"name": name, "annotations": annotations or {}},
        "driver": driver,
        "parameters": parameters,
    }


def facts(of, *snapshot_classes, **spec):
    profiles = {"c": {"metadata": {"name": "c"}, "spec": spec}} if spec else {}
    return StorageFacts(classes=[of], profiles=profiles, snapshot_classes=snapshot_classes)


@pytest.mark.parametrize(
    ("provisioner", "with_snapshots", "without"),
    [
        ("csi.example", "snapshot", "copy"),
        ("rbd.csi.ceph.com", "csi-clone", "csi-clone"),
        ("pd.csi.storage.gke.io", "snapshot", "copy"),
        ("topolvm.io", "copy", "copy"),
    ],
)
def test_how_a_class_is_cloned_that_nobody_has_spoken_of(provisioner, with_snapshots, without):
    of = storage_class(provisioner)
    assert clone_strategy("c", facts(of, snapshots_by("s", provisioner))) == with_snapshots
    assert clone_strategy("c", facts(of, snapshots_by("s", "another.example"))) == without


def test_the_profile_outranks_the_class_which_outranks_the_table():
    of = storage_class("rbd.csi.ceph.com", {"cdi.kubevirt.io/clone-strategy": "copy"})
    assert clone_strategy("c", facts(of)) == "copy"
    assert clone_strategy("c", facts(of, cloneStrategy="snapshot")) == "snapshot"
    odd = storage_class("rbd.csi.ceph.com", {"cdi.kubevirt.io/clone-strategy": "teleport"})
    assert clone_strategy("c", facts(odd)) == "csi-clone"


def test_a_class_that_does_not_exist_is_copied():
    nothing = facts(storage_class(), snapshots_by("s"))
    assert (clone_strategy("gone", nothing), snapshot_class("gone", nothing)) == ("copy", "")


def test_the_snapshot_class_is_the_drivers_default_or_its_first_by_name():
    two = [snapshots_by("b"), snapshots_by("a"), snapshots_by("0", "another.example", DEFAULT)]
    assert snapshot_class("c", facts(storage_class(), *two)) == "a"
    assert snapshot_class("c", facts(storage_class(), *two, snapshots_by("z", annotations=DEFAULT))) == "z"


def test_a_snapshot_class_that_is_asked_for_must_be_of_the_driver():
    both = [snapshots_by("a"), snapshots_by("b"), snapshots_by("other", "another.example")]
    assert snapshot_class("c", facts(storage_class(), *both, snapshotClass="b")) == "b"
    assert snapshot_class("c", facts(storage_class(), *both, snapshotClass="other")) == ""


@pytest.mark.parametrize(
    ("provisioner", "parameters", "sort"),
    [
        ("kubevirt.io.hostpath-provisioner", {"overlayCSI": ""}, "overlay"),
        ("pxd.portworx.com", {"backend": "pure_block"}, "pure_block"),
        ("pxd.portworx.com", {"sharedv4_mount_options": "vers=3.0,nolock"}, "nfs"),
        ("pxd.portworx.com", {"backend": "x", "sharedv4_mount_options": "vers=3.0,nolock"}, ""),
        ("kubernetes.io/portworx-volume", {"sharedv4_mount_options": "nolock,vers=3.0"}, "nfs"),
        ("csi.trident.netapp.io", {"backendType": "ontap-san-economy"}, "ontap-san"),
        (
            "csi.trident.netapp.io",
            {"backendType": "google-cloud-netapp-volumes", "selector": "a=b; performance=flex"},
            "gcnv-flex",
        ),
        ("infinibox-csi-driver", {"storage_protocol": "fc"}, "san"),
        ("csi.vsphere.vmware.com", {"csi.storage.k8s.io/fstype": "NFS4"}, "nfs"),
        ("csi-powermax.dellemc.com", {"csi.storage.k8s.io/fstype": "nfs"}, "nfs"),
        ("csi-unity.dellemc.com", {"protocol": "NFS"}, "nfs"),
        ("driver.longhorn.io", {"migratable": "true", "fsType": "ext4"}, "migratable"),
        ("driver.longhorn.io", {"fsType": "ext4"}, "fs"),
        ("ebs.csi.aws.com", {"type": "gp3"}, "gp"),
        ("pd.csi.storage.gke.io", {"type": "hyperdisk-balanced"}, "hyperdisk"),
        ("csi.san.synology.com", {}, "iscsi"),
        ("vpc.file.csi.ibm.io", {"profile": "dp2", "vmState": "true"}, "dp2-rwo"),
        ("vpc.file.csi.ibm.io", {"profile": "odd"}, ""),
    ],
)
def test_parameters_tell_sorts_of_volumes_apart(provisioner, parameters, sort):
    key = f"{provisioner}/{sort}" if sort else provisioner
    assert capabilities_of(storage_class(provisioner, **parameters)) is PROVISIONERS[key]


def test_a_provisioner_may_be_known_and_what_its_class_makes_not():
    odd = storage_class("csi.trident.netapp.io", backendType="odd")
    assert capabilities_of(odd) is None
    assert is_known_provisioner(odd)
    assert not is_known_provisioner(storage_class())


@pytest.mark.parametrize(
    ("provisioner", "with_snapshots"),
    [("rook-ceph.rbd.csi.ceph.com", "snapshot"), (GOOGLE, "snapshot"), ("csi.example", "pvc")],
)
def test_an_import_is_kept_as_suits_its_provisioner(provisioner, with_snapshots):
    of = storage_class(provisioner)
    assert source_format("c", facts(of, snapshots_by("s", provisioner))) == with_snapshots
    assert source_format("c", facts(of)) == "pvc", "no snapshot without a class"


def test_the_format_of_an_import_is_the_profiles_spec_then_its_status():
    of, known = storage_class("rook-ceph.rbd.csi.ceph.com"), snapshots_by("s", "rook-ceph.rbd.csi.ceph.com")
    assert source_format("c", facts(of, known, dataImportCronSourceFormat="pvc")) == "pvc"
    theirs = {"c": {"status": {"dataImportCronSourceFormat": "snapshot"}}}
    assert source_format("c", StorageFacts(classes=[storage_class()], profiles=theirs)) == "snapshot"


def test_the_snapshot_class_of_imports():
    classes = [snapshots_by("a", GOOGLE), snapshots_by("i", GOOGLE, **{"snapshot-type": "images"})]
    assert snapshot_class_of_imports("c", facts(storage_class(GOOGLE), *classes)) == "i"
    assert snapshot_class_of_imports("c", facts(storage_class(), snapshots_by("s"))) == "s"
    profile = {"metadata": {"annotations": {}}, "status": {"snapshotClass": "theirs"}}
    of = StorageFacts(classes=[storage_class()], profiles={"c": profile}, snapshot_classes=[snapshots_by("s")])
    assert snapshot_class_of_imports("c", of) == "theirs"
    profile["metadata"]["annotations"]["cdi.kubevirt.io/snapshotClassForDataImportCron"] = "mine"
    assert snapshot_class_of_imports("c", of) == "mine"


def test_a_profile_is_filled_and_stays_as_it_is():
    of, known = storage_class(GOOGLE), snapshots_by("i", GOOGLE, **{"snapshot-type": "images"})
    made = profile_of(of, None, facts(of, known), NOW)
    assert made["metadata"]["annotations"] == {
        "cdi.kubevirt.io/useReadWriteOnceForDataImportCron": "true",
        "cdi.kubevirt.io/snapshotClassForDataImportCron": "i",
    }
    [condition] = made["status"].pop("conditions")
    assert (condition["type"], condition["status"], condition["reason"]) == (
        "Recognized",
        "True",
        "RecognizedProvisioner",
    )
    assert made["status"] == {
        "storageClass": "c",
        "provisioner": GOOGLE,
        "cloneStrategy": "snapshot",
        "dataImportCronSourceFormat": "snapshot",
        "snapshotClass": "i",
        "claimPropertySets": [
            {"accessModes": ["ReadWriteOnce"], "volumeMode": "Block"},
            {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"},
        ],
    }
    made["status"]["conditions"] = [condition]
    later = StorageFacts(classes=[of], profiles={"c": made}, snapshot_classes=[known])
    assert profile_of(of, made, later, NOW + timedelta(hours=1)) == made, "nothing differs, nothing is written"


def test_what_a_person_has_put_into_a_profile_holds():
    of = storage_class("rbd.csi.ceph.com")
    sets = [{"accessModes": ["ReadWriteOncePod"], "volumeMode": "Block"}, {"volumeMode": "Block"}]
    mine = {
        "metadata": {"name": "c", "labels": {"a": "b"}, "annotations": {"cdi.kubevirt.io/x": "y"}},
        "spec": {"claimPropertySets": sets, "cloneStrategy": "copy", "dataImportCronSourceFormat": "snapshot"},
        "status": {"snapshotClass": "gone"},
    }
    made = profile_of(of, mine, StorageFacts(classes=[of], profiles={"c": mine}), NOW)
    assert made["spec"] == mine["spec"]
    assert (made["metadata"]["labels"]["a"], made["metadata"]["annotations"]) == ("b", {"cdi.kubevirt.io/x": "y"})
    status = made["status"]
    assert (status["claimPropertySets"], status["cloneStrategy"]) == (sets[:1], "copy")
    assert status["dataImportCronSourceFormat"] == "snapshot"
    assert "snapshotClass" not in status


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (storage_class(), "UnrecognizedProvisioner"),
        (storage_class("csi.trident.netapp.io", backendType="odd"), "UnrecognizedStorageClassParameters"),
    ],
)
def test_a_class_of_which_nothing_is_known_says_so(of, reason):
    made = profile_of(of, None, facts(of), NOW)["status"]
    assert made["claimPropertySets"] == []
    assert [(it["status"], it["reason"]) for it in made["conditions"]] == [("False", reason)]


def test_a_profile_goes_with_its_class_unless_somebody_has_used_it():
    there = facts(storage_class())
    assert not is_left_behind({"metadata": {"name": "c"}, "spec": {}}, there)
    assert is_left_behind({"metadata": {"name": "gone"}, "spec": {}}, there)
    assert not is_left_behind({"metadata": {"name": "gone"}, "spec": {"cloneStrategy": "copy"}}, there)


def test_the_configuration_as_it_holds():
    resources = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "600Mi"}}
    plain = config_status({}, facts(storage_class()), resources)
    assert plain == {
        "filesystemOverhead": {"global": "0.06", "storageClass": {"c": "0.06"}},
        "scratchSpaceStorageClass": "",
        "preallocation": False,
        "defaultPodResourceRequirements": resources,
        "imagePullSecrets": [],
    }
    spec = {
        "filesystemOverhead": {"global": "0.1", "storageClass": {"c": "0.2", "gone": "0.3"}},
        "scratchSpaceStorageClass": "c",
        "preallocation": True,
        "podResourceRequirements": {"limits": {"memory": "1Gi"}},
        "importProxy": {"HTTPProxy": "http://proxy"},
        "uploadProxyURLOverride": "https://upload",
    }
    asked = config_status({"spec": spec}, facts(storage_class()), resources)
    assert asked["filesystemOverhead"] == {"global": "0.1", "storageClass": {"c": "0.2"}}
    assert (asked["scratchSpaceStorageClass"], asked["preallocation"]) == ("c", True)
    assert asked["defaultPodResourceRequirements"] == resources | {"limits": {"memory": "1Gi"}}
    assert (asked["importProxy"], asked["uploadProxyURL"]) == ({"HTTPProxy": "http://proxy"}, "https://upload")
    ours = StorageFacts(classes=[storage_class()], overheads={"c": "0"})
    assert config_status({"spec": spec}, ours, resources)["filesystemOverhead"]["storageClass"] == {"c": "0"}
    elsewhere = config_status({"spec": spec | {"scratchSpaceStorageClass": "gone"}}, ours, resources)
    assert elsewhere["scratchSpaceStorageClass"] == ""


def test_where_an_import_goes():
    of, snapshots = storage_class("rook-ceph.rbd.csi.ceph.com"), snapshots_by("s", "rook-ceph.rbd.csi.ceph.com")
    kept = Placement(storage_class="c", form=SourceKind.SNAPSHOT, snapshot_class="s")
    assert placement_of("c", facts(of, snapshots)) == kept
    assert placement_of(None, facts(of, snapshots)) == Placement(), "there is no default class"
    default = storage_class("rook-ceph.rbd.csi.ceph.com", {"storageclass.kubernetes.io/is-default-class": "true"})
    assert placement_of(None, facts(default, snapshots)) == kept
    assert placement_of("c", facts(of, snapshots, dataImportCronSourceFormat="pvc")) == Placement(storage_class="c")
    assert placement_of("c", facts(of, dataImportCronSourceFormat="snapshot")) == Placement(storage_class="c")
