"""DataSource update: a finished import becomes what new volumes are cloned from, in the form that it is kept in."""

from __future__ import annotations

from typing import TypeVar

from temporalio import activity

from activities.failures import translated
from activities.uses import Uses
from activities.writing import update
from dataimportcron import naming, planning
from dataimportcron.api.conditions import UpToDateReason
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume, Resource
from dataimportcron.errors import AlreadyExistsError, ConflictError, ObjectNotFoundError
from dataimportcron.kept import Kept, Step, whole
from dataimportcron.manifests import (
    claimed,
    data_source_of,
    pointed_to,
    released,
    snapshot_of,
    timestamp,
    used,
    with_annotations,
    with_promoted_import,
    with_restore_size,
)
from dataimportcron.messages import Decision, PromoteInput, Verdict
from dataimportcron.ports import Authorizer, Events, Objects, Volumes
from dataimportcron.projection import data_source_status, report
from dataimportcron.values import SourceKind

R = TypeVar("R", bound=Resource)


class DataSourceActivities:
    """Moves DataSources."""

    def __init__(self, objects: Objects, volumes: Volumes, authorizer: Authorizer, events: Events) -> None:
        self._objects = objects
        self._volumes = volumes
        self._events = events
        self._uses = Uses(objects, volumes, authorizer)

    @activity.defn
    @translated
    async def update_data_source(self, promote: PromoteInput) -> str:
        """Point the cron's DataSource to a finished import and write the cron's status; returns what was done.

        Where imports are kept as snapshots, the first call takes one, and another one points to it, once it is ready.

        A worker that was stopped and wakes up late changes nothing: it finds another current import on the cron, or a
        DataSource that has changed since. So all that is written is read first, and the cron, which decides, last.
        """
        namespace = promote.cron.namespace
        try:
            named = await self._objects.get(DataImportCron, namespace, promote.cron.name)
            data_source = await self._data_source(named)
            kept = await self._kept(named, promote)
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
        if not kept.is_whole:
            return f"nothing: import {promote.data_volume} is not there, or not complete"
        if kept.step is not Step.USE:
            return await self._approach(cron, kept, promote)
        return await self._use(cron, data_source, kept, promote)

    async def _kept(self, cron: DataImportCron, promote: PromoteInput) -> Kept:
        """The import in its forms, as far as they are there."""
        namespace, name = promote.cron.namespace, promote.data_volume
        placement = await self._volumes.placement(cron.spec.template.spec)
        snapshot = await self._find(VolumeSnapshot, namespace, name) if placement else None
        volume = whole(await self._find(DataVolume, namespace, name))
        return Kept(volume=volume, snapshot=snapshot, placement=placement)

    async def _find(self, kind: type[R], namespace: str, name: str) -> R | None:
        try:
            return await self._objects.get(kind, namespace, name)
        except ObjectNotFoundError:
            return None

    async def _approach(self, cron: DataImportCron, kept: Kept, promote: PromoteInput) -> str:
        """Take the snapshot that the import is to be kept as; until it is ready nothing is pointed anywhere."""
        volume, placement, name = kept.volume, kept.placement, promote.data_volume
        if kept.step is Step.AWAIT:
            return f"nothing yet: VolumeSnapshot {name} is not ready"
        if kept.step is Step.RENEW and kept.snapshot is not None:
            await self._remove(cron, kept.snapshot)
            return f"nothing yet: VolumeSnapshot {name} is of another class, and is taken anew"
        found = await self._volumes.find(promote.cron.namespace, name)
        if volume is None or placement is None or found is None:
            return f"nothing: the volume of import {name} is gone"
        volume = await self._objects.patch(volume, _claimed(volume, cron, promote))
        if found.storage_class not in {"", placement.storage_class}:
            # What an earlier class holds is imported anew, not snapshotted (S-06); the next look sees it by the note.
            noted = {naming.ANNOTATION_PLACED_IN: found.storage_class}
            await self._objects.patch(volume, with_annotations(volume, noted))
            return f"nothing: import {name} is of storage class {found.storage_class}, not {placement.storage_class}"
        try:
            await self._objects.create(snapshot_of(cron, volume, found, placement))
        except AlreadyExistsError as error:
            raise ConflictError(error.message) from error
        await self._events.emit(cron, "Normal", "SnapshotStarted", f"A snapshot of import {name} is being taken")
        return f"nothing yet: VolumeSnapshot {name} is being taken"

    async def _use(self, cron: DataImportCron, data_source: DataSource, kept: Kept, promote: PromoteInput) -> str:
        """Point to the import in its form; the other form goes."""
        if kept.form is SourceKind.SNAPSHOT and kept.snapshot is not None:
            after = with_restore_size(_claimed(kept.snapshot, cron, promote), cron)
            snapshot = await self._objects.patch(kept.snapshot, after)
            moved = await self._move(cron, data_source, snapshot, promote)
        elif kept.volume is not None:
            volume = await self._objects.patch(kept.volume, _claimed(kept.volume, cron, promote))
            moved = await self._move(cron, data_source, volume, promote)
        else:  # pragma: no cover -- an import that is whole has the form that is used
            raise AssertionError
        await self._write_status(cron, promote, kept.form)
        await self._release_others(cron)
        if moved:
            await self._events.emit(
                cron, "Normal", "ImportSucceeded", f"DataSource {moved} points to {promote.data_volume}"
            )
        if kept.superfluous is not None:
            await self._remove(cron, kept.superfluous)
        return f"DataSource {cron.spec.managed_data_source} points to {promote.data_volume}"

    async def _remove(self, cron: DataImportCron, item: DataVolume | VolumeSnapshot) -> None:
        """Delete a form of an import that is kept in another; what somebody uses stays until he has done."""
        user = await self._uses.of(item)
        if user:
            await self._events.emit(cron, "Normal", "InUse", f"{item.kind} {item.metadata.name} stays for now: {user}")
            return
        if isinstance(item, DataVolume):
            # What filled it has ended; one that fills another of its name by now must not be stopped with it.
            item = await self._objects.patch(item, with_annotations(item, {naming.ANNOTATION_DROPPED: "true"}))
        await self._objects.delete(item, unchanged=True)

    async def _data_source(self, cron: DataImportCron) -> DataSource:
        """The cron's DataSource, made where it is missing."""
        try:
            return await self._objects.get(DataSource, cron.metadata.namespace, cron.spec.managed_data_source)
        except ObjectNotFoundError:
            try:
                return await self._objects.create(data_source_of(cron))
            except AlreadyExistsError as error:
                raise ConflictError(error.message) from error

    async def _move(
        self, cron: DataImportCron, before: DataSource, kept: DataVolume | VolumeSnapshot, promote: PromoteInput
    ) -> str:
        """Point the DataSource; returns its name if it moved, "" if it stood there already or is the user's own."""
        if not planning.manages(before):
            return ""
        promoted = {naming.ANNOTATION_PROMOTED: timestamp(promote.now)}
        pointed = with_annotations(pointed_to(before, cron, kept), promoted)
        volume = kept if isinstance(kept, DataVolume) else None
        snapshot = kept if isinstance(kept, VolumeSnapshot) else None
        after = data_source_status(pointed, promote.now, volume=volume, snapshot=snapshot)
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

    async def _write_status(self, cron: DataImportCron, promote: PromoteInput, form: SourceKind) -> None:
        desired = cron.metadata.annotations.get(naming.ANNOTATION_DESIRED_DIGEST, promote.digest)
        latest = desired == promote.digest
        reason = UpToDateReason.UP_TO_DATE if latest else UpToDateReason.OUTDATED
        decision = Decision(verdict=Verdict.WAIT, reason=reason, message=reason.message)

        def change(fresh: DataImportCron) -> DataImportCron:
            if fresh.metadata.uid != promote.cron.uid or not _is_current(fresh, promote):
                return fresh
            return report(
                with_promoted_import(fresh, promote.data_volume, promote.digest, promote.now, form),
                None,
                promote.now,
                decision,
                usable=promote.data_volume,
            )

        await update(self._objects, DataImportCron, cron.metadata.namespace, cron.metadata.name, change)


def _is_current(cron: DataImportCron, promote: PromoteInput) -> bool:
    """Whether the import is still the one that the cron wants."""
    return [entry.data_volume_name for entry in cron.status.current_imports] == [promote.data_volume]


def _claimed(kept: R, cron: DataImportCron, promote: PromoteInput) -> R:
    """The import with its use renewed, the cron's labels, and the digest that it is known by now (X-11)."""
    annotations: dict[str, str | None] = {naming.ANNOTATION_DIGEST: promote.digest}
    if promote.manifest_digest:
        annotations[naming.ANNOTATION_MANIFEST_DIGEST] = promote.manifest_digest
    return used(with_annotations(claimed(kept, cron), annotations), promote.now)
