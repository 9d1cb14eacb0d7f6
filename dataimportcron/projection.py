"""Statuses as pure projections: what a user reads follows from the facts, and never the other way round.

Condition types, reasons and messages are CDI's; a reason of ours stands only where CDI has no word for the case, such
as a poll that failed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from dataimportcron.api.conditions import (
    PVC_NOT_FOUND,
    SNAPSHOT_NOT_FOUND,
    DataSourceReason,
    Phase,
    ProgressingReason,
    ReadyReason,
    RunningReason,
    UpToDateReason,
    phase_message,
)
from dataimportcron.api.meta import Condition, with_condition
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataImportCron, DataSource, DataSourceSource, DataVolume, NamespacedName
from dataimportcron.errors import (
    ImageNotFoundError,
    NotARegistryError,
    RegistryUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
    UntrustedCertificateError,
)
from dataimportcron.kept import is_ready
from dataimportcron.manifests import allowed_labels, with_labels, with_status
from dataimportcron.messages import Decision
from dataimportcron.values import ClaimState, CloneSource


def report(
    cron: DataImportCron, importing: DataVolume | None, now: datetime, decision: Decision, *, usable: str
) -> DataImportCron:
    """The cron with the conditions that a decision leads to.

    Args:
        cron: as it will be written.
        importing: the import that the decision is about, or that goes first.
        now: the workflow's clock.
        decision: its reason and message become those of `UpToDate`.
        usable: name of the complete import that the DataSource points to, "" if it points to none.
    """
    status = "True" if decision.reason == UpToDateReason.UP_TO_DATE else "False"
    up_to_date = Condition(type="UpToDate", status=status, reason=decision.reason, message=decision.message)
    conditions = cron.status.conditions
    progress = _not_authorized() if decision.reason == ProgressingReason.NOT_AUTHORIZED else progressing(importing)
    for condition in (progress, up_to_date, ready(cron, decision, usable)):
        conditions = with_condition(conditions, condition, now)
    return with_status(cron, conditions=conditions)


def ready(cron: DataImportCron, decision: Decision, usable: str) -> Condition:
    """The condition Ready of a cron: a poll that fails leaves it True, an invalid spec does not."""
    if not usable or decision.reason == ReadyReason.INVALID_SPEC:
        return Condition(type="Ready", status="False", reason=decision.reason, message=decision.message)
    message = f"DataSource {cron.spec.managed_data_source} points to import {usable}"
    return Condition(type="Ready", status="True", reason=str(ReadyReason.READY), message=message)


def progressing(importing: DataVolume | None) -> Condition:
    """The condition Progressing of a cron, from the phase of its import; one that fails makes no progress."""
    if importing is not None and erroneous(importing) and importing.status.phase != Phase.FAILED:
        reason = str(ProgressingReason.IMPORT_FAILED)
        return Condition(type="Progressing", status="False", reason=reason, message=failure_of(importing))
    phase = importing.status.phase if importing else ""
    known = {
        "": ProgressingReason.NO_IMPORT,
        Phase.SUCCEEDED: ProgressingReason.NO_IMPORT,
        Phase.IMPORT_SCHEDULED: ProgressingReason.IMPORT_SCHEDULED,
        Phase.IMPORT_IN_PROGRESS: ProgressingReason.IMPORT_PROGRESSING,
    }.get(phase)
    status = "True" if known is ProgressingReason.IMPORT_PROGRESSING else "False"
    message = known.message if known else phase_message(phase)
    if importing is not None and (why := waiting_for(importing)):
        message = f"{message}: {why}"
    return Condition(type="Progressing", status=status, reason=str(known or phase), message=message)


def _not_authorized() -> Condition:
    """The condition Progressing of a cron that may not clone its source (A-02); UpToDate says what it may not."""
    reason = ProgressingReason.NOT_AUTHORIZED
    return Condition(type="Progressing", status="False", reason=str(reason), message=reason.message)


_FAILURES = frozenset({RunningReason.ERROR, RunningReason.IMAGE_PULL_FAILED})


def erroneous(volume: DataVolume) -> bool:
    """Whether an import is failing (I-10): the condition Running is False because of an error."""
    return any(
        condition.type == "Running" and condition.status == "False" and condition.reason in _FAILURES
        for condition in volume.status.conditions
    )


_OF_A_PULL: Final = frozenset(
    kind.reason
    for kind in (
        ImageNotFoundError,
        NotARegistryError,
        RegistryUnavailableError,
        TooManyRequestsError,
        UnauthorizedError,
        UntrustedCertificateError,
    )
)
_PULL_FAILED: Final = "failed to pull image"


def failed_status(volume: DataVolume, phase: Phase, now: datetime, *, reason: str, message: str) -> DataVolume:
    """The DataVolume whose population has failed; an image that cannot be read is said in CDI's words (RI-04).

    Args:
        volume: as read.
        phase: Failed, or the one that is tried again.
        now: the workflow's clock.
        reason: of the error.
        message: its text.
    """
    if reason not in _OF_A_PULL:
        return data_volume_status(volume, phase, now, reason=str(RunningReason.ERROR), message=message)
    told = message if message.startswith(_PULL_FAILED) else f"{_PULL_FAILED}: {message}"
    return data_volume_status(volume, phase, now, reason=str(RunningReason.IMAGE_PULL_FAILED), message=told)


_WAITING_PHASES = frozenset(
    {Phase.PENDING, Phase.IMPORT_SCHEDULED, Phase.WAIT_FOR_FIRST_CONSUMER, Phase.PENDING_POPULATION}
)


def waiting_for(volume: DataVolume) -> str:
    """The sentence that says why an import does not begin, "" where it takes only its time."""
    running = (condition for condition in volume.status.conditions if condition.type == "Running")
    waits = volume.status.phase in _WAITING_PHASES
    return next((condition.message for condition in running if condition.message), "") if waits else ""


def failure_of(volume: DataVolume) -> str:
    """The sentence that says why an import is failing."""
    running = (condition for condition in volume.status.conditions if condition.type == "Running")
    return next((condition.message for condition in running if condition.message), "Import failed")


def data_volume_status(  # noqa: PLR0913 -- a status has this many independent parts
    volume: DataVolume,
    phase: Phase,
    now: datetime,
    *,
    reason: str = "",
    message: str = "",
    progress: str | None = None,
) -> DataVolume:
    """The DataVolume in a phase, with CDI's conditions Bound, Ready and Running.

    Args:
        volume: as read.
        phase: the new one.
        now: the workflow's clock.
        reason: of Running, where it is not running; of a failure see `failed_status`.
        message: why.
        progress: "12.34%", None keeps what stands there.
    """
    done = phase == Phase.SUCCEEDED
    running = phase in RUNNING_PHASES and not reason
    claim = f"PVC {volume.metadata.name}"
    if done or phase in RUNNING_PHASES:
        bound = Condition(type="Bound", status="True", reason="Bound", message=f"{claim} Bound")
    else:
        bound = Condition(
            type="Bound", status="False", reason=reason or "Pending", message=message or f"{claim} Pending"
        )
    ready_reason, ready_message = ("", "") if done else ("TransferRunning", "") if running else (reason, message)
    conditions = volume.status.conditions
    for condition in (
        bound,
        Condition(type="Ready", status="True" if done else "False", reason=ready_reason, message=ready_message),
        Condition(
            type="Running",
            status="True" if running else "False",
            reason=str(RunningReason.COMPLETED) if done else reason,
            message=RunningReason.COMPLETED.message if done and not message else message,
        ),
    ):
        conditions = with_condition(conditions, condition, now)
    return with_status(
        volume,
        phase=str(phase),
        claim_name=volume.metadata.name,
        progress=("100.0%" if done else progress) or volume.status.progress or "N/A",
        conditions=conditions,
    )


def phase_event(volume: DataVolume, source: CloneSource | None) -> tuple[str, str]:
    """Reason and message of the event that says that a DataVolume has come to its phase, in CDI's words (K-18).

    Args:
        volume: in its new phase.
        source: what it is cloned from, None for what is imported, or empty.
    """
    phase, own = Phase(volume.status.phase), volume.metadata
    if source is not None:
        way = f"from {source.namespace}/{source.name} into {own.namespace}/{own.name}"
        if phase is Phase.SUCCEEDED:
            return "CloneSucceeded", f"Successfully cloned {way}"
        return str(phase), f"Cloning {way} {'scheduled' if phase is Phase.CLONE_SCHEDULED else 'in progress'}"
    if phase is Phase.SUCCEEDED:
        return "ImportSucceeded", f"Successfully imported into PVC {own.name}"
    return str(phase), f"Import into {own.name} {'scheduled' if phase is Phase.IMPORT_SCHEDULED else 'in progress'}"


CLONE_PHASES = {
    "CSIClone": Phase.CSI_CLONE_IN_PROGRESS,
    "Snapshot": Phase.SNAPSHOT_FOR_SMART_CLONE_IN_PROGRESS,
    "SnapshotClone": Phase.CLONE_FROM_SNAPSHOT_SOURCE_IN_PROGRESS,
    "Rebind": Phase.REBIND_IN_PROGRESS,
}
"""Phases of a clone by what its transfer says that it does; all else is CloneInProgress (K-18)."""

CLONE_TYPES = {"CSIClone": "csi-clone", "SnapshotClone": "snapshot", "HostClone": "copy"}
"""How a clone was made, in CDI's words, by what its transfer says at its end."""

RUNNING_PHASES = frozenset({Phase.IMPORT_IN_PROGRESS, Phase.CLONE_IN_PROGRESS, *CLONE_PHASES.values()})


def data_source_status(  # noqa: PLR0913 -- one per thing that it may stand for
    data_source: DataSource,
    now: datetime,
    *,
    volume: DataVolume | None,
    snapshot: VolumeSnapshot | None = None,
    claim: ClaimState | None = None,
    target: DataSource | None = None,
) -> DataSource:
    """The DataSource with its condition Ready (D-01 to D-06, D-11 to D-15).

    Args:
        data_source: as stored.
        now: a clock.
        volume: the DataVolume that stands for `spec.source.pvc`, None where there is none.
        snapshot: the VolumeSnapshot that `spec.source.snapshot` names, None where there is none.
        claim: that `spec.source.pvc` names, None where there is none, or only DataVolumes stand for volumes.
        target: the DataSource that `spec.source.dataSource` names, None where there is none.
    """
    reason, message, resolved = _resolve(data_source, volume, snapshot, claim, target)
    ready = reason == DataSourceReason.READY
    before = data_source.status
    if ready and before.source != resolved:
        # Re-pointing a ready DataSource is a transition too, although the status stays True (D-09).
        conditions = [condition for condition in before.conditions if condition.type != "Ready"]
    else:
        conditions = list(before.conditions)
    condition = Condition(type="Ready", status="True" if ready else "False", reason=str(reason), message=message)
    return with_status(
        data_source,
        source=resolved if ready else None,
        conditions=with_condition(conditions, condition, now),
    )


def data_source_projection(  # noqa: PLR0913 -- one per thing that it may stand for
    data_source: DataSource,
    now: datetime,
    *,
    volume: DataVolume | None,
    snapshot: VolumeSnapshot | None,
    claim: ClaimState | None,
    target: DataSource | None,
) -> DataSource:
    """The DataSource with its status and, once it is ready, the labels of what it stands for (D-10)."""
    after = data_source_status(data_source, now, volume=volume, snapshot=snapshot, claim=claim, target=target)
    if after.status.source is None:
        return after
    labels: dict[str, str] = {}
    for item in (volume, snapshot):
        labels |= allowed_labels(item) if item is not None else {}
    return with_labels(after, {**labels, **(claim.labels if claim is not None else {})})


def _resolve(
    data_source: DataSource,
    volume: DataVolume | None,
    snapshot: VolumeSnapshot | None,
    claim: ClaimState | None,
    target: DataSource | None,
) -> tuple[str, str, DataSourceSource | None]:
    source = data_source.spec.source
    namespace = data_source.metadata.namespace
    if source.data_source is not None:
        return _resolve_pointer(data_source, target)
    if source.pvc is not None:
        reason, message = _of_claim(volume, claim)
        pvc = source.pvc.model_copy(update={"namespace": source.pvc.namespace or namespace})
        return reason, message, DataSourceSource(pvc=pvc)
    if source.snapshot is not None:
        return _resolve_snapshot(source.snapshot, namespace, snapshot)
    return *_said(DataSourceReason.NO_SOURCE), None


def _of_claim(volume: DataVolume | None, claim: ClaimState | None) -> tuple[str, str]:
    """What there is to say of a claim (D-02 to D-05)."""
    if volume is None and claim is None:
        return DataSourceReason.NOT_FOUND, PVC_NOT_FOUND
    if volume is not None and volume.status.phase != Phase.SUCCEEDED:
        phase = volume.status.phase or "Pending"
        return phase, phase_message(phase)
    return _said(DataSourceReason.READY)


def _resolve_snapshot(
    named: NamespacedName, namespace: str, snapshot: VolumeSnapshot | None
) -> tuple[str, str, DataSourceSource | None]:
    if snapshot is None:
        return DataSourceReason.NOT_FOUND, SNAPSHOT_NOT_FOUND, None
    if not is_ready(snapshot):
        return *_said(DataSourceReason.SNAPSHOT_NOT_READY), None
    resolved = named.model_copy(update={"namespace": named.namespace or namespace})
    return *_said(DataSourceReason.READY), DataSourceSource(snapshot=resolved)


def _resolve_pointer(data_source: DataSource, target: DataSource | None) -> tuple[str, str, DataSourceSource | None]:
    pointer = data_source.spec.source.data_source
    own = data_source.metadata
    if pointer is not None and (pointer.namespace or own.namespace) != own.namespace:
        return *_said(DataSourceReason.CROSS_NAMESPACE_REFERENCE), None
    if pointer is not None and pointer.name == own.name:
        return *_said(DataSourceReason.SELF_REFERENCE), None
    if target is None:
        return DataSourceReason.NOT_FOUND, "DataSource not found", None
    if target.spec.source.data_source is not None:
        return *_said(DataSourceReason.MAX_REFERENCE_DEPTH_REACHED), None
    ready = next((c for c in target.status.conditions if c.type == "Ready"), None)
    if ready is None or ready.status != "True" or target.status.source is None:
        return *((ready.reason, ready.message) if ready else _said(DataSourceReason.NO_SOURCE)), None
    return *_said(DataSourceReason.READY), target.status.source


def _said(reason: DataSourceReason) -> tuple[str, str]:
    """A reason with its own sentence."""
    return reason, reason.message
