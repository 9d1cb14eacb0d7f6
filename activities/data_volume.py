"""DataVolume preparation: what a volume needs next, decided from what stands now, and how it ends when it fails."""

from __future__ import annotations

from temporalio import activity

from activities.failures import translated
from activities.writing import update
from dataimportcron import naming
from dataimportcron.api.conditions import Phase
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume, NamespacedName
from dataimportcron.errors import AlreadyExistsError, ConflictError, ObjectNotFoundError
from dataimportcron.manifests import import_of, volume_spec, with_annotations
from dataimportcron.messages import FailInput, PopulateInput, Preparation, Step
from dataimportcron.ports import Authorizer, CloneSource, Events, Objects, SourceKind, Volumes
from dataimportcron.projection import data_volume_status

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
        if await self._volumes.adopt(volume):
            step = Preparation(step=Step.DONE, reason="Completed", message="complete", uid=volume.metadata.uid)
            await self._write(volume, step, populate, Phase.SUCCEEDED)
            return step
        step = await self._next_step(volume)
        phase = _PHASES.get(step.step, Phase.PENDING)
        if step.step in {Step.IMPORT, Step.CLONE, Step.BLANK}:
            source = CloneSource.parse(step.source) if step.step is Step.CLONE else None
            reserved = await self._volumes.reserve(volume, source)
            if reserved.reason:
                step = _waiting(volume, reserved.reason, reserved.message)
                phase = Phase(reserved.phase or Phase.PENDING)
        await self._write(volume, step, populate, phase)
        return step

    @activity.defn
    @translated
    async def fail_data_volume(self, failure: FailInput) -> None:
        """Write a permanent failure: phase Failed, with the words of what went wrong."""

        def change(volume: DataVolume) -> DataVolume:
            if failure.uid not in {"", volume.metadata.uid}:
                raise ObjectNotFoundError(f"DataVolume {failure.namespace}/{failure.name} is another one by now")
            if volume.status.phase == Phase.SUCCEEDED:
                return volume
            return data_volume_status(volume, Phase.FAILED, failure.now, reason="Error", message=failure.message)

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
        way = volume.metadata.annotations.get(naming.ANNOTATION_CLONE)
        if way is not None and (fault := _fault_of_clone(volume, way)):
            return Preparation(step=Step.FAILED, reason="InvalidSpec", message=fault, uid=uid)
        if spec.source_ref is not None:
            return await self._from_data_source(volume)
        source = spec.source
        if (
            source is not None
            and source.registry is not None
            and (image := source.registry.url or source.registry.image_stream)
        ):
            return Preparation(
                step=Step.IMPORT,
                reason=Phase.IMPORT_SCHEDULED,
                message="Import is scheduled",
                uid=uid,
                source=image,
            )
        if source is not None and (cloned := _clone_source(source.pvc, source.snapshot, volume.metadata.namespace)):
            return await self._from_source(volume, cloned)
        if source is not None and source.blank is not None:
            return Preparation(step=Step.BLANK, reason=Phase.PENDING, message="A blank volume", uid=uid)
        kinds = ", ".join(sorted(source.model_fields_set)) if source else "none"
        message = f"DataVolume {volume.metadata.name}: source {kinds} is not served here; KubeVirt CDI serves it"
        return Preparation(step=Step.FAILED, reason="UnsupportedSource", message=message, uid=uid)

    async def _from_data_source(self, volume: DataVolume) -> Preparation:
        """Resolve sourceRef by the DataSource's spec; one level of pointer is followed (D-12, K-05, K-12)."""
        reference = volume.spec.source_ref
        if reference is None:  # pragma: no cover -- the caller has checked it
            raise AssertionError
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
        cloned = _clone_source(source.pvc, source.snapshot, namespace)
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
        reason, message = (step.reason, step.message) if waits else ("", "")
        after = data_volume_status(volume, phase, populate.now, reason=reason, message=message)
        after = with_annotations(
            after, {naming.ANNOTATION_CLONE_SOURCE: step.source if step.step is Step.CLONE else None}
        )
        written = await self._objects.patch(volume, after)
        if waits and written.metadata.resource_version != volume.metadata.resource_version:
            await self._events.emit(written, "Warning", step.reason, step.message)


def _fault_of_clone(volume: DataVolume, way: str) -> str:
    """What is wrong with a DataVolume that says how it is to be cloned, in one sentence; "" for nothing."""
    what = f"DataVolume {volume.metadata.name}: annotation {naming.ANNOTATION_CLONE}"
    if way != naming.CLONE_OVERLAY:
        return f"{what} is {way!r}, expected {naming.CLONE_OVERLAY!r}; without it the clone is a copy"
    if volume.spec.source_ref is None and (volume.spec.source is None or volume.spec.source.pvc is None):
        return f"{what} is for clones; this one has neither sourceRef nor source.pvc"
    return ""


def _clone_source(pvc: NamespacedName | None, snapshot: NamespacedName | None, namespace: str) -> CloneSource | None:
    """What a source names; where its namespace is left out, it is `namespace`."""
    named, kind = (pvc, SourceKind.PVC) if pvc is not None else (snapshot, SourceKind.SNAPSHOT)
    if named is None:
        return None
    return CloneSource(namespace=named.namespace or namespace, name=named.name, kind=kind)


def _without(volume: DataVolume, message: str) -> Preparation:
    return _waiting(volume, "CloneWithoutSource", message)


def _waiting(volume: DataVolume, reason: str, message: str) -> Preparation:
    return Preparation(step=Step.WAIT, reason=reason, message=message, uid=volume.metadata.uid)
