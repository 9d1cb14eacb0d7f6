"""What holds for the volumes of a StorageClass: how they are cloned, and what imports are kept as. Pure.

A person decides by the spec of the class's StorageProfile, else what is known of the provisioner does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from dataimportcron.cluster.provisioners import COPY, CSI_CLONE, SNAPSHOT, capabilities_of
from dataimportcron.cluster.resources import Json
from dataimportcron.cluster.storage import StorageFacts

ANNOTATION_CLONE_STRATEGY: Final = "cdi.kubevirt.io/clone-strategy"
"""On a StorageClass: an input; one of the three ways to clone."""
_DEFAULT_SNAPSHOT_CLASS: Final = "snapshot.storage.kubernetes.io/is-default-class"
_STRATEGIES: Final = frozenset({CSI_CLONE, SNAPSHOT, COPY})


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


def _spec(storage_class: str, facts: StorageFacts) -> Json:
    """What a person has put into the StorageProfile of a class."""
    spec: Json = (facts.profiles.get(storage_class) or {}).get("spec") or {}
    return spec
