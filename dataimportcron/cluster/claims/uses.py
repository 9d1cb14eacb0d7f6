"""Who uses a volume or a snapshot, each in one sentence. Pure.

A claim is used by pods, and by whatever is being made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from dataimportcron.cluster.client.resources import PVCS, VOLUME_SNAPSHOTS, Json
from dataimportcron.cluster.documents.records import is_bound
from dataimportcron.cluster.jobs.attempt_job import LABEL_VOLUME
from dataimportcron.cluster.jobs.holdups import claims_of
from dataimportcron.values import CloneSource, SourceKind

_ENDED: Final = frozenset({"Succeeded", "Failed"})
_KINDS: Final = {SourceKind.PVC: PVCS.kind, SourceKind.SNAPSHOT: VOLUME_SNAPSHOTS.kind}


def mounting(claim: Json, pods: Iterable[Json]) -> Iterator[str]:
    """Who has a claim mounted, or will have: its pods that have not ended, but for our own importer's."""
    own = claim["metadata"]["uid"]
    return _using(claim, pods, lambda pod: _filled_by(pod) != own)


def holding(claim: Json, pods: Iterable[Json]) -> Iterator[str]:
    """The pods on nodes that have a claim mounted, or are about to; whoever made them."""
    return _using(claim, pods, lambda pod: bool(pod["spec"].get("nodeName")))


def writing(claim: Json, pods: Iterable[Json]) -> Iterator[str]:
    """The pods that may write to a claim; those of ours that fill others only read it."""
    own = claim["metadata"]
    return _using(claim, pods, lambda pod: _filled_by(pod) in {None, own["uid"]} and _may_write(pod, own["name"]))


def _using(claim: Json, pods: Iterable[Json], counts: Callable[[Json], bool]) -> Iterator[str]:
    """The pods that name a claim, have not ended, and count."""
    name = claim["metadata"]["name"]
    for pod in pods:
        ended = (pod.get("status") or {}).get("phase") in _ENDED
        if name in claims_of(pod["spec"]) and not ended and counts(pod):
            yield f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']} using PersistentVolumeClaim {name}"


def _filled_by(pod: Json) -> str | None:
    """The uid of the claim that a pod of ours fills; None for any other pod."""
    uid: str | None = (pod["metadata"].get("labels") or {}).get(LABEL_VOLUME)
    return uid


def _may_write(pod: Json, claim: str) -> bool:
    spec = pod["spec"]
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    for volume in spec.get("volumes") or ():
        used = volume.get("persistentVolumeClaim") or {}
        if used.get("claimName") != claim or used.get("readOnly"):
            continue
        mounts = [it for each in containers for it in each.get("volumeMounts") or () if it["name"] == volume["name"]]
        devices = [it for each in containers for it in each.get("volumeDevices") or () if it["name"] == volume["name"]]
        if devices or any(not it.get("readOnly") for it in mounts):
            return True
    return False


def cloning(claim: Json, claims: list[Json]) -> Iterator[str]:
    """The claims that are still being cloned from a claim."""
    for metadata in _made_from(PVCS.kind, claim["metadata"]["name"], claims):
        yield f"PersistentVolumeClaim {metadata['namespace']}/{metadata['name']} is being cloned from it"


def restoring(snapshot: CloneSource, claims: list[Json]) -> Iterator[str]:
    """The claims that are still being restored from a snapshot."""
    for metadata in _made_from(VOLUME_SNAPSHOTS.kind, snapshot.name, claims):
        yield f"PersistentVolumeClaim {metadata['namespace']}/{metadata['name']} is being restored from it"


def _made_from(kind: str, name: str, claims: list[Json]) -> Iterator[Json]:
    """The metadata of claims whose volume the driver is still making from something."""
    for claim in claims:
        spec = claim.get("spec") or {}
        sources = (spec.get("dataSource") or {}, spec.get("dataSourceRef") or {})
        named = any((it.get("kind"), it.get("name")) == (kind, name) for it in sources)
        if named and not is_bound(claim):
            yield claim["metadata"]


def cloning_by_cdi(cloned: CloneSource, sources: list[Json]) -> Iterator[str]:
    """CDI's notes of its clones, in the namespace of what they read; they go when the clone is done."""
    for note in sources:
        source = (note.get("spec") or {}).get("source") or {}
        if (source.get("kind"), source.get("name")) == (_KINDS[cloned.kind], cloned.name):
            metadata = note["metadata"]
            yield f"CDI is cloning it, says VolumeCloneSource {metadata['namespace']}/{metadata['name']}"


def snapshotting(claim: Json, snapshots: list[Json]) -> Iterator[str]:
    """The snapshots of a claim that are still being taken."""
    for snapshot in snapshots:
        source = ((snapshot.get("spec") or {}).get("source") or {}).get("persistentVolumeClaimName")
        if source == claim["metadata"]["name"] and not (snapshot.get("status") or {}).get("readyToUse"):
            metadata = snapshot["metadata"]
            yield f"VolumeSnapshot {metadata['namespace']}/{metadata['name']} is being taken of it"
