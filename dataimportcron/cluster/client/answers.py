"""What the API server refuses, as our own errors.

The server explains itself in a `Status` object. Its words are kept, because they name the field, the policy or the
missing right; what we add is which of our errors it is, and so whether trying again can help.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from dataimportcron.cluster.client.resources import Json
from dataimportcron.errors import (
    AlreadyExistsError,
    ApiUnavailableError,
    ConflictError,
    DataImportCronError,
    ExpiredVersionError,
    ForbiddenError,
    InvalidObjectError,
    NotAuthenticatedError,
    NotServedError,
    ObjectNotFoundError,
    QuotaExceededError,
)

_LONGEST = 500
"""Characters of an answer that is no `Status`, such as a proxy's page."""


def status_of(body: bytes) -> Json:
    """The `Status` object in an answer's body; {} if it is something else."""
    try:
        status = json.loads(body)
    except ValueError:
        return {}
    return status if isinstance(status, dict) and status.get("kind") == "Status" else {}


def failure(what: str, code: int, body: bytes = b"", retry_after: str = "") -> DataImportCronError:
    """The error that an answer with this HTTP status code stands for.

    Args:
        what: was asked, as a person says it: create PersistentVolumeClaim golden/fedora.
        code: HTTP status code.
        body: of the answer.
        retry_after: the header of that name, "" where there is none.
    """
    status = status_of(body)
    text = status.get("message") or body.decode(errors="replace").strip()[:_LONGEST] or HTTPStatus(code).phrase
    return _failure(f"{what}: {text}", code, status, _seconds(retry_after, status))


def failure_in_watch(what: str, status: Json) -> DataImportCronError:
    """The error that a `Status` in a stream of changes stands for."""
    code = int(status.get("code") or HTTPStatus.INTERNAL_SERVER_ERROR)
    return _failure(f"{what}: {status.get('message', 'an error')}", code, status, _seconds("", status))


def _failure(message: str, code: int, status: Json, retry_after: float | None) -> DataImportCronError:
    if code in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS} or code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ApiUnavailableError(message, retry_after=retry_after)
    match code:
        case HTTPStatus.NOT_FOUND:
            made = _not_found(message, status)
        case HTTPStatus.CONFLICT:
            made = AlreadyExistsError(message) if status.get("reason") == "AlreadyExists" else ConflictError(message)
        case HTTPStatus.GONE:
            made = ExpiredVersionError(message)
        case HTTPStatus.UNAUTHORIZED:
            made = NotAuthenticatedError(message, hint="the token or certificate is expired, or not of this cluster")
        case HTTPStatus.FORBIDDEN:
            made = _forbidden(message, status)
        case _ if _is_of_another_life(status):
            made = ConflictError(message)
        case _:
            made = InvalidObjectError(message, faults=_faults(status))
    return made


def _is_of_another_life(status: Json) -> bool:
    """Whether a patch names the uid of an earlier object of that name: to the server, an immutable field."""
    return any(cause.get("field") == "metadata.uid" for cause in (status.get("details") or {}).get("causes") or ())


def _not_found(message: str, status: Json) -> DataImportCronError:
    """That a kind is not served says nothing of its objects: they may be there again in a moment."""
    if (status.get("details") or {}).get("name"):
        return ObjectNotFoundError(message)
    return NotServedError(message, hint="its CustomResourceDefinition is not installed, or not established yet")


def _forbidden(message: str, status: Json) -> DataImportCronError:
    if "exceeded quota" in message:
        return QuotaExceededError(message, hint="raise the ResourceQuota, or remove what is not needed")
    causes = (status.get("details") or {}).get("causes") or ()
    if "cannot " in message and not causes:
        return ForbiddenError(
            message, hint="grant it by a Role or ClusterRole; the deployment's roles have all it needs"
        )
    return ForbiddenError(message)


def _faults(status: Json) -> tuple[str, ...]:
    causes = (status.get("details") or {}).get("causes") or ()
    return tuple(f"{cause.get('field', '')}: {cause.get('message', '')}".removeprefix(": ") for cause in causes)


def _seconds(header: str, status: Json) -> float | None:
    text = header or str((status.get("details") or {}).get("retryAfterSeconds") or "")
    return float(text) if text.isdecimal() else None
