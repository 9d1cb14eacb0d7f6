"""What Temporal is told of a failure: whether to retry, and when."""

import errno
import os
from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.failures import application_error, translated
from dataimportcron import errors
from dataimportcron.errors import (
    ApiUnavailableError,
    ConflictError,
    DataImportCronError,
    RegistryUnavailableError,
    TooManyRequestsError,
)


def classes(root=DataImportCronError):
    for kind in root.__subclasses__():
        yield kind
        yield from classes(kind)


@pytest.mark.parametrize("kind", sorted(set(classes()), key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_every_class_travels_with_its_reason_its_words_and_its_permanence(kind):
    error = kind("what happened", hint="what to do")
    told = application_error(error)
    assert (told.type, told.message) == (kind.reason, "what happened (what to do)")
    assert told.non_retryable is kind.permanent


def test_only_what_no_retry_can_help_is_permanent():
    assert {kind.__name__ for kind in set(classes()) if kind.permanent and kind.__module__ == errors.__name__} >= {
        "UnauthorizedError",
        "ImageNotFoundError",
        "InvalidImageError",
        "DigestMismatchError",
        "MissingDependencyError",
    }
    assert not RegistryUnavailableError.permanent
    assert not TooManyRequestsError.permanent


@pytest.mark.parametrize(
    ("retry_after", "attempt", "delay"),
    [
        (3600, 1, timedelta(hours=1)),
        (3600, 9, timedelta(hours=1)),
        (1, 1, timedelta(seconds=15)),
        (0.001, 3, timedelta(seconds=60)),
        (1, 30, timedelta(minutes=10)),
        (None, 1, None),
    ],
)
def test_a_registry_is_left_alone_as_long_as_it_asks_and_longer_each_time(retry_after, attempt, delay):
    assert application_error(TooManyRequestsError("x", retry_after=retry_after), attempt).next_retry_delay == delay


def test_a_conflict_is_tried_again_at_once_and_a_registry_that_is_down_by_the_policy():
    assert application_error(ConflictError("x")).next_retry_delay < timedelta(seconds=1)
    assert application_error(RegistryUnavailableError("x")).next_retry_delay is None


def test_a_conflict_alarms_nobody():
    assert application_error(ConflictError("x")).category is ApplicationErrorCategory.BENIGN
    assert application_error(RegistryUnavailableError("x")).category is ApplicationErrorCategory.UNSPECIFIED


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
async def test_what_a_disk_says_is_an_answer_and_is_tried_again(number):
    @translated
    async def write():
        raise OSError(number, os.strerror(number), "status/cron.json")

    with pytest.raises(ApplicationError, match=f"^OSError: status/cron.json: {os.strerror(number)}$") as raised:
        await write()
    assert not raised.value.non_retryable


async def test_another_error_of_the_system_is_a_surprise_and_keeps_its_traceback():
    @translated
    async def write():
        raise OSError(errno.EBADF, "Bad file descriptor")

    with pytest.raises(OSError, match="Bad file descriptor"):
        await write()


def test_an_api_server_that_asks_for_patience_gets_it():
    error = ApiUnavailableError("busy", retry_after=3)
    assert application_error(error).next_retry_delay == timedelta(seconds=3)
    assert application_error(ApiUnavailableError("busy")).next_retry_delay is None
