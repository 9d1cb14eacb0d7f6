"""What can go wrong, as a person meets it.

Every error names the thing, says what was found and, in `hint`, what to do. `reason` is the CamelCase word that a
condition, an event, a log line and the Temporal UI all carry; `permanent` decides whether a retry can help.

    DataImportCronError
    ├── PermanentError                  the same call fails again until somebody changes something
    │   ├── InvalidObjectError          InvalidSpec          a document breaks the API's rules
    │   ├── InvalidReferenceError       InvalidReference     not an image reference
    │   ├── InvalidScheduleError        InvalidSchedule      not a cron expression
    │   ├── MissingDependencyError      MissingDependency    a Secret, ConfigMap or file that is named is not there
    │   │   └── CloneWithoutSourceError CloneWithoutSource   what is to be cloned is not there, or not any more
    │   ├── UnauthorizedError           Unauthorized         401 or 403 of a registry or its token server
    │   ├── ImageNotFoundError          ImageNotFound        no such repository or tag
    │   ├── PlatformNotFoundError       PlatformNotFound     the index has no manifest for the platform
    │   ├── UntrustedCertificateError   UntrustedCertificate TLS verification failed
    │   ├── NotARegistryError           NotARegistry         something answers, but not the distribution API
    │   ├── InvalidImageError           InvalidImage         the image holds no disk, several, or a forbidden one
    │   ├── DigestMismatchError         DigestMismatch       bytes are not what their digest says
    │   ├── VolumeTooSmallError         VolumeTooSmall       the disk is larger than the volume
    │   ├── TargetNotWritableError      TargetNotWritable    the user that imports must not write there
    │   ├── ForeignFileError            ForeignFile          a file of somebody else's has the volume's name
    │   ├── ForeignVolumeError          ForeignVolume        a claim of somebody else's has the volume's name
    │   ├── KubeconfigError             InvalidKubeconfig    nothing says how the cluster is reached, or not rightly
    │   └── ForbiddenError              Forbidden            RBAC, Pod Security, a policy or a webhook forbids it
    ├── TransientError                  the same call may succeed later
    │   ├── RegistryUnavailableError    RegistryUnavailable  refused, reset, timed out, DNS, 5xx
    │   ├── TooManyRequestsError        TooManyRequests      429, 503 with Retry-After
    │   ├── NoSpaceError                NoSpace              the target's file system is full
    │   ├── TargetBusyError             TargetBusy           another process holds the target
    │   ├── ImporterDiedError           ImporterDied         the importer ended without a word
    │   ├── ImagePullingError           ImagePulling         a node still pulls an image, which takes its time
    │   ├── InUseError                  InUse                somebody uses what is to be removed or replaced
    │   ├── StorageUnavailableError     StorageUnavailable   a storage folder is not there, or not mounted
    │   ├── ApiUnavailableError         ApiUnavailable       the API server: refused, reset, timed out, 429, 5xx
    │   ├── NotAuthenticatedError       NotAuthenticated     the API server does not take our credentials
    │   ├── NotServedError              NotServed            the API server knows no such kind: a CRD is missing
    │   ├── QuotaExceededError          QuotaExceeded        a ResourceQuota of the namespace is used up
    │   └── ExpiredVersionError         Expired              the API server no longer knows a resourceVersion
    └── ObjectError                     the object store's own answers
        ├── ObjectNotFoundError         NotFound
        ├── AlreadyExistsError          AlreadyExists
        └── ConflictError               Conflict             resourceVersion or uid is not the one that was read
"""

from __future__ import annotations

from typing import ClassVar


class DataImportCronError(Exception):
    """Root of all errors of this project.

    Args:
        message: one sentence: the thing, what was expected, what was found.
        hint: what to do about it; empty where the message says it already.
    """

    reason: ClassVar[str] = "Error"
    permanent: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class PermanentError(DataImportCronError):
    """The same call fails again until somebody changes something."""

    permanent = True


class InvalidObjectError(PermanentError):
    """A document breaks the API's rules; `faults` lists all of them, one sentence each."""

    reason = "InvalidSpec"

    def __init__(self, message: str, *, faults: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.faults = faults


class InvalidReferenceError(PermanentError):
    """Not an image reference as the OCI distribution specification reads it."""

    reason = "InvalidReference"


class InvalidScheduleError(PermanentError):
    """Not a cron expression as robfig's ParseStandard reads it."""

    reason = "InvalidSchedule"


class MissingDependencyError(PermanentError):
    """A Secret, ConfigMap or file that something refers to does not exist."""

    reason = "MissingDependency"


class CloneWithoutSourceError(MissingDependencyError):
    """What is to be cloned does not exist, or not any more; its clone waits for it."""

    reason = "CloneWithoutSource"


class UnauthorizedError(PermanentError):
    """A registry or its token server answered 401 or 403."""

    reason = "Unauthorized"


class ImageNotFoundError(PermanentError):
    """The registry knows no such repository, tag or digest."""

    reason = "ImageNotFound"


class PlatformNotFoundError(PermanentError):
    """The index holds no manifest for the wanted platform."""

    reason = "PlatformNotFound"


class UntrustedCertificateError(PermanentError):
    """TLS verification of a registry failed."""

    reason = "UntrustedCertificate"


class NotARegistryError(PermanentError):
    """Something answers at the registry's address, but not the distribution API."""

    reason = "NotARegistry"


class InvalidImageError(PermanentError):
    """The image holds no disk, more than one, or one that must not be read."""

    reason = "InvalidImage"


class DigestMismatchError(PermanentError):
    """Bytes are not what their digest or size says."""

    reason = "DigestMismatch"


class VolumeTooSmallError(PermanentError):
    """The disk's virtual size is larger than the volume."""

    reason = "VolumeTooSmall"


class TargetNotWritableError(PermanentError):
    """The user that the importer runs as must not write the target, or nobody may."""

    reason = "TargetNotWritable"


class ForeignFileError(PermanentError):
    """A file that we have not made has the name of a volume; it is never overwritten."""

    reason = "ForeignFile"


class ForeignVolumeError(PermanentError):
    """A PersistentVolumeClaim that we have not made has the name of a volume; it is left alone."""

    reason = "ForeignVolume"


class KubeconfigError(PermanentError):
    """Nothing says how the cluster is reached, or what says so is wrong."""

    reason = "InvalidKubeconfig"


class ForbiddenError(PermanentError):
    """The cluster's rules forbid it: RBAC, Pod Security, an admission policy or webhook."""

    reason = "Forbidden"


class TransientError(DataImportCronError):
    """The same call may succeed later."""


class RegistryUnavailableError(TransientError):
    """The registry could not be reached or answered with a server error."""

    reason = "RegistryUnavailable"


class TooManyRequestsError(TransientError):
    """The registry asks for patience; `retry_after` is in seconds, None where it does not say."""

    reason = "TooManyRequests"

    def __init__(self, message: str, *, retry_after: float | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class NoSpaceError(TransientError):
    """The target's file system is full."""

    reason = "NoSpace"


class TargetBusyError(TransientError):
    """Another process holds the target."""

    reason = "TargetBusy"


class ImporterDiedError(TransientError):
    """The importer ended without a result: killed, crashed, evicted."""

    reason = "ImporterDied"


class ImagePullingError(TransientError):
    """A node has not pulled an image yet."""

    reason = "ImagePulling"


class InUseError(TransientError):
    """Somebody uses a volume that is to be removed or replaced."""

    reason = "InUse"


class StorageUnavailableError(TransientError):
    """The folder of a storage class is not there; what lies on it is lost only to sight."""

    reason = "StorageUnavailable"


class ApiUnavailableError(TransientError):
    """The API server did not answer, or asks for patience; `retry_after` is in seconds, None where it says nothing."""

    reason = "ApiUnavailable"

    def __init__(self, message: str, *, retry_after: float | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class NotAuthenticatedError(TransientError):
    """The API server does not take our credentials; they are renewed by whoever gave them."""

    reason = "NotAuthenticated"


class NotServedError(TransientError):
    """The API server knows no such kind: a CustomResourceDefinition is missing, or not established yet."""

    reason = "NotServed"


class QuotaExceededError(TransientError):
    """A ResourceQuota of the namespace leaves no room."""

    reason = "QuotaExceeded"


class ExpiredVersionError(TransientError):
    """The API server no longer knows a resourceVersion; what was read with it must be read anew."""

    reason = "Expired"


class ObjectError(DataImportCronError):
    """The object store's own answers; callers handle each by its class."""


class ObjectNotFoundError(ObjectError):
    """There is no such object."""

    reason = "NotFound"


class AlreadyExistsError(ObjectError):
    """An object of that kind, namespace and name exists."""

    reason = "AlreadyExists"


class ConflictError(ObjectError):
    """The object changed since it was read: its resourceVersion or uid is another."""

    reason = "Conflict"


def error_of(
    reason: str, message: str, *, permanent: bool = False, retry_after: float | None = None
) -> DataImportCronError:
    """The error that another process has told of, by its reason; one of a reason that we do not know is as it says.

    Args:
        reason: of its class.
        message: its text.
        permanent: of a reason that is not known here.
        retry_after: of a `TooManyRequestsError`, in seconds.
    """
    kind = _BY_REASON.get(reason)
    if kind is TooManyRequestsError:
        return TooManyRequestsError(message, retry_after=retry_after)
    if kind is not None:
        return kind(message)
    return (PermanentError if permanent else TransientError)(message)


_BY_REASON: dict[str, type[DataImportCronError]] = {
    kind.reason: kind
    for kind in list(vars().values())
    if isinstance(kind, type) and issubclass(kind, DataImportCronError) and kind.reason != "Error"
}
