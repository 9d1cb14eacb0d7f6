"""Retention: what goes when a newer import stands, and what goes with the cron itself."""

from __future__ import annotations

from temporalio import activity

from activities.failures import translated
from dataimportcron import naming, planning
from dataimportcron.api.conditions import Phase
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume, Resource
from dataimportcron.errors import ObjectNotFoundError
from dataimportcron.messages import CleanedUp, CleanUpInput, DropInput, PromoteInput, Pruned
from dataimportcron.ports import Events, Objects, Volumes


class RetentionActivities:
    """Deletes imports, and says what it keeps."""

    def __init__(self, objects: Objects, volumes: Volumes, events: Events) -> None:
        self._objects = objects
        self._volumes = volumes
        self._events = events

    @activity.defn
    @translated
    async def prune_imports(self, promote: PromoteInput) -> Pruned:
        """Delete the imports beyond importsToKeep; what somebody uses or clones from is kept and said."""
        namespace = promote.cron.namespace
        try:
            cron = await self._objects.get(DataImportCron, namespace, promote.cron.name)
        except ObjectNotFoundError:
            return Pruned()
        if cron.metadata.uid != promote.cron.uid:
            return Pruned()
        everything = await self._objects.list(DataVolume)
        here = tuple(volume for volume in everything if volume.metadata.namespace == namespace)
        data_source = await self._find_data_source(cron)
        removed, kept = [], []
        for victim in planning.plan_prune(cron, here, data_source):
            user = _cloned_by(victim, everything) or await self._volumes.in_use(namespace, victim.metadata.name)
            if user:
                kept.append(f"{victim.metadata.name}: {user}")
                await self._events.emit(cron, "Warning", "InUse", f"Import {victim.metadata.name} is kept: {user}")
                continue
            await self._objects.delete(victim)
            removed.append(victim.metadata.name)
            await self._events.emit(cron, "Normal", "ImportPruned", f"Import {victim.metadata.name} is removed")
        return Pruned(removed=tuple(removed), kept=tuple(kept))

    @activity.defn
    @translated
    async def drop_import(self, drop: DropInput) -> bool:
        """Delete an import that failed and that nobody wants any more (I-10); a complete one is never dropped."""
        try:
            volume = await self._objects.get(DataVolume, drop.cron.namespace, drop.data_volume)
        except ObjectNotFoundError:
            return False
        if volume.status.phase == Phase.SUCCEEDED:
            return False
        await self._objects.delete(volume)
        return True

    @activity.defn
    @translated
    async def clean_up(self, end: CleanUpInput) -> CleanedUp:
        """Follow the cron's retentionPolicy once its object is surely gone; only NotFound, or another uid, says so."""
        namespace, name = end.cron.namespace, end.cron.name
        try:
            cron = await self._objects.get(DataImportCron, namespace, name)
        except ObjectNotFoundError:
            pass
        else:
            if cron.metadata.uid == end.cron.uid:
                return CleanedUp(object_exists=True)
        if end.clean_up is None or end.clean_up.retention_policy != "None":
            return CleanedUp(object_exists=False)
        removed = []
        for resource in [*await self._labelled(DataSource, end), *await self._labelled(DataVolume, end)]:
            await self._objects.delete(resource)
            removed.append(f"{resource.kind} {resource.metadata.name}")
        return CleanedUp(object_exists=False, removed=tuple(removed))

    async def _labelled(self, kind: type[DataSource | DataVolume], end: CleanUpInput) -> list[Resource]:
        return [
            resource
            for resource in await self._objects.list(kind, end.cron.namespace)
            if resource.metadata.labels.get(naming.LABEL_CRON) == end.cron.name
            and resource.metadata.labels.get(naming.LABEL_CLEANUP) == "true"
        ]

    async def _find_data_source(self, cron: DataImportCron) -> DataSource | None:
        try:
            return await self._objects.get(DataSource, cron.metadata.namespace, cron.spec.managed_data_source)
        except ObjectNotFoundError:
            return None


def _cloned_by(victim: DataVolume, volumes: list[DataVolume]) -> str:
    """The unfinished clone that reads the volume, queued or running (X-05), in one sentence; "" if there is none."""
    key = naming.object_key(victim.metadata.namespace, victim.metadata.name)
    for volume in volumes:
        unfinished = volume.status.phase not in {Phase.SUCCEEDED, Phase.FAILED}
        if unfinished and volume.metadata.annotations.get(naming.ANNOTATION_CLONE_SOURCE) == key:
            return f"DataVolume {volume.metadata.namespace}/{volume.metadata.name} is being cloned from it"
    return ""
