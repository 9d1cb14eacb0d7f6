"""Requests to a registry: mirrors first, challenges answered, failures named.

What an endpoint refuses or cannot do, the next one may. If none can, the failure that says most is raised: an answer
outranks a broken connection, and a 404, of a mirror too, outranks a broken connection to the origin. A host that has
asked to wait is passed over meanwhile. Authorization never follows a redirect to another host, and no challenge of such
a host is answered.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from time import monotonic
from typing import TypeVar

import httpx

from dataimportcron.errors import (
    DataImportCronError,
    DigestMismatchError,
    ImageNotFoundError,
    InvalidObjectError,
    TooManyRequestsError,
    UntrustedCertificateError,
)
from dataimportcron.oci.access import Access
from dataimportcron.oci.auth import Authorizer, parse_challenges
from dataimportcron.oci.bodies import beginning, bounded
from dataimportcron.oci.connections import Connections, contexts
from dataimportcron.oci.credentials import Credentials, narrowest
from dataimportcron.oci.digests import verify
from dataimportcron.oci.endpoints import Endpoint, endpoints_of
from dataimportcron.oci.failures import failure_of_response, failure_of_transport, speaks_no_tls
from dataimportcron.oci.limits import Limits
from dataimportcron.oci.proxies import Proxies
from dataimportcron.reference import Reference, is_digest

LARGEST_DOCUMENT = 4 << 20
"""Bytes of a manifest or a config; the specification's own limit for manifests."""

_LONGEST_ERROR = 16 << 10
_PLAIN = 300.0
"""Seconds for which an insecure registry that was found to speak plain http is not tried by https again."""
_NO_HEAD = {httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED, httpx.codes.NOT_IMPLEMENTED}
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A short answer; `body` is empty after HEAD, `digest` is "" where the registry does not say it."""

    host: str
    body: bytes
    media_type: str
    digest: str


class Transport:
    """Connections, kept alive, and tokens; for several threads at once.

    Args:
        access: as whom, and to where.
        timeout: of each step of a request.
        limits: what hosts have asked for; shared with other clients.
    """

    def __init__(self, access: Access, timeout: httpx.Timeout, limits: Limits) -> None:
        self._access = access
        self._timeout = timeout
        self._limits = limits
        self._proxies = Proxies.of_process(dict(access.proxies))
        self._connections: dict[Endpoint, tuple[tuple[ssl.SSLContext, ssl.SSLContext], Connections]] = {}
        self._outdated: list[Connections] = []
        self._lock = threading.Lock()
        self._authorizer = Authorizer(limits)
        self._authorization: dict[tuple[str, str], str] = {}
        self._plain: dict[str, float] = {}

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for old in (*self._outdated, *(found for _, found in self._connections.values())):
                old.close()
            self._outdated.clear()
            self._connections.clear()

    def read(self, method: str, reference: Reference, path: str, *, digest: str | None, accept: str = "") -> Answer:
        """The first good answer of an endpoint.

        Args:
            method: HEAD, for which a registry that does not know it is asked by GET, or GET.
            reference: in whose repository.
            path: below it.
            digest: that the content must have, None where it is unknown.
            accept: media types.

        Raises:
            DataImportCronError: no endpoint gave one.
            DigestMismatchError: the content is another.
        """
        headers = {"Accept": accept} if accept else {}

        def ask(endpoint: Endpoint) -> Answer:
            with closing(self._open(endpoint, method, reference, path, headers)) as response:
                what = f"{path} of {reference.name} from {endpoint.host}"
                if response.request.method == "HEAD":
                    # Nothing, but only then can the connection be used again.
                    body = b"".join(response.iter_raw())
                else:
                    body = bounded(response, LARGEST_DOCUMENT, endpoint.host)
            given = response.headers.get("Docker-Content-Digest", "")
            given = given if is_digest(given) else ""
            wanted = digest or given
            if wanted and response.request.method == "GET":
                verify(body, wanted, what)
            elif given and wanted != given and _algorithm(wanted) == _algorithm(given):
                raise DigestMismatchError(f"{what} has the digest {given}, {wanted} was expected")
            media_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            return Answer(host=endpoint.host, body=body, media_type=media_type, digest=given)

        return self._first(reference, ask, by_tag=path.startswith("manifests/") and digest is None)

    def stream(
        self,
        reference: Reference,
        path: str,
        headers: Callable[[str], dict[str, str]],
        check: Callable[[httpx.Response, Endpoint], None],
    ) -> tuple[httpx.Response, Endpoint]:
        """The first good answer to GET with its body still to be read, and who gave it; the caller closes it.

        Args:
            reference: in whose repository.
            path: below it.
            headers: for an endpoint, by its base URL.
            check: raises where the beginning of an answer shows that it is none.

        Raises:
            DataImportCronError: no endpoint gave one.
        """

        def ask(endpoint: Endpoint) -> tuple[httpx.Response, Endpoint]:
            response = self._open(endpoint, "GET", reference, path, headers(endpoint.base))
            try:
                check(response, endpoint)
            except BaseException:
                response.close()
                raise
            return response, endpoint

        return self._first(reference, ask)

    def _first(self, reference: Reference, ask: Callable[[Endpoint], _Result], *, by_tag: bool = False) -> _Result:
        failures: list[tuple[str, int, DataImportCronError]] = []
        endpoints = endpoints_of(reference.registry, self._access.certs_dirs, self._access.insecure_registries)
        for endpoint in endpoints:
            if (by_tag and not endpoint.resolve) or self._plain.get(endpoint.base, 0.0) > monotonic():
                continue
            try:
                self._limits.check(endpoint.host)
                return ask(endpoint)
            except (httpx.RequestError, httpx.InvalidURL) as error:
                failure = failure_of_transport(error, str(reference), endpoint.host)
                failure.__cause__ = error
                if speaks_no_tls(error) and any(other.base == _plain(endpoint.base) for other in endpoints):
                    self._plain[endpoint.base] = monotonic() + _PLAIN
                failures.append((endpoint.base, _rank_of_broken(error, failure), failure))
            except DataImportCronError as error:
                failures.append((endpoint.base, 1 if isinstance(error, ImageNotFoundError) else 0, error))
        if not failures:
            raise InvalidObjectError(
                f"No host of {reference.registry} may look up tags",
                hint='add "resolve" to the capabilities of one in hosts.toml',
            )
        raise _worst(failures)

    def _open(
        self, endpoint: Endpoint, method: str, reference: Reference, path: str, headers: dict[str, str]
    ) -> httpx.Response:
        """A good answer of one endpoint, with its body still to be read.

        Raises:
            DataImportCronError: the endpoint gave another.
        """
        response = self._introduced(endpoint, method, reference, path, headers)
        if response.is_success:
            return response
        with closing(response):
            if method != "HEAD" or response.status_code not in _NO_HEAD:
                body = beginning(response, _LONGEST_ERROR)
                known = self._credentials(endpoint, reference) is not None
                failure = failure_of_response(response, body, reference, path, endpoint.host, authenticated=known)
                if isinstance(failure, TooManyRequestsError) and not response.history:
                    self._limits.note(endpoint.host, failure)
                raise failure
        # Only the body tells a missing tag from a missing repository; and there are registries without HEAD.
        return self._open(endpoint, "GET", reference, path, headers)

    def _introduced(
        self, endpoint: Endpoint, method: str, reference: Reference, path: str, headers: dict[str, str]
    ) -> httpx.Response:
        """Send a request; where that is asked for, once more with an answer to the challenge."""
        connections = self._connected(endpoint)
        key = (endpoint.base, reference.repository)
        # Blobs are verified as they are stored: nothing on the way may encode them.
        sent = {"Accept-Encoding": "identity", **headers}
        url = _url(f"{endpoint.base}/{reference.repository}/{path}")
        if key in self._authorization:
            sent["Authorization"] = self._authorization[key]
        response = connections.send(method, url, sent)
        if response.status_code != httpx.codes.UNAUTHORIZED or response.history:
            return response
        try:
            answer = self._authorizer.answer(
                connections,
                parse_challenges(response.headers.get_list("WWW-Authenticate")),
                origin=endpoint.base,
                repository=reference.repository,
                credentials=self._credentials(endpoint, reference),
                refused=sent.get("Authorization"),
            )
            if answer is None:
                return response
            # Read, so that the connection can be used again.
            beginning(response, _LONGEST_ERROR)
        except BaseException:
            response.close()
            raise
        response.close()
        self._authorization[key] = sent["Authorization"] = answer
        return connections.send(method, url, sent)

    def _credentials(self, endpoint: Endpoint, reference: Reference) -> Credentials | None:
        return narrowest(self._access.credentials, endpoint.host, reference.repository)

    def _connected(self, endpoint: Endpoint) -> Connections:
        """The connections to an endpoint; new ones where certificates of its files have changed."""
        wanted = contexts(endpoint, self._access)
        found = self._connections.get(endpoint)
        if found is not None and found[0] == wanted:
            return found[1]
        with self._lock:
            found = self._connections.get(endpoint)
            if found is None or found[0] != wanted:
                if found is not None:
                    # Another thread may be reading from it.
                    self._outdated.append(found[1])
                found = (wanted, Connections(endpoint, self._access, self._proxies, self._timeout))
                self._connections[endpoint] = found
            return found[1]


def _rank_of_broken(error: Exception, failure: DataImportCronError) -> int:
    if isinstance(failure, UntrustedCertificateError):
        return 2
    # An insecure registry is asked by https first; if it speaks http, what happens there says more.
    return 4 if speaks_no_tls(error) else 3


def _worst(failures: list[tuple[str, int, DataImportCronError]]) -> DataImportCronError:
    """The failure with the lowest rank, the first of equals; it tells of the others."""
    worst = min(failures, key=lambda failure: failure[1])
    others = [f"{base} ({error.reason})" for base, _, error in failures if error is not worst[2]]
    if others:
        worst[2].message += f"; also asked: {', '.join(dict.fromkeys(others))}"
    return worst[2]


@lru_cache(maxsize=4096)
def _url(text: str) -> httpx.URL:
    """A URL, taken apart once: a poll asks for the same one each time."""
    return httpx.URL(text)


def _plain(base: str) -> str:
    return f"http{base.removeprefix('https')}"


def _algorithm(digest: str) -> str:
    return digest.partition(":")[0]
