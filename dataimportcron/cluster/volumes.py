"""The port `Volumes`: PersistentVolumeClaims, complete where their record says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dataimportcron import naming
from dataimportcron.api.conditions import Phase
from dataimportcron.api.quantity import parse_quantity
from dataimportcron.api.types import DataVolume, DataVolumeSpec
from dataimportcron.cluster.attempts import Attempts
from dataimportcron.cluster.claim_watch import ClaimWatch
from dataimportcron.cluster.claims import Claims
from dataimportcron.cluster.connection import Connection
from dataimportcron.cluster.placements import Placements
from dataimportcron.cluster.places import Places
from dataimportcron.cluster.plain_volumes import is_plain_volume
from dataimportcron.cluster.pods import LABEL_VOLUME
from dataimportcron.cluster.provisioners import FILESYSTEM
from dataimportcron.cluster.records import is_whole, owner_of, record_of
from dataimportcron.cluster.resources import PODS, PVCS, VOLUME_CLONE_SOURCES, VOLUME_SNAPSHOTS, Json, ResourceType
from dataimportcron.errors import CloneWithoutSourceError, ConflictError, NotServedError, ObjectNotFoundError
from dataimportcron.ports import (
    ClaimState,
    Clonable,
    CloneSource,
    Objects,
    Placement,
    Reservation,
    SourceKind,
    Volume,
    VolumeSpec,
)

_ENDED = frozenset({"Succeeded", "Failed"})
_KINDS = {SourceKind.PVC: PVCS.kind, SourceKind.SNAPSHOT: VOLUME_SNAPSHOTS.kind}


class ClusterVolumes:
    """`ports.Volumes`.

    Args:
        connection: to the API server.
        objects: the DataVolumes.
        claims: of them.
        placements: of imports; None where that cannot be seen, in an install for some namespaces.
        followed: all claims; None beside CDI, where no DataVolume is an object that has one.
    """

    def __init__(
        self,
        connection: Connection,
        objects: Objects,
        claims: Claims,
        placements: Placements | None = None,
        followed: ClaimWatch | None = None,
    ) -> None:
        self._connection = connection
        self._objects = objects
        self._claims = claims
        self._placements = placements
        self._followed = followed
        self._places = Places(connection, claims)
        self._attempts = Attempts(connection)

    async def find(self, namespace: str, name: str) -> Volume | None:
        """See the port."""
        claim = await self._claims.find(namespace, name)
        if claim is None or not is_whole(claim):
            return None
        record = record_of(claim)
        return Volume(
            namespace=namespace,
            name=name,
            size=record.size if record is not None else await self._claims.disk_in(claim),
            digest=record.digest if record is not None else "",
            location=f"PersistentVolumeClaim {namespace}/{name}",
            storage_class=claim["spec"].get("storageClassName") or "",
            mode=claim["spec"].get("volumeMode") or FILESYSTEM,
            requested=parse_quantity(str(claim["spec"]["resources"]["requests"]["storage"])),
        )

    async def claims(self) -> Mapping[tuple[str, str], ClaimState] | None:
        """See the port."""
        return await self._followed.all() if self._followed is not None else None

    async def clonable(self, source: CloneSource) -> Clonable:
        """See the port."""
        found = await self.find(source.namespace, source.name) if source.kind is SourceKind.PVC else None
        if found is not None:
            return Clonable(size=found.size)
        message = f"The source {source.kind} {source.name} doesn't exist"
        return Clonable(reason=CloneWithoutSourceError.reason, message=message)

    async def adopt(self, volume: DataVolume) -> bool:
        """See the port. Beside CDI a claim stands for its DataVolume, and cannot be somebody else's."""
        return self._claims.owned and await self._places.adopt(volume)

    async def reserve(self, volume: DataVolume, source: CloneSource | None = None) -> Reservation:
        """See the port."""
        return await self._places.reserve(volume, source) if self._claims.owned else Reservation()

    async def delete(self, namespace: str, name: str) -> None:
        """See the port. Kubernetes keeps a claim as long as a pod mounts it; its importer is ended first."""
        claim = await self._claims.find(namespace, name)
        if claim is None or not (owner_of(claim) or is_plain_volume(claim) or record_of(claim)):
            return  # nobody's whose name it only has
        await self._attempts.remove(claim)
        try:
            await self._connection.delete(PVCS, name, namespace, uid=claim["metadata"]["uid"])
        except ConflictError:
            return  # another one of that name lives now

    async def notice(self, volume: VolumeSpec) -> str:
        """See the port."""
        try:
            wanted = await self._objects.get(DataVolume, volume.namespace, volume.name)
        except ObjectNotFoundError:
            return ""
        return (await self._claims.planned(wanted)).notice

    async def placement(self, spec: DataVolumeSpec) -> Placement | None:
        """See the port."""
        return await self._placements.of(spec) if self._placements else None

    async def in_use(self, namespace: str, name: str, kind: SourceKind = SourceKind.PVC) -> str:
        """See the port."""
        source = CloneSource(namespace=namespace, name=name, kind=kind)
        volumes = await self._objects.list(DataVolume)
        if kind is SourceKind.SNAPSHOT:
            return (
                next(restoring(source, await self._connection.list(PVCS, namespace)), "")
                or next(cloning_by_cdi(source, await self._optional(VOLUME_CLONE_SOURCES, namespace)), "")
                or next(wanting(source, volumes), "")
            )
        claim = await self._claims.find(namespace, name)
        if claim is None:
            return ""
        return (
            next(mounting(claim, await self._connection.list(PODS, namespace)), "")
            or next(cloning(claim, await self._connection.list(PVCS, namespace)), "")
            or next(snapshotting(claim, await self._optional(VOLUME_SNAPSHOTS, namespace)), "")
            or next(cloning_by_cdi(source, await self._optional(VOLUME_CLONE_SOURCES, namespace)), "")
            or next(wanting(source, volumes), "")
        )

    async def _optional(self, resource: ResourceType, namespace: str) -> list[Json]:
        """Objects of a kind that not every cluster has."""
        try:
            return await self._connection.list(resource, namespace)
        except NotServedError:
            return []


def mounting(claim: Json, pods: list[Json]) -> Iterator[str]:
    """Who has a claim mounted, or will have: its pods that have not ended, but for our own importer's."""
    own = claim["metadata"]
    for pod in pods:
        metadata, spec = pod["metadata"], pod.get("spec") or {}
        names = {(it.get("persistentVolumeClaim") or {}).get("claimName") for it in spec.get("volumes") or ()}
        ours = (metadata.get("labels") or {}).get(LABEL_VOLUME) == own["uid"]
        if own["name"] in names and not ours and (pod.get("status") or {}).get("phase") not in _ENDED:
            yield f"pod {metadata['namespace']}/{metadata['name']} using PersistentVolumeClaim {own['name']}"


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
        if named and (claim.get("status") or {}).get("phase") != "Bound":
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


def wanting(cloned: CloneSource, volumes: Sequence[DataVolume]) -> Iterator[str]:
    """The DataVolumes that are to be cloned from something, by their own words or by our choice, and are not yet."""
    for volume in volumes:
        source, own = volume.spec.source, volume.metadata
        said = (source.pvc if cloned.kind is SourceKind.PVC else source.snapshot) if source else None
        named = said is not None and (said.namespace or own.namespace, said.name) == (cloned.namespace, cloned.name)
        chosen = own.annotations.get(naming.ANNOTATION_CLONE_SOURCE) == str(cloned)
        if (named or chosen) and volume.status.phase != Phase.SUCCEEDED:
            yield f"DataVolume {own.namespace}/{own.name} is to be cloned from it"
