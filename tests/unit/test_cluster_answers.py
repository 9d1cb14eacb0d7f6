"""Answers of an API server as our errors."""

from __future__ import annotations

import json

import pytest

from dataimportcron.cluster.client.answers import failure, failure_in_watch
from dataimportcron.errors import (
    AlreadyExistsError,
    ApiUnavailableError,
    ConflictError,
    ExpiredVersionError,
    ForbiddenError,
    InvalidObjectError,
    NotAuthenticatedError,
    NotServedError,
    ObjectNotFoundError,
    QuotaExceededError,
)


def answer(code, message="words", reason="", **details):
    status = {"kind": "Status", "code": code, "message": message, "reason": reason, "details": details}
    return failure("get Pod golden/a", code, json.dumps(status).encode())


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answer(404, name="a", kind="pods"), ObjectNotFoundError),
        (answer(404), NotServedError),
        (failure("x", 404, b"404 page not found\n"), NotServedError),
        (answer(409, reason="AlreadyExists", name="a"), AlreadyExistsError),
        (answer(409, reason="Conflict", name="a"), ConflictError),
        (answer(422, causes=[{"field": "metadata.uid", "message": "field is immutable"}]), ConflictError),
        (answer(422, causes=[{"field": "spec.x", "message": "must not"}]), InvalidObjectError),
        (answer(400), InvalidObjectError),
        (answer(401), NotAuthenticatedError),
        (answer(403, 'User "a" cannot list resource "pods"'), ForbiddenError),
        (answer(403, 'pods "a" is forbidden: exceeded quota: q, requested: pods=1'), QuotaExceededError),
        (answer(410), ExpiredVersionError),
        (answer(429), ApiUnavailableError),
        (answer(500), ApiUnavailableError),
        (answer(504), ApiUnavailableError),
        (failure_in_watch("watch pods", {"kind": "Status", "code": 410, "message": "too old"}), ExpiredVersionError),
        (failure_in_watch("watch pods", {"kind": "Status", "message": "oh"}), ApiUnavailableError),
    ],
)
def test_each_answer_is_the_error_that_says_whether_to_try_again(error, kind):
    assert type(error) is kind


def test_the_servers_words_and_what_was_asked_are_kept():
    assert answer(403, 'User "a" cannot get').message == 'get Pod golden/a: User "a" cannot get'


def test_a_page_of_a_proxy_is_quoted_shortly():
    error = failure("list pods", 502, b"<html>" + b"x" * 10_000)
    assert "<html>" in str(error)
    assert len(str(error)) < 600


def test_all_faults_are_told():
    causes = [{"field": "spec.schedule", "message": "Invalid value"}, {"message": "no field"}]
    assert answer(422, causes=causes).faults == ("spec.schedule: Invalid value", "no field")


def test_the_server_says_how_long_to_wait():
    assert failure("list pods", 429, b"", "7").retry_after == 7
    assert answer(503, retryAfterSeconds=3).retry_after == 3
    assert answer(503).retry_after is None
