"""What holds for the volumes of a StorageClass: how they are cloned, and what imports are kept as. Pure.

A person decides by the spec of the class's StorageProfile, else what is known of the provisioner does. Without CDI,
what holds is also written into the profile's status and into that of the CDIConfig, where KubeVirt reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from dataimportcron import naming
from dataimportcron.api.meta import Condition, with_condition
from dataimportcron.cluster.classes.provisioners import (
    COPY,
    CSI_CLONE,
    FILESYSTEM,
    PVC,
    SNAPSHOT,
    capabilities_of,
    is_known_provisioner,
)
from dataimportcron.cluster.classes.storage import DEFAULT_OVERHEAD, PREFERS_READ_WRITE_ONCE, StorageFacts
from dataimportcron.cluster.client.resources import Json

ANNOTATION_CLONE_STRATEGY: Final = "cdi.kubevirt.io/clone-strategy"
"""On a StorageClass: an input; one of the three ways to clone."""
_DEFAULT_SNAPSHOT_CLASS: Final = "snapshot.storage.kubernetes.io/is-default-class"
_STRATEGIES: Final = frozenset({CSI_CLONE, SNAPSHOT, COPY})
_SNAPSHOT_CLASS_OF_IMPORTS: Final = "cdi.kubevirt.io/snapshotClassForDataImportCron"
"""On a StorageProfile: the VolumeSnapshotClass of a cron's imports."""
_SMALLEST_CLAIM: Final = "cdi.kubevirt.io/minimumSupportedPvcSize"
"""On a StorageProfile: a quantity."""


def clone_strategy(storage_class: str, facts: StorageFacts) -> str:
    """How volumes of a class are cloned: `csi-clone`, `snapshot` or `copy`.

    A person's word, in the StorageProfile or on the class, is not questioned: `snapshot` may have no snapshot class.

    Args:
        storage_class: its name; a class that does not exist is copied.
        facts: of the cluster's storage, with the class's profile where there is one.
    """
    found = facts.named(storage_class)
    if found is None:
        return COPY
    annotated = (found["metadata"].get("annotations") or {}).get(ANNOTATION_CLONE_STRATEGY)
    for asked in (_spec(storage_class, facts).get("cloneStrategy"), annotated):
        if asked in _STRATEGIES:
            return str(asked)
    capabilities = capabilities_of(found)
    known = capabilities.clone if capabilities else ""
    if known in {CSI_CLONE, COPY}:
        return known
    return SNAPSHOT if snapshot_class(storage_class, facts) else COPY


def snapshot_class(storage_class: str, facts: StorageFacts) -> str:
    """The name of the VolumeSnapshotClass for volumes of a class, "" where there is none.

    It is that of the StorageProfile's spec, if that is of the class's driver; else of the driver's classes the one that
    is marked as default, else the first by name.
    """
    found = facts.named(storage_class)
    if found is None:
        return ""
    asked = _spec(storage_class, facts).get("snapshotClass")
    of_driver = [it for it in facts.snapshot_classes if it.get("driver") == found.get("provisioner")]
    if asked:
        return best_snapshot_class(of_driver, lambda it: it["metadata"]["name"] == asked)
    return best_snapshot_class(of_driver)


def best_snapshot_class(classes: Sequence[Json], fits: Callable[[Json], bool] = lambda _: True) -> str:
    """The name of the best of some VolumeSnapshotClasses: marked as default, else first by name; "" for none."""

    def rank(snapshot_class: Json) -> tuple[bool, str]:
        metadata = snapshot_class["metadata"]
        return (metadata.get("annotations") or {}).get(_DEFAULT_SNAPSHOT_CLASS) != "true", metadata["name"]

    return str(min((rank(it) for it in classes if fits(it)), default=(True, ""))[1])


def source_format(storage_class: str, facts: StorageFacts) -> str:
    """What an import into a class is kept as: `pvc` or `snapshot` (S-03).

    What somebody else's controller has found for the class counts before what is known here.
    """
    profile = facts.profiles.get(storage_class) or {}
    for part in ("spec", "status"):
        asked = (profile.get(part) or {}).get("dataImportCronSourceFormat")
        if asked in {PVC, SNAPSHOT}:
            return str(asked)
    return _known_format(storage_class, facts)


def snapshot_class_of_imports(storage_class: str, facts: StorageFacts) -> str:
    """The VolumeSnapshotClass of imports into a class, "" where there is none (S-10)."""
    profile = facts.profiles.get(storage_class) or {}
    annotated = (profile.get("metadata", {}).get("annotations") or {}).get(_SNAPSHOT_CLASS_OF_IMPORTS)
    found = (profile.get("status") or {}).get("snapshotClass")
    return str(
        annotated or found or _image_snapshot_class(storage_class, facts) or snapshot_class(storage_class, facts)
    )


def profile_of(storage_class: Json, profile: Json | None, facts: StorageFacts, now: datetime) -> Json:
    """The StorageProfile of a class as it shall be: its spec as it is, all else as it follows.

    Args:
        storage_class: the class.
        profile: as it is, None where there is none.
        facts: of the cluster's storage.
        now: a clock, for conditions that change.
    """
    name = storage_class["metadata"]["name"]
    before = profile or {"metadata": {"name": name}, "spec": {}}
    metadata = before["metadata"]
    labels = {naming.LABEL_MANAGED_BY: naming.MANAGED_BY, naming.LABEL_COMPONENT: naming.COMPONENT}
    return before | {
        "metadata": metadata
        | {
            "labels": {**(metadata.get("labels") or {}), **labels},
            "annotations": _annotations(storage_class, metadata.get("annotations") or {}, facts),
        },
        "status": _status(storage_class, before, facts, now),
    }


def is_left_behind(profile: Json, facts: StorageFacts) -> bool:
    """Whether the class of a StorageProfile is gone, and nobody has put anything into its spec."""
    return facts.named(profile["metadata"]["name"]) is None and not profile.get("spec")


def config_status(config: Json, facts: StorageFacts, resources: Json) -> Json:
    """The status of the CDIConfig, as it follows from its spec.

    Args:
        config: as it is.
        facts: of the cluster's storage; overheads that outrank the spec's are among them.
        resources: of import pods, where the spec says nothing.
    """
    spec = config.get("spec") or {}
    asked: Mapping[str, Any] = spec.get("filesystemOverhead") or {}
    own = facts.overheads
    every = own.get("") or asked.get("global") or DEFAULT_OVERHEAD
    of_classes = {**(asked.get("storageClass") or {}), **{name: part for name, part in own.items() if name}}
    names = [it["metadata"]["name"] for it in facts.classes]
    scratch = spec.get("scratchSpaceStorageClass") or ""
    status: Json = {
        "filesystemOverhead": {"global": every, "storageClass": {name: of_classes.get(name, every) for name in names}},
        "scratchSpaceStorageClass": scratch if scratch in names else "",
        "preallocation": bool(spec.get("preallocation", False)),
        "defaultPodResourceRequirements": _resources(resources, spec.get("podResourceRequirements") or {}),
        "imagePullSecrets": spec.get("imagePullSecrets") or [],
    }
    passed_on = {"importProxy": spec.get("importProxy"), "uploadProxyURL": spec.get("uploadProxyURLOverride")}
    return status | {key: value for key, value in passed_on.items() if value}


def _resources(default: Json, asked: Json) -> Json:
    return {part: {**(default.get(part) or {}), **(asked.get(part) or {})} for part in ("requests", "limits")}


def _known_format(storage_class: str, facts: StorageFacts) -> str:
    """What is known to suit the provisioner; a snapshot needs a class of its own."""
    capabilities = capabilities_of(facts.named(storage_class) or {})
    suits = capabilities is not None and capabilities.source_format == SNAPSHOT
    return SNAPSHOT if suits and snapshot_class(storage_class, facts) else PVC


def _image_snapshot_class(storage_class: str, facts: StorageFacts) -> str:
    """The class for images, of a driver that restores its other snapshots only a few times an hour."""
    found = facts.named(storage_class) or {}
    capabilities = capabilities_of(found)
    if capabilities is None or not capabilities.image_snapshots:
        return ""
    of_driver = [it for it in facts.snapshot_classes if it.get("driver") == found.get("provisioner")]
    return best_snapshot_class(of_driver, lambda it: (it.get("parameters") or {}).get("snapshot-type") == "images")


def _status(storage_class: Json, profile: Json, facts: StorageFacts, now: datetime) -> Json:
    name = storage_class["metadata"]["name"]
    spec, before = profile.get("spec") or {}, profile.get("status") or {}
    status: Json = {
        "storageClass": name,
        "provisioner": storage_class.get("provisioner", ""),
        "cloneStrategy": clone_strategy(name, facts),
        "dataImportCronSourceFormat": spec.get("dataImportCronSourceFormat") or _known_format(name, facts),
        "claimPropertySets": _property_sets(storage_class, spec),
        "conditions": _conditions(storage_class, before.get("conditions") or (), now),
    }
    snapshots = snapshot_class(name, facts)
    return status | ({"snapshotClass": snapshots} if snapshots else {})


def _property_sets(storage_class: Json, spec: Json) -> list[Json]:
    asked = [
        {"accessModes": it["accessModes"], "volumeMode": it.get("volumeMode") or FILESYSTEM}
        for it in spec.get("claimPropertySets") or ()
        if it.get("accessModes")
    ]
    capabilities = capabilities_of(storage_class)
    known = capabilities.properties if capabilities else ()
    return asked or [{"accessModes": [access], "volumeMode": mode} for access, mode in known]


def _conditions(storage_class: Json, before: Sequence[Json], now: datetime) -> list[Json]:
    if capabilities_of(storage_class) is not None:
        words = ("True", "RecognizedProvisioner", "Provisioner is recognized")
    elif is_known_provisioner(storage_class):
        words = ("False", "UnrecognizedStorageClassParameters", "Storage class parameters are not recognized")
    else:
        words = ("False", "UnrecognizedProvisioner", "Provisioner is not recognized")
    status, reason, message = words
    recognized = Condition(type="Recognized", status=status, reason=reason, message=message)
    conditions = with_condition([Condition.model_validate(it) for it in before], recognized, now)
    return [condition.document() for condition in conditions]


def _annotations(storage_class: Json, before: Mapping[str, str], facts: StorageFacts) -> dict[str, str]:
    """Those of a profile: what a person has set stays, but for the snapshot class, which follows."""
    capabilities = capabilities_of(storage_class)
    annotations = {key: value for key, value in before.items() if key != _SNAPSHOT_CLASS_OF_IMPORTS}
    if capabilities is not None and capabilities.smallest:
        annotations.setdefault(_SMALLEST_CLAIM, capabilities.smallest)
    if capabilities is not None and capabilities.import_read_write_once:
        annotations.setdefault(PREFERS_READ_WRITE_ONCE, "true")
    images = _image_snapshot_class(storage_class["metadata"]["name"], facts)
    return annotations | ({_SNAPSHOT_CLASS_OF_IMPORTS: images} if images else {})


def _spec(storage_class: str, facts: StorageFacts) -> Json:
    """What a person has put into the StorageProfile of a class."""
    spec: Json = (facts.profiles.get(storage_class) or {}).get("spec") or {}
    return spec
