"""Our errors as Temporal's: what is retried, when, and under which name it stands in the UI.

Retry policies match on the type's name alone, so permanence travels as `non_retryable`, and a registry's Retry-After
as the next retry delay: the attempt gives its slot back while it waits.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from dataimportcron.errors import ApiUnavailableError, ConflictError, DataImportCronError, TooManyRequestsError

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE, _MOST_PATIENCE = timedelta(seconds=15), timedelta(minutes=10)
"""A registry that asks for patience is left alone so long at least, twice as long each time, whatever it asks for."""
_CONFLICT_DELAY = timedelta(milliseconds=200)
"""A conflict is over as soon as the object is read again."""

_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
"""What a disk may say at any moment; where in the code it said so is nobody's concern."""


def application_error(error: DataImportCronError, attempt: int = 1) -> ApplicationError:
    """The error as an activity fails with it in its so-manieth attempt: same words, its reason as the type."""
    delay, category = None, ApplicationErrorCategory.UNSPECIFIED
    if isinstance(error, ConflictError):
        # Two that write one object are daily life: no warning, no failure in the metrics.
        delay, category = _CONFLICT_DELAY, ApplicationErrorCategory.BENIGN
    elif isinstance(error, TooManyRequestsError) and error.retry_after:
        patience = min(_PATIENCE * 2 ** min(attempt - 1, 10), _MOST_PATIENCE)
        delay = max(timedelta(seconds=error.retry_after), patience)
    elif isinstance(error, ApiUnavailableError) and error.retry_after:
        delay = min(timedelta(seconds=error.retry_after), _MOST_PATIENCE)
    return ApplicationError(
        str(error),
        type=error.reason,
        non_retryable=error.permanent,
        next_retry_delay=delay,
        category=category,
    )


def translated(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let an activity raise our errors as they are."""

    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await function(*args, **kwargs)
        except DataImportCronError as error:
            raise application_error(error, activity.info().attempt) from error
        except OSError as error:
            if error.errno not in _DISK:
                raise
            raise ApplicationError(f"{error.filename}: {error.strerror}", type=type(error).__name__) from error

    return call
