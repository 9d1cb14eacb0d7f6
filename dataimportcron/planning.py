"""Decisions, and nothing else: from facts that somebody read to what happens next, with the reason.

No clock, no I/O, no Temporal. Each decision carries the reason and the sentence that the condition, the event, the log
and the Temporal UI then show. `plan` is the whole policy of a DataImportCron; its parts are in the order in which they
outrank each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from dataimportcron import naming
from dataimportcron.api.conditions import Phase, UpToDateReason
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.api.validation import invalidity
from dataimportcron.errors import DataImportCronError, InvalidReferenceError, TooManyRequestsError
from dataimportcron.manifests import (
    claimed,
    import_of,
    parse_time,
    pointed_to,
    timestamp,
    with_annotations,
    with_current_import,
    with_status,
)
from dataimportcron.messages import CleanUp, Decision, Ended, Outcome, Trigger, Verdict
from dataimportcron.polling import next_poll_of, poll_requested, source_key
from dataimportcron.ports import ResolvedImage
from dataimportcron.projection import erroneous, failure_of, report

DEFAULT_IMPORTS_TO_KEEP = 3
"""CDI's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was read for one look of a cron.

    Attributes:
        cron: as stored.
        trigger: why it looks.
        now: the workflow's clock.
        imports: DataVolumes in the cron's namespace that carry its label or the name of its desired import.
        lost: names of those imports that are complete and whose volume has been removed.
        data_source: the managed DataSource, None where it does not exist.
        pointed: names of those imports that any DataSource points to; read only where retention has a choice.
        rival: name of another existing cron that manages the DataSource, "" if none.
        running: the import that the workflow waits for, "" if none.
        resolved: what the registry answered, None where it was not asked or failed.
        error: why asking failed.
        jitter: by how much polls of equal schedules are spread.
    """

    cron: DataImportCron
    trigger: Trigger
    now: datetime
    imports: tuple[DataVolume, ...] = ()
    lost: frozenset[str] = frozenset()
    data_source: DataSource | None = None
    pointed: frozenset[str] = frozenset()
    rival: str = ""
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


def plan(facts: Facts) -> Plan:
    """The policy of a DataImportCron, from the strongest rule to the weakest."""
    invalid = invalidity(facts.cron)
    if invalid is not None:
        return _failed(facts, facts.cron, invalid, None, polled=False)
    cron = _consume_requests(facts)
    next_poll = next_poll_of(cron, facts.now, facts.jitter)
    if facts.rival:
        message = f"DataSource {cron.spec.managed_data_source} is already managed by DataImportCron {facts.rival}"
        decision = _decision(cron, Verdict.FAILED, "ErrDataSourceAlreadyManaged", message, next_poll)
        return Plan(decision=decision, cron=_reported(facts, cron, None, decision), warning=True)
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
    wanted = find_import(facts.imports, cron, digest, manifest_digest)
    name = wanted.metadata.name if wanted else _new_name(facts, cron, digest, manifest_digest)
    decision = replace(
        _decision(cron, Verdict.WAIT, *_said(UpToDateReason.UP_TO_DATE), next_poll),
        ended=_ended(facts),
        polled=facts.resolved is not None,
        digest=digest,
        manifest_digest=manifest_digest,
        data_volume=name,
    )
    other = _other_import(facts, name)
    if wanted is not None and wanted.status.phase == Phase.SUCCEEDED and name not in facts.lost:
        decision = _promote_or_rest(facts, cron, wanted, decision)
        cron = with_current_import(cron, name, digest)
    elif other is not None and not erroneous(other):
        message = f"Import {other.metadata.name} goes first"
        return Plan(
            decision=replace(decision, reason=UpToDateReason.OUTDATED, message=message),
            cron=_reported(
                facts,
                cron,
                other,
                replace(decision, reason=UpToDateReason.OUTDATED, message=UpToDateReason.OUTDATED.message),
            ),
        )
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
            replaces=other.metadata.name if other else _unmade(facts, name),
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
    return pointed.name if pointed is not None and pointed.name in complete else ""


def _says(cron: DataImportCron, decision: Decision) -> bool:
    """Whether the cron's UpToDate has the decision's words already."""
    words = (decision.reason, decision.message)
    return any(it.type == "UpToDate" and (it.reason, it.message) == words for it in cron.status.conditions)


def _ended(facts: Facts) -> Ended | None:
    """How the import that the workflow waits for has ended, where its signal has not come yet, or never will."""
    running = next((volume for volume in facts.imports if volume.metadata.name == facts.running), None)
    if running is None or running.status.phase not in {Phase.SUCCEEDED, Phase.FAILED}:
        return None
    if running.status.phase == Phase.SUCCEEDED:
        return Ended(outcome=Outcome.SUCCEEDED)
    return Ended(outcome=Outcome.FAILED, message=failure_of(running))


def _unmade(facts: Facts, name: str) -> str:
    """The import that the workflow waits for and that has no DataVolume yet, if it is another one than `name`."""
    made = {volume.metadata.name for volume in facts.imports}
    return facts.running if facts.running not in {name, *made} else ""


def _said(reason: UpToDateReason) -> tuple[str, str]:
    """A reason with its own sentence."""
    return reason, reason.message


def _promote_or_rest(facts: Facts, cron: DataImportCron, wanted: DataVolume, decision: Decision) -> Decision:
    """A complete import: the DataSource, the status and the import's own annotations must say so."""
    current = cron.status.current_imports
    settled = (
        len(current) == 1
        and (current[0].data_volume_name, current[0].digest) == (decision.data_volume, decision.digest)
        and cron.status.last_imported_pvc is not None
        and cron.status.last_imported_pvc.name == decision.data_volume
        and (facts.data_source is not None)
        and (not manages(facts.data_source) or _points_to(facts.data_source, cron, decision.data_volume))
        and (facts.trigger is not Trigger.CHANGE or _labelled(facts, cron, wanted))
    )
    if settled and not plan_prune(cron, facts.imports, facts.pointed):
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
    return naming.import_name(cron.spec.managed_data_source, manifest_digest) if taken and manifest_digest else name


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


def find_import(
    imports: tuple[DataVolume, ...], cron: DataImportCron, digest: str, manifest_digest: str
) -> DataVolume | None:
    """The import of a digest: by what it says that it holds, else by name.

    An index that changed for other platforms only leads to the import of the same manifest (X-11).
    """
    possible = [volume for volume in imports if not _of_another_platform(volume, manifest_digest)]
    for key, value in ((naming.ANNOTATION_DIGEST, digest), (naming.ANNOTATION_MANIFEST_DIGEST, manifest_digest)):
        found = [volume for volume in possible if value and volume.metadata.annotations.get(key) == value]
        if found:
            return max(found, key=lambda volume: (volume.status.phase == Phase.SUCCEEDED, volume.metadata.name))
    name = naming.import_name(cron.spec.managed_data_source, digest)
    return next((volume for volume in possible if volume.metadata.name == name), None)


def _of_another_platform(volume: DataVolume, manifest_digest: str) -> bool:
    """An index's digest stands for several disks; the manifest's for one."""
    known = volume.metadata.annotations.get(naming.ANNOTATION_MANIFEST_DIGEST, "")
    return bool(known and manifest_digest) and known != manifest_digest


def manages(data_source: DataSource) -> bool:
    """Whether the DataSource follows a cron: it carries the label; without it the user has opted out (DM-03).

    The label of another existing cron is a rival's (DM-04), which `plan` has refused before; that of a cron which
    no longer exists does not count.
    """
    return naming.LABEL_CRON in data_source.metadata.labels


def _points_to(data_source: DataSource, cron: DataImportCron, name: str) -> bool:
    pvc = data_source.spec.source.pvc
    return (
        pvc is not None and pvc.name == name and (pvc.namespace or cron.metadata.namespace) == cron.metadata.namespace
    )


def _labelled(facts: Facts, cron: DataImportCron, current: DataVolume) -> bool:
    """Whether the labels of cron, current import and DataSource have flown; a person's change of them is a change."""
    data_source = facts.data_source
    if claimed(current, cron) != current:
        return False
    return data_source is None or not manages(data_source) or pointed_to(data_source, cron, current) == data_source


def has_outdated(cron: DataImportCron, imports: Iterable[DataVolume]) -> bool:
    """Whether there are more imports than are kept, so that it matters who else uses them."""
    return bool(_outdated(cron, imports))


def pointed_by(data_sources: Iterable[DataSource], namespace: str) -> frozenset[str]:
    """Names of the volumes in a namespace that DataSources point to, whoever's and wherever these are."""
    pointing = [(source.metadata.namespace, source.spec.source.pvc) for source in data_sources]
    return frozenset(pvc.name for own, pvc in pointing if pvc is not None and (pvc.namespace or own) == namespace)


def plan_prune(cron: DataImportCron, imports: Iterable[DataVolume], pointed: frozenset[str]) -> tuple[DataVolume, ...]:
    """The imports that retention removes: the least recently used beyond importsToKeep (G-01 to G-05).

    Never what a DataSource points to, be it the cron's own or any other.
    """
    return tuple(volume for volume in _outdated(cron, imports) if volume.metadata.name not in pointed)


def _outdated(cron: DataImportCron, imports: Iterable[DataVolume]) -> list[DataVolume]:
    """The cron's imports beyond importsToKeep, never the current one; 0 is read as 1 for that reason (X-03)."""
    if (cron.spec.garbage_collect or "Outdated") == "Never":
        return []
    keep = DEFAULT_IMPORTS_TO_KEEP if cron.spec.imports_to_keep is None else max(cron.spec.imports_to_keep, 1)
    current = {entry.data_volume_name for entry in cron.status.current_imports}
    ours = [volume for volume in imports if volume.metadata.labels.get(naming.LABEL_CRON) == cron.metadata.name]
    newest_first = sorted(ours, key=lambda volume: (volume.metadata.name in current, last_use(volume)), reverse=True)
    return [volume for volume in newest_first[keep:] if volume.metadata.name not in current]


def last_use(volume: DataVolume) -> str:
    """When an import was last made current, as a fixed-width timestamp that sorts (X-04); "" sorts oldest."""
    moment = parse_time(volume.metadata.annotations.get(naming.ANNOTATION_LAST_USE_TIME, ""))
    return timestamp(moment) if moment else ""


def clean_up_of(cron: DataImportCron) -> CleanUp:
    """What the end of the cron needs when its object can no longer be read."""
    return CleanUp(retention_policy=cron.spec.retention_policy or "All", data_source=cron.spec.managed_data_source)


def _decision(
    cron: DataImportCron, verdict: Verdict, reason: str, message: str, next_poll: datetime | None
) -> Decision:
    return Decision(
        verdict=verdict, reason=str(reason), message=message, next_poll=next_poll, clean_up=clean_up_of(cron)
    )


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
