"""The words of statuses: condition types, phases, and the reasons of conditions with what each means and says.

Phases, reasons and messages are CDI's, to the letter: dashboards, runbooks and `kubectl wait` match on them. Where CDI
has no word, one of ours stands and its docstring says so. A failed poll has the reason of its error, see
`dataimportcron.errors`; those are not repeated here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Self


class ConditionType(StrEnum):
    """Types of conditions, over all kinds."""

    PROGRESSING = "Progressing"
    """Of a DataImportCron: an import runs."""
    UP_TO_DATE = "UpToDate"
    """Of a DataImportCron: the DataSource points to the newest digest."""
    READY = "Ready"
    """It can be used; of a DataImportCron: its DataSource points to a complete import."""
    BOUND = "Bound"
    """Of a DataVolume: its volume exists."""
    RUNNING = "Running"
    """Of a DataVolume: it is being filled."""


class Phase(StrEnum):
    """Phases of a DataVolume."""

    UNSET = ""
    PENDING = "Pending"
    PVC_BOUND = "PVCBound"
    IMPORT_SCHEDULED = "ImportScheduled"
    IMPORT_IN_PROGRESS = "ImportInProgress"
    CLONE_SCHEDULED = "CloneScheduled"
    CLONE_IN_PROGRESS = "CloneInProgress"
    SNAPSHOT_FOR_SMART_CLONE_IN_PROGRESS = "SnapshotForSmartCloneInProgress"
    CLONE_FROM_SNAPSHOT_SOURCE_IN_PROGRESS = "CloneFromSnapshotSourceInProgress"
    SMART_CLONE_PVC_IN_PROGRESS = "SmartClonePVCInProgress"
    CSI_CLONE_IN_PROGRESS = "CSICloneInProgress"
    EXPANSION_IN_PROGRESS = "ExpansionInProgress"
    NAMESPACE_TRANSFER_IN_PROGRESS = "NamespaceTransferInProgress"
    UPLOAD_SCHEDULED = "UploadScheduled"
    UPLOAD_READY = "UploadReady"
    WAIT_FOR_FIRST_CONSUMER = "WaitForFirstConsumer"
    PENDING_POPULATION = "PendingPopulation"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"
    PAUSED = "Paused"
    PREP_CLAIM_IN_PROGRESS = "PrepClaimInProgress"
    REBIND_IN_PROGRESS = "RebindInProgress"


ENDED: Final = frozenset({Phase.SUCCEEDED, Phase.FAILED})
"""Phases in which nothing populates a DataVolume any more."""


class Reason(StrEnum):
    """A reason, and in `message` the sentence that stands with it; empty where the sentence depends on the case."""

    message: str

    def __new__(cls, value: str, message: str = "") -> Self:
        """A member from its value and its message."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.message = message
        return member


class ProgressingReason(Reason):
    """Reasons of a cron's Progressing; any other phase of the import stands as itself, see `phase_message`."""

    NO_IMPORT = "NoImport", "No current import"
    """Nothing is being imported."""
    IMPORT_SCHEDULED = "ImportScheduled", "Import is scheduled"
    """The import has been accepted and has not begun."""
    IMPORT_PROGRESSING = "ImportProgressing", "Import is progressing"
    """Bytes are being imported."""
    IMPORT_FAILED = "ImportFailed"
    """Ours: the import fails so far and is tried again; the message says why."""
    NOT_AUTHORIZED = "NotAuthorized", "Not authorized to create DataVolume"
    """The cron's service account may not clone its source."""


class UpToDateReason(Reason):
    """Reasons of a cron's UpToDate; a poll that failed has the reason of its error."""

    NO_DIGEST = "NoDigest", "No source digest"
    """No digest is known yet."""
    OUTDATED = "Outdated", "Source digest updated since last import"
    """The source has a newer digest than the last import."""
    IMPORT_PROGRESSING = "ImportProgressing", "Import is progressing"
    """The newest digest is being imported."""
    UP_TO_DATE = "UpToDate", "Latest import is up to date"
    """The newest digest is imported, and the DataSource points to it."""
    IMPORT_FAILED = "ImportFailed"
    """Ours: the import of the newest digest fails; the message says why."""
    ENGINE_UNAVAILABLE = "EngineUnavailable"
    """Ours: a poll is overdue because Temporal does not answer. The registry was not asked, so none has failed."""


class ReadyReason(Reason):
    """Reasons of a cron's Ready, which is ours; where it is False for another cause, that of UpToDate stands."""

    READY = "Ready"
    """The DataSource points to a complete import; the message names both."""
    INVALID_SPEC = "InvalidSpec"
    """The spec breaks a rule that no admission could know; nothing is polled until it is changed."""


class DataSourceReason(Reason):
    """Reasons of a DataSource's Ready; the phase of an unfinished DataVolume stands as itself, see `phase_message`."""

    READY = "Ready", "DataSource is ready to be consumed"
    """The source is complete."""
    NO_SOURCE = "NoSource", "No source PVC set"
    """The spec names no source."""
    NOT_FOUND = "NotFound"
    """What the spec names does not exist; `PVC_NOT_FOUND` or `SNAPSHOT_NOT_FOUND` says which."""
    SNAPSHOT_NOT_READY = "SnapshotNotReady", "Snapshot phase is not ready"
    """The snapshot cannot be restored yet."""
    MAX_REFERENCE_DEPTH_REACHED = (
        "MaxReferenceDepthReached",
        "DataSource reference chain exceeds maximum depth of 1",
    )
    """A DataSource that points to a pointer."""
    SELF_REFERENCE = "SelfReference", "DataSource cannot self-reference"
    """A DataSource that points to itself."""
    CROSS_NAMESPACE_REFERENCE = (
        "CrossNamespaceReference",
        "DataSource cannot reference a DataSource in another namespace",
    )
    """A DataSource that points into another namespace."""


class RunningReason(Reason):
    """Reasons of a DataVolume's Running while it is False."""

    ERROR = "Error"
    """The import failed; the message says why."""
    IMAGE_PULL_FAILED = "ImagePullFailed"
    """The image cannot be read; the message starts with "failed to pull image"."""
    UNSCHEDULABLE = "Unschedulable", "Importer pod cannot be scheduled"
    """No node takes the importer."""
    CLONE_WITHOUT_SOURCE = "CloneWithoutSource"
    """What is to be cloned does not exist yet; the message names it."""
    COMPLETED = "Completed", "Import Complete"
    """All bytes are there."""


SNAPSHOT_PROGRESSING: Final = "Snapshot of imported data is progressing"
"""Message of UpToDate=False/ImportProgressing once the import is complete and its snapshot is not."""
PVC_NOT_FOUND: Final = "PVC not found"
"""Message of a DataSource's NotFound."""
SNAPSHOT_NOT_FOUND: Final = "Snapshot not found"
"""Message of a DataSource's NotFound."""


def phase_message(phase: str) -> str:
    """What stands with a reason that is a DataVolume's phase."""
    return f"Import DataVolume phase {phase}"
