"""The port `Volumes`: PersistentVolumeClaims, complete where their record says so."""

from __future__ import annotations

from collections.abc import Mapping

from dataimportcron.api.quantity import parse_quantity
from dataimportcron.api.types import DataVolume, DataVolumeSpec
from dataimportcron.cluster.claims.claim_watch import ClaimWatch
from dataimportcron.cluster.claims.claims import Claims
from dataimportcron.cluster.claims.uses import cloning, cloning_by_cdi, mounting, restoring, snapshotting
from dataimportcron.cluster.classes.placements import Placements
from dataimportcron.cluster.classes.provisioners import FILESYSTEM
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import (
    PODS,
    PVCS,
    VOLUME_CLONE_SOURCES,
    VOLUME_SNAPSHOTS,
)
from dataimportcron.cluster.client.verbs import list_served, remove
from dataimportcron.cluster.clones.clones import Clones
from dataimportcron.cluster.clones.sources import clonable_claim, clonable_snapshot
from dataimportcron.cluster.clones.temporaries import Temporaries
from dataimportcron.cluster.documents.plain_volumes import is_plain_volume
from dataimportcron.cluster.documents.records import is_whole, owner_of, record_of
from dataimportcron.cluster.jobs.attempts import Attempts
from dataimportcron.cluster.places import Places
from dataimportcron.errors import ObjectNotFoundError
from dataimportcron.ports import Objects
from dataimportcron.values import (
    ClaimState,
    Clonable,
    CloneSource,
    Placement,
    Reservation,
    SourceKind,
    Volume,
    VolumeSpec,
)


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
        self._attempts = Attempts(connection)
        self._clones = Clones(connection, claims)
        self._places = Places(connection, claims, self._clones)
        self._temporaries = Temporaries(connection)

    async def find(self, namespace: str, name: str) -> Volume | None:
        """See the port."""
        claim = await self._claims.find(namespace, name)
        if claim is None or not is_whole(claim):
            return None
        record = record_of(claim)
        return Volume(
            namespace=namespace,
            name=name,
            size=await self._clones.disk_of(claim),
            digest=record.digest if record is not None else "",
            location=f"PersistentVolumeClaim {namespace}/{name}",
            storage_class=claim["spec"].get("storageClassName") or "",
            mode=claim["spec"].get("volumeMode") or FILESYSTEM,
            requested=parse_quantity(str(claim["spec"]["resources"]["requests"]["storage"])),
            uid=claim["metadata"]["uid"],
        )

    async def claims(self) -> Mapping[tuple[str, str], ClaimState] | None:
        """See the port."""
        return await self._followed.all() if self._followed is not None else None

    async def clonable(self, source: CloneSource) -> Clonable:
        """See the port."""
        found = await self._clones.find(source)
        if found is None:
            return Clonable.missing(source)
        if source.kind is SourceKind.SNAPSHOT:
            return clonable_snapshot(found, (await self._clones.restored(source, found)).disk)
        try:
            owner = await self._objects.get(DataVolume, source.namespace, source.name)
        except ObjectNotFoundError:
            owner = None
        pods = await self._connection.list(PODS, source.namespace)
        return clonable_claim(found, owner, pods, await self._clones.disk_of(found))

    async def adopt(self, volume: DataVolume) -> bool:
        """See the port. Beside CDI a claim stands for its DataVolume, and cannot be somebody else's."""
        return self._claims.owned and await self._places.adopt(volume)

    async def reserve(self, volume: DataVolume, source: CloneSource | None = None) -> Reservation:
        """See the port."""
        return await self._places.reserve(volume, source) if self._claims.owned else Reservation()

    async def delete(self, namespace: str, name: str) -> None:
        """See the port. Kubernetes keeps a claim as long as a pod mounts it; its importer is ended first.

        A claim that was given away, by `migrate --undo` or `kubectl delete --cascade=orphan`, is no DataVolume's.
        """
        claim = await self._claims.find(namespace, name)
        if claim is None or not (owner_of(claim) or is_plain_volume(claim)):
            return
        await self._temporaries.remove_of(claim)
        await self._attempts.remove(claim)
        await remove(self._connection, PVCS, claim)

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
        if kind is SourceKind.SNAPSHOT:
            return next(restoring(source, await self._connection.list(PVCS, namespace)), "") or next(
                cloning_by_cdi(source, await list_served(self._connection, VOLUME_CLONE_SOURCES, namespace)), ""
            )
        claim = await self._claims.find(namespace, name)
        if claim is None:
            return ""
        return (
            next(mounting(claim, await self._connection.list(PODS, namespace)), "")
            or next(cloning(claim, await self._connection.list(PVCS, namespace)), "")
            or next(snapshotting(claim, await list_served(self._connection, VOLUME_SNAPSHOTS, namespace)), "")
            or next(cloning_by_cdi(source, await list_served(self._connection, VOLUME_CLONE_SOURCES, namespace)), "")
        )
