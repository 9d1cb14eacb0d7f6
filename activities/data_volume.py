"""DataVolume preparation: what a volume needs next, decided from what stands now, and how it ends when it fails."""

from __future__ import annotations

from temporalio import activity

from activities.failures import translated
from activities.writing import update
from dataimportcron import naming
from dataimportcron.api.conditions import Phase
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.errors import AlreadyExistsError, ConflictError, ObjectNotFoundError
from dataimportcron.manifests import import_of, volume_spec, with_annotations
from dataimportcron.messages import FailInput, PopulateInput, Preparation, Step
from dataimportcron.ports import Events, Objects, Volumes
from dataimportcron.projection import data_volume_status


class DataVolumeActivities:
    """Reads a DataVolume, says what it needs, and writes the phases that no population is running in."""

    def __init__(self, objects: Objects, volumes: Volumes, events: Events) -> None:
        self._objects = objects
        self._volumes = volumes
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
        step = await self._next_step(volume)
        await self._write(volume, step, populate)
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
        if source is not None and source.pvc is not None:
            pvc = source.pvc
            return await self._from_volume(volume, pvc.namespace or volume.metadata.namespace, pvc.name)
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
                return _waiting(volume, f"The source DataSource {namespace}/{name} doesn't exist")
            source = data_source.spec.source
            if source.data_source is None:
                break
            if (source.data_source.namespace or namespace) != namespace:
                return _waiting(volume, f"DataSource {name} refers to a DataSource in another namespace")
            name = source.data_source.name
        if source.pvc is None:
            return _waiting(volume, f"Empty source field in '{name}'. DataSource may not be ready yet")
        return await self._from_volume(volume, source.pvc.namespace or namespace, source.pvc.name)

    async def _from_volume(self, volume: DataVolume, namespace: str, name: str) -> Preparation:
        try:
            source = await self._objects.get(DataVolume, namespace, name)
        except ObjectNotFoundError:
            return _waiting(volume, f"The source pvc {name} doesn't exist")
        if source.status.phase != Phase.SUCCEEDED:
            return _waiting(volume, f"The source pvc {name} is in phase {source.status.phase or 'Pending'}")
        found = await self._volumes.find(namespace, name)
        if found is None:
            return _waiting(volume, f"The source pvc {name} doesn't exist: its volume is gone")
        wanted, given = volume_spec(volume).size, found.size
        if 0 < wanted < given:
            message = f"The requested size {wanted} is smaller than the source {namespace}/{name} of {given} bytes"
            return Preparation(step=Step.WAIT, reason="CloneValidationFailed", message=message, uid=volume.metadata.uid)
        return Preparation(
            step=Step.CLONE,
            reason=Phase.CLONE_SCHEDULED,
            message=f"Cloning {namespace}/{name}",
            uid=volume.metadata.uid,
            source=naming.object_key(namespace, name),
        )

    async def _write(self, volume: DataVolume, step: Preparation, populate: PopulateInput) -> None:
        """Write what the step means for the DataVolume's status; a step that changes nothing writes nothing."""
        if step.step is Step.FAILED:
            return  # the workflow ends with fail_data_volume, which writes it
        phase = {Step.IMPORT: Phase.IMPORT_SCHEDULED, Step.CLONE: Phase.CLONE_SCHEDULED}.get(step.step, Phase.PENDING)
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


def _waiting(volume: DataVolume, message: str) -> Preparation:
    return Preparation(step=Step.WAIT, reason="CloneWithoutSource", message=message, uid=volume.metadata.uid)
