"""How something is cloned in a cluster, and which objects that takes. Pure.

The driver does it where it can, within a moment: by a claim that names the source, or by a snapshot that is restored.
All else is a copy by a pod. What comes to another namespace is made in the source's, in a temporary claim, and then
handed over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dataimportcron import naming
from dataimportcron.cluster.claims.claim_watch import SELECTED_NODE
from dataimportcron.cluster.classes.profiles import snapshot_class
from dataimportcron.cluster.classes.provisioners import COPY, CSI_CLONE, FILESYSTEM, SNAPSHOT
from dataimportcron.cluster.classes.storage import StorageFacts, class_of
from dataimportcron.cluster.client.resources import PVCS, VOLUME_SNAPSHOTS, Json
from dataimportcron.cluster.clones.handover import reference
from dataimportcron.cluster.documents.records import LABEL_CLONE, annotations_of, is_bound
from dataimportcron.errors import InvalidObjectError
from dataimportcron.values import CloneSource, SourceKind

ANNOTATION_WAY: Final = "dataimportcron.io/clone-way"
"""On a clone's claim: how it is made; a later attempt goes on in the same way, whatever the settings say then."""
ANNOTATION_CLONE_OF: Final = "dataimportcron.io/clone-of"
"""On what is made for a clone: namespace/name of the DataVolume."""

_READ_WRITE_ONCE: Final = "ReadWriteOnce"
_IMMEDIATE: Final = "Immediate"
_FIRST_CONSUMER: Final = "WaitForFirstConsumer"


class Way(StrEnum):
    """How a clone is made."""

    CSI_CLONE = "csi-clone"
    """A claim whose data source is the source."""
    SNAPSHOT = "snapshot"
    """A temporary snapshot of the source, restored."""
    RESTORE = "restore"
    """The source is a snapshot, which is restored."""
    COPY = "copy"
    """A pod copies it."""
    RESTORE_AND_COPY = "restore-and-copy"
    """The source is a snapshot, which is restored into a temporary claim of its own driver, and that is copied."""

    @property
    def phase(self) -> str:
        """As people know it from CDI."""
        return {CSI_CLONE: "CSIClone", SNAPSHOT: "SnapshotClone", COPY: "HostClone"}[self.clone_type]

    @property
    def clone_type(self) -> str:
        """Which of CDI's three ways it is."""
        return {Way.CSI_CLONE: CSI_CLONE, Way.SNAPSHOT: SNAPSHOT, Way.RESTORE: SNAPSHOT}.get(self, COPY)

    @property
    def by_pod(self) -> Way:
        """The same from the same source, by a pod."""
        return Way.RESTORE_AND_COPY if self in {Way.RESTORE, Way.RESTORE_AND_COPY} else Way.COPY

    @property
    def copies(self) -> bool:
        """Whether a pod copies, so that the bytes are there only at its end."""
        return self in {Way.COPY, Way.RESTORE_AND_COPY}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What is cloned, as it is now; sizes are in bytes.

    Attributes:
        source: its name.
        driver: of its storage, "" where that is no driver's.
        mode: Block or Filesystem.
        capacity: of its claim; of a snapshot, what a claim needs at least that it is restored into.
        disk: of the disk in it.
        recorded: whether `disk` is known; else it may be less.
    """

    source: CloneSource
    driver: str
    mode: str
    capacity: int
    disk: int
    recorded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a clone shall be.

    Attributes:
        driver: of its class, "" where there is none.
        mode: Block or Filesystem.
        size: of its claim as planned, in bytes.
        strategy: how clones of its class are made: csi-clone, snapshot or copy.
        snapshot_class: of the class, "" for none.
        grows: whether the driver makes volumes larger than what they come from.
        binding: volumeBindingMode of its class, "" where nobody can say.
        disk: bytes that the disk shall have.
        restoring_class: name of a StorageClass of the driver that the source is of, "" for none.
    """

    driver: str
    mode: str
    size: int
    strategy: str
    disk: int = 0
    restoring_class: str = ""
    snapshot_class: str = ""
    grows: bool = False
    binding: str = _IMMEDIATE


@dataclass(frozen=True, slots=True, kw_only=True)
class ClonePlan:
    """A clone and its objects, all as they are to be made.

    Attributes:
        way: how.
        origin: what is cloned.
        target: the claim of the DataVolume.
        temporary: the claim in the source's namespace that is filled first, None where the target is.
        snapshot: that is taken of the source, None for none.
        restored: the claim that a snapshot is restored into to be copied, None for none.
        disk: bytes that the clone's disk has at least.
        binding: volumeBindingMode of the target's class, "" where nobody can say.
    """

    way: Way
    origin: Origin
    target: Json
    temporary: Json | None
    snapshot: Json | None
    restored: Json | None
    disk: int
    binding: str

    @property
    def read(self) -> str:
        """Name of the claim that a pod copies."""
        return str(self.restored["metadata"]["name"]) if self.restored else self.origin.source.name

    @property
    def waits_for_snapshot(self) -> bool:
        """Whether the target is made only when a snapshot is there that this clone takes itself.

        A provisioner that finds none looks again after a time that doubles. Where a user's pod chooses the node, which
        may take days, the target comes first all the same: it is what that pod mounts.
        """
        return self.way is Way.SNAPSHOT and self.temporary is None and not self.awaits_consumer(self.target)

    def is_inspected(self, claim: Json) -> bool:
        """Whether a pod must mount a claim that the driver fills.

        The disk is to become larger, or nobody knows how large it is, or the claim is bound only for a pod.
        """
        grows = not self.origin.recorded or self.disk > self.origin.disk
        # Where we may not read classes, a pod is made, which is right for both kinds.
        return (grows and self.origin.mode == FILESYSTEM) or (self.binding != _IMMEDIATE and not _is_placed(claim))

    def awaits_consumer(self, target: Json) -> bool:
        """Whether the target waits for a pod of its user's, which chooses the node; none of ours may."""
        asked = naming.ANNOTATION_BIND_IMMEDIATE in annotations_of(target)
        return self.binding == _FIRST_CONSUMER and not asked and not _is_placed(target)


def place_of(claim: Json, origin: Origin, facts: StorageFacts, *, strategy: str, disk: int) -> Place:
    """The place that a planned claim is.

    Args:
        claim: as planned.
        origin: what is cloned.
        facts: of the cluster's storage.
        strategy: for its class.
        disk: bytes that its disk shall have.
    """
    spec = claim["spec"]
    name = class_of(spec, facts.classes)
    found = facts.named(name) or {}
    of_origin = [it for it in facts.classes if it.get("provisioner") == origin.driver]
    names = sorted(it["metadata"]["name"] for it in of_origin)
    return Place(
        driver=str(found.get("provisioner") or ""),
        mode=str(spec.get("volumeMode") or FILESYSTEM),
        size=int(spec["resources"]["requests"]["storage"]),
        strategy=strategy,
        disk=disk,
        restoring_class=name if name in names else class_of({}, of_origin) or "".join(names[:1]),
        snapshot_class=snapshot_class(name, facts),
        grows=bool(found.get("allowVolumeExpansion")),
        binding=str(found.get("volumeBindingMode") or _IMMEDIATE) if found else "",
    )


def way_of(origin: Origin, place: Place) -> Way:
    """How something is cloned to a place: as its class wants it, or by a pod where that cannot be."""
    by_driver = not fallback_of(origin, place)
    if origin.source.kind is SourceKind.SNAPSHOT:
        return Way.RESTORE if by_driver else Way.RESTORE_AND_COPY
    return Way(place.strategy) if by_driver else Way.COPY


def fallback_of(origin: Origin, place: Place) -> str:
    """Why a place's driver cannot make a clone in the way of its class, in CDI's words; "" if it can, or shall not.

    It can only where both are its own and of one volume mode, and where the clone is no larger than the source or the
    driver can enlarge volumes. A snapshot is restored whatever the class's way is.
    """
    restored = origin.source.kind is SourceKind.SNAPSHOT
    if place.strategy == COPY and not restored:
        return ""
    if place.strategy == SNAPSHOT and not restored and not place.snapshot_class:
        return "No compatible volumesnapshotclass found"
    if not origin.driver or origin.driver != place.driver:
        if restored:
            return "The storageclass provisioner does not match the volumesnapshotcontent driver"
        return "Provisioners are incompatible"
    if origin.mode != place.mode:
        return "The volume modes of source and target are incompatible"
    return "" if place.size <= origin.capacity or place.grows else "No volume expansion is possible"


def noted_way(claim: Json | None, source: CloneSource) -> Way | None:
    """How a claim that exists was begun to be cloned from a source; None where it is no such clone."""
    notes = annotations_of(claim) if claim is not None else {}
    try:
        way = Way(notes.get(ANNOTATION_WAY, ""))
    except ValueError:
        return None
    return way if notes.get(naming.ANNOTATION_CLONE_SOURCE) == str(source) else None


def plan_of(claim: Json, origin: Origin, place: Place, way: Way, uid: str) -> ClonePlan:
    """The objects of a clone.

    Args:
        claim: of the DataVolume, as planned.
        origin: what is cloned.
        place: where to.
        way: how.
        uid: of the DataVolume.

    Raises:
        InvalidObjectError: a snapshot cannot be restored, for want of a StorageClass.
    """
    metadata, source = claim["metadata"], origin.source
    owners = metadata.get("ownerReferences") if metadata["namespace"] == source.namespace else None
    size = place.size if way.copies else max(place.size, origin.capacity)
    spec = {**claim["spec"], "resources": _requesting(claim, size)}
    filled = spec | _data_source(way, source, uid)

    def made(name: str, spec: Json) -> Json:
        return {"metadata": _marks(claim, source.namespace, uid, owners) | {"name": name}, "spec": spec}

    temporary = restored = snapshot = None
    if metadata["namespace"] != source.namespace:
        temporary = made(temporary_name(uid), filled)
        filled = spec | {"dataSourceRef": reference(metadata["name"])}
    if way is Way.SNAPSHOT:
        of = {"volumeSnapshotClassName": place.snapshot_class, "source": {"persistentVolumeClaimName": source.name}}
        snapshot = made(temporary_name(uid), of)
    if way is Way.RESTORE_AND_COPY:
        restored = made(f"restore-{uid}", _restoring(origin, place))
    notes = {
        ANNOTATION_WAY: way.value,
        naming.ANNOTATION_CLONE_SOURCE: str(source),
        naming.ANNOTATION_CLONE_TYPE: way.clone_type,
    }
    if way.copies and (fallback := fallback_of(origin, place)):
        notes[naming.ANNOTATION_CLONE_FALLBACK] = fallback
    target = claim | {"metadata": metadata | {"annotations": annotations_of(claim) | notes}, "spec": filled}
    return ClonePlan(
        way=way,
        origin=origin,
        target=target,
        temporary=temporary,
        snapshot=snapshot,
        restored=restored,
        disk=place.disk,
        binding=place.binding,
    )


def temporary_name(uid: str) -> str:
    """Name of the temporary claim, and of the temporary snapshot, of the clone of the DataVolume with that uid."""
    return f"clone-{uid}"


def on_the_node_of(temporary: Json, target: Json) -> Json:
    """The temporary claim, to be made where a pod wants the target to be, if one does already."""
    node = annotations_of(target).get(SELECTED_NODE)
    if node is None:
        return temporary
    metadata = temporary["metadata"]
    return temporary | {"metadata": metadata | {"annotations": annotations_of(temporary) | {SELECTED_NODE: node}}}


def _is_placed(claim: Json) -> bool:
    """Whether a claim has a volume, or a node where its volume shall be."""
    return is_bound(claim) or SELECTED_NODE in annotations_of(claim)


def _marks(claim: Json, namespace: str, uid: str, owners: Iterable[Json] | None) -> Json:
    """Metadata of a temporary object; it goes with the DataVolume where Kubernetes can see to that."""
    metadata = claim["metadata"]
    marks: Json = {
        "namespace": namespace,
        "labels": {
            naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
            naming.LABEL_COMPONENT: naming.COMPONENT,
            LABEL_CLONE: uid,
        },
        "annotations": {ANNOTATION_CLONE_OF: f"{metadata['namespace']}/{metadata['name']}"},
    }
    if owners:
        marks["ownerReferences"] = list(owners)
    return marks


def _requesting(claim: Json, size: int) -> Json:
    resources: Json = claim["spec"]["resources"]
    return {**resources, "requests": {**resources["requests"], "storage": str(size)}}


def _data_source(way: Way, source: CloneSource, uid: str) -> Json:
    """What fills a claim, as its spec says it; nothing where a pod does."""
    if way is Way.CSI_CLONE:
        return {"dataSource": {"kind": PVCS.kind, "name": source.name}}
    if way is Way.SNAPSHOT:
        return {"dataSource": _snapshot_source(temporary_name(uid))}
    if way is Way.RESTORE:
        return {"dataSource": _snapshot_source(source.name)}
    return {}


def _snapshot_source(name: str) -> Json:
    return {"apiGroup": VOLUME_SNAPSHOTS.group, "kind": VOLUME_SNAPSHOTS.kind, "name": name}


def _restoring(origin: Origin, place: Place) -> Json:
    """The spec of a claim of the snapshot's own driver."""
    source = origin.source
    if not place.restoring_class:
        raise InvalidObjectError(
            f"VolumeSnapshot {source.namespace}/{source.name} cannot be restored: "
            f"no StorageClass has the provisioner {origin.driver or 'of its VolumeSnapshotClass'}",
            hint="make a StorageClass of that provisioner",
        )
    return {
        "accessModes": [_READ_WRITE_ONCE],
        "volumeMode": origin.mode,
        "storageClassName": place.restoring_class,
        "resources": {"requests": {"storage": str(origin.capacity)}},
        "dataSource": _snapshot_source(source.name),
    }


def is_plain(claim: Json) -> bool:
    """Whether nothing but a pod of ours can fill a claim."""
    return not (claim["spec"].get("dataSource") or claim["spec"].get("dataSourceRef"))
