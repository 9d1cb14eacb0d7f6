"""Retention: what goes when a newer import stands, and what goes with the cron itself."""

from __future__ import annotations

from temporalio import activity

from activities.failures import translated
from activities.uses import Uses
from dataimportcron import naming
from dataimportcron.api.conditions import Phase
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume, Resource
from dataimportcron.errors import ObjectNotFoundError
from dataimportcron.manifests import with_annotations
from dataimportcron.messages import CleanedUp, CleanUpInput, DropInput, PromoteInput, Pruned
from dataimportcron.ports import Authorizer, Events, Objects, Volumes
from dataimportcron.pruning import plan_prune, pointed_by
from dataimportcron.values import SourceKind


class RetentionActivities:
    """Deletes imports, and says what it keeps: a volume that somebody uses is never removed for its age."""

    def __init__(self, objects: Objects, volumes: Volumes, authorizer: Authorizer, events: Events) -> None:
        self._objects = objects
        self._volumes = volumes
        self._events = events
        self._uses = Uses(objects, volumes, authorizer)

    @activity.defn
    @translated
    async def prune_imports(self, promote: PromoteInput) -> Pruned:
        """Delete the imports beyond importsToKeep; what somebody uses, or may clone from and will, is kept and said."""
        namespace = promote.cron.namespace
        try:
            cron = await self._objects.get(DataImportCron, namespace, promote.cron.name)
        except ObjectNotFoundError:
            return Pruned()
        if cron.metadata.uid != promote.cron.uid:
            return Pruned()
        volumes = await self._objects.list(DataVolume, namespace)
        snapshots = await self._objects.list(VolumeSnapshot, namespace)
        sources = await self._objects.list(DataSource, namespace)
        victims: list[DataVolume | VolumeSnapshot] = [
            *plan_prune(cron, volumes, pointed_by(sources, namespace)),
            *plan_prune(cron, snapshots, pointed_by(sources, namespace, SourceKind.SNAPSHOT)),
        ]
        removed, kept = [], []
        for victim in victims:
            user = await self._uses.of(victim) or await self._uses.from_elsewhere(victim)
            if user:
                kept.append(f"{victim.metadata.name}: {user}")
                await self._events.emit(cron, "Warning", "InUse", f"Import {victim.metadata.name} is kept: {user}")
                continue
            # A worker that was stopped here and wakes up late must not delete what has been promoted since.
            await self._objects.delete(victim, unchanged=True)
            removed.append(victim.metadata.name)
            await self._events.emit(cron, "Normal", "ImportPruned", f"Import {victim.metadata.name} is removed")
        return Pruned(removed=tuple(removed), kept=tuple(kept))

    @activity.defn
    @translated
    async def drop_import(self, drop: DropInput) -> bool:
        """Delete an import that failed, or whose volume is gone, to make place for another.

        A complete one goes only where it is to be made anew in another storage class, with its snapshot.
        """
        if drop.complete:
            await self._drop_snapshot(drop)
        try:
            volume = await self._objects.get(DataVolume, drop.cron.namespace, drop.data_volume)
        except ObjectNotFoundError:
            return False
        complete = volume.status.phase == Phase.SUCCEEDED and not drop.complete
        if complete and await self._volumes.find(drop.cron.namespace, drop.data_volume) is not None:
            return False
        dropped = await self._objects.patch(volume, with_annotations(volume, {naming.ANNOTATION_DROPPED: "true"}))
        await self._objects.delete(dropped, unchanged=True)
        return True

    async def _drop_snapshot(self, drop: DropInput) -> None:
        try:
            snapshot = await self._objects.get(VolumeSnapshot, drop.cron.namespace, drop.data_volume)
        except ObjectNotFoundError:
            return
        await self._objects.delete(snapshot)

    @activity.defn
    @translated
    async def clean_up(self, end: CleanUpInput) -> CleanedUp:
        """Follow the cron's retentionPolicy once its object is surely gone; only NotFound, or another uid, says so.

        With `All` too, an import that is not complete goes: nobody would finish it, and there is no volume to retain.
        What somebody uses stays, as with `All`.
        """
        namespace, name = end.cron.namespace, end.cron.name
        try:
            cron = await self._objects.get(DataImportCron, namespace, name)
        except ObjectNotFoundError:
            pass
        else:
            if cron.metadata.uid == end.cron.uid:
                return CleanedUp(object_exists=True)
        removed, kept = [], []
        for resource in await self._left_behind(end):
            what = f"{resource.kind} {resource.metadata.name}"
            user = "" if isinstance(resource, DataSource) else await self._uses.of(resource)
            if user:
                kept.append(f"{what}: {user}")
                await self._events.emit(resource, "Warning", "InUse", f"Kept when DataImportCron {name} ended: {user}")
                continue
            await self._objects.delete(resource)
            removed.append(what)
        return CleanedUp(object_exists=False, removed=tuple(removed), kept=tuple(kept))

    async def _left_behind(self, end: CleanUpInput) -> list[DataSource | DataVolume | VolumeSnapshot]:
        """What goes with the cron: by the policy that it had last, all that it manages, or what it did not finish."""
        namespace, name = end.cron.namespace, end.cron.name
        everything: list[DataSource | DataVolume | VolumeSnapshot] = [
            *await self._objects.list(DataSource, namespace),
            *await self._objects.list(DataVolume, namespace),
            *await self._objects.list(VolumeSnapshot, namespace),
        ]
        ours = [resource for resource in everything if resource.metadata.labels.get(naming.LABEL_CRON) == name]
        if end.clean_up is not None and end.clean_up.retention_policy == "None":
            return [resource for resource in ours if isinstance(resource, DataSource) or _is_import(resource)]
        volumes = [item for item in ours if isinstance(item, DataVolume) and _is_import(item)]
        return [volume for volume in volumes if volume.status.phase != Phase.SUCCEEDED]


def _is_import(resource: Resource) -> bool:
    return naming.ANNOTATION_DIGEST in resource.metadata.annotations
