"""What went wrong with a registry, in words that say what to do."""

from __future__ import annotations

import ssl
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
from dataimportcron.reference import Reference

_UNTRUSTED_HINT = "put the registry's CA into a ConfigMap and name it in certConfigMap"


def failure_of_response(
    response: httpx.Response, reference: Reference, host: str, authenticated: bool
) -> DataImportCronError:
    """The error that a registry's answer stands for.

    Args:
        response: with a status that is no success.
        reference: what was asked for.
        host: who was asked.
        authenticated: whether there were credentials for it.
    """
    status = response.status_code
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        who = "these credentials may not read it" if authenticated else "no credentials were given"
        return UnauthorizedError(
            f"{host} refuses {reference} (status {status}): {who}",
            hint="check the name, and the Secret in secretRef" if authenticated else "name a Secret in secretRef",
        )
    if status == httpx.codes.NOT_FOUND:
        return ImageNotFoundError(f"{host} has no {reference}", hint="check the repository's name and the tag")
    retry_after = _retry_after(response)
    if status == httpx.codes.TOO_MANY_REQUESTS or (status == httpx.codes.SERVICE_UNAVAILABLE and retry_after):
        wait = f"; it asks to wait {retry_after:.0f} s" if retry_after else ""
        return TooManyRequestsError(f"{host} limits requests (status {status}){wait}", retry_after=retry_after)
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return RegistryUnavailableError(f"{host} answers with status {status} for {reference}")
    return NotARegistryError(
        f"{host} answers with status {status} for {reference}, as no registry does",
        hint="is this a registry's address?",
    )


def failure_of_transport(error: Exception, reference: Reference, host: str) -> DataImportCronError:
    """The error that a connection's end stands for."""
    if isinstance(error, DataImportCronError):
        return error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return UntrustedCertificateError(
                f"The certificate of {host} is not trusted: {cause.verify_message}", hint=_UNTRUSTED_HINT
            )
        if isinstance(cause, ssl.SSLError):
            return RegistryUnavailableError(f"{host} does not speak TLS as expected: {cause.reason or cause}")
        cause = cause.__cause__ or cause.__context__
    how = "does not answer in time" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
    return RegistryUnavailableError(f"{host} {how} for {reference}: {error or type(error).__name__}")


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds of Retry-After, which is a number or a date; a date counts from the server's own clock."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
        now = parsedate_to_datetime(response.headers["Date"])
    except (TypeError, ValueError, KeyError):
        return None
    return max((_aware(until) - _aware(now)).total_seconds(), 0.0)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
