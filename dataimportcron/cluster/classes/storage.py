"""The PersistentVolumeClaim of a DataVolume: class, modes and size, decided as CDI decides them. Pure.

`spec.pvc` is taken as it stands. `spec.storage` may leave everything but the size open: what it leaves open comes from
the StorageProfile of its class, else from what is known of the class's provisioner, else it is ReadWriteOnce on a file
system, and a notice says so. A claim of `spec.storage` is larger than the disk by what a file system needs for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from dataimportcron import naming
from dataimportcron.api.quantity import parse_quantity
from dataimportcron.cluster.classes.provisioners import BLOCK, FILESYSTEM, capabilities_of
from dataimportcron.cluster.client.resources import Json
from dataimportcron.errors import InvalidObjectError

DEFAULT_OVERHEAD: Final = "0.06"
"""Of a file system, as a part of the disk's size; CDI's default. 64Mi becomes 71135396 bytes."""

PREFERS_READ_WRITE_ONCE: Final = "cdi.kubevirt.io/useReadWriteOnceForDataImportCron"
"""On a StorageProfile: with "true", the claim of a cron's import that names no access mode is ReadWriteOnce."""

_RWO: Final = "ReadWriteOnce"
_ALIGNMENT: Final = 1 << 20
_VIRT_DEFAULT = "storageclass.kubevirt.io/is-default-virt-class"
_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_PRIVATE_ANNOTATIONS = frozenset({"kubectl.kubernetes.io/last-applied-configuration", naming.ANNOTATION_POPULATED_FOR})
"""Of a DataVolume, which its claim must not have: nobody has filled that yet."""
_CONTENT: Final = "cdi.kubevirt.io/storage.contentType"
_CREATED_FOR: Final = "cdi.kubevirt.io/storage.createdForDataVolume"
_FILLING_UP: Final = "alerts.k8s.io/KubePersistentVolumeFillingUp"
""""disabled" on a claim: a disk fills its file system, which is no reason for an alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageFacts:
    """What was read of a cluster's storage.

    Attributes:
        classes: all StorageClasses.
        profiles: StorageProfiles by their class's name; none where the cluster knows no such kind.
        overheads: of file systems, by class; "" for all others.
        snapshot_classes: all VolumeSnapshotClasses; none where the cluster knows no such kind.
    """

    classes: Sequence[Json] = ()
    profiles: Mapping[str, Json] = field(default_factory=dict)
    overheads: Mapping[str, str] = field(default_factory=dict)
    snapshot_classes: Sequence[Json] = ()

    def named(self, storage_class: str) -> Json | None:
        """The StorageClass of that name, None if there is none."""
        return next((it for it in self.classes if it["metadata"]["name"] == storage_class), None)

    def overhead(self, storage_class: str) -> Fraction:
        """The part of a disk's size that a file system needs for itself."""
        return Fraction(self.overheads.get(storage_class) or self.overheads.get("") or DEFAULT_OVERHEAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim to be made.

    Attributes:
        body: the PersistentVolumeClaim.
        notice: what a person should know of it, in one sentence; "" when it is as asked for.
    """

    body: Json
    notice: str = ""


@dataclass(frozen=True, slots=True)
class _Modes:
    access: list[str]
    volume: str
    notice: str = ""


def claim_of(volume: Json, facts: StorageFacts, *, owned: bool) -> Claim:
    """The claim of a DataVolume.

    Args:
        volume: the DataVolume, as the API server has it.
        facts: of the cluster's storage.
        owned: whether the DataVolume is an object that owns its claim.

    Raises:
        InvalidObjectError: neither spec.pvc nor spec.storage, or a size that is none.
    """
    metadata, spec = volume["metadata"], volume.get("spec") or {}
    storage: Json | None = spec.get("storage")
    wanted: Json | None = storage if storage is not None else spec.get("pvc")
    if wanted is None:
        raise InvalidObjectError(f"DataVolume {metadata['name']} has neither spec.storage nor spec.pvc")
    storage_class = class_of(wanted, facts.classes)
    requested = _requested(metadata["name"], wanted)
    overhead = facts.overhead(storage_class)
    if storage is None:
        modes = _Modes(list(wanted.get("accessModes") or [_RWO]), wanted.get("volumeMode") or FILESYSTEM)
        size = requested
    else:
        modes = _modes(volume, storage_class, facts)
        size = inflated(requested, overhead) if modes.volume == FILESYSTEM else requested
    body: Json = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(volume, modes.volume, owned=owned),
        "spec": {
            **{key: value for key, value in wanted.items() if key in _PASSED_ON},
            "accessModes": modes.access,
            "volumeMode": modes.volume,
            "resources": {**(wanted.get("resources") or {}), "requests": {"storage": str(size)}},
        },
    }
    if storage_class or wanted.get("storageClassName") is not None:
        body["spec"]["storageClassName"] = storage_class
    return Claim(body=body, notice=modes.notice)


def disk_size(volume: Json, claim: Json, facts: StorageFacts) -> int:
    """Bytes of the disk of a DataVolume: what `spec.storage` requests; of `spec.pvc` what a file system leaves of it.

    Raises:
        InvalidObjectError: the size is none.
    """
    metadata, spec = volume["metadata"], volume.get("spec") or {}
    storage: Json | None = spec.get("storage")
    if storage is not None:
        return _requested(metadata["name"], storage)
    return room_in(claim, _requested(metadata["name"], spec.get("pvc") or {}), facts)


def room_in(claim: Json, size: int, facts: StorageFacts) -> int:
    """Bytes of the largest disk in a claim whose volume has `size` bytes."""
    if is_block(claim):
        return size
    return usable(size, facts.overhead(str(claim["spec"].get("storageClassName") or "")))


def is_block(claim: Json) -> bool:
    """Whether a claim is a block device."""
    return bool(claim["spec"].get("volumeMode") == BLOCK)


_PASSED_ON = ("selector", "volumeName", "volumeAttributesClassName", "dataSource", "dataSourceRef")


def wanted_of(spec: Json) -> Json:
    """The claim that a DataVolume's spec describes, by its `storage` or its `pvc`; {} where by neither."""
    wanted: Json = spec.get("storage") or spec.get("pvc") or {}
    return wanted


def class_of(wanted: Json, classes: Iterable[Json]) -> str:
    """The storage class of a claim: its own, the default of virtual machines, the cluster's default, "" for none."""
    named = wanted.get("storageClassName")
    if named is not None:
        return str(named)
    by_age = sorted(classes, key=lambda it: (it["metadata"].get("creationTimestamp") or "", it["metadata"]["name"]))
    for annotation in (_VIRT_DEFAULT, _DEFAULT):
        # The newest counts where several are marked, as in Kubernetes.
        for storage_class in reversed(by_age):
            if (storage_class["metadata"].get("annotations") or {}).get(annotation) == "true":
                return str(storage_class["metadata"]["name"])
    return ""


def is_known(storage_class: str, facts: StorageFacts) -> bool:
    """Whether the access and volume modes of a class are known, by its StorageProfile or by its provisioner."""
    return bool(_property_sets(storage_class, facts))


def inflated(size: int, overhead: Fraction) -> int:
    """Bytes of a claim whose file system holds a disk of `size` bytes."""
    aligned = -(-size // _ALIGNMENT) * _ALIGNMENT
    return -int(-aligned * (1 + overhead) // 1)


def usable(size: int, overhead: Fraction) -> int:
    """Bytes of the largest disk that surely fits on the file system of a claim of `size` bytes."""
    aligned = int(size / (1 + overhead)) // _ALIGNMENT * _ALIGNMENT
    return aligned or size


def _requested(name: str, wanted: Json) -> int:
    quantity = ((wanted.get("resources") or {}).get("requests") or {}).get("storage")
    try:
        size = parse_quantity(str(quantity)) if quantity is not None else 0
    except ValueError as error:
        raise InvalidObjectError(f"DataVolume {name}: resources.requests.storage: {error}") from error
    if size <= 0:
        raise InvalidObjectError(f"DataVolume {name}: resources.requests.storage is {quantity}, expected a size")
    return size


def _modes(volume: Json, storage_class: str, facts: StorageFacts) -> _Modes:
    """Access and volume mode of `spec.storage`: each as asked for, else as the class is known to have it."""
    wanted: Json = volume["spec"]["storage"]
    access, mode = list(wanted.get("accessModes") or ()), str(wanted.get("volumeMode") or "")
    if access and mode:
        return _Modes(access, mode)
    profile = facts.profiles.get(storage_class) or {}
    prefers = (profile.get("metadata", {}).get("annotations") or {}).get(PREFERS_READ_WRITE_ONCE) == "true"
    if not access and prefers and naming.LABEL_CRON in (volume["metadata"].get("labels") or {}):
        access = [_RWO]
    sets = _property_sets(storage_class, facts)
    if sets:
        return _fitting(access, mode, sets)
    assumed = _Modes(access or [_RWO], mode or FILESYSTEM)
    what = f"storage class {storage_class}" if storage_class else "the storage, for there is no default storage class"
    notice = (
        f"Nothing is known of {what}: {', '.join(assumed.access)} and volume mode {assumed.volume} are assumed; "
        "set accessModes and volumeMode in spec.storage, or in a StorageProfile, if that is wrong"
    )
    return _Modes(assumed.access, assumed.volume, notice)


def _property_sets(storage_class: str, facts: StorageFacts) -> list[tuple[list[str], str]]:
    """What a class can make, the best first."""
    profile = facts.profiles.get(storage_class) or {}
    known = (profile.get("status") or {}).get("claimPropertySets") or ()
    sets = [(list(it.get("accessModes") or ()), str(it.get("volumeMode") or FILESYSTEM)) for it in known]
    if sets:
        return sets
    capabilities = capabilities_of(facts.named(storage_class) or {})
    return [([access], mode) for access, mode in capabilities.properties] if capabilities else []


def _fitting(access: list[str], mode: str, sets: list[tuple[list[str], str]]) -> _Modes:
    """The first set that has what is asked for; the first of all where none has."""
    for known_access, known_mode in sets:
        if (not access or set(access) <= set(known_access)) and (not mode or mode == known_mode):
            return _Modes(access or known_access, mode or known_mode)
    return _Modes(access or sets[0][0], mode or sets[0][1])


def _metadata(volume: Json, mode: str, *, owned: bool) -> Json:
    own = volume["metadata"]
    made: Json = {
        "name": own["name"],
        "namespace": own["namespace"],
        "labels": {**(own.get("labels") or {}), naming.LABEL_MANAGED_BY: naming.MANAGED_BY},
        "annotations": {
            key: value for key, value in (own.get("annotations") or {}).items() if key not in _PRIVATE_ANNOTATIONS
        },
    }
    if owned:
        made["ownerReferences"] = [owner_reference(volume)]
        made["annotations"] |= {_CONTENT: "kubevirt", _CREATED_FOR: own["uid"]}
        if mode == FILESYSTEM:
            made["labels"] |= {_FILLING_UP: "disabled"}
    return made


def owner_reference(volume: Json) -> Json:
    """What makes a DataVolume the controller of its claim."""
    return {
        "apiVersion": volume["apiVersion"],
        "kind": volume["kind"],
        "name": volume["metadata"]["name"],
        "uid": volume["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
