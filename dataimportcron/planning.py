"""Decisions, and nothing else: from facts that somebody read to what happens next, with the reason.

No clock, no I/O, no Temporal. Each decision carries the reason and the sentence that the condition, the event, the log
and the Temporal UI then show. `plan` is the whole policy of a DataImportCron; its parts are in the order in which they
outrank each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from dataimportcron import naming
from dataimportcron.api.conditions import ENDED, Phase, ProgressingReason, UpToDateReason
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.api.validation import invalidity
from dataimportcron.errors import DataImportCronError, InvalidReferenceError, TooManyRequestsError
from dataimportcron.imports import find_import
from dataimportcron.kept import Kept, class_left, is_ready, points_to, progress_of, whole
from dataimportcron.kept import Step as KeptStep
from dataimportcron.manifests import (
    claimed,
    import_of,
    pointed_to,
    with_annotations,
    with_current_import,
    with_status,
)
from dataimportcron.messages import CleanUp, Decision, Ended, Outcome, Trigger, Verdict
from dataimportcron.polling import next_poll_of, poll_requested, source_key
from dataimportcron.projection import erroneous, failure_of, report
from dataimportcron.pruning import plan_prune
from dataimportcron.values import Placement, ResolvedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was read for one look of a cron.

    Attributes:
        cron: as stored.
        trigger: why it looks.
        now: the workflow's clock.
        imports: DataVolumes in the cron's namespace that carry its label or the name of its desired import.
        snapshots: VolumeSnapshots of that kind.
        placement: where imports go, and what they are kept as; None in a home that keeps all as volumes.
        in_use: who uses the current import, where its storage class is another than imports go into; else "".
        lost: names of those imports that are complete and whose volume has been removed.
        data_source: the managed DataSource, None where it does not exist.
        pointed: names of those imports that any DataSource points to; read only where retention has a choice.
        pointed_snapshots: of those snapshots, likewise.
        rival: name of another existing cron that manages the DataSource, "" if none.
        refusal: why the cron's service account may not clone its source, "" if it may.
        running: the import that the workflow waits for, "" if none.
        resolved: what the registry answered, None where it was not asked or failed.
        error: why asking failed.
        jitter: by how much polls of equal schedules are spread.
    """

    cron: DataImportCron
    trigger: Trigger
    now: datetime
    imports: tuple[DataVolume, ...] = ()
    snapshots: tuple[VolumeSnapshot, ...] = ()
    placement: Placement | None = None
    in_use: str = ""
    lost: frozenset[str] = frozenset()
    data_source: DataSource | None = None
    pointed: frozenset[str] = frozenset()
    pointed_snapshots: frozenset[str] = frozenset()
    rival: str = ""
    refusal: str = ""
    running: str = ""
    resolved: ResolvedImage | None = None
    error: DataImportCronError | None = None
    jitter: timedelta = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A decision, and the cron as it shall be written. `warning` asks for a Warning event of the decision's words."""

    decision: Decision
    cron: DataImportCron
    warning: bool = False


def plan(facts: Facts) -> Plan:  # noqa: PLR0911 -- a rule, a return
    """The policy of a DataImportCron, from the strongest rule to the weakest."""
    if naming.ANNOTATION_MOVING in facts.cron.metadata.annotations:
        message = "The cron is being moved to or from CDI; `dataimportcron migrate` goes on with it"
        return Plan(decision=_decision(facts.cron, Verdict.WAIT, "Moving", message, None), cron=facts.cron)
    invalid = invalidity(facts.cron)
    if invalid is not None:
        return _failed(facts, facts.cron, invalid, None, polled=False)
    cron = _consume_requests(facts)
    next_poll = next_poll_of(cron, facts.now, facts.jitter)
    if facts.rival or facts.refusal:
        return _refused(facts, cron, next_poll)
    if facts.error is not None:
        return _failed(facts, cron, facts.error, next_poll)
    if facts.resolved is not None:
        cron = _with_digest(cron, facts.resolved)
    digest = cron.metadata.annotations.get(naming.ANNOTATION_DESIRED_DIGEST, "")
    if not digest:
        decision = _decision(cron, Verdict.WAIT, *_said(UpToDateReason.NO_DIGEST), next_poll)
        return Plan(decision=decision, cron=_reported(facts, cron, None, decision))
    try:
        return _plan_import(facts, cron, digest, next_poll)
    except InvalidReferenceError as error:  # a digest that somebody wrote by hand (NM-02)
        return _failed(facts, cron, error, next_poll)


def _plan_import(facts: Facts, cron: DataImportCron, digest: str, next_poll: datetime | None) -> Plan:
    manifest_digest = _desired_manifest(cron, digest)
    wanted, kept = find_kept(facts, cron, digest, manifest_digest)
    there = wanted or kept.snapshot
    name = there.metadata.name if there else _new_name(facts, cron, digest, manifest_digest)
    cron = _with_class(cron, facts.placement)
    decision = replace(
        _decision(cron, Verdict.WAIT, *_said(UpToDateReason.UP_TO_DATE), next_poll),
        ended=_ended(facts),
        polled=facts.resolved is not None,
        digest=digest,
        manifest_digest=manifest_digest,
        data_volume=name,
    )
    other = _other_import(facts, name)
    if left := class_left(wanted or (kept.used if kept.is_whole else None), facts.placement):
        decision = _of_another_class(facts, decision, wanted, left)
        cron = with_current_import(cron, name, digest)
    elif kept.is_whole:
        decision = _promote_or_rest(facts, cron, kept, decision)
        cron = with_current_import(cron, name, digest)
    elif other is not None and not erroneous(other):
        said = replace(decision, reason=UpToDateReason.OUTDATED, message=UpToDateReason.OUTDATED.message)
        decision = replace(said, message=f"Import {other.metadata.name} goes first")
        return Plan(decision=decision, cron=_reported(facts, cron, other, said))
    elif wanted is not None and (why := _why_anew(facts, cron, wanted, digest, manifest_digest)):
        decision = replace(decision, verdict=Verdict.IMPORT, reason=UpToDateReason.OUTDATED, message=why, replaces=name)
        cron = with_current_import(cron, name, digest)
    elif name in facts.lost:
        message = f"The volume of import {name} is gone; it is imported again at the next poll"
        decision = replace(decision, reason=UpToDateReason.OUTDATED, message=message)
    elif wanted is None or _must_start(facts, wanted):
        decision = replace(
            decision,
            verdict=Verdict.IMPORT,
            reason=UpToDateReason.OUTDATED,
            message=UpToDateReason.OUTDATED.message,
            # One that runs and is not among the imports has no DataVolume yet.
            replaces=other.metadata.name if other else facts.running if facts.running != name else "",
        )
        cron = with_current_import(cron, name, digest)
    elif erroneous(wanted):
        decision = replace(decision, reason=UpToDateReason.IMPORT_FAILED, message=failure_of(wanted))
    else:
        reason, message = _said(UpToDateReason.IMPORT_PROGRESSING)
        decision = replace(decision, reason=reason, message=message)
    said = decision
    if decision.verdict is Verdict.PROMOTE:
        # A complete import that the DataSource does not point to yet is not what new volumes are cloned from.
        said = replace(decision, reason=str(UpToDateReason.IMPORT_PROGRESSING))
    return Plan(
        decision=decision,
        cron=_reported(facts, cron, wanted, said),
        warning=decision.reason == UpToDateReason.IMPORT_FAILED and not _says(facts.cron, decision),
    )


def _reported(facts: Facts, cron: DataImportCron, importing: DataVolume | None, decision: Decision) -> DataImportCron:
    return report(cron, importing, facts.now, decision, usable=_usable(facts))


def _usable(facts: Facts) -> str:
    """The complete import that the DataSource points to; of a DataSource that is the user's own, the last one."""
    last, data_source = facts.cron.status.last_imported_pvc, facts.data_source
    if data_source is None:
        return ""
    pointed = data_source.spec.source.pvc if manages(data_source) else last
    complete = {it.metadata.name for it in facts.imports if it.status.phase == Phase.SUCCEEDED} - facts.lost
    ready = {it.metadata.name for it in facts.snapshots if is_ready(it)}
    if manages(data_source) and data_source.spec.source.snapshot is not None:
        pointed, complete = data_source.spec.source.snapshot, ready
    elif not manages(data_source):
        complete |= ready
    return pointed.name if pointed is not None and pointed.name in complete else ""


def _says(cron: DataImportCron, decision: Decision) -> bool:
    """Whether the cron's UpToDate has the decision's words already."""
    words = (decision.reason, decision.message)
    return any(it.type == "UpToDate" and (it.reason, it.message) == words for it in cron.status.conditions)


def _ended(facts: Facts) -> Ended | None:
    """How the import that the workflow waits for has ended, where its signal has not come yet, or never will."""
    running = next((volume for volume in facts.imports if volume.metadata.name == facts.running), None)
    if running is None or running.status.phase not in ENDED:
        return None
    if running.status.phase == Phase.SUCCEEDED:
        return Ended(outcome=Outcome.SUCCEEDED)
    return Ended(outcome=Outcome.FAILED, message=failure_of(running))


def _said(reason: UpToDateReason) -> tuple[str, str]:
    """A reason with its own sentence."""
    return reason, reason.message


def _of_another_class(facts: Facts, decision: Decision, wanted: DataVolume | None, left: str) -> Decision:
    """An import into a class that imports go into no longer (S-04, S-05): it makes place, if nobody uses it.

    What is being written already is not thrown away half done.
    """
    into = facts.placement.storage_class if facts.placement else ""
    message = f"Import {decision.data_volume} is of storage class {left}, and imports go into {into} now"
    decision = replace(decision, reason=str(UpToDateReason.OUTDATED), message=message)
    if facts.in_use:
        return replace(decision, message=f"{message}, when it is free: {facts.in_use}")
    if wanted is not None and wanted.status.phase not in {*_NOT_BEGUN, Phase.SUCCEEDED}:
        return replace(decision, reason=str(UpToDateReason.IMPORT_PROGRESSING))
    return replace(decision, verdict=Verdict.IMPORT, replaces=decision.data_volume, anew=True)


_NOT_BEGUN = frozenset({"", Phase.PENDING, Phase.IMPORT_SCHEDULED, Phase.FAILED})


def _promote_or_rest(facts: Facts, cron: DataImportCron, kept: Kept, decision: Decision) -> Decision:
    """A complete import: the DataSource, the status and the import's own annotations must say so."""
    if kept.step is KeptStep.AWAIT:
        reason = str(UpToDateReason.IMPORT_PROGRESSING)
        return replace(decision, reason=reason, message=progress_of(kept.snapshot))
    used = kept.used
    current = cron.status.current_imports
    settled = (
        used is not None
        and kept.superfluous is None
        and len(current) == 1
        and (current[0].data_volume_name, current[0].digest) == (decision.data_volume, decision.digest)
        and cron.status.last_imported_pvc is not None
        and cron.status.last_imported_pvc.name == decision.data_volume
        and cron.status.source_format == kept.form
        and facts.data_source is not None
        and (not manages(facts.data_source) or points_to(facts.data_source, decision.data_volume, kept.form))
        and (facts.trigger is not Trigger.CHANGE or _labelled(facts.data_source, cron, used))
    )
    outdated = plan_prune(cron, facts.imports, facts.pointed)
    if settled and not outdated and not plan_prune(cron, facts.snapshots, facts.pointed_snapshots):
        return decision
    if settled:
        return replace(decision, verdict=Verdict.PRUNE)
    return replace(
        decision,
        verdict=Verdict.PROMOTE,
        reason="ImportSucceeded",
        message=f"Import {decision.data_volume} is complete",
    )


def _desired_manifest(cron: DataImportCron, digest: str) -> str:
    """The digest of the platform's manifest behind the desired digest, "" where nobody has looked."""
    known, _, manifest = cron.metadata.annotations.get(naming.ANNOTATION_DESIRED_MANIFEST, "").partition(" ")
    return manifest if known == digest else ""


def _new_name(facts: Facts, cron: DataImportCron, digest: str, manifest_digest: str) -> str:
    """The name of a new import: by the digest, or by the manifest's where another platform's import has that name."""
    name = naming.import_name(cron.spec.managed_data_source, digest)
    taken = any(volume.metadata.name == name for volume in facts.imports)
    return naming.import_name(cron.spec.managed_data_source, manifest_digest) if taken else name


def _why_anew(facts: Facts, cron: DataImportCron, wanted: DataVolume, digest: str, manifest_digest: str) -> str:
    """Why an import that exists must be made anew, in one sentence; "" if it need not, or not yet.

    A volume that is gone waits for a poll: it may be on a disk that is only not mounted.
    """
    name = wanted.metadata.name
    if erroneous(wanted) and _template_changed(cron, wanted, digest, manifest_digest):
        return f"The template has changed since import {name} failed"
    current = any(entry.data_volume_name == name for entry in cron.status.current_imports)
    waits = facts.trigger is Trigger.CHANGE and current and bool(cron.spec.schedule)
    return f"The volume of import {name} is gone" if name in facts.lost and not waits else ""


def _template_changed(cron: DataImportCron, failed: DataVolume, digest: str, manifest_digest: str) -> bool:
    """Whether a failed import would be another one if it were made now."""
    again = import_of(cron, failed.metadata.name, digest, manifest_digest, datetime.min.replace(tzinfo=UTC))
    return failed.spec.document() != again.spec.document()


def _must_start(facts: Facts, wanted: DataVolume) -> bool:
    """Whether an unfinished import needs a (new) execution: nobody runs it, or it failed and a poll asks again."""
    if wanted.status.phase == Phase.FAILED:
        return facts.trigger is not Trigger.CHANGE
    return facts.running != wanted.metadata.name


def _other_import(facts: Facts, name: str) -> DataVolume | None:
    """The import that stands in the way of `name`: the one that runs, or the current one if it failed."""
    current = [entry.data_volume_name for entry in facts.cron.status.current_imports]
    by_name = {volume.metadata.name: volume for volume in facts.imports}
    if facts.running and facts.running != name:
        return by_name.get(facts.running)
    failed = by_name.get(current[0]) if current and current[0] != name else None
    return failed if failed is not None and erroneous(failed) else None


def find_kept(facts: Facts, cron: DataImportCron, digest: str, manifest_digest: str) -> tuple[DataVolume | None, Kept]:
    """The DataVolume of a digest's import, complete or not, and the import in the forms in which it is whole."""
    wanted = find_import(facts.imports, cron, digest, manifest_digest)
    snapshot = find_import(facts.snapshots, cron, digest, manifest_digest)
    if wanted is not None and snapshot is not None and snapshot.metadata.name != wanted.metadata.name:
        snapshot = None
    return wanted, Kept(volume=whole(wanted, facts.lost), snapshot=snapshot, placement=facts.placement)


def manages(data_source: DataSource) -> bool:
    """Whether the DataSource follows a cron: it carries the label; without it the user has opted out (DM-03).

    The label of another existing cron is a rival's (DM-04), which `plan` has refused before; that of a cron which
    no longer exists does not count.
    """
    return naming.LABEL_CRON in data_source.metadata.labels


def _labelled(data_source: DataSource, cron: DataImportCron, current: DataVolume | VolumeSnapshot) -> bool:
    """Whether the labels of cron, current import and DataSource have flown; a person's change of them is a change."""
    if claimed(current, cron) != current:
        return False
    return not manages(data_source) or pointed_to(data_source, cron, current) == data_source


def clean_up_of(cron: DataImportCron) -> CleanUp:
    """What the end of the cron needs when its object can no longer be read."""
    return CleanUp(retention_policy=cron.spec.retention_policy or "All", data_source=cron.spec.managed_data_source)


def _decision(
    cron: DataImportCron, verdict: Verdict, reason: str, message: str, next_poll: datetime | None
) -> Decision:
    return Decision(
        verdict=verdict, reason=str(reason), message=message, next_poll=next_poll, clean_up=clean_up_of(cron)
    )


def _refused(facts: Facts, cron: DataImportCron, next_poll: datetime | None) -> Plan:
    """A cron that may not import: its DataSource is another's (DM-04), or its source is not its to read (A-02)."""
    reason, message = str(ProgressingReason.NOT_AUTHORIZED), facts.refusal
    if facts.rival:
        reason = "ErrDataSourceAlreadyManaged"
        message = f"DataSource {cron.spec.managed_data_source} is already managed by DataImportCron {facts.rival}"
    decision = _decision(cron, Verdict.FAILED, reason, message, next_poll)
    return Plan(decision=decision, cron=_reported(facts, cron, None, decision), warning=True)


def _failed(
    facts: Facts, cron: DataImportCron, error: DataImportCronError, next_poll: datetime | None, *, polled: bool = True
) -> Plan:
    """A poll that found no digest, or was not made: said at once, and whatever was imported stays in use."""
    retry_after = error.retry_after if isinstance(error, TooManyRequestsError) else None
    current = cron.status.current_imports
    decision = replace(
        _decision(cron, Verdict.FAILED, error.reason, str(error), next_poll),
        polled=polled,
        ended=_ended(facts),
        data_volume=current[0].data_volume_name if current else "",
        transient=not error.permanent,
        retry_after=retry_after or 0.0,
    )
    importing = next((v for v in facts.imports if v.metadata.name == facts.running), None)
    warning = polled or not _says(facts.cron, decision)
    return Plan(decision=decision, cron=_reported(facts, cron, importing, decision), warning=warning)


def _consume_requests(facts: Facts) -> DataImportCron:
    """The cron after its requests for a poll were heard, with the time of the poll."""
    cron = facts.cron
    if facts.resolved is None and facts.error is None:
        return cron
    annotations = cron.metadata.annotations
    heard: dict[str, str | None] = {}
    if poll_requested(cron, facts.now):
        heard[naming.ANNOTATION_NEXT_CRON_TIME] = None
    requested = annotations.get(naming.ANNOTATION_POLL_REQUESTED)
    if requested is not None:
        heard[naming.ANNOTATION_POLL_SEEN] = requested
    return with_status(with_annotations(cron, heard), last_execution_timestamp=facts.now)


def _with_class(cron: DataImportCron, placement: Placement | None) -> DataImportCron:
    """The cron with the storage class of its imports noted, as CDI notes it (S-01, S-02)."""
    wanted = placement.storage_class if placement else ""
    return with_annotations(cron, {naming.ANNOTATION_STORAGE_CLASS: wanted}) if wanted else cron


def _with_digest(cron: DataImportCron, resolved: ResolvedImage) -> DataImportCron:
    return with_annotations(
        cron,
        {
            naming.ANNOTATION_DESIRED_DIGEST: resolved.digest,
            naming.ANNOTATION_DESIRED_MANIFEST: f"{resolved.digest} {resolved.manifest_digest}",
            naming.ANNOTATION_SOURCE: source_key(cron),
            naming.ANNOTATION_IMAGE_STREAM_REF: resolved.image or None,
        },
    )
