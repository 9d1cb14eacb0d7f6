"""What there is to know of a clone before it begins: the source, the place, and so the plan."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from dataimportcron.api.quantity import parse_quantity
from dataimportcron.api.types import DataVolume
from dataimportcron.api.volumes import Resources
from dataimportcron.cluster.claims.claims import Claims
from dataimportcron.cluster.classes.profiles import clone_strategy
from dataimportcron.cluster.classes.provisioners import BLOCK, COPY, CSI_CLONE, FILESYSTEM, SNAPSHOT
from dataimportcron.cluster.classes.storage import StorageFacts, class_of, room_in, usable, wanted_of
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import CDIS, PVS, VOLUME_SNAPSHOT_CONTENTS, VOLUME_SNAPSHOTS, Json
from dataimportcron.cluster.client.verbs import find, find_visible, list_visible
from dataimportcron.cluster.clones.plans import ClonePlan, Origin, is_plain, noted_way, place_of, plan_of, way_of
from dataimportcron.cluster.documents.records import annotations_of, record_of
from dataimportcron.errors import (
    ForbiddenError,
    InvalidObjectError,
    NotServedError,
    ObjectNotFoundError,
    VolumeTooSmallError,
)
from dataimportcron.values import CloneSource, SourceKind

_PROVISIONER: Final = "volume.kubernetes.io/storage-provisioner"
_SOURCE_MODE: Final = "cdi.kubevirt.io/storage.import.sourceVolumeMode"
_STRATEGIES: Final = frozenset({CSI_CLONE, SNAPSHOT, COPY})


class Clones:
    """Plans clones.

    Args:
        connection: to the API server.
        claims: of the DataVolumes.
    """

    def __init__(self, connection: Connection, claims: Claims) -> None:
        self._connection = connection
        self._claims = claims

    async def plan(self, volume: DataVolume, source: CloneSource, size: int) -> ClonePlan:
        """How a DataVolume is cloned from a source; one that was begun goes on as it was.

        Args:
            volume: the DataVolume.
            source: what it is cloned from.
            size: of its disk, in bytes; 0 for what it requests, and if that is nothing, for the source's.

        Raises:
            CloneWithoutSourceError: the source is not there.
            InvalidObjectError: the DataVolume describes no claim, or is no object that can take a volume over.
            VolumeTooSmallError: the source is larger.
        """
        metadata = volume.metadata
        if not self._claims.owned and metadata.namespace != source.namespace:
            raise InvalidObjectError(
                f"PersistentVolumeClaim {metadata.namespace}/{metadata.name} cannot be cloned from {source}: "
                "beside CDI a volume is cloned only in its own namespace",
                hint="let the DataImportCron be in the namespace of what it follows",
            )
        existing = await self._claims.find(metadata.namespace, metadata.name)
        origin = await self.origin(source)
        volume = sized(volume, size or origin.disk)
        wanted = wanted_of(volume.spec.document())
        claim, facts = (await self._claims.planned(volume)).body, await self._claims.facts(wanted)
        disk = await self._claims.size_of(volume, claim)
        strategy = await self._strategy(class_of(wanted, facts.classes), facts)
        place = place_of(claim, origin, facts, strategy=strategy, disk=disk)
        way = noted_way(existing, source) or way_of(origin, place)
        if existing is not None and is_plain(existing) and metadata.namespace == source.namespace:
            way = way.by_pod  # it was made before anybody knew how
        if (size or disk) < origin.disk:
            raise VolumeTooSmallError(
                f"DataVolume {metadata.namespace}/{metadata.name} of {size or disk} bytes is smaller than its source "
                f"{source} of {origin.disk} bytes",
                hint="request at least the source's size",
            )
        return plan_of(claim, origin, place, way, metadata.uid)

    async def origin(self, source: CloneSource) -> Origin:
        """What a source is now.

        Raises:
            CloneWithoutSourceError: it is not there.
        """
        found, is_claim = await self.find(source), source.kind is SourceKind.PVC
        if found is None or (is_claim and found["metadata"].get("deletionTimestamp")):
            raise source.missing()
        return await (self._volume(source, found) if is_claim else self.restored(source, found))

    async def find(self, source: CloneSource) -> Json | None:
        """The claim or the VolumeSnapshot that a source is, None if there is none."""
        if source.kind is SourceKind.PVC:
            return await self._claims.find(source.namespace, source.name)
        with suppress(NotServedError):
            return await find(self._connection, VOLUME_SNAPSHOTS, source.name, source.namespace)
        return None

    async def _volume(self, source: CloneSource, claim: Json) -> Origin:
        return Origin(
            source=source,
            driver=await self._driver(claim),
            mode=claim["spec"].get("volumeMode") or FILESYSTEM,
            capacity=capacity_of(claim),
            disk=await self.disk_of(claim),
            recorded=record_of(claim) is not None,
        )

    async def disk_of(self, claim: Json) -> int:
        """Bytes of the disk in a claim; the most that it can have where nobody has recorded them."""
        record = record_of(claim)
        if record is not None:
            return record.size
        return room_in(claim, capacity_of(claim), await self._claims.facts(claim["spec"]))

    async def _driver(self, claim: Json) -> str:
        """Which driver has made the volume of a claim; "" for none."""
        try:
            volume = await self._connection.get(PVS, str(claim["spec"].get("volumeName") or "-"))
        except ForbiddenError:  # an install for some namespaces
            return annotations_of(claim).get(_PROVISIONER, "")
        except ObjectNotFoundError:
            return ""
        return str((volume["spec"].get("csi") or {}).get("driver") or "")

    async def restored(self, source: CloneSource, snapshot: Json) -> Origin:
        """What is restored from a VolumeSnapshot, as that was read."""
        status, record = snapshot.get("status") or {}, record_of(snapshot)
        facts = await self._claims.facts({})
        named = snapshot["spec"].get("volumeSnapshotClassName")
        found = next((it for it in facts.snapshot_classes if it["metadata"]["name"] == named), {})
        bound = str(status.get("boundVolumeSnapshotContentName") or "-")
        content = (await find_visible(self._connection, VOLUME_SNAPSHOT_CONTENTS, bound) or {}).get("spec") or {}
        mode = annotations_of(snapshot).get(_SOURCE_MODE) or content.get("sourceVolumeMode") or FILESYSTEM
        restored = parse_quantity(str(status.get("restoreSize") or 0))
        driver = str(found.get("driver") or content.get("driver") or "")
        disk = restored if mode == BLOCK else usable(restored, facts.overhead(_class_of(driver, facts)))
        return Origin(
            source=source,
            driver=driver,
            mode=str(mode),
            capacity=restored,
            disk=record.size if record else disk,
            recorded=record is not None,
        )

    async def _strategy(self, storage_class: str, facts: StorageFacts) -> str:
        """How clones of a class are made: as CDI's configuration says for all, else as is known of the class."""
        for cdi in await list_visible(self._connection, CDIS):
            asked = (cdi.get("spec") or {}).get("cloneStrategyOverride")
            if asked in _STRATEGIES:
                return str(asked)
        return clone_strategy(storage_class, facts)


def sized(volume: DataVolume, size: int) -> DataVolume:
    """A DataVolume that requests a size; its own, if it has one.

    Raises:
        InvalidObjectError: neither it nor its source has one.
    """
    field = "storage" if volume.spec.storage is not None else "pvc"
    wanted = getattr(volume.spec, field)
    if wanted is None or (wanted.resources and wanted.resources.requests.get("storage")):
        return volume
    if not size:
        raise InvalidObjectError(f"DataVolume {volume.metadata.name}: size not specified, and its source has none")
    resources = wanted.resources or Resources()
    resources = resources.model_copy(update={"requests": {**resources.requests, "storage": str(size)}})
    spec = volume.spec.model_copy(update={field: wanted.model_copy(update={"resources": resources})})
    return volume.model_copy(update={"spec": spec})


def capacity_of(claim: Json) -> int:
    """Bytes of the volume of a claim; what it requests while it has none."""
    capacity = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    return parse_quantity(str(capacity or claim["spec"]["resources"]["requests"]["storage"]))


def _class_of(driver: str, facts: StorageFacts) -> str:
    """A class of a driver, whose overhead is taken for that of all."""
    return next((it["metadata"]["name"] for it in facts.classes if it.get("provisioner") == driver), "")
