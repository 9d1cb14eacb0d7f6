"""Proxies, as the environment names them: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, or in small letters.

NO_PROXY is read as Go's programs read it, which is what the documentation of registries and clusters assumes: hosts and
their subdomains, `.domain` for subdomains alone, addresses, networks such as 10.0.0.0/8, each with a port if wanted, or
`*` for all. Loopback is always reached directly. User name and password in a proxy's URL are never shown.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from dataimportcron.errors import InvalidObjectError

_PORTS = {"http": 80, "https": 443}
_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """One proxy; `url` holds no credentials, `auth` is user name and password."""

    url: str
    auth: tuple[str, str] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.url


class Proxies:
    """Which proxy is for which URL.

    Args:
        environment: with the variables.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        entries = _variable(environment, "no_proxy")[1].replace(",", " ").split()
        self._direct = [_Exception.parse(entry.lower()) for entry in entries]

    @classmethod
    def of_process(cls, before: Mapping[str, str]) -> Proxies:
        """As this process's environment is now, but for the variables that count before it."""
        return cls({**os.environ, **before})

    def of(self, scheme: str, host: str, port: int | None) -> Proxy | None:
        """The proxy for a URL's scheme, host and port; None where it is reached directly.

        Raises:
            InvalidObjectError: what a variable holds is no proxy's URL.
        """
        name, value = _variable(self._environment, f"{scheme}_proxy")
        if not value:
            name, value = _variable(self._environment, "all_proxy")
        if not value or self._is_direct(host.lower().strip("[]").rstrip("."), port or _PORTS.get(scheme, 0)):
            return None
        return _parse(name, value)

    def _is_direct(self, host: str, port: int) -> bool:
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return True
        return any(exception.covers(host, address, port) for exception in self._direct)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exception:
    """One entry of NO_PROXY."""

    host: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    port: int | None = None

    @classmethod
    def parse(cls, entry: str) -> _Exception:
        host, port = entry, None
        before, colon, digits = entry.rpartition(":")
        if colon and digits.isdecimal() and (":" not in before or before.endswith("]")):
            host, port = before, int(digits)
        host = host.strip("[]")
        try:
            return cls(host=host, network=ipaddress.ip_network(host, strict=False), port=port)
        except ValueError:
            return cls(host=host.removeprefix("*") if host.startswith("*.") else host, port=port)

    def covers(self, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int) -> bool:
        if self.port not in {None, port}:
            return False
        if self.host == "*":
            return True
        if self.network is not None:
            return address is not None and address in self.network
        if self.host.startswith("."):
            return host.endswith(self.host)
        return host == self.host or host.endswith(f".{self.host}")


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What an environment says of proxies, by the names in capitals, as another program is to be told."""
    found = {name.upper(): _variable(environment, name)[1] for name in _VARIABLES}
    return {name: value for name, value in found.items() if value}


def _variable(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    """Name and value of a variable, whose name is in capitals or, failing that, in small letters."""
    for known in (name.upper(), name):
        if value := environment.get(known, "").strip():
            return known, value
    return name.upper(), ""


def _parse(name: str, value: str) -> Proxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        usable = parts.scheme in _PORTS and parts.hostname
        port = parts.port
    except ValueError:
        usable = False
    if not usable:
        # Nothing of it is shown, for it may hold a password.
        raise InvalidObjectError(
            f"The environment's {name} is no http or https proxy's URL", hint="write http://proxy.example:3128"
        )
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    return Proxy(url=f"{parts.scheme}://{host}{f':{port}' if port else ''}", auth=_credentials(parts))


def _credentials(parts: SplitResult) -> tuple[str, str] | None:
    return (unquote(parts.username), unquote(parts.password or "")) if parts.username else None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
