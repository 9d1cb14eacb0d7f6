"""Hands a volume over to a claim in another namespace, where nothing is copied and nobody mounts both.

A PersistentVolume belongs to the claim that its `claimRef` names by uid. One write bound to the resourceVersion that
was read makes it another's; all else follows from what stands in the cluster. So it makes no difference where an
earlier run was killed: this one looks who has the volume, and goes on from there.

What was handed over is never taken back: from then on somebody else may have written to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from dataimportcron.api.quantity import parse_quantity
from dataimportcron.api.types import OWN_GROUP
from dataimportcron.cluster.claims.uses import cloning, holding, snapshotting
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import PODS, PVCS, PVS, VOLUME_SNAPSHOTS, Json
from dataimportcron.cluster.client.verbs import find, list_served, patch_as_read, remove
from dataimportcron.cluster.documents.records import annotations_of, is_bound
from dataimportcron.cluster.jobs.holdups import HoldUp
from dataimportcron.errors import (
    ConflictError,
    ForeignVolumeError,
    InUseError,
    InvalidObjectError,
)

KIND: Final = "Handover"
"""Of the `dataSourceRef` of a claim that waits for a volume; no provisioner serves it, and no definition is needed."""
HANDED_OVER: Final = "dataimportcron.io/handed-over-from"
"""On a PersistentVolume: namespace/name of the claim that had it before."""

_BOUND_BY_CONTROLLER: Final = "pv.kubernetes.io/bound-by-controller"
"""With it a volume whose claim is bound elsewhere would be anybody's; without it, only its claim's."""
_SECRETS: Final = (
    "nodeStageSecretRef",
    "nodePublishSecretRef",
    "nodeExpandSecretRef",
    "controllerPublishSecretRef",
    "controllerExpandSecretRef",
)
_LOOK: Final = 0.2
"""Seconds between two looks."""


def reference(name: str) -> Json:
    """The `dataSourceRef` of a claim that waits for a volume.

    Args:
        name: for whoever reads it.
    """
    return {"apiGroup": OWN_GROUP, "kind": KIND, "name": name}


class Handover:
    """Moves volumes from one namespace to another."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def move(self, filled: Json, target: Json, tell: Callable[[HoldUp], None]) -> Json:
        """Make the volume of one claim that of another; the first claim goes, the other is returned as it is bound.

        The same call again, with both claims as they are then, goes on where an earlier one has stopped. Where the
        first claim is gone, `is_moved` tells whether it was done.

        Args:
            filled: a bound claim, whose bytes are complete.
            target: a claim that was made with `reference`.
            tell: called with what it waits for.

        Raises:
            InvalidObjectError: this volume cannot be moved to this claim.
            ForeignVolumeError: the volume is not the first claim's.
            ConflictError: a claim is another one by now, or gone; what must be filled anew has been removed.
        """
        if not _awaits_handover(target):
            raise ForeignVolumeError(
                f"{_called(target)} was not made to take a volume over: it has another dataSourceRef"
            )
        if await self._first_of(target) is None:
            volume = await self._swap(filled, target, tell)
            target = await self._wait_bound(filled, target, volume, tell)
        elif filled["spec"].get("volumeName") not in {None, target["spec"]["volumeName"]}:
            tell(_needless(filled, target))
        await self._wait_unused(filled, tell)
        await remove(self._connection, PVCS, filled)
        return target

    async def is_moved(self, target: Json) -> bool:
        """Whether a claim has the volume that it was made to take over, for itself alone.

        Raises:
            InUseError: it has, and somebody still uses it by the claim that had it first.
        """
        first = await self._first_of(target)
        if first is not None and (user := await self._user(first)):
            raise InUseError(_in_use(user).message)
        return first is not None

    async def _first_of(self, target: Json) -> Json | None:
        """Namespace and name of the claim from which a claim has its volume; None where it has none yet."""
        name = (target.get("spec") or {}).get("volumeName")
        if not name or not _awaits_handover(target) or not is_bound(target):
            return None
        volume = await find(self._connection, PVS, name)
        if volume is None or _holder(volume) != _uid(target) or HANDED_OVER not in annotations_of(volume):
            return None
        namespace, _, first = annotations_of(volume)[HANDED_OVER].partition("/")
        return {"metadata": {"namespace": namespace, "name": first}}

    async def _swap(self, filled: Json, target: Json, tell: Callable[[HoldUp], None]) -> Json:
        """Let the volume have the target for its claim, by the one write that does it."""
        while True:
            volume = await self._volume_of(filled, target)
            if _holder(volume) == _uid(target):
                return volume
            if obstacle := immovable(volume, filled, target):
                raise InvalidObjectError(f"{_called(filled)} cannot be handed over to {_called(target)}: {obstacle}")
            await self._require(target)
            if user := await self._user(filled):
                tell(_in_use(user))
                await asyncio.sleep(_LOOK)
                continue
            try:
                return await patch_as_read(self._connection, PVS, volume, _given(filled, target))
            except ConflictError:
                continue  # the volume is looked at again

    async def _volume_of(self, filled: Json, target: Json) -> Json:
        """The volume, as long as it is either claim's and is not about to be deleted.

        Raises:
            ForeignVolumeError: it never was.
            ConflictError: it is no more, or will soon be none.
        """
        name = (filled.get("spec") or {}).get("volumeName")
        if not name:
            raise ConflictError(f"{_called(filled)} is not bound to a volume yet")
        volume = await find(self._connection, PVS, name)
        if volume is None:
            await remove(self._connection, PVCS, filled)
            raise ConflictError(f"PersistentVolume {name} of {_called(filled)} is gone; it is filled anew")
        holder = (volume["spec"].get("claimRef") or {}).get("uid")
        if holder == _uid(target):
            return volume
        if holder != _uid(filled):
            await self._explain(volume, filled, target)
        kept = volume["spec"].get("persistentVolumeReclaimPolicy") == "Retain"
        phase = (volume.get("status") or {}).get("phase")
        if volume["metadata"].get("deletionTimestamp") or (phase != "Bound" and not kept):
            raise ConflictError(
                f"{_called(filled)} was deleted by somebody, and its PersistentVolume {name} goes with it"
            )
        return volume

    async def _explain(self, volume: Json, filled: Json, target: Json) -> None:
        """Say why a volume is neither claim's; what was an earlier target's stays with it."""
        claim = volume["spec"].get("claimRef") or {}
        whose = f"{claim.get('namespace')}/{claim.get('name')}"
        if annotations_of(volume).get(HANDED_OVER) != _place(filled) or whose != _place(target):
            raise ForeignVolumeError(
                f"{_called(filled)} names PersistentVolume {volume['metadata']['name']}, which is of claim {whose}",
                hint="see who has made the first claim; nothing of the second was touched",
            )
        await remove(self._connection, PVCS, filled)
        raise ConflictError(_gone_with_its_target(volume, target))

    async def _wait_bound(self, filled: Json, target: Json, volume: Json, tell: Callable[[HoldUp], None]) -> Json:
        """The target once it is bound.

        Raises:
            ConflictError: somebody has deleted it meanwhile.
        """
        name = volume["metadata"]["name"]
        while True:
            now = await find(self._connection, PVCS, target["metadata"]["name"], target["metadata"]["namespace"])
            if now is None or _uid(now) != _uid(target):
                await remove(self._connection, PVCS, filled)
                raise ConflictError(_gone_with_its_target(volume, target))
            if (now["spec"].get("volumeName") or name) != name:
                await remove(self._connection, PVCS, filled)
                raise ForeignVolumeError(
                    f"{_called(target)} was bound to another volume while it took PersistentVolume {name} over",
                    hint="delete it; it is made and filled anew",
                )
            if is_bound(now):
                return now
            tell(HoldUp(reason="Pending", message=f"{_called(target)} is being bound to {name}", passing=True))
            await asyncio.sleep(_LOOK)

    async def _wait_unused(self, filled: Json, tell: Callable[[HoldUp], None]) -> None:
        """Wait until nobody reads or writes by the first claim any more.

        Nobody can begin to: kubelets and provisioners refuse a claim that its volume does not name.
        """
        while user := await self._user(filled):
            tell(_in_use(user))
            await asyncio.sleep(_LOOK)

    async def _require(self, target: Json) -> None:
        """Look that the target is still there, and free.

        Raises:
            ConflictError: it is not.
        """
        own = target["metadata"]
        now = await find(self._connection, PVCS, own["name"], own["namespace"])
        if now is None or _uid(now) != own["uid"] or now["metadata"].get("deletionTimestamp"):
            raise ConflictError(f"{_called(target)} was deleted while its volume was filled")
        if now["spec"].get("volumeName"):
            raise ForeignVolumeError(
                f"{_called(target)} is bound to PersistentVolume {now['spec']['volumeName']}, and was to get another",
                hint="delete it; it is made and filled anew",
            )

    async def _user(self, filled: Json) -> str:
        """Who reads or writes by a claim, in one sentence; "" if nobody does."""
        namespace = filled["metadata"]["namespace"]
        snapshots = await list_served(self._connection, VOLUME_SNAPSHOTS, namespace)
        return (
            next(holding(filled, await self._connection.list(PODS, namespace)), "")
            or next(cloning(filled, await self._connection.list(PVCS, namespace)), "")
            or next(snapshotting(filled, snapshots), "")
        )


def immovable(volume: Json, filled: Json, target: Json) -> str:
    """Why a volume cannot become another claim's, in one sentence; "" if it can."""
    has, wants = volume["spec"], target["spec"]
    namespace = filled["metadata"]["namespace"]
    csi = has.get("csi") or {}
    for field in _SECRETS:
        if (csi.get(field) or {}).get("namespace") == namespace:
            return f"its driver {csi.get('driver')} needs Secrets of namespace {namespace} (spec.csi.{field})"
    mode, wanted_mode = (spec.get("volumeMode") or "Filesystem" for spec in (has, wants))
    if mode != wanted_mode:
        return f"the volume is a {mode}, and a {wanted_mode} is wanted"
    size, wanted_size = (str(spec["storage"]) for spec in (has["capacity"], wants["resources"]["requests"]))
    if parse_quantity(size) < parse_quantity(wanted_size):
        return f"the volume has {size}, and {wanted_size} are wanted"
    missing = sorted(set(wants.get("accessModes") or ()) - set(has.get("accessModes") or ()))
    return f"the volume cannot be {', '.join(missing)}" if missing else ""


def _given(filled: Json, target: Json) -> Json:
    """The write that makes the target a volume's claim."""
    own = target["metadata"]
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": own["namespace"], "name": own["name"]}
    metadata = {"annotations": {_BOUND_BY_CONTROLLER: None, HANDED_OVER: _place(filled)}}
    spec = {
        "claimRef": claim | {"uid": own["uid"], "resourceVersion": None},
        # A claim that waits for its first consumer is bound without one if its volume is of its class.
        "storageClassName": target["spec"].get("storageClassName") or "",
    }
    return {"metadata": metadata, "spec": spec}


def _gone_with_its_target(volume: Json, target: Json) -> str:
    name, policy = volume["metadata"]["name"], volume["spec"].get("persistentVolumeReclaimPolicy")
    what = f"{_called(target)} was deleted after it had got PersistentVolume {name}"
    if policy == "Retain":
        return f"{what}, which stays, for its reclaim policy is Retain: kubectl delete pv {name}"
    return f"{what}, which goes with it"


def _needless(filled: Json, target: Json) -> HoldUp:
    volume, has = filled["spec"]["volumeName"], target["spec"]["volumeName"]
    message = (
        f"{_called(target)} has got PersistentVolume {has} already; {_called(filled)} is removed, and its "
        f"PersistentVolume {volume} with it, or stays if its reclaim policy is Retain"
    )
    return HoldUp(reason="FilledTwice", message=message)


def _in_use(user: str) -> HoldUp:
    return HoldUp(reason="InUse", message=f"A volume is not handed over to another namespace while it is used: {user}")


def _awaits_handover(claim: Json) -> bool:
    source = (claim.get("spec") or {}).get("dataSourceRef") or {}
    return (source.get("apiGroup"), source.get("kind")) == (OWN_GROUP, KIND)


def _holder(volume: Json) -> str:
    return str((volume["spec"].get("claimRef") or {}).get("uid") or "")


def _uid(thing: Json) -> str:
    return str(thing["metadata"]["uid"])


def _place(claim: Json) -> str:
    return f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"


def _called(claim: Json) -> str:
    return f"PersistentVolumeClaim {_place(claim)}"
