"""Where a registry may be asked: its mirrors in the order of containerd's `hosts.toml`, itself last.

Source: containerd's docs/hosts.md. `server` replaces the origin; where it names a mirror there is no origin, so an
air-gapped host asks nobody else. What concerns pushing and time-outs is not read. The file is read at each look: a
change counts at once.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from dataimportcron.errors import InvalidObjectError, MissingDependencyError
from dataimportcron.oci.credentials import HUB_HOST, canonical_host
from dataimportcron.oci.trust import Pair
from dataimportcron.reference import DOCKER_HUB

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*", re.ASCII)
_OURS = {"accept", "accept-encoding", "connection", "content-length", "host", "if-range", "range", "transfer-encoding"}
"""Headers that a request needs as we make them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One place to ask.

    Attributes:
        base: URL up to and including /v2.
        host: of the URL, for messages and credentials; docker.io for Docker Hub.
        resolve: whether tags may be looked up here.
        ca_files: more trusted certificates.
        verify: False where TLS certificates are not checked.
        client: certificates and keys that are shown to it.
        headers: that are sent to it; never shown, for they may be a secret.
    """

    base: str
    host: str
    resolve: bool = True
    ca_files: tuple[Path, ...] = ()
    verify: bool = True
    client: tuple[Pair, ...] = ()
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


def endpoints_of(registry: str, certs_dirs: tuple[Path, ...], insecure: frozenset[str]) -> list[Endpoint]:
    """All endpoints of a registry, in the order in which they are asked.

    Args:
        registry: host[:port] of the reference.
        certs_dirs: folders with `<registry>/hosts.toml`, or `_default/hosts.toml` for all.
        insecure: host[:port] whose certificates are not checked; as an origin such a one is asked by plain http too.

    Raises:
        InvalidObjectError: a hosts.toml cannot be understood; the message names the file and, of a syntax error, the
            line.
    """
    origin = _origin(registry, insecure)
    host, colon, port = registry.rpartition(":")
    portable = [f"{host}_{port}_"] if colon and port.isdecimal() else []
    for folder in certs_dirs:
        for name in (*portable, registry, "_default"):
            path = folder / name / "hosts.toml"
            text = _text(path)
            if text is not None:
                return list(_parse(path, text, tuple(origin), insecure))
    return origin


def _text(path: Path) -> str | None:
    """The file's text, None where there is none."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except UnicodeDecodeError as error:
        raise InvalidObjectError(f"{path} is no TOML: {error}", hint="see containerd's docs/hosts.md") from error
    except OSError as error:
        raise MissingDependencyError(f"{path} cannot be read: {error.strerror}") from error


def _origin(registry: str, insecure: frozenset[str]) -> list[Endpoint]:
    host = HUB_HOST if registry == DOCKER_HUB else registry
    if registry not in insecure:
        return [Endpoint(base=f"https://{host}/v2", host=registry)]
    return [Endpoint(base=f"{scheme}://{host}/v2", host=registry, verify=False) for scheme in ("https", "http")]


@lru_cache(maxsize=256)
def _parse(path: Path, text: str, origin: tuple[Endpoint, ...], insecure: frozenset[str]) -> tuple[Endpoint, ...]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidObjectError(f"{path} is no TOML: {error}", hint="see containerd's docs/hosts.md") from error
    hosts = document.get("host", {})
    if not isinstance(hosts, dict) or not all(isinstance(entry, dict) for entry in hosts.values()):
        raise InvalidObjectError(f"{path}: `host` must be a table of tables", hint='[host."https://mirror.example"]')
    found = [_mirror(path, url, entry, insecure) for url, entry in hosts.items()]
    server = document.get("server")
    found += origin if server is None else [_mirror(path, server, document, insecure)]
    endpoints: dict[str, Endpoint] = {}
    for endpoint in found:
        if endpoint is not None:
            endpoints.setdefault(endpoint.base, endpoint)
    if not endpoints:
        raise InvalidObjectError(f"{path} leaves nobody to ask", hint='give one host the capability "pull"')
    return tuple(endpoints.values())


def _mirror(path: Path, url: object, entry: dict[str, object], insecure: frozenset[str]) -> Endpoint | None:
    """An endpoint from its table; None where it may not be pulled from."""
    if not isinstance(url, str):
        raise InvalidObjectError(f"{path}: {url!r} is no URL")
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        usable = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        usable = False
    if not usable or parts.username is not None:
        raise InvalidObjectError(f"{path}: a host is no http or https URL", hint='[host."https://mirror.example:5000"]')
    capabilities = _strings(path, url, "capabilities", entry.get("capabilities", ["pull", "resolve"]))
    if "pull" not in capabilities:
        return None
    files = _strings(path, url, "ca", entry.get("ca", []))
    headers = tuple(_headers(path, url, entry.get("header", {})))
    prefix = parts.path.rstrip("/")
    if not entry.get("override_path") and not prefix.endswith("/v2"):
        prefix += "/v2"
    return Endpoint(
        base=f"{parts.scheme}://{parts.netloc}{prefix}",
        host=canonical_host(parts.netloc),
        resolve="resolve" in capabilities,
        ca_files=tuple(path.parent / file for file in files),
        verify=not entry.get("skip_verify") and parts.netloc not in insecure,
        client=tuple(_pairs(path, url, entry.get("client", []))),
        headers=headers,
    )


def _strings(path: Path, url: str, member: str, value: object) -> list[str]:
    """A string, or a list of strings."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise InvalidObjectError(f"{path}: {member} of {url} must be a string or a list of strings, found {value!r}")
    return values


def _pairs(path: Path, url: str, value: object) -> Iterator[Pair]:
    """Client certificates: a file that holds its key too, a list of such files, or of pairs of certificate and key."""
    for item in value if isinstance(value, list) else [value]:
        match item:
            case str(certificate) | [str(certificate)] | [str(certificate), ""] if certificate:
                yield path.parent / certificate, None
            case [str(certificate), str(key)] if certificate:
                yield path.parent / certificate, path.parent / key
            case _:
                raise InvalidObjectError(
                    f"{path}: client of {url} must name files or pairs of certificate and key, found {item!r}",
                    hint='client = [["mirror.crt", "mirror.key"]]',
                )


def _headers(path: Path, url: str, value: object) -> Iterator[tuple[str, str]]:
    """Headers, each value a string or a list of strings; no message quotes a value."""
    entries: Iterable[tuple[str, object]] = value.items() if isinstance(value, dict) else [("", None)]
    for name, given in entries:
        listed = given if isinstance(given, list) else [given]
        values = [item for item in listed if isinstance(item, str) and _HEADER_VALUE.fullmatch(item)]
        if len(values) != len(listed) or not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS:
            raise InvalidObjectError(
                f"{path}: the header {name!r} of {url} cannot be sent", hint=f'[host."{url}".header] X-Name = "value"'
            )
        yield name, ", ".join(values)
