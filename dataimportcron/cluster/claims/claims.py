"""Claims on the API server: read, made, waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.classes.storage import Claim, StorageFacts, claim_of, class_of, disk_size, wanted_of
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import (
    PVCS,
    STORAGE_CLASSES,
    STORAGE_PROFILES,
    VOLUME_SNAPSHOT_CLASSES,
    Json,
)
from dataimportcron.cluster.client.verbs import find, find_visible, list_visible
from dataimportcron.cluster.jobs.holdups import HoldUp
from dataimportcron.cluster.registries.cdi_config import CdiConfigs
from dataimportcron.errors import (
    AlreadyExistsError,
    ForeignVolumeError,
    QuotaExceededError,
)

_PATIENCE = 2.0
"""Seconds until it is tried again."""


class Claims:
    """The claims of DataVolumes.

    Args:
        connection: to the API server.
        owned: whether a DataVolume is an object that owns its claim; else the claim itself is shown as one.
        overheads: of file systems, by storage class, "" for all others; they outrank CDI's configuration.

    Attributes:
        owned: as it was given.
        cdi: CDI's configuration.
    """

    def __init__(self, connection: Connection, *, owned: bool, overheads: Mapping[str, str] | None = None) -> None:
        self._connection = connection
        self.owned = owned
        self._overheads = overheads or {}
        self.cdi = CdiConfigs(connection)

    async def find(self, namespace: str, name: str) -> Json | None:
        """The claim of that name, None if there is none."""
        return await find(self._connection, PVCS, name, namespace)

    async def planned(self, volume: DataVolume) -> Claim:
        """The claim of a DataVolume as it is to be made.

        Raises:
            InvalidObjectError: the DataVolume describes none.
        """
        document = volume.document()
        facts = await self.facts(wanted_of(document.get("spec") or {}))
        return claim_of(document, facts, owned=self.owned)

    async def size_of(self, volume: DataVolume, claim: Json) -> int:
        """Bytes of the disk of a DataVolume in its claim."""
        return disk_size(volume.document(), claim, StorageFacts(overheads=await self._all_overheads()))

    async def facts(self, wanted: Json) -> StorageFacts:
        """What there is to know of the storage of a claim with this spec."""
        classes = await list_visible(self._connection, STORAGE_CLASSES)
        storage_class = class_of(wanted, classes)
        profile = await find_visible(self._connection, STORAGE_PROFILES, storage_class) if storage_class else None
        return StorageFacts(
            classes=classes,
            profiles={storage_class: profile} if profile else {},
            overheads=await self._all_overheads(),
            snapshot_classes=await list_visible(self._connection, VOLUME_SNAPSHOT_CLASSES),
        )

    async def _all_overheads(self) -> dict[str, str]:
        return {**(await self.cdi.current()).overheads, **self._overheads}

    async def ensure(self, volume: DataVolume, tell: Callable[[HoldUp], None]) -> Json:
        """The claim of a DataVolume, made where it is missing; one that is being deleted is waited for.

        Args:
            volume: the DataVolume.
            tell: called with what it waits for.
        """
        found = await self.find(volume.metadata.namespace, volume.metadata.name)
        if found is not None and not found["metadata"].get("deletionTimestamp"):
            return found
        return await self.make((await self.planned(volume)).body, tell)

    async def make(self, body: Json, tell: Callable[[HoldUp], None]) -> Json:
        """The claim of that name, made so where it is missing; one that is being deleted is waited for.

        Args:
            body: the claim.
            tell: called with what it waits for.
        """
        while isinstance(claim := await self.take(body), HoldUp):
            tell(claim)
            await asyncio.sleep(_PATIENCE)
        return claim

    async def take(self, body: Json) -> Json | HoldUp:
        """The claim of that name, made so where it is missing; or what keeps it from being there."""
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        while (claim := await self.find(namespace, name)) is None:
            try:
                return await self._connection.create(PVCS, body)
            except AlreadyExistsError:
                continue
            except QuotaExceededError as error:
                return HoldUp(reason="ErrExceededQuota", message=str(error))
        if claim["metadata"].get("deletionTimestamp"):
            message = f"The earlier PersistentVolumeClaim {namespace}/{name} is being deleted and still used"
            return HoldUp(reason="Terminating", message=message, passing=True)
        return claim


def is_of(claim: Json, uid: str) -> bool:
    """Whether a claim is that of the DataVolume with this uid, which owns it or is shown for it."""
    own = claim["metadata"]
    return uid in {own["uid"], *(it.get("uid") for it in own.get("ownerReferences") or ())}


def require_own(claim: Json, uid: str) -> None:
    """Refuse a claim that is not that of the DataVolume with this uid.

    Raises:
        ForeignVolumeError: it is somebody else's.
    """
    if not is_of(claim, uid):
        name = f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
        raise ForeignVolumeError(
            f"PersistentVolumeClaim {name} exists already and is not the one of DataVolume {name}",
            hint="delete it, or give the DataVolume another name",
        )
