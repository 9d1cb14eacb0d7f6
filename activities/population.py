"""Imports and clones: the long steps, on a task queue of their own.

They heartbeat their progress, write it to the DataVolume about once a second, and can be repeated: the adapters make
sure that at most one of them writes a volume, and that a complete volume is left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from functools import partial

from temporalio import activity

from activities.failures import application_error, translated
from activities.writing import update
from dataimportcron import naming
from dataimportcron.api.conditions import Phase
from dataimportcron.api.types import DataVolume
from dataimportcron.errors import (
    CloneWithoutSourceError,
    ConflictError,
    DataImportCronError,
    InvalidObjectError,
    ObjectError,
    ObjectNotFoundError,
)
from dataimportcron.manifests import image_source, volume_spec, with_annotations, with_status
from dataimportcron.messages import Populated, PopulateInput
from dataimportcron.ports import Authorizer, Cloner, Events, Importer, Objects, Source, Volumes
from dataimportcron.projection import CLONE_PHASES, CLONE_TYPES, data_volume_status, failed_status, phase_event
from dataimportcron.reference import Reference
from dataimportcron.values import CloneSource, ImageSource, Transfer, VolumeSpec

_REPORT_INTERVAL = 1.0
"""Seconds between two writes of a DataVolume's progress."""


class PopulationActivities:
    """Fills volumes."""

    def __init__(  # noqa: PLR0913, PLR0917 -- one per port
        self,
        objects: Objects,
        source: Source,
        volumes: Volumes,
        importer: Importer,
        cloner: Cloner,
        authorizer: Authorizer,
        events: Events,
    ) -> None:
        self._objects = objects
        self._source = source
        self._volumes = volumes
        self._importer = importer
        self._cloner = cloner
        self._authorizer = authorizer
        self._events = events

    @activity.defn
    @translated
    async def import_data_volume(self, populate: PopulateInput) -> Populated:
        """Import the container disk that the DataVolume names; a tag is resolved to a digest first."""
        volume = await self._objects.get(DataVolume, populate.namespace, populate.name)
        registry = volume.spec.source.registry if volume.spec.source else None
        image = image_source(registry, volume.metadata.namespace) if registry else None
        if image is None:
            raise InvalidObjectError(f"DataVolume {populate.namespace}/{populate.name} names no image")
        wanted = volume_spec(volume)

        async def run(report: Callable[[Transfer], None]) -> Transfer:
            digest = await self._digest(image, populate.digest)
            return await self._importer.run(image, digest, wanted, report)

        await self._give_notice(volume, wanted)
        return await self._populate(populate, volume, Phase.IMPORT_IN_PROGRESS, run)

    @activity.defn
    @translated
    async def clone_data_volume(self, populate: PopulateInput) -> Populated:
        """Clone what the preparation has chosen for this very DataVolume, if whoever wants that still may.

        It ends with CloneWithoutSourceError where that is not so any more, and where the source has gone since; the
        preparation then chooses again.
        """
        volume = await self._objects.get(DataVolume, populate.namespace, populate.name)
        source = CloneSource.parse(populate.source)
        if source is None or volume.metadata.uid != populate.uid:
            what = f"DataVolume {populate.namespace}/{populate.name}"
            raise CloneWithoutSourceError(f"No source has been chosen for {what} as it is now")
        refusal = await self._authorizer.refusal(volume, source)
        if refusal:
            raise CloneWithoutSourceError(refusal)
        wanted = volume_spec(volume)

        async def run(report: Callable[[Transfer], None]) -> Transfer:
            return await self._cloner.run(source, wanted, report)

        await self._give_notice(volume, wanted)
        return await self._populate(populate, volume, Phase.CLONE_IN_PROGRESS, run)

    @activity.defn
    @translated
    async def make_blank_data_volume(self, populate: PopulateInput) -> Populated:
        """Make an empty volume."""
        volume = await self._objects.get(DataVolume, populate.namespace, populate.name)
        wanted = volume_spec(volume)

        async def run(_report: Callable[[Transfer], None]) -> Transfer:
            await self._cloner.blank(wanted)
            return Transfer(phase="Complete")

        await self._give_notice(volume, wanted)
        return await self._populate(populate, volume, Phase.IMPORT_IN_PROGRESS, run)

    async def _give_notice(self, volume: DataVolume, wanted: VolumeSpec) -> None:
        notice = await self._volumes.notice(wanted)
        if notice:
            await self._events.emit(volume, "Normal", "StorageClassNotMapped", notice)

    async def _digest(self, image: ImageSource, digest: str) -> str:
        if digest or not image.url.startswith("docker://"):
            return digest
        return Reference.parse(image.url).digest or (await self._source.resolve(image, fresh=True)).digest

    async def _populate(
        self,
        populate: PopulateInput,
        volume: DataVolume,
        phase: Phase,
        run: Callable[[Callable[[Transfer], None]], Awaitable[Transfer]],
    ) -> Populated:
        """Run one long step: phase and progress while it runs, Succeeded or the failure's words at its end."""
        last = Transfer(phase="Starting")

        def report(transfer: Transfer) -> None:
            nonlocal last
            last = transfer
            activity.heartbeat(asdict(transfer))

        source = CloneSource.parse(populate.source) if phase is Phase.CLONE_IN_PROGRESS else None
        begun = await self._write(volume, lambda fresh: data_volume_status(fresh, phase, populate.now, progress="N/A"))
        if begun.status.phase == phase != volume.status.phase:
            await self._events.emit(begun, "Normal", *phase_event(begun, source))
        reporter = asyncio.create_task(self._report_progress(populate, volume, phase, lambda: last))
        try:
            done = await run(report)
        except DataImportCronError as error:
            await _stop(reporter)
            await self._write_failure(populate, volume, phase, error)
            raise application_error(error, activity.info().attempt) from error
        finally:
            await _stop(reporter)
        # A volume that is whole is said to be, even if a cancellation comes now: the answer must be what stands.
        ending = asyncio.create_task(self._write_success(populate, volume, source, done))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            await ending
        return Populated(bytes_read=done.done, bytes_written=done.written, message=done.phase)

    async def _report_progress(
        self, populate: PopulateInput, volume: DataVolume, phase: Phase, latest: Callable[[], Transfer]
    ) -> None:
        """Heartbeat and write the progress until cancelled; one that did not change is not written again."""
        told, reached = "", str(phase)
        while True:
            await asyncio.sleep(_REPORT_INTERVAL)
            transfer = latest()
            activity.heartbeat(asdict(transfer))
            try:
                written = await self._write(volume, partial(_in_progress, phase, transfer, populate.now))
                if transfer.message and transfer.message != told:
                    await self._events.emit(written, "Warning", transfer.waits_for, transfer.message)
                elif not transfer.waits_for and written.status.phase not in {reached, Phase.SUCCEEDED}:
                    reached = written.status.phase
                    await self._events.emit(
                        written, "Normal", *phase_event(written, CloneSource.parse(populate.source))
                    )
            except ObjectError as error:
                activity.logger.warning("progress of %s is not written: %s", populate.name, error)
            else:
                told = transfer.message

    async def _write_success(
        self, populate: PopulateInput, volume: DataVolume, source: CloneSource | None, done: Transfer
    ) -> None:
        way = CLONE_TYPES.get(done.phase)

        def change(fresh: DataVolume) -> DataVolume:
            complete = data_volume_status(fresh, Phase.SUCCEEDED, populate.now)
            return with_annotations(complete, {naming.ANNOTATION_CLONE_TYPE: way}) if way else complete

        written = await self._write(volume, change)
        await self._events.emit(written, "Normal", *phase_event(written, source))

    async def _write_failure(
        self, populate: PopulateInput, volume: DataVolume, phase: Phase, error: DataImportCronError
    ) -> None:
        """Say at once what went wrong; a transient failure keeps its phase and counts as a restart."""

        def change(fresh: DataVolume) -> DataVolume:
            failed = failed_status(fresh, phase, populate.now, reason=error.reason, message=str(error))
            return with_status(failed, restart_count=(fresh.status.restart_count or 0) + 1)

        try:
            written = await self._write(volume, change)
        except ObjectNotFoundError:
            return
        await self._events.emit(written, "Warning", error.reason, str(error))

    async def _write(self, volume: DataVolume, change: Callable[[DataVolume], DataVolume]) -> DataVolume:
        """Write the status of the DataVolume that the step began with.

        One that stands at Succeeded is another worker's, while this one was stopped.

        Raises:
            ConflictError: there is another DataVolume of its name now; the next attempt begins with that one.
        """
        metadata = volume.metadata

        def fenced(fresh: DataVolume) -> DataVolume:
            if fresh.metadata.uid != metadata.uid:
                what = f"DataVolume {metadata.namespace}/{metadata.name}"
                raise ConflictError(f"{what} was deleted and made anew while it was populated")
            return fresh if fresh.status.phase == Phase.SUCCEEDED else change(fresh)

        return await update(self._objects, DataVolume, metadata.namespace, metadata.name, fenced)


def _in_progress(phase: Phase, transfer: Transfer, now: datetime, volume: DataVolume) -> DataVolume:
    """The DataVolume as far as a step in `phase` is; one that waits is only scheduled, and says for what."""
    if transfer.waits_for:
        scheduled = Phase.CLONE_SCHEDULED if phase is Phase.CLONE_IN_PROGRESS else Phase.IMPORT_SCHEDULED
        return data_volume_status(volume, scheduled, now, reason=transfer.waits_for, message=transfer.message)
    progress = f"{100 * transfer.done / transfer.total:.2f}%" if transfer.total else "N/A"
    reached = CLONE_PHASES.get(transfer.phase, phase) if phase is Phase.CLONE_IN_PROGRESS else phase
    return data_volume_status(volume, reached, now, progress=progress)


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
