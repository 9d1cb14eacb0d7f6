"""Errors that travel between processes by their reason."""

from __future__ import annotations

import pytest

from dataimportcron import errors
from dataimportcron.errors import _BY_REASON, DataImportCronError, TooManyRequestsError, error_of


@pytest.mark.parametrize("kind", sorted(_BY_REASON.values(), key=lambda kind: kind.reason), ids=lambda k: k.reason)
def test_a_failure_is_the_error_that_it_was_there(kind):
    error = error_of(kind.reason, "what, and what to do", permanent=kind.permanent)
    assert type(error) is kind
    assert str(error) == "what, and what to do"


def test_all_errors_are_known():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DataImportCronError)]
    assert {kind.reason for kind in kinds} == {*_BY_REASON, "Error"}


@pytest.mark.parametrize("permanent", [True, False])
def test_a_failure_of_a_newer_program_keeps_its_class(permanent):
    assert error_of("FromTheFuture", "so", permanent=permanent).permanent is permanent


def test_patience_travels():
    error = error_of("TooManyRequests", "slower", retry_after=7.5)
    assert isinstance(error, TooManyRequestsError)
    assert error.retry_after == 7.5
