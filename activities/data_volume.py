"""DataVolume preparation: what a volume needs next, decided from what stands now, and how it ends when it fails."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from temporalio import activity

from activities.failures import translated
from activities.writing import update
from dataimportcron import naming
from dataimportcron.api.conditions import Phase
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.errors import AlreadyExistsError, ConflictError, ObjectNotFoundError, PermanentError
from dataimportcron.manifests import (
    clone_source,
    import_of,
    is_externally_populated,
    volume_spec,
    with_annotations,
    with_labels,
)
from dataimportcron.messages import FailInput, PopulateInput, Preparation, Step
from dataimportcron.ports import Authorizer, Events, Objects, Volumes
from dataimportcron.projection import data_volume_status, failed_status, phase_event
from dataimportcron.values import CloneSource, SourceKind

_PHASES = {Step.IMPORT: Phase.IMPORT_SCHEDULED, Step.CLONE: Phase.CLONE_SCHEDULED, Step.DONE: Phase.SUCCEEDED}
"""Of a DataVolume that has come so far."""


class DataVolumeActivities:
    """Reads a DataVolume, says what it needs, and writes the phases that no population is running in."""

    def __init__(self, objects: Objects, volumes: Volumes, authorizer: Authorizer, events: Events) -> None:
        self._objects = objects
        self._volumes = volumes
        self._authorizer = authorizer
        self._events = events

    @activity.defn
    @translated
    async def prepare_data_volume(self, populate: PopulateInput) -> Preparation:
        """Make the DataVolume of an import where it is missing, and decide the next step of any DataVolume."""
        try:
            volume = await self._objects.get(DataVolume, populate.namespace, populate.name)
        except ObjectNotFoundError:
            made = await self._make_import(populate)
            if made is None:
                return Preparation(step=Step.GONE, reason="NotFound", message="the DataVolume is gone")
            volume = made
        if volume.status.phase == Phase.SUCCEEDED:
            return Preparation(step=Step.DONE, reason="Completed", message="complete", uid=volume.metadata.uid)
        try:
            step, phase = await self._decide(volume)
        except PermanentError as error:
            return Preparation(step=Step.FAILED, reason=error.reason, message=str(error), uid=volume.metadata.uid)
        await self._write(volume, step, populate, phase)
        return step

    async def _decide(self, volume: DataVolume) -> tuple[Preparation, Phase]:
        """The next step, and the phase that it means; a step whose place is not there yet is waited with."""
        if await self._volumes.adopt(volume):
            done = Preparation(step=Step.DONE, reason="Completed", message="complete", uid=volume.metadata.uid)
            return done, Phase.SUCCEEDED
        step = await self._next_step(volume)
        if step.step in {Step.IMPORT, Step.CLONE, Step.BLANK} or is_externally_populated(volume):
            source = CloneSource.parse(step.source) if step.step is Step.CLONE else None
            reserved = await self._volumes.reserve(volume, source)
            if reserved.reason:
                chosen = str(source) if source is not None else ""
                waiting = replace(step, step=Step.WAIT, reason=reserved.reason, message=reserved.message, source=chosen)
                return waiting, Phase(reserved.phase or Phase.PENDING)
        return step, _PHASES.get(step.step, Phase.PENDING)

    @activity.defn
    @translated
    async def fail_data_volume(self, failure: FailInput) -> None:
        """Write a permanent failure: phase Failed, with the words of what went wrong."""

        def change(volume: DataVolume) -> DataVolume:
            if failure.uid not in {"", volume.metadata.uid}:
                raise ObjectNotFoundError(f"DataVolume {failure.namespace}/{failure.name} is another one by now")
            if volume.status.phase == Phase.SUCCEEDED:
                return volume
            return failed_status(volume, Phase.FAILED, failure.now, reason=failure.reason, message=failure.message)

        try:
            volume = await update(self._objects, DataVolume, failure.namespace, failure.name, change)
        except ObjectNotFoundError:
            return
        await self._events.emit(volume, "Warning", failure.reason, failure.message)

    async def _make_import(self, populate: PopulateInput) -> DataVolume | None:
        """The import's DataVolume from its cron's template; None where this is no import or the cron is gone."""
        if populate.cron is None:
            return None
        try:
            cron = await self._objects.get(DataImportCron, populate.cron.namespace, populate.cron.name)
        except ObjectNotFoundError:
            return None
        if cron.metadata.uid != populate.cron.uid:
            return None
        wanted = import_of(cron, populate.name, populate.digest, populate.manifest_digest, populate.now)
        placement = await self._volumes.placement(cron.spec.template.spec)
        if placement is not None:
            wanted = with_annotations(wanted, {naming.ANNOTATION_PLACED_IN: placement.storage_class})
        try:
            return await self._objects.create(wanted)
        except AlreadyExistsError as error:
            raise ConflictError(error.message) from error

    async def _next_step(self, volume: DataVolume) -> Preparation:
        spec, uid = volume.spec, volume.metadata.uid
        standing = _not_ours_to_fill(volume)
        if standing is not None:
            return standing
        if spec.source_ref is not None:
            return await self._from_data_source(volume)
        source = spec.source
        if source is None:
            return _waiting(volume, Phase.PENDING, f"PVC {volume.metadata.name} Pending")
        if cloned := clone_source(source.pvc, source.snapshot, volume.metadata.namespace):
            return await self._from_source(volume, cloned)
        if source.registry is None:
            return Preparation(step=Step.BLANK, reason=Phase.PENDING, message="A blank volume", uid=uid)
        return Preparation(
            step=Step.IMPORT,
            reason=Phase.IMPORT_SCHEDULED,
            message="Import is scheduled",
            uid=uid,
            source=source.registry.url or source.registry.image_stream or "",
        )

    async def _from_data_source(self, volume: DataVolume) -> Preparation:
        """Resolve sourceRef by the DataSource's spec; one level of pointer is followed (D-12, K-05, K-12).

        A source that has been chosen stays the source for as long as it is there (K-10).
        """
        reference = volume.spec.source_ref
        if reference is None:  # pragma: no cover -- the caller has checked it
            raise AssertionError
        chosen = CloneSource.parse(volume.metadata.annotations.get(naming.ANNOTATION_CLONE_SOURCE, ""))
        if chosen is not None:
            step = await self._from_source(volume, chosen)
            if step.step is Step.CLONE:
                return step
        namespace = reference.namespace or volume.metadata.namespace
        name = reference.name
        for _ in range(2):
            try:
                data_source = await self._objects.get(DataSource, namespace, name)
            except ObjectNotFoundError:
                return _without(volume, f"The source DataSource {namespace}/{name} doesn't exist")
            source = data_source.spec.source
            if source.data_source is None:
                break
            if (source.data_source.namespace or namespace) != namespace:
                return _without(volume, f"DataSource {name} refers to a DataSource in another namespace")
            name = source.data_source.name
        cloned = clone_source(source.pvc, source.snapshot, namespace)
        if cloned is None:
            return _without(volume, f"Empty source field in '{name}'. DataSource may not be ready yet")
        return await self._from_source(volume, cloned)

    async def _from_source(self, volume: DataVolume, source: CloneSource) -> Preparation:
        """Clone what was found, if whoever wants that may, and as soon as it can be."""
        refusal = await self._authorizer.refusal(volume, source)
        if refusal:
            return _waiting(volume, "NotAuthorized", refusal)
        unfinished = await self._unfinished(source)
        if unfinished:
            return _without(volume, unfinished)
        found = await self._volumes.clonable(source)
        if found.reason:
            return _waiting(volume, found.reason, found.message)
        wanted = volume_spec(volume).size
        if 0 < wanted < found.size:
            message = f"The requested size {wanted} is smaller than the source {source} of {found.size} bytes"
            return _waiting(volume, "CloneValidationFailed", message)
        return Preparation(
            step=Step.CLONE,
            reason=Phase.CLONE_SCHEDULED,
            message=f"Cloning {source}",
            uid=volume.metadata.uid,
            source=str(source),
        )

    async def _unfinished(self, source: CloneSource) -> str:
        """Why a volume that is still being populated is no source, in one sentence; "" for any other."""
        if source.kind is not SourceKind.PVC:
            return ""
        try:
            populated = await self._objects.get(DataVolume, source.namespace, source.name)
        except ObjectNotFoundError:
            return ""
        phase = populated.status.phase or Phase.PENDING
        return "" if phase == Phase.SUCCEEDED else f"The source pvc {source.name} is in phase {phase}"

    async def _write(self, volume: DataVolume, step: Preparation, populate: PopulateInput, phase: Phase) -> None:
        """Write what the step means for the DataVolume's status; a step that changes nothing writes nothing."""
        if step.step is Step.FAILED:
            return  # the workflow ends with fail_data_volume, which writes it
        waits = step.step is Step.WAIT
        source = CloneSource.parse(step.source) if step.step in {Step.CLONE, Step.WAIT} else None
        reason, message = (step.reason, step.message) if waits else ("", "")
        after = data_volume_status(volume, phase, populate.now, reason=reason, message=message)
        after = with_annotations(after, {naming.ANNOTATION_CLONE_SOURCE: str(source) if source is not None else None})
        if source is not None:
            after = with_labels(after, await self._inherited(volume, source))
        written = await self._objects.patch(volume, after)
        if waits and written.metadata.resource_version != volume.metadata.resource_version:
            await self._events.emit(written, _severity(step.reason), step.reason, step.message)
        elif not waits and volume.status.phase != phase and phase is not Phase.PENDING:
            await self._events.emit(written, "Normal", *phase_event(written, source))

    async def _inherited(self, volume: DataVolume, source: CloneSource) -> dict[str, str]:
        """The labels that say which machine a disk suits, of what it is cloned from (K-20); none for one with any."""
        if any(key in volume.metadata.labels for key in naming.MACHINE_LABELS):
            return {}
        labels: dict[str, str] = {}
        kind = DataVolume if source.kind is SourceKind.PVC else VolumeSnapshot
        with suppress(ObjectNotFoundError):
            labels |= (await self._objects.get(kind, source.namespace, source.name)).metadata.labels
        if source.kind is SourceKind.PVC:
            claim = (await self._volumes.claims() or {}).get((source.namespace, source.name))
            labels |= claim.labels if claim is not None else {}
        return {key: labels[key] for key in naming.MACHINE_LABELS if key in labels}


def _severity(reason: str) -> str:
    """The type of the event that says what a volume waits for: it is no trouble that its consumer is not there yet."""
    return "Normal" if reason in {Phase.PENDING, Phase.WAIT_FOR_FIRST_CONSUMER, Phase.PENDING_POPULATION} else "Warning"


def _unserved(volume: DataVolume) -> str:
    """What of a DataVolume only CDI serves, in one sentence that says what to install; "" where all is served here."""
    spec, source = volume.spec, volume.spec.source
    served = source is None or any((source.registry, source.pvc, source.snapshot, source.blank))
    what = ""
    if source is None and spec.source_ref is None and not is_externally_populated(volume):
        what = "source none"
    elif not served:
        what = f"source {', '.join(sorted(source.model_fields_set))}" if source else ""
    elif spec.content_type == "archive":
        what = "contentType archive"
    elif spec.checkpoints:
        what = "a multi-stage import (checkpoints)"
    name = volume.metadata.name
    return f"DataVolume {name}: {what} is not served here; KubeVirt CDI serves it, if you install that" if what else ""


def _not_ours_to_fill(volume: DataVolume) -> Preparation | None:
    """What becomes of a DataVolume that nobody fills here; None for any other."""
    own = volume.metadata
    if naming.ANNOTATION_PRE_POPULATED in own.annotations:
        message = (
            f"PVC {own.name} Pending: annotation {naming.ANNOTATION_PRE_POPULATED} says that somebody else fills it"
        )
        return _waiting(volume, Phase.PENDING, f"{message}, and nobody has said on it that it is filled")
    way = own.annotations.get(naming.ANNOTATION_CLONE)
    if way is not None and (fault := _fault_of_clone(volume, way)):
        return Preparation(step=Step.FAILED, reason="InvalidSpec", message=fault, uid=own.uid)
    unserved = _unserved(volume)
    return _waiting(volume, "UnsupportedSource", unserved) if unserved else None


def _fault_of_clone(volume: DataVolume, way: str) -> str:
    """What is wrong with a DataVolume that says how it is to be cloned, in one sentence; "" for nothing."""
    what = f"DataVolume {volume.metadata.name}: annotation {naming.ANNOTATION_CLONE}"
    if way != naming.CLONE_OVERLAY:
        return f"{what} is {way!r}, expected {naming.CLONE_OVERLAY!r}; without it the clone is a copy"
    if volume.spec.source_ref is None and (volume.spec.source is None or volume.spec.source.pvc is None):
        return f"{what} is for clones; this one has neither sourceRef nor source.pvc"
    return ""


def _without(volume: DataVolume, message: str) -> Preparation:
    return _waiting(volume, "CloneWithoutSource", message)


def _waiting(volume: DataVolume, reason: str, message: str) -> Preparation:
    return Preparation(step=Step.WAIT, reason=reason, message=message, uid=volume.metadata.uid)
