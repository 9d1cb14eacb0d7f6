"""The words of statuses: phases, and the reasons of conditions with what each means.

Phases and reasons are CDI's; the last ones of `UpToDateReason` are ours. A failed poll has the reason of its error
(see `dataimportcron.errors`).
"""

from __future__ import annotations

from enum import StrEnum


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


class ProgressingReason(StrEnum):
    """Reasons of a cron's Progressing; any other phase of the import stands as itself."""

    NO_IMPORT = "NoImport"
    """Nothing is being imported."""
    IMPORT_SCHEDULED = "ImportScheduled"
    """The import has been accepted and has not begun."""
    IMPORT_PROGRESSING = "ImportProgressing"
    """Bytes are being imported."""
    NOT_AUTHORIZED = "NotAuthorized"
    """The cron's service account may not clone its source."""


class UpToDateReason(StrEnum):
    """Reasons of a cron's UpToDate; a poll that failed has the reason of its error."""

    NO_DIGEST = "NoDigest"
    """No digest is known yet."""
    OUTDATED = "Outdated"
    """The source has a newer digest than the last import."""
    IMPORT_PROGRESSING = "ImportProgressing"
    """The newest digest is being imported."""
    UP_TO_DATE = "UpToDate"
    """The newest digest is imported, and the DataSource points to it."""
    IMPORT_FAILED = "ImportFailed"
    """The import of the newest digest fails; the message says why."""


class DataSourceReason(StrEnum):
    """Reasons of a DataSource's Ready; the phase of an unfinished DataVolume stands as itself."""

    READY = "Ready"
    """The source is complete."""
    NO_SOURCE = "NoSource"
    """The spec names no source."""
    NOT_FOUND = "NotFound"
    """What the spec names does not exist."""
    SNAPSHOT_NOT_READY = "SnapshotNotReady"
    """The snapshot cannot be restored yet."""
    MAX_REFERENCE_DEPTH_REACHED = "MaxReferenceDepthReached"
    """A DataSource that points to a pointer."""
    SELF_REFERENCE = "SelfReference"
    """A DataSource that points to itself."""
    CROSS_NAMESPACE_REFERENCE = "CrossNamespaceReference"
    """A DataSource that points into another namespace."""
