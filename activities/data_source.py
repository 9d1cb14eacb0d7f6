"""DataSource update: a finished import becomes what new volumes are cloned from."""

from __future__ import annotations

from temporalio import activity

from activities.failures import translated
from activities.writing import update
from dataimportcron import naming, planning
from dataimportcron.api.conditions import Phase, UpToDateReason
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.errors import AlreadyExistsError, ConflictError, ObjectNotFoundError
from dataimportcron.manifests import (
    claimed,
    data_source_of,
    pointed_to,
    released,
    timestamp,
    used,
    with_annotations,
    with_promoted_import,
)
from dataimportcron.messages import Decision, PromoteInput, Verdict
from dataimportcron.ports import Events, Objects
from dataimportcron.projection import data_source_status, report


class DataSourceActivities:
    """Moves DataSources."""

    def __init__(self, objects: Objects, events: Events) -> None:
        self._objects = objects
        self._events = events

    @activity.defn
    @translated
    async def update_data_source(self, promote: PromoteInput) -> str:
        """Point the cron's DataSource to a finished import and write the cron's status; returns what was done.

        A worker that was stopped and wakes up late changes nothing: it finds another current import on the cron, or a
        DataSource that has changed since. So all that is written is read first, and the cron, which decides, last.
        """
        namespace = promote.cron.namespace
        try:
            named = await self._objects.get(DataImportCron, namespace, promote.cron.name)
            data_source = await self._data_source(named)
            volume = await self._objects.get(DataVolume, namespace, promote.data_volume)
            cron = await self._objects.get(DataImportCron, namespace, promote.cron.name)
        except ObjectNotFoundError as error:
            return f"nothing: {error.message}"
        if cron.metadata.uid != promote.cron.uid:
            return "nothing: the DataImportCron is another one now"
        if not _is_current(cron, promote):
            current = ", ".join(entry.data_volume_name for entry in cron.status.current_imports)
            return f"nothing: the current import is {current or 'none'} now"
        if cron.spec.managed_data_source != data_source.metadata.name:
            raise ConflictError(f"DataImportCron {promote.cron.name} manages another DataSource since a moment ago")
        if volume.status.phase != Phase.SUCCEEDED:
            return f"nothing: DataVolume {promote.data_volume} is in phase {volume.status.phase or 'Pending'}"
        volume = await self._objects.patch(volume, _claimed(volume, cron, promote))
        moved = await self._move(cron, data_source, volume, promote)
        await self._write_status(cron, promote)
        await self._release_others(cron)
        if moved:
            await self._events.emit(
                cron, "Normal", "ImportSucceeded", f"DataSource {moved} points to {promote.data_volume}"
            )
        return f"DataSource {cron.spec.managed_data_source} points to {promote.data_volume}"

    async def _data_source(self, cron: DataImportCron) -> DataSource:
        """The cron's DataSource, made where it is missing."""
        try:
            return await self._objects.get(DataSource, cron.metadata.namespace, cron.spec.managed_data_source)
        except ObjectNotFoundError:
            try:
                return await self._objects.create(data_source_of(cron))
            except AlreadyExistsError as error:
                raise ConflictError(error.message) from error

    async def _move(self, cron: DataImportCron, before: DataSource, volume: DataVolume, promote: PromoteInput) -> str:
        """Point the DataSource; returns its name if it moved, "" if it stood there already or is the user's own."""
        if not planning.manages(before):
            return ""
        promoted = {naming.ANNOTATION_PROMOTED: timestamp(promote.now)}
        pointed = with_annotations(pointed_to(before, cron, volume), promoted)
        after = data_source_status(pointed, promote.now, volume=volume)
        await self._objects.patch(before, after)
        return "" if before.spec.source == after.spec.source else before.metadata.name

    async def _release_others(self, cron: DataImportCron) -> None:
        """A DataSource that the cron has managed before stays where it points, as its user's own.

        Retention spares what it points to, and nobody moves it any more.
        """
        for other in await self._objects.list(DataSource, cron.metadata.namespace):
            theirs = other.metadata.name == cron.spec.managed_data_source
            if not theirs and other.metadata.labels.get(naming.LABEL_CRON) == cron.metadata.name:
                await self._objects.patch(other, released(other))
                message = f"DataSource {other.metadata.name} is managed no longer and stays as it is"
                await self._events.emit(cron, "Normal", "DataSourceReleased", message)

    async def _write_status(self, cron: DataImportCron, promote: PromoteInput) -> None:
        desired = cron.metadata.annotations.get(naming.ANNOTATION_DESIRED_DIGEST, promote.digest)
        latest = desired == promote.digest
        reason = UpToDateReason.UP_TO_DATE if latest else UpToDateReason.OUTDATED
        decision = Decision(verdict=Verdict.WAIT, reason=reason, message=reason.message)

        def change(fresh: DataImportCron) -> DataImportCron:
            if fresh.metadata.uid != promote.cron.uid or not _is_current(fresh, promote):
                return fresh
            return report(
                with_promoted_import(fresh, promote.data_volume, promote.digest, promote.now),
                None,
                promote.now,
                decision,
                usable=promote.data_volume,
            )

        await update(self._objects, DataImportCron, cron.metadata.namespace, cron.metadata.name, change)


def _is_current(cron: DataImportCron, promote: PromoteInput) -> bool:
    """Whether the import is still the one that the cron wants."""
    return [entry.data_volume_name for entry in cron.status.current_imports] == [promote.data_volume]


def _claimed(volume: DataVolume, cron: DataImportCron, promote: PromoteInput) -> DataVolume:
    """The import with its use renewed, the cron's labels, and the digest that it is known by now (X-11)."""
    annotations: dict[str, str | None] = {naming.ANNOTATION_DIGEST: promote.digest}
    if promote.manifest_digest:
        annotations[naming.ANNOTATION_MANIFEST_DIGEST] = promote.manifest_digest
    return used(with_annotations(claimed(volume, cron), annotations), promote.now)
