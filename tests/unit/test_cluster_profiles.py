"""What holds for the volumes of a class: how they are cloned, what imports are kept as (S-03, S-10)."""

from __future__ import annotations

import pytest

from dataimportcron.cluster.profiles import clone_strategy, snapshot_class
from dataimportcron.cluster.provisioners import PROVISIONERS, capabilities_of, is_known_provisioner
from dataimportcron.cluster.storage import StorageFacts

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
