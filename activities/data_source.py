"""DataSource update: a finished import becomes what new volumes are cloned from."""

from __future__ import annotations

from temporalio import activity

from activities.failures import translated
from activities.writing import update
from dataimportcron import naming, planning
from dataimportcron.api.conditions import Phase, UpToDateReason
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.errors import AlreadyExistsError, ObjectNotFoundError
from dataimportcron.manifests import (
    data_source_of,
    managed_labels,
    pointed_to,
    used,
    with_annotations,
    with_labels,
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

        A worker that was stopped and wakes up late finds another current import on the cron and changes nothing.
        """
        namespace = promote.cron.namespace
        try:
            cron = await self._objects.get(DataImportCron, namespace, promote.cron.name)
            volume = await self._objects.get(DataVolume, namespace, promote.data_volume)
        except ObjectNotFoundError as error:
            return f"nothing: {error.message}"
        if cron.metadata.uid != promote.cron.uid:
            return "nothing: the DataImportCron is another one now"
        current = [entry.data_volume_name for entry in cron.status.current_imports]
        if current != [promote.data_volume]:
            return f"nothing: the current import is {', '.join(current) or 'none'} now"
        if volume.status.phase != Phase.SUCCEEDED:
            return f"nothing: DataVolume {promote.data_volume} is in phase {volume.status.phase or 'Pending'}"
        volume = await self._objects.patch(volume, _claimed(volume, cron, promote))
        moved = await self._move(cron, volume, promote)
        await self._write_status(cron, promote)
        if moved:
            await self._events.emit(
                cron, "Normal", "ImportSucceeded", f"DataSource {moved} points to {promote.data_volume}"
            )
        return f"DataSource {cron.spec.managed_data_source} points to {promote.data_volume}"

    async def _move(self, cron: DataImportCron, volume: DataVolume, promote: PromoteInput) -> str:
        """Point the DataSource; returns its name if it moved, "" if it stood there already or is the user's own."""
        name = cron.spec.managed_data_source
        try:
            before = await self._objects.get(DataSource, cron.metadata.namespace, name)
        except ObjectNotFoundError:
            try:
                before = await self._objects.create(data_source_of(cron))
            except AlreadyExistsError:
                before = await self._objects.get(DataSource, cron.metadata.namespace, name)
        if not planning.manages(before):
            return ""
        after = data_source_status(pointed_to(before, cron, volume), promote.now, volume=volume)
        await self._objects.patch(before, after)
        return "" if before.spec.source == after.spec.source else name

    async def _write_status(self, cron: DataImportCron, promote: PromoteInput) -> None:
        desired = cron.metadata.annotations.get(naming.ANNOTATION_DESIRED_DIGEST, promote.digest)
        latest = desired == promote.digest
        reason = UpToDateReason.UP_TO_DATE if latest else UpToDateReason.OUTDATED
        decision = Decision(verdict=Verdict.WAIT, reason=reason, message=reason.message)

        def change(fresh: DataImportCron) -> DataImportCron:
            return report(
                with_promoted_import(fresh, promote.data_volume, promote.digest, promote.now),
                None,
                promote.now,
                decision,
            )

        await update(self._objects, DataImportCron, cron.metadata.namespace, cron.metadata.name, change)


def _claimed(volume: DataVolume, cron: DataImportCron, promote: PromoteInput) -> DataVolume:
    """The import with its use renewed, the cron's labels, and the digest that it is known by now (X-11)."""
    annotations: dict[str, str | None] = {naming.ANNOTATION_DIGEST: promote.digest}
    if promote.manifest_digest:
        annotations[naming.ANNOTATION_MANIFEST_DIGEST] = promote.manifest_digest
    return used(with_annotations(with_labels(volume, managed_labels(cron)), annotations), promote.now)
