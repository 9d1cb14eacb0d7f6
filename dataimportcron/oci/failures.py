"""What went wrong with a registry, in words that say who was asked for what, and what to do."""

from __future__ import annotations

import json
import math
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from dataimportcron.errors import (
    DataImportCronError,
    ImageNotFoundError,
    NotARegistryError,
    RegistryUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
    UntrustedCertificateError,
)
from dataimportcron.reference import Reference, is_digest

_LONGEST_WAIT = 86400.0
"""Seconds; a registry that asks for more is asked again after a day."""
_HINT_CA = "put the registry's CA into a ConfigMap and name it in certConfigMap"
_HINT_NAME = "use a name that is in the certificate"
_HINTS_TLS = {10: "renew the registry's certificate", 62: _HINT_NAME, 64: _HINT_NAME}
"""By OpenSSL's verify codes: expired, mismatch of the host name, of the IP address."""
_HINT_PLAIN = "a registry that speaks plain http must be among the insecure registries"
_LONGEST_WORDS = 300


def failure_of_response(  # noqa: PLR0913 -- what a message tells
    response: httpx.Response, body: bytes, reference: Reference, path: str, host: str, *, authenticated: bool
) -> DataImportCronError:
    """The error that a registry's answer stands for.

    Args:
        response: with a status that is no success.
        body: the beginning of its body.
        reference: in whose name.
        path: what was asked for, below the repository.
        host: who was asked.
        authenticated: whether there were credentials for it.
    """
    status = response.status_code
    code, words = _registry_words(body)
    if response.history:
        host = f"{response.url.host}, where {host} sends us,"
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        who = "the given credentials may not read it" if authenticated else "no credentials were given"
        cure = "the Secret in secretRef" if authenticated else "name a Secret in secretRef if it is private"
        return UnauthorizedError(
            f"{host} refuses {reference} (status {status}): {who}{words}", hint=f"check the name, and {cure}"
        )
    if status == httpx.codes.NOT_FOUND and not _is_html(response):
        return _not_found(code, reference, path, host)
    return failure_of_status(response, f"{host} answers {reference} with status {status}{words}")


def failure_of_status(response: httpx.Response, what: str) -> DataImportCronError:
    """The error of a status that says the same whoever answers; `what` tells who answered what."""
    status = response.status_code
    retry_after = _retry_after(response)
    if status == httpx.codes.TOO_MANY_REQUESTS or (
        status == httpx.codes.SERVICE_UNAVAILABLE and retry_after is not None
    ):
        wait = f"; it asks to wait {retry_after:.0f} s" if retry_after else ""
        return TooManyRequestsError(f"{what}{wait}", retry_after=retry_after)
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return RegistryUnavailableError(what)
    return NotARegistryError(f"{what}, as no registry does", hint="is this a registry's address?")


def failure_of_transport(error: Exception, what: str, host: str) -> DataImportCronError:
    """The error that a broken or impossible connection stands for.

    Args:
        error: httpx's.
        what: was asked for, in words.
        host: who was asked.
    """
    if isinstance(error, httpx.TooManyRedirects | httpx.UnsupportedProtocol | httpx.InvalidURL | httpx.DecodingError):
        return NotARegistryError(f"{host} answers as no registry does, asked for {what}: {error}")
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return UntrustedCertificateError(
                f"The certificate of {host} is not trusted: {cause.verify_message}",
                hint=_HINTS_TLS.get(cause.verify_code, _HINT_CA),
            )
        if isinstance(cause, ssl.SSLError):
            hint = _HINT_PLAIN if cause.reason == "WRONG_VERSION_NUMBER" else ""
            return RegistryUnavailableError(f"{host} does not speak TLS: {cause.reason or cause}", hint=hint)
    return RegistryUnavailableError(f"{host} {_how(error)}, asked for {what}: {error or type(error).__name__}")


def speaks_no_tls(error: Exception) -> bool:
    """Whether the other side answered, but not in TLS."""
    return any(
        isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLCertVerificationError)
        for cause in _causes(error)
    )


def _how(error: Exception) -> str:
    causes = list(_causes(error))
    if isinstance(error, httpx.TimeoutException):
        return "does not answer in time"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "has a name that DNS does not know"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "refuses connections"
    if isinstance(error, httpx.ProxyError):
        return "cannot be reached through the proxy"
    if isinstance(error, httpx.ConnectError):
        return "cannot be reached"
    return "broke the connection"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _not_found(code: str, reference: Reference, path: str, host: str) -> ImageNotFoundError:
    who = host if host == reference.registry else f"{host}, a mirror of {reference.registry},"
    if code == "NAME_UNKNOWN":
        return ImageNotFoundError(
            f"{who} has no repository {reference.repository}", hint=f"correct the name in {reference}"
        )
    kind, _, target = path.partition("/")
    what = f"blob {target}" if kind == "blobs" else f"digest {target}" if is_digest(target) else f"tag {target}"
    return ImageNotFoundError(
        f"{who} does not have the {what} in the repository {reference.repository}",
        hint="push the image again, or use another"
        if is_digest(target)
        else "correct the name or the tag, or push the image",
    )


def _registry_words(body: bytes) -> tuple[str, str]:
    """Code and message of the distribution specification's errors, for a message; ("", "") where there are none."""
    try:
        first = json.loads(body)["errors"][0]
        code, message = str(first.get("code", "")), str(first.get("message", ""))
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return "", ""
    words = "".join(letter if letter.isprintable() else " " for letter in f"{code}: {message}")
    return code, f" ({words[:_LONGEST_WORDS].strip(': ')})"


def _is_html(response: httpx.Response) -> bool:
    return "html" in response.headers.get("Content-Type", "").lower()


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds of Retry-After, which is a number or a date; a date counts from the server's own clock."""
    value = response.headers.get("Retry-After", "").strip()
    try:
        if value.isdecimal():
            seconds = float(value)
        else:
            seconds = (_moment(value) - _moment(response.headers["Date"])).total_seconds()
    except (TypeError, ValueError, KeyError):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT) if math.isfinite(seconds) else _LONGEST_WAIT


def _moment(value: str) -> datetime:
    moment = parsedate_to_datetime(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
