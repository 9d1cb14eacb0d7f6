"""What is known of storage provisioners: the modes they make, how they clone best, and what they ask of imports. Data.

The facts are those that KubeVirt CDI knows, so that a class is treated alike with CDI and without. Where a provisioner
makes different volumes by the parameters of its StorageClass, each sort is an entry of its own: `provisioner/sort`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from dataimportcron.cluster.client.resources import Json

BLOCK: Final = "Block"
FILESYSTEM: Final = "Filesystem"

CSI_CLONE: Final = "csi-clone"
SNAPSHOT: Final = "snapshot"
COPY: Final = "copy"
"""The three ways to clone; `SNAPSHOT` is also the format of an import that is kept as one."""
PVC: Final = "pvc"
"""The format of an import that is kept as a claim."""

_RWO, _RWX, _ROX = "ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"

Property = tuple[str, str]
"""Access mode and volume mode that a provisioner can make."""

_FILE: Final[tuple[Property, ...]] = ((_RWO, FILESYSTEM),)
_ONLY_SHARED_FILE: Final[tuple[Property, ...]] = ((_RWX, FILESYSTEM),)
_SHARED_FILE: Final[tuple[Property, ...]] = ((_RWX, FILESYSTEM), (_RWO, FILESYSTEM))
_ANY_FILE: Final[tuple[Property, ...]] = (*_SHARED_FILE, (_ROX, FILESYSTEM))
_ONLY_DISK: Final[tuple[Property, ...]] = ((_RWO, BLOCK),)
_DISK: Final[tuple[Property, ...]] = ((_RWO, BLOCK), (_RWO, FILESYSTEM))
_ONLY_SHARED_DISK: Final[tuple[Property, ...]] = ((_RWX, BLOCK),)
_SHARED_DISK: Final[tuple[Property, ...]] = ((_RWX, BLOCK), (_RWO, BLOCK), (_RWO, FILESYSTEM))
_READABLE_DISK: Final[tuple[Property, ...]] = (*_SHARED_DISK, (_ROX, BLOCK))
_ANY_DISK: Final[tuple[Property, ...]] = (*_READABLE_DISK, (_ROX, FILESYSTEM))
_ANY: Final[tuple[Property, ...]] = ((_RWX, BLOCK), (_RWX, FILESYSTEM), (_RWO, BLOCK), (_RWO, FILESYSTEM))


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What is known of one sort of volumes.

    Attributes:
        properties: modes, the best for virtual machines first; none where only the cluster's volumes tell.
        clone: how they are cloned best, "" where nobody has said.
        source_format: what an import is kept as, "" where nobody has said.
        smallest: the smallest claim, a quantity; "" where any is made.
        import_read_write_once: whether the claim of a cron's import shall be ReadWriteOnce, because a snapshot of it
            can be made then only.
        image_snapshots: whether a cron's snapshot shall be of the class whose parameter `snapshot-type` is `images`.
    """

    properties: tuple[Property, ...] = ()
    clone: str = ""
    source_format: str = ""
    smallest: str = ""
    import_read_write_once: bool = False
    image_snapshots: bool = False


def _known(properties: tuple[Property, ...], clone: str = "", *, smallest: str = "") -> Capabilities:
    return Capabilities(properties=properties, clone=clone, smallest=smallest)


def _kept_as_snapshot(properties: tuple[Property, ...], clone: str = SNAPSHOT, *, smallest: str = "") -> Capabilities:
    return Capabilities(properties=properties, clone=clone, source_format=SNAPSHOT, smallest=smallest)


def _google(properties: tuple[Property, ...], *, smallest: str = "") -> Capabilities:
    return Capabilities(
        properties=properties,
        clone=SNAPSHOT,
        source_format=SNAPSHOT,
        smallest=smallest,
        import_read_write_once=True,
        image_snapshots=True,
    )


PROVISIONERS: Final[Mapping[str, Capabilities]] = {
    "kubernetes.io/no-provisioner": _known(_FILE),
    "k8s.io/minikube-hostpath": _known(_FILE),
    "kubevirt.io/hostpath-provisioner": _known(_FILE),
    "kubevirt.io.hostpath-provisioner": _known(_FILE),
    "kubevirt.io.hostpath-provisioner/overlay": _known(_ONLY_SHARED_FILE),
    "rancher.io/local-path": _known(_FILE),
    "hostpath.csi.k8s.io": _known(_DISK),
    "directpv-min-io": _known(_FILE),
    "local.csi.openebs.io": _known(_DISK),
    "zfs.csi.openebs.io": _known(_DISK),
    "topolvm.io": _known(_DISK, COPY),
    "topolvm.cybozu.com": _known(_DISK, COPY),
    "kubesan.gitlab.io": _known(((_RWX, BLOCK), (_ROX, BLOCK), (_RWO, BLOCK), (_RWO, FILESYSTEM)), CSI_CLONE),
    "nfs.csi.k8s.io": _known(_ONLY_SHARED_FILE),
    "k8s-sigs.io/nfs-subdir-external-provisioner": _known(_ONLY_SHARED_FILE),
    # Ceph
    "kubernetes.io/rbd": _known(_SHARED_DISK),
    "rbd.csi.ceph.com": _known(_SHARED_DISK, CSI_CLONE),
    "rook-ceph.rbd.csi.ceph.com": _kept_as_snapshot(_SHARED_DISK, CSI_CLONE),
    "openshift-storage.rbd.csi.ceph.com": _kept_as_snapshot(_SHARED_DISK, CSI_CLONE),
    "cephfs.csi.ceph.com": _known(_SHARED_FILE, CSI_CLONE),
    "rook-ceph.cephfs.csi.ceph.com": _known(_SHARED_FILE, CSI_CLONE),
    "openshift-storage.cephfs.csi.ceph.com": _known(_SHARED_FILE, CSI_CLONE),
    # Replicated storage of the cluster's own disks
    "linstor.csi.linbit.com": _known(_ANY_DISK),
    "driver.longhorn.io": _known(_ONLY_DISK),
    "driver.longhorn.io/migratable": _known(((_RWX, BLOCK), (_RWO, BLOCK))),
    "driver.longhorn.io/nfs": _known(_SHARED_FILE),
    "driver.longhorn.io/fs": _known(_FILE),
    "kubernetes.io/portworx-volume": _known(_ANY),
    "kubernetes.io/portworx-volume/nfs": _known(_SHARED_FILE),
    "pxd.portworx.com": _known(_ANY, CSI_CLONE),
    "pxd.portworx.com/nfs": _known(_SHARED_FILE, CSI_CLONE),
    "pxd.portworx.com/pure_block": _known(_SHARED_DISK, CSI_CLONE),
    "pxd.portworx.com/pure_fa_file": _known(_SHARED_FILE, CSI_CLONE),
    "kubernetes.io/storageos": _known(_FILE),
    "storageos": _known(_FILE),
    # Arrays
    "csi-unity.dellemc.com": _known(_ANY_DISK),
    "csi-unity.dellemc.com/nfs": _known(_ANY_FILE),
    "csi-vxflexos.dellemc.com": _known(_ANY_DISK, CSI_CLONE),
    "csi-vxflexos.dellemc.com/nfs": _known(_ANY_FILE),
    "csi-isilon.dellemc.com": _known(_ANY_FILE, CSI_CLONE),
    "csi-powermax.dellemc.com": _known(_READABLE_DISK, CSI_CLONE),
    "csi-powermax.dellemc.com/nfs": _known(_ANY_FILE),
    "csi-powerstore.dellemc.com": _known(_READABLE_DISK, COPY),
    "csi-powerstore.dellemc.com/nfs": _known(_ANY_FILE),
    "hspc.csi.hitachi.com": _known(_SHARED_DISK, CSI_CLONE, smallest="1Gi"),
    "xspc.csi.hpe.com": _known((), smallest="1Gi"),
    "csi.hpe.com": _known(_SHARED_DISK, CSI_CLONE),
    "spectrumscale.csi.ibm.com": _known(_SHARED_FILE, CSI_CLONE),
    "block.csi.ibm.com": _known(_SHARED_DISK, CSI_CLONE),
    "csi.huawei.com": _known(_ANY_DISK),
    "csi.huawei.com/nfs": _known(_ANY_FILE),
    "infinibox-csi-driver/san": _known(_SHARED_DISK, CSI_CLONE),
    "infinibox-csi-driver/nfs": _known(_SHARED_FILE, CSI_CLONE),
    "csi.trident.netapp.io/ontap-nas": _kept_as_snapshot(_SHARED_FILE),
    "csi.trident.netapp.io/ontap-san": _kept_as_snapshot(_ONLY_SHARED_DISK),
    "csi.trident.netapp.io/gcnv-flex": _kept_as_snapshot(_SHARED_FILE, smallest="1Gi"),
    "csi.san.synology.com/iscsi": _known(_SHARED_DISK, CSI_CLONE, smallest="1Gi"),
    "csi.san.synology.com/nfs": _known(_SHARED_FILE, CSI_CLONE, smallest="1Gi"),
    "csi.san.synology.com/smb": _known(_SHARED_FILE, CSI_CLONE, smallest="1Gi"),
    # Clouds
    "kubernetes.io/aws-ebs": _known(_ONLY_DISK),
    "ebs.csi.aws.com": _known(_ONLY_DISK),
    "ebs.csi.aws.com/io1": _known(_ONLY_DISK, smallest="4Gi"),
    "ebs.csi.aws.com/io2": _known(_SHARED_DISK, smallest="4Gi"),
    "ebs.csi.aws.com/gp": _known(_ONLY_DISK, smallest="1Gi"),
    "efs.csi.aws.com": _known(_SHARED_FILE),
    "kubernetes.io/azure-disk": _known(_ONLY_DISK),
    "disk.csi.azure.com": _known(_ONLY_DISK),
    "kubernetes.io/azure-file": _known(_ONLY_SHARED_FILE),
    "file.csi.azure.com": _known(_ONLY_SHARED_FILE),
    "kubernetes.io/gce-pd": _known(_DISK),
    "pd.csi.storage.gke.io": _google(_DISK),
    "pd.csi.storage.gke.io/hyperdisk": _google(_SHARED_DISK, smallest="4Gi"),
    "filestore.csi.storage.gke.io": _known(_SHARED_FILE),
    "vpc.block.csi.ibm.io": _known(_DISK, COPY),
    "vpc.file.csi.ibm.io": _kept_as_snapshot(_SHARED_FILE),
    "vpc.file.csi.ibm.io/dp2": _kept_as_snapshot(_SHARED_FILE, smallest="10Gi"),
    "vpc.file.csi.ibm.io/dp2-rwo": _kept_as_snapshot(_FILE, smallest="10Gi"),
    "vpc.file.csi.ibm.io/rfs": _kept_as_snapshot(_SHARED_FILE, smallest="1Gi"),
    "vpc.file.csi.ibm.io/rfs-rwo": _kept_as_snapshot(_FILE, smallest="1Gi"),
    "blockvolume.csi.oraclecloud.com": _known(_SHARED_DISK, CSI_CLONE),
    # Other platforms
    "csi.vsphere.vmware.com": _known(_DISK),
    "csi.vsphere.vmware.com/nfs": _known(((_RWX, FILESYSTEM), (_RWO, BLOCK), (_RWO, FILESYSTEM))),
    "cinder.csi.openstack.org": _known(_DISK),
    "manila.csi.openstack.org": _known(_ONLY_SHARED_FILE),
    "csi.ovirt.org": _known(_DISK),
}
"""Well-known provisioners."""


_UNKNOWN: Final = "?"


def capabilities_of(storage_class: Json) -> Capabilities | None:
    """What is known of the volumes of a StorageClass; None where its provisioner, or that sort of it, is unknown."""
    return PROVISIONERS.get(_sort_of(storage_class))


def is_known_provisioner(storage_class: Json) -> bool:
    """Whether the provisioner of a StorageClass is known, whatever its parameters say."""
    return _sort_of(storage_class).endswith(f"/{_UNKNOWN}") or capabilities_of(storage_class) is not None


def _sort_of(storage_class: Json) -> str:
    provisioner = str(storage_class.get("provisioner") or "")
    sort = _SORTS.get(provisioner)
    found = sort(storage_class.get("parameters") or {}) if sort else ""
    return f"{provisioner}/{found}" if found else provisioner


_Parameters = Mapping[str, str]


def _by(parameter: str, sorts: Mapping[str, str], otherwise: str = "") -> Callable[[_Parameters], str]:
    """The sort that the value of one parameter stands for."""
    return lambda parameters: sorts.get(parameters.get(parameter, "").lower(), otherwise)


def _portworx(parameters: _Parameters) -> str:
    backend = parameters.get("backend")
    if backend is None:
        return _portworx_in_tree(parameters)
    return backend if backend in {"pure_block", "pure_fa_file"} else ""


def _portworx_in_tree(parameters: _Parameters) -> str:
    options = parameters.get("sharedv4_mount_options", "").split(",")
    return "nfs" if {"vers=3.0", "nolock"} <= set(options) else ""


def _trident(parameters: _Parameters) -> str:
    backend = parameters.get("backendType", "")
    for sort in ("ontap-nas", "ontap-san"):
        if backend.startswith(sort):
            return sort
    selected = re.split(r"\s*[;,]\s*", parameters.get("selector", ""))
    return "gcnv-flex" if backend == "google-cloud-netapp-volumes" and "performance=flex" in selected else _UNKNOWN


def _longhorn(parameters: _Parameters) -> str:
    if parameters.get("migratable") == "true":
        return "migratable"
    return "nfs" if parameters.get("nfsOptions") else "fs" if parameters.get("fsType") else ""


def _ibm_file(parameters: _Parameters) -> str:
    profile = parameters.get("profile", "")
    if profile not in {"dp2", "rfs"}:
        return ""
    return f"{profile}-rwo" if parameters.get("vmState") == "true" else profile


_NFS: Final = {"nfs": "nfs"}
_FS_TYPE: Final = "csi.storage.k8s.io/fstype"
_SORTS: Final[Mapping[str, Callable[[_Parameters], str]]] = {
    "kubevirt.io.hostpath-provisioner": lambda parameters: "overlay" if "overlayCSI" in parameters else "",
    "kubernetes.io/portworx-volume": _portworx_in_tree,
    "pxd.portworx.com": _portworx,
    "csi.trident.netapp.io": _trident,
    "infinibox-csi-driver": _by(
        "storage_protocol",
        {"iscsi": "san", "fc": "san", "nvme": "san", "nfs": "nfs", "nfs_treeq": "nfs"},
        otherwise=_UNKNOWN,
    ),
    "csi.vsphere.vmware.com": lambda parameters: "nfs" if "nfs" in parameters.get(_FS_TYPE, "").lower() else "",
    "csi-unity.dellemc.com": _by("protocol", _NFS),
    "csi-powerstore.dellemc.com": _by(_FS_TYPE, _NFS),
    "csi-vxflexos.dellemc.com": _by(_FS_TYPE, _NFS),
    "csi-powermax.dellemc.com": _by(_FS_TYPE, _NFS),
    "csi.huawei.com": _by("protocol", _NFS),
    "driver.longhorn.io": _longhorn,
    "ebs.csi.aws.com": _by("type", {"io1": "io1", "io2": "io2", "gp2": "gp", "gp3": "gp"}),
    "pd.csi.storage.gke.io": _by(
        "type", {"hyperdisk-balanced": "hyperdisk", "hyperdisk-balanced-high-availability": "hyperdisk"}
    ),
    "csi.san.synology.com": _by(
        "protocol",
        {"": "iscsi", "iscsi": "iscsi", "smb": "smb", "nfs": "nfs", "nfs_treeq": "nfs"},
        otherwise=_UNKNOWN,
    ),
    "vpc.file.csi.ibm.io": _ibm_file,
}
"""How the parameters of a StorageClass tell sorts apart; `_UNKNOWN` where they tell of one that nobody knows."""
