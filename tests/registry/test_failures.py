"""What a person reads when a registry cannot be used: the host, what was asked for, what was found, what to do."""

import socket
import time
from dataclasses import replace

import httpx
import pytest

from dataimportcron.errors import (
    ImageNotFoundError,
    NotARegistryError,
    RegistryUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
    UntrustedCertificateError,
)
from dataimportcron.oci import bodies
from dataimportcron.oci.registry import Access, Registry
from dataimportcron.reference import Reference
from demo.push import OCI_MANIFEST
from tests.support.fault_registry import Reply, document, fault_registry
from tests.support.stocked import AMD64

PATH = "/v2/disk/manifests/latest"
FOUND = Reply(headers={"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": f"sha256:{'1' * 64}"})
HTML = {"Content-Type": "text/html; charset=utf-8"}


def lookup(host, *, insecure=True, timeout=10.0, **members):
    access = Access(insecure_registries=frozenset({host} if insecure else ()), **members)
    with Registry(access, timeout=httpx.Timeout(timeout)) as client:
        return client.resolve(Reference.parse(f"{host}/disk"), AMD64)


def failure(error, host, **options):
    with pytest.raises(error) as caught:
        lookup(host, **options)
    assert host in caught.value.message
    return caught.value


# -- TLS ---------------------------------------------------------------------------------------------------------------


def test_an_unknown_ca(secure):
    found = failure(UntrustedCertificateError, secure.running.host, insecure=False)
    assert "unable to get local issuer certificate" in found.message
    assert "certConfigMap" in found.hint


def test_another_ca(secure, secure_faults):
    failure(
        UntrustedCertificateError, secure.running.host, insecure=False, ca_certificates=(secure_faults.ca.read_text(),)
    )


def test_an_insecure_registry_is_not_verified(secure):
    assert lookup(secure.running.host).digest == secure.index


def test_an_insecure_registry_may_speak_http(plain):
    assert lookup(plain.running.host).digest == plain.index


def test_http_is_refused_otherwise(plain):
    found = failure(RegistryUnavailableError, plain.running.host, insecure=False)
    assert "does not speak TLS" in found.message
    assert "insecure registries" in found.hint


def test_a_certificate_for_another_name(tmp_path):
    with fault_registry(tmp_path, address="127.0.0.2") as other:
        found = failure(UntrustedCertificateError, other.host, insecure=False, ca_certificates=(other.ca.read_text(),))
    assert "certificate is not valid for '127.0.0.2'" in found.message
    assert "use a name that is in the certificate" in found.hint
    assert not other.requests


# -- connections -------------------------------------------------------------------------------------------------------


def test_nobody_listens():
    found = failure(RegistryUnavailableError, "127.0.0.1:1")
    assert "refuses connections" in found.message
    assert "127.0.0.1:1/disk:latest" in found.message


def test_a_name_that_is_not_known():
    assert "has a name that DNS does not know" in failure(RegistryUnavailableError, "registry.invalid").message


def test_silence():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        assert "does not answer in time" in failure(RegistryUnavailableError, host, timeout=0.2).message


def test_slowness(faults):
    faults.answer(PATH, Reply(delay=1))
    host = faults.host
    with pytest.raises(RegistryUnavailableError, match="does not answer in time"):
        lookup(host, timeout=0.3)


def test_a_cut_connection(faults):
    faults.answer(PATH, Reply(body=b"{" * 1000, cut=10))
    reference = Reference.parse(f"{faults.host}/disk")
    with (
        Registry(Access(insecure_registries=frozenset({faults.host}))) as client,
        pytest.raises(RegistryUnavailableError, match="broke the connection"),
    ):
        client.manifest(reference, AMD64)


def test_a_proxy_of_the_environment_is_used(faults, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", faults.url)
    faults.answer("http://registry.example/v2/disk/manifests/latest", FOUND)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert lookup("registry.example").digest == f"sha256:{'1' * 64}"


def test_a_proxy_is_not_used_for_what_needs_none(faults, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    faults.answer(PATH, FOUND)
    assert lookup(faults.host).digest == f"sha256:{'1' * 64}"


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(status=500), RegistryUnavailableError),
        (Reply(status=502, headers=HTML, body=b"<html>"), RegistryUnavailableError),
        (Reply(status=503), RegistryUnavailableError),
        (Reply(status=504), RegistryUnavailableError),
        (Reply(status=429), TooManyRequestsError),
        (Reply(status=503, headers={"Retry-After": "9"}), TooManyRequestsError),
        (Reply(status=403), UnauthorizedError),
        (Reply(status=400), NotARegistryError),
        (Reply(status=418), NotARegistryError),
        (Reply(status=304), NotARegistryError),
        (Reply(status=404, headers=HTML, body=b"<html>nginx"), NotARegistryError),
        (Reply(status=200, headers=HTML, body=b"<html>welcome"), NotARegistryError),
        (Reply(status=204), NotARegistryError),
    ],
)
def test_status(faults, reply, error):
    faults.answer(PATH, reply)
    with pytest.raises(error) as caught:
        lookup(faults.host)
    assert faults.host in caught.value.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": " 0 "}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:27:30 GMT"}, 30.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 08:00:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "9" * 400}, 86400.0),
        ({"Retry-After": "9" * 20}, 86400.0),
    ],
)
def test_retry_after(headers, seconds):
    from dataimportcron.oci.failures import failure_of_status  # noqa: PLC0415 -- its only use

    response = httpx.Response(429, headers=headers, request=httpx.Request("GET", "https://registry.example"))
    found = failure_of_status(response, "a registry answers with status 429")
    assert isinstance(found, TooManyRequestsError)
    assert found.retry_after == seconds


@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (401, "UNAUTHORIZED", UnauthorizedError, "no credentials were given (UNAUTHORIZED: why)"),
        (403, "DENIED", UnauthorizedError, "no credentials were given (DENIED: why)"),
        (404, "NAME_UNKNOWN", ImageNotFoundError, "has no repository disk"),
        (404, "MANIFEST_UNKNOWN", ImageNotFoundError, "does not have the tag latest in the repository disk"),
        (429, "TOOMANYREQUESTS", TooManyRequestsError, "with status 429 (TOOMANYREQUESTS: why)"),
        (403, "TOOMANYREQUESTS", UnauthorizedError, "TOOMANYREQUESTS: why"),
        (400, "TOOMANYREQUESTS", TooManyRequestsError, "with status 400 (TOOMANYREQUESTS: why)"),
        (405, "UNSUPPORTED", NotARegistryError, "cannot do what reading"),
        (400, "NAME_INVALID", NotARegistryError, "with status 400 (NAME_INVALID: why)"),
    ],
)
def test_codes_of_the_specification(faults, status, code, error, words):
    faults.answer(PATH, Reply(status=404), document({"errors": [{"code": code, "message": "why"}]}, "application/json"))
    faults.replies[PATH][1] = replace(faults.replies[PATH][1], status=status)
    with pytest.raises(error) as caught:
        lookup(faults.host)
    assert words in caught.value.message
    assert caught.value.hint or error is TooManyRequestsError


@pytest.mark.parametrize(("body", "told"), [(b"404 page not found", True), (b'{"errors":[{"code":"X"}]}', False)])
def test_a_404_that_is_no_registrys_says_so(faults, body, told):
    faults.answer(PATH, Reply(status=404, body=body, headers={"Content-Type": "text/plain"}))
    with pytest.raises(ImageNotFoundError) as caught:
        lookup(faults.host)
    assert ("is the address right?" in caught.value.hint) is told


@pytest.mark.parametrize("status", [200, 500])
def test_bytes_that_drip_for_ever_are_not_waited_for(faults, monkeypatch, status):
    """Each byte comes in time, all of them would take an hour."""
    monkeypatch.setattr(bodies, "_PATIENCE", 0.2)
    faults.answer(PATH, Reply(status=404), Reply(status=status, body=b" " * 36_000, drip=0.02))
    started = time.monotonic()
    with pytest.raises(RegistryUnavailableError, match=f"{faults.host} is still sending a short document"):
        lookup(faults.host)
    assert time.monotonic() - started < 30


def test_an_insecure_registry_is_tried_by_https_once_only(plain):
    access = Access(insecure_registries=frozenset({plain.running.host}))
    asked = []
    with Registry(access) as client:
        connected = client._transport._connected

        def counting(endpoint):
            asked.append(endpoint.base.partition(":")[0])
            return connected(endpoint)

        client._transport._connected = counting
        for _ in range(3):
            client.resolve(plain.reference(":amd64"), AMD64)
    assert asked == ["https", "http", "http", "http"]


def test_patience_reaches_the_caller(faults):
    faults.answer(PATH, Reply(status=429, headers={"Retry-After": "42"}))
    with pytest.raises(TooManyRequestsError, match="it asks to wait 42 s") as caught:
        lookup(faults.host)
    assert caught.value.retry_after == 42


def test_the_registrys_own_words_are_quoted_and_harmless(faults):
    body = b'{"errors":[{"code":"TAG_INVALID","message":"first\\nsecond\\u001b[31m' + b"x" * 5000 + b'"}]}'
    faults.answer(PATH, Reply(status=400))
    faults.answer(PATH, Reply(status=400, body=body))
    reference = Reference.parse(f"{faults.host}/disk")
    with (
        Registry(Access(insecure_registries=frozenset({faults.host}))) as client,
        pytest.raises(NotARegistryError) as caught,
    ):
        client.manifest(reference, AMD64)
    assert "TAG_INVALID: first second [31m" in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize(
    "body", [b'{"errors":[]}', b'{"errors":[3]}', b'{"errors":{"a":1}}', b"[]", b"\xff", b"[" * 9000]
)
def test_words_in_another_form_change_nothing(faults, body):
    faults.answer(PATH, Reply(status=500, body=body))
    with (
        Registry(Access(insecure_registries=frozenset({faults.host}))) as client,
        pytest.raises(RegistryUnavailableError, match="with status 500"),
    ):
        client.manifest(Reference.parse(f"{faults.host}/disk"), AMD64)
