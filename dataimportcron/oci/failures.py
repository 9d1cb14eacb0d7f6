"""What went wrong with a registry, in words that say who was asked for what, and what to do."""

from __future__ import annotations

import json
import math
import re
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
from dataimportcron.oci.connections import PROXY
from dataimportcron.reference import Reference, is_digest

_LONGEST_WAIT = 86400.0
"""Seconds; a registry that asks for more is asked again after a day."""
_QUOTA = re.compile(r"(\d{1,9});w=(\d{1,9})", re.ASCII)
_HINT_CA = "put the registry's CA into a ConfigMap and name it in certConfigMap"
_HINT_NAME = "use a name that is in the certificate"
_HINTS_TLS = {10: "renew the registry's certificate", 62: _HINT_NAME, 64: _HINT_NAME}
"""By OpenSSL's verify codes: expired, mismatch of the host name, of the IP address."""
_HINT_PLAIN = "a registry that speaks plain http must be among the insecure registries"
_HINT_PROXY = "check the user name and the password in the proxy's URL"
_HINT_NO_PROXY = "correct HTTPS_PROXY or HTTP_PROXY, or name the registry in NO_PROXY"
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
    if status == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
        return _refused_by_proxy(f"asked for {reference} from {host}", response.request.extensions.get(PROXY))
    code, words = _registry_words(body)
    if response.history:
        host = f"{response.url.host}, where {host} sends us,"
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        who = "the given credentials may not read it" if authenticated else "no credentials were given"
        cure = (
            "the credentials in secretRef or of docker login"
            if authenticated
            else "name a Secret in secretRef if it is private"
        )
        return UnauthorizedError(
            f"{host} refuses {reference} (status {status}): {who}{words}", hint=f"check the name, and {cure}"
        )
    if status == httpx.codes.NOT_FOUND and not _is_html(response):
        return _not_found(code, reference, path, host)
    if code == "UNSUPPORTED":
        return NotARegistryError(
            f"{host} cannot do what reading {reference} needs (status {status}){words}",
            hint="is it a registry of container images, and of this format?",
        )
    if code == "TOOMANYREQUESTS":
        return _too_many(response, f"{host} answers {reference} with status {status}{words}")
    return failure_of_status(response, f"{host} answers {reference} with status {status}{words}")


def failure_of_status(response: httpx.Response, what: str) -> DataImportCronError:
    """The error of a status that says the same whoever answers; `what` tells who answered what."""
    status = response.status_code
    if status == httpx.codes.TOO_MANY_REQUESTS or (
        status == httpx.codes.SERVICE_UNAVAILABLE and _retry_after(response) is not None
    ):
        return _too_many(response, what)
    if status == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
        return _refused_by_proxy(what, response.request.extensions.get(PROXY))
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return RegistryUnavailableError(what)
    return NotARegistryError(f"{what}, as no registry does", hint="is this a registry's address?")


def _too_many(response: httpx.Response, what: str) -> TooManyRequestsError:
    retry_after = _retry_after(response)
    wait = f"; it asks to wait {retry_after:.0f} s" if retry_after else ""
    # As Docker Hub tells it: `100;w=21600`.
    quota = _QUOTA.fullmatch(response.headers.get("RateLimit-Limit", ""))
    allowed = f"; it allows {quota[1]} requests in {quota[2]} s" if quota else ""
    hint = "with credentials a registry often allows more" if "Authorization" not in response.request.headers else ""
    return TooManyRequestsError(f"{what}{wait}{allowed}", retry_after=retry_after, hint=hint)


def _refused_by_proxy(what: str, proxy: object) -> UnauthorizedError:
    who = f"The proxy {proxy}" if proxy else "A proxy"
    return UnauthorizedError(f"{who} wants to be given credentials (status 407), {what}", hint=_HINT_PROXY)


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
            if cause.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED":
                return UnauthorizedError(f"{host} wants a client certificate", hint="name it as `client` in hosts.toml")
            hint = _HINT_PLAIN if cause.reason == "WRONG_VERSION_NUMBER" else ""
            return RegistryUnavailableError(f"{host} does not speak TLS: {cause.reason or cause}", hint=hint)
    proxy = _proxy(error)
    if proxy:
        return _failure_of_proxy(error, f"asked for {what} from {host}", proxy)
    return RegistryUnavailableError(f"{host} {_how(error)}, asked for {what}: {error or type(error).__name__}")


def _failure_of_proxy(error: Exception, what: str, proxy: object) -> DataImportCronError:
    """A connection through a proxy that is broken, or that the proxy refuses to make: `407 Reason`, in its words."""
    words = str(error)[:_LONGEST_WORDS] or type(error).__name__
    if isinstance(error, httpx.ProxyError):
        status = words.partition(" ")[0]
        if status == str(httpx.codes.PROXY_AUTHENTICATION_REQUIRED):
            return _refused_by_proxy(what, proxy)
        if status == str(httpx.codes.FORBIDDEN):
            return UnauthorizedError(f"The proxy {proxy} does not let us through, {what}: {words}", hint=_HINT_NO_PROXY)
        return RegistryUnavailableError(f"The proxy {proxy} cannot get through, {what}: {words}", hint=_HINT_NO_PROXY)
    return RegistryUnavailableError(f"The proxy {proxy} {_how(error)}, {what}: {words}", hint=_HINT_NO_PROXY)


def _proxy(error: Exception) -> object:
    """The proxy that the failed request was sent through, None where there was none."""
    try:
        return error.request.extensions.get(PROXY) if isinstance(error, httpx.RequestError) else None
    except RuntimeError:
        return None


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
    cure = (
        "push the image again, or use another"
        if is_digest(target)
        else "correct the name or the tag, or push the image"
    )
    if not code:
        # A web server that is no registry answers so, too.
        cure += "; it gives no error of a registry: is the address right?"
    return ImageNotFoundError(f"{who} does not have the {what} in the repository {reference.repository}", hint=cure)


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
