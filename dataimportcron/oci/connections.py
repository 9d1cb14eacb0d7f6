"""Connections to one endpoint and to where it sends us: directly or through a proxy.

Requests go straight to httpx's transports: its client would cost as much again, keep cookies, and carry the headers of
hosts.toml along. What is an endpoint's alone goes to its own scheme, host and port and nowhere else, whatever it
redirects to: its headers, its client certificate, and Authorization.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping

import httpx

from dataimportcron.oci.access import Access
from dataimportcron.oci.bodies import beginning
from dataimportcron.oci.endpoints import Endpoint
from dataimportcron.oci.proxies import Proxies, Proxy
from dataimportcron.oci.trust import trust

PROXY = "dataimportcron.proxy"
"""Extension of a request: the proxy that it went through, where there was one."""

_MOST_REDIRECTS = 5
_LONGEST_REDIRECT = 16 << 10
"""Bytes of a redirect's body that are read, so that its connection can be used again."""
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30.0)
"""Connections are kept longer than httpx would, seconds: polls come one after the other."""
_USER_AGENT = "dataimportcron"


def contexts(endpoint: Endpoint, access: Access) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The TLS settings for an endpoint itself and for all other hosts; others where a file has changed."""
    others = trust(endpoint.ca_files, access.ca_certificates, verify=endpoint.verify)
    if not endpoint.client:
        return others, others
    own = trust(endpoint.ca_files, access.ca_certificates, verify=endpoint.verify, client=endpoint.client)
    return own, others


class Connections:
    """To one endpoint and to wherever it redirects; for several threads at once.

    Args:
        endpoint: whose they are.
        access: whom else to trust.
        proxies: of the environment.
        timeout: of each step of a request.

    Raises:
        UntrustedCertificateError: a CA certificate cannot be read.
        MissingDependencyError: a client certificate cannot be used.
    """

    def __init__(self, endpoint: Endpoint, access: Access, proxies: Proxies, timeout: httpx.Timeout) -> None:
        self._own, self._others = contexts(endpoint, access)
        self._ca_certificates = access.ca_certificates
        self._origin = _origin(httpx.URL(endpoint.base))
        self._headers = endpoint.headers
        self._proxies = proxies
        self._timeout = timeout.as_dict()
        self._pools: dict[tuple[ssl.SSLContext, Proxy | None], httpx.HTTPTransport] = {}
        self._lock = threading.Lock()

    def send(
        self,
        method: str,
        url: httpx.URL,
        headers: Mapping[str, str],
        *,
        form: Mapping[str, str] | None = None,
        follow: bool = True,
    ) -> httpx.Response:
        """The answer, with its body still to be read; the caller closes it.

        Args:
            method: GET or HEAD, or POST of a form.
            url: where to.
            headers: Authorization is dropped when a redirect leads to another origin.
            form: fields of a form.
            follow: whether redirects are followed.

        Raises:
            httpx.RequestError, httpx.InvalidURL: there is none.
            InvalidObjectError: the environment names a proxy that is none.
        """
        history: list[httpx.Response] = []
        headers = {"User-Agent": _USER_AGENT, **headers}
        while True:
            request = httpx.Request(method, url, headers=headers, data=form, extensions={"timeout": self._timeout})
            response = self._ask(request)
            response.history = list(history)
            if not follow or not response.has_redirect_location:
                return response
            try:
                beginning(response, _LONGEST_REDIRECT)
                if len(history) == _MOST_REDIRECTS:
                    raise httpx.TooManyRedirects(f"more than {_MOST_REDIRECTS} redirects", request=request)
                target = url.join(response.headers["Location"])
            finally:
                response.close()
            history.append(response)
            if _origin(target) != _origin(url):
                headers.pop("Authorization", None)
            url = target

    def _ask(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        if url.scheme not in {"http", "https"} or not url.host:
            raise httpx.UnsupportedProtocol(f"{str(url)[:200]!r} is no http or https URL", request=request)
        own = _origin(url) == self._origin
        if own:
            for name, value in self._headers:
                if name.lower() != "authorization" or name not in request.headers:
                    request.headers[name] = value
        proxy = self._proxies.of(url.scheme, url.host, url.port)
        if proxy is not None:
            request.extensions[PROXY] = proxy
        try:
            response = self._pool(self._own if own else self._others, proxy).handle_request(request)
        except httpx.RequestError as error:
            error.request = request
            raise
        response.request = request
        return response

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()

    def _pool(self, context: ssl.SSLContext, proxy: Proxy | None) -> httpx.HTTPTransport:
        found = self._pools.get((context, proxy))
        if found is not None:
            return found
        with self._lock:
            if (context, proxy) not in self._pools:
                self._pools[context, proxy] = httpx.HTTPTransport(
                    verify=context, trust_env=False, proxy=self._through(proxy), limits=_LIMITS
                )
            return self._pools[context, proxy]

    def _through(self, proxy: Proxy | None) -> httpx.Proxy | None:
        if proxy is None:
            return None
        # One that speaks TLS itself is verified, whatever the registry is excused from.
        verified = trust((), self._ca_certificates, verify=True) if proxy.url.startswith("https:") else None
        return httpx.Proxy(proxy.url, auth=proxy.auth, ssl_context=verified)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
