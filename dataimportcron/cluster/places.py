"""The place of a volume: the claim of a DataVolume before anything is written to it, or as somebody else filled it.

KubeVirt relies on it that a DataVolume has its claim, which it controls, from its first moments on. On a class that
waits for a first consumer nothing is made of the claim before KubeVirt's pod, or any other, has chosen the node.
"""

from __future__ import annotations

import json
from typing import Final

from dataimportcron import naming
from dataimportcron.api.conditions import Phase
from dataimportcron.api.quantity import parse_quantity
from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.claims.claim_watch import SELECTED_NODE
from dataimportcron.cluster.claims.claims import Claims, is_of
from dataimportcron.cluster.classes.provisioners import FILESYSTEM
from dataimportcron.cluster.classes.storage import class_of, owner_reference
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import PVCS, PVS, STORAGE_CLASSES, Json
from dataimportcron.cluster.client.verbs import patch_as_read, remove
from dataimportcron.cluster.clones.clones import Clones
from dataimportcron.cluster.documents.records import annotations_of, is_bound, is_lost, is_made
from dataimportcron.cluster.jobs.holdups import HoldUp
from dataimportcron.errors import (
    CloneWithoutSourceError,
    ConflictError,
    ForbiddenError,
    ObjectNotFoundError,
    VolumeTooSmallError,
)
from dataimportcron.manifests import is_externally_populated, volume_spec
from dataimportcron.values import CloneSource, Reservation

STATIC_VOLUMES: Final = "cdi.kubevirt.io/storage.persistentVolumeList"
"""On a claim that is made for a PersistentVolume that is reserved for it: the names of those that will do, as JSON."""
_ADOPTION: Final = "DataVolumeClaimAdoption"
"""CDI's name for the feature that every DataVolume adopts a claim of its name."""
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
"""What Go reads as true."""


class Places:
    """The claims of DataVolumes that are objects of their own.

    Args:
        connection: to the API server.
        claims: of the DataVolumes.
        clones: plans those that are cloned.
    """

    def __init__(self, connection: Connection, claims: Claims, clones: Clones) -> None:
        self._connection = connection
        self._claims = claims
        self._clones = clones

    async def adopt(self, volume: DataVolume) -> bool:
        """Whether the claim of a DataVolume is whole without us; then it is controlled by the DataVolume."""
        own = volume.metadata
        claim = await self._claims.find(own.namespace, own.name)
        if claim is None:
            if naming.ANNOTATION_STATIC_VOLUME in own.annotations:
                await self._claim_static_volume(volume)
            return False
        if claim["metadata"].get("deletionTimestamp") or is_lost(claim):
            return False
        if is_made(claim, volume_spec(volume), ""):
            return True  # by us, and its end was not told
        if STATIC_VOLUMES in annotations_of(claim):
            return await self._take_static_volume(volume, claim)
        if not is_given(volume, claim, features=(await self._claims.cdi.current()).features):
            return False
        return await self._own(volume, claim)

    async def reserve(self, volume: DataVolume, source: CloneSource | None) -> Reservation:
        """Make the claim of a DataVolume where it is missing, and say what it waits for."""
        own = volume.metadata
        if source is None and await self._lacks_class(volume):
            return Reservation(
                reason="ErrClaimNotValid",
                message="PVC spec is missing accessMode and no storageClass to choose profile: set storageClassName "
                "or accessModes, or mark a StorageClass as the default",
            )
        claim = await self._take(volume, source)
        if claim is None:
            return Reservation()
        if isinstance(claim, HoldUp):
            return Reservation(reason=claim.reason, message=claim.message)
        digest = own.annotations.get(naming.ANNOTATION_DIGEST, "")
        if not is_of(claim, own.uid) and not is_made(claim, volume_spec(volume), digest):
            return Reservation(
                reason="ErrResourceExists",
                message=f'Resource "{own.name}" already exists and is not managed by DataVolume: remove the '
                f"PersistentVolumeClaim, or set annotation {naming.ANNOTATION_ALLOW_ADOPTION}=true to use it as it is",
            )
        return self.waiting(volume, claim, await self._class_that_decides(volume, claim))

    async def _take(self, volume: DataVolume, source: CloneSource | None) -> Json | HoldUp | None:
        """The claim of a DataVolume, or what keeps it from being there; None where it is made only later."""
        claim = await self._claims.find(volume.metadata.namespace, volume.metadata.name)
        if claim is not None and not claim["metadata"].get("deletionTimestamp"):
            return claim
        if source is None:
            return await self._claims.take((await self._claims.planned(volume)).body)
        try:
            plan = await self._clones.plan(volume, source, 0)
        except CloneWithoutSourceError as error:
            return HoldUp(reason=error.reason, message=error.message)
        except VolumeTooSmallError as error:
            return HoldUp(reason="CloneValidationFailed", message=str(error))
        return None if plan.waits_for_snapshot else await self._claims.take(plan.target)

    @staticmethod
    def waiting(volume: DataVolume, claim: Json, storage_class: Json | None) -> Reservation:
        """What a claim waits for before anybody may write to it.

        Args:
            volume: whose claim it is.
            claim: as it stands.
            storage_class: of the claim, None where it has none, or none that we may see.
        """
        name = claim["metadata"]["name"]
        if is_bound(claim):
            return Reservation()
        if STATIC_VOLUMES in annotations_of(claim):
            return Reservation(reason=Phase.PENDING, message=f"PVC {name} Pending: it is bound to a volume of its own")
        if waits_for_consumer(volume, claim, storage_class):
            populated = claim["spec"].get("dataSourceRef") is not None
            return Reservation(
                reason=Phase.PENDING_POPULATION if populated else Phase.WAIT_FOR_FIRST_CONSUMER,
                message=f"PVC {name} Pending: it is bound when a pod that mounts it is scheduled",
                phase=Phase.PENDING_POPULATION if populated else Phase.WAIT_FOR_FIRST_CONSUMER,
            )
        if not claim["spec"].get("storageClassName") and not _is_filled_by_others(claim):
            return Reservation(
                reason=Phase.PENDING,
                message=f"PVC {name} Pending: it has no storage class, and no PersistentVolume fits; there is no "
                "default StorageClass",
            )
        return Reservation()

    async def _lacks_class(self, volume: DataVolume) -> bool:
        """Whether nobody can say yet which modes a claim shall have; where we may not look, the cluster decides."""
        storage, own = volume.spec.storage, volume.metadata
        if storage is None or storage.access_modes or storage.storage_class_name is not None:
            return False
        if await self._claims.find(own.namespace, own.name) is not None:
            return False
        try:
            return not class_of({}, await self._connection.list(STORAGE_CLASSES))
        except ForbiddenError:
            return False

    async def _class_that_decides(self, volume: DataVolume, claim: Json) -> Json | None:
        """The StorageClass of a claim, read only where it says whether the claim waits, see `waits_for_consumer`."""
        if is_bound(claim) or naming.ANNOTATION_BIND_IMMEDIATE in volume.metadata.annotations:
            return None
        name = claim["spec"].get("storageClassName")
        try:
            classes = await self._connection.list(STORAGE_CLASSES) if name else []
        except ForbiddenError:
            return None
        return next((it for it in classes if it["metadata"]["name"] == name), None)

    async def _claim_static_volume(self, volume: DataVolume) -> None:
        """Make the claim that a PersistentVolume is reserved for, if there is one that fits; it is filled by nobody."""
        body = (await self._claims.planned(volume)).body
        try:
            found = await self._connection.list(PVS)
        except ForbiddenError:
            return
        names = [it["metadata"]["name"] for it in found if is_reserved_for(it, body)]
        if names:
            body["metadata"]["annotations"][STATIC_VOLUMES] = json.dumps(names)
            await self._connection.create(PVCS, body)

    async def _take_static_volume(self, volume: DataVolume, claim: Json) -> bool:
        """Note that a claim has the volume that was reserved for it; one that has got another is made anew."""
        if not is_bound(claim):
            return False
        if claim["spec"].get("volumeName") not in json.loads(annotations_of(claim)[STATIC_VOLUMES]):
            await remove(self._connection, PVCS, claim)
            return False
        return await self._own(volume, claim, {STATIC_VOLUMES: None})

    async def _own(self, volume: DataVolume, claim: Json, annotations: dict[str, str | None] | None = None) -> bool:
        """Make the DataVolume a claim's controller, and note that it is whole; False where it is another's by now."""
        own = claim["metadata"]
        owners = own.get("ownerReferences") or []
        if not any(it.get("controller") for it in owners):
            owners = [*owners, owner_reference(volume.document())]
        noted = {naming.ANNOTATION_POPULATED_FOR: volume.metadata.name} | (annotations or {})
        if owners == (own.get("ownerReferences") or []) and noted.items() <= annotations_of(claim).items():
            return True
        patch: Json = {"metadata": {"ownerReferences": owners, "annotations": noted}}
        try:
            await patch_as_read(self._connection, PVCS, claim, patch)
        except ObjectNotFoundError as error:
            raise ConflictError(error.message) from error
        return True


def is_given(volume: DataVolume, claim: Json, *, features: frozenset[str]) -> bool:
    """Whether a claim is a DataVolume's, whole, by the word of somebody who may say so.

    It is where whoever has filled it has annotated it, and where it is nobody's yet and the DataVolume, else CDI's
    configuration, asks to adopt it. One that another object controls is that object's.

    Args:
        volume: the DataVolume.
        claim: of its name.
        features: that CDI's configuration switches on.
    """
    own = volume.metadata
    if is_externally_populated(volume):
        return is_of(claim, own.uid) and is_bound(claim)
    controllers = [it for it in claim["metadata"].get("ownerReferences") or () if it.get("controller")]
    if any(it["uid"] != own.uid for it in controllers):
        return False
    if annotations_of(claim).get(naming.ANNOTATION_POPULATED_FOR) == own.name:
        return True
    asked = own.annotations.get(naming.ANNOTATION_ALLOW_ADOPTION)
    allowed = _ADOPTION in features if asked is None else asked in _TRUE
    return allowed and not controllers


def is_reserved_for(persistent_volume: Json, claim: Json) -> bool:
    """Whether a PersistentVolume waits for just this claim, and fits it."""
    spec, own, wanted = persistent_volume["spec"], claim["metadata"], claim["spec"]
    reference = spec.get("claimRef") or {}
    return (
        (reference.get("namespace"), reference.get("name")) == (own["namespace"], own["name"])
        and (persistent_volume.get("status") or {}).get("phase") == "Available"
        and (spec.get("storageClassName") or "") == (wanted.get("storageClassName") or "")
        and (spec.get("volumeMode") or FILESYSTEM) == wanted["volumeMode"]
        and set(wanted["accessModes"]) <= set(spec.get("accessModes") or ())
        and parse_quantity(spec["capacity"]["storage"]) >= parse_quantity(wanted["resources"]["requests"]["storage"])
    )


def waits_for_consumer(volume: DataVolume, claim: Json, storage_class: Json | None) -> bool:
    """Whether a claim that is not bound waits for a pod of its user's, which must not be one of ours.

    What a driver or a populator fills goes on as soon as the node has been chosen; it is bound when it is whole.
    """
    if naming.ANNOTATION_BIND_IMMEDIATE in volume.metadata.annotations or storage_class is None:
        return False
    if storage_class.get("volumeBindingMode") != "WaitForFirstConsumer":
        return False
    return not (_is_filled_by_others(claim) and SELECTED_NODE in annotations_of(claim))


def _is_filled_by_others(claim: Json) -> bool:
    """Whether a driver or a populator fills a claim, or it is bound to what is handed over."""
    return any(claim["spec"].get(field) is not None for field in ("dataSource", "dataSourceRef"))
