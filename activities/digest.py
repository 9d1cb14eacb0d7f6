"""Digest lookup: one look of a cron at its source. A quiet poll is this activity and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from temporalio import activity

from activities.failures import translated
from activities.uses import Uses
from dataimportcron import naming, planning, polling, pruning
from dataimportcron.api.conditions import Phase
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.api.validation import invalidity
from dataimportcron.errors import (
    AlreadyExistsError,
    CloneWithoutSourceError,
    DataImportCronError,
    InvalidObjectError,
    ObjectError,
    ObjectNotFoundError,
)
from dataimportcron.imports import Imports
from dataimportcron.kept import K, class_left
from dataimportcron.manifests import data_source_of
from dataimportcron.messages import Decision, LookupInput, Trigger, Verdict
from dataimportcron.ports import Authorizer, Events, Objects, Source, Volumes
from dataimportcron.values import CloneSource, Placement, ResolvedImage, SourceKind


class DigestActivities:
    """Reads the object, asks the registry where planning says so, writes what changed, returns the decision."""

    def __init__(  # noqa: PLR0913 -- one per port
        self,
        objects: Objects,
        source: Source,
        volumes: Volumes,
        authorizer: Authorizer,
        events: Events,
        *,
        jitter: timedelta = timedelta(),
    ) -> None:
        self._jitter = jitter
        self._objects = objects
        self._source = source
        self._volumes = volumes
        self._authorizer = authorizer
        self._events = events
        self._uses = Uses(objects, volumes, authorizer)
        self._known: dict[str, tuple[Sequence[DataVolume], Imports[DataVolume]]] = {}

    @activity.defn
    @translated
    async def look_up_digest(self, look: LookupInput) -> Decision:
        """Look once. A failure is written to the cron's condition before it is returned or, on a retry, raised."""
        facts = await self._gather(replace(look, now=_moment(look)))
        if facts is None:
            message = f"DataImportCron {look.cron.namespace}/{look.cron.name} is gone"
            return Decision(verdict=Verdict.GONE, reason="NotFound", message=message)
        plan = planning.plan(facts)
        if facts.data_source is None and not facts.rival:
            await self._create_data_source(facts.cron)
        written = await self._objects.patch(facts.cron, plan.cron)
        decision = plan.decision
        if plan.warning:
            await self._events.emit(written, "Warning", decision.reason, decision.message)
        elif decision.verdict is Verdict.IMPORT:
            await self._events.emit(written, "Normal", "ImportStarted", f"Importing {decision.digest}")
        else:
            who = naming.object_key(look.cron.namespace, look.cron.name)
            activity.logger.info("DataImportCron %s: %s: %s", who, decision.reason, decision.message)
        if not look.retry:
            return decision
        if facts.error is not None and decision.transient:
            raise facts.error
        # The tries before this one have failed; each wrote when it was made into the cron's status.
        before = facts.cron.status.last_execution_timestamp
        return replace(decision, retries_failed=activity.info().attempt - 1, last_failed=before)

    async def _gather(self, look: LookupInput) -> planning.Facts | None:
        try:
            cron = await self._objects.get(DataImportCron, look.cron.namespace, look.cron.name)
        except ObjectNotFoundError:
            return None
        if cron.metadata.uid != look.cron.uid:
            return None
        data_source, rival = await self._data_source(cron)
        resolved: ResolvedImage | None = None
        error: DataImportCronError | None = invalidity(cron)
        followed = polling.clone_source_of(cron) if error is None else None
        refusal = await self._authorizer.refusal(cron, followed) if followed else ""
        if error is None and not rival and not refusal and polling.poll_due(cron, look.trigger, look.now):
            try:
                forced = look.trigger is Trigger.POLL or polling.poll_requested(cron, look.now)
                resolved = await self._resolve(cron, fresh=forced)
            except ObjectError:
                raise
            except DataImportCronError as failure:
                error = failure
        imports = await self._imports(cron)
        placement = await self._volumes.placement(cron.spec.template.spec)
        snapshots = await self._snapshots(cron) if placement else ()
        return planning.Facts(
            cron=cron,
            trigger=look.trigger,
            now=look.now,
            imports=imports,
            snapshots=snapshots,
            placement=placement,
            in_use=await self._in_use(cron, (*imports, *snapshots), placement),
            lost=await self._lost(imports),
            data_source=data_source,
            pointed=await self._pointed(cron, imports, SourceKind.PVC),
            pointed_snapshots=await self._pointed(cron, snapshots, SourceKind.SNAPSHOT),
            rival=rival,
            refusal=refusal,
            running=look.running,
            resolved=resolved,
            error=error,
            jitter=self._jitter,
        )

    async def _resolve(self, cron: DataImportCron, *, fresh: bool) -> ResolvedImage:
        source, cloned = polling.source_of(cron), polling.clone_source_of(cron)
        if cloned is not None:
            return await self._resolve_volume(cloned)
        if source is None:
            raise InvalidObjectError(
                f"DataImportCron {cron.metadata.namespace}/{cron.metadata.name} has no image to poll",
                hint="set spec.template.spec.source.registry.url",
            )
        return await self._source.resolve(source, fresh=fresh)

    async def _resolve_volume(self, cloned: CloneSource) -> ResolvedImage:
        """A volume of its name that is made anew is a new version (P-14)."""
        found = await self._volumes.find(cloned.namespace, cloned.name)
        if found is None:
            raise CloneWithoutSourceError(
                f"PersistentVolumeClaim {cloned} was not found, or is not populated yet",
                hint="it is looked for again at the next tick, or when a poll is asked for",
            )
        digest = f"uid:{found.uid}"
        return ResolvedImage(digest=digest, manifest_digest=digest)

    async def _data_source(self, cron: DataImportCron) -> tuple[DataSource | None, str]:
        """The managed DataSource, and the other existing cron that manages it (DM-04), "" if none does."""
        namespace = cron.metadata.namespace
        try:
            data_source = await self._objects.get(DataSource, namespace, cron.spec.managed_data_source)
        except ObjectNotFoundError:
            return None, ""
        other = data_source.metadata.labels.get(naming.LABEL_CRON, "")
        if other in {"", cron.metadata.name}:
            return data_source, ""
        try:
            rival = await self._objects.get(DataImportCron, namespace, other)
        except ObjectNotFoundError:
            return data_source, ""
        return data_source, other if rival.spec.managed_data_source == cron.spec.managed_data_source else ""

    async def _imports(self, cron: DataImportCron) -> tuple[DataVolume, ...]:
        """DataVolumes with the cron's label, and those that an earlier cron of its DataSource has left (I-12)."""
        namespace = cron.metadata.namespace
        everything = await self._objects.list(DataVolume, namespace)
        known = self._known.get(namespace)
        if known is None or known[0] is not everything:
            known = self._known[namespace] = (everything, Imports(everything))
        return await self._unowned(cron, known[1].of(cron))

    async def _snapshots(self, cron: DataImportCron) -> tuple[VolumeSnapshot, ...]:
        """VolumeSnapshots of that kind: what imports of the cron are kept as, or were."""
        namespace = cron.metadata.namespace
        return await self._unowned(cron, Imports(await self._objects.list(VolumeSnapshot, namespace)).of(cron))

    async def _unowned(self, cron: DataImportCron, found: Sequence[K]) -> tuple[K, ...]:
        """Those that are the cron's or may be, without those of another cron that lives."""
        namespace, own = cron.metadata.namespace, cron.metadata.name
        imports = [it for it in found if _owner(it) == own or _may_be_taken_over(it)]
        others = {_owner(it) for it in imports} - {"", own}
        living = {other for other in others if await self._lives(namespace, other)}
        return tuple(it for it in imports if _owner(it) not in living)

    async def _in_use(
        self, cron: DataImportCron, imports: Sequence[DataVolume | VolumeSnapshot], placement: Placement | None
    ) -> str:
        """Who uses the current import, where that has to make place for one of another storage class; else ""."""
        current = {entry.data_volume_name for entry in cron.status.current_imports}
        for item in imports:
            if item.metadata.name in current and class_left(item, placement) and (user := await self._uses.of(item)):
                return user
        return ""

    async def _lives(self, namespace: str, name: str) -> bool:
        try:
            await self._objects.get(DataImportCron, namespace, name)
        except ObjectNotFoundError:
            return False
        return True

    async def _lost(self, imports: tuple[DataVolume, ...]) -> frozenset[str]:
        """Names of the complete imports whose volume is not there any more: somebody has removed it."""
        complete = [volume.metadata for volume in imports if volume.status.phase == Phase.SUCCEEDED]
        return frozenset([it.name for it in complete if await self._volumes.find(it.namespace, it.name) is None])

    async def _pointed(self, cron: DataImportCron, imports: tuple[K, ...], kind: SourceKind) -> frozenset[str]:
        """The imports that DataSources point to, where retention has a choice; else they are not even read."""
        if not pruning.has_outdated(cron, imports):
            return frozenset()
        namespace = cron.metadata.namespace
        return pruning.pointed_by(await self._objects.list(DataSource, namespace), namespace, kind)

    async def _create_data_source(self, cron: DataImportCron) -> None:
        try:
            await self._objects.create(data_source_of(cron))
        except AlreadyExistsError:
            activity.logger.info("DataSource %s appeared meanwhile", cron.spec.managed_data_source)


def _moment(look: LookupInput) -> datetime:
    """When the look happens: the workflow's time; of a later attempt the time that the server planned it for.

    Both are of the server's clock, so they can be compared, and each attempt of a retried poll is a poll (P-07).
    """
    info = activity.info()
    return look.now if info.attempt == 1 else max(look.now, info.current_attempt_scheduled_time)


def _owner(item: DataVolume | VolumeSnapshot) -> str:
    return item.metadata.labels.get(naming.LABEL_CRON, "")


def _may_be_taken_over(item: DataVolume | VolumeSnapshot) -> bool:
    """Whether what is of another owner, or of none, and is named as an import is one."""
    return naming.ANNOTATION_DIGEST in item.metadata.annotations
