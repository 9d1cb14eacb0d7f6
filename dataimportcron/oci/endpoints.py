"""Where a registry may be asked: its mirrors in the order of containerd's `hosts.toml`, itself last.

Source: containerd's docs/hosts.md. `server` naming a mirror, or another host, replaces the origin; the origin is left
out where `server` is also a mirror, so an air-gapped host asks nobody else.
"""

from __future__ import annotations

import ssl
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from dataimportcron.errors import InvalidObjectError, UntrustedCertificateError
from dataimportcron.reference import DOCKER_HUB

_HUB_HOST = "registry-1.docker.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One place to ask.

    Attributes:
        base: URL up to and including /v2.
        host: of the URL, for messages and credentials.
        resolve: whether tags may be looked up here.
        ca_files: more trusted certificates.
        verify: False where TLS certificates are not checked.
    """

    base: str
    host: str
    resolve: bool = True
    ca_files: tuple[str, ...] = ()
    verify: bool = True


def endpoints_of(registry: str, certs_dirs: tuple[Path, ...], insecure: frozenset[str]) -> list[Endpoint]:
    """All endpoints of a registry, in the order in which they are asked.

    Raises:
        InvalidObjectError: a hosts.toml cannot be understood.
    """
    origin = _origin(registry, insecure)
    for folder in certs_dirs:
        for name in (registry, registry.replace(":", "_") + "_", "_default"):
            path = folder / name / "hosts.toml"
            if path.is_file():
                return _read(path, origin)
    return [origin]


def _origin(registry: str, insecure: frozenset[str]) -> Endpoint:
    host = _HUB_HOST if registry == DOCKER_HUB else registry
    return Endpoint(base=f"https://{host}/v2", host=registry, verify=registry not in insecure)


def _read(path: Path, origin: Endpoint) -> list[Endpoint]:
    try:
        document = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidObjectError(f"{path}: {error}") from error
    hosts = document.get("host", {})
    if not isinstance(hosts, dict) or not all(isinstance(entry, dict) for entry in hosts.values()):
        raise InvalidObjectError(f"{path}: `host` must be a table of tables", hint='[host."https://mirror.example"]')
    mirrors = [_mirror(path, url, entry) for url, entry in hosts.items()]
    server = document.get("server")
    last = origin if server is None else _mirror(path, server, document)
    endpoints = [mirror for mirror in mirrors if mirror is not None]
    if last is not None and all(mirror.base != last.base for mirror in endpoints):
        endpoints.append(last)
    return endpoints


def _mirror(path: Path, url: object, entry: dict[str, object]) -> Endpoint | None:
    """An endpoint from its table; None where it may not be pulled from."""
    if not isinstance(url, str):
        raise InvalidObjectError(f"{path}: {url!r} is no URL")
    parts = urlsplit(url if "://" in url else f"https://{url}")
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise InvalidObjectError(f"{path}: {url!r} is no http or https URL")
    capabilities = entry.get("capabilities", ["pull", "resolve"])
    if not isinstance(capabilities, list):
        raise InvalidObjectError(f"{path}: capabilities of {url} must be a list, found {capabilities!r}")
    if "pull" not in capabilities:
        return None
    ca = entry.get("ca", [])
    files = [ca] if isinstance(ca, str) else ca
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise InvalidObjectError(f"{path}: ca of {url} must be a file name or a list of them, found {ca!r}")
    prefix = parts.path.rstrip("/") if entry.get("override_path") else f"{parts.path.rstrip('/')}/v2"
    prefix = prefix.replace("/v2/v2", "/v2")
    return Endpoint(
        base=f"{parts.scheme}://{parts.netloc}{prefix}",
        host=parts.netloc,
        resolve="resolve" in capabilities,
        ca_files=tuple(str(path.parent / file) for file in files),
        verify=not entry.get("skip_verify", False),
    )


@lru_cache(maxsize=64)
def tls_context(ca_files: tuple[str, ...], ca_certificates: tuple[str, ...], *, verify: bool) -> ssl.SSLContext:
    """The system's trust and the given certificates; loading it takes tens of milliseconds, so it is kept.

    Raises:
        UntrustedCertificateError: a certificate cannot be read.
    """
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        for file in ca_files:
            context.load_verify_locations(cafile=file)
        for pem in ca_certificates:
            context.load_verify_locations(cadata=pem)
    except (OSError, ssl.SSLError, ValueError) as error:
        where = ", ".join(ca_files) or "certConfigMap"
        raise UntrustedCertificateError(f"A CA certificate of {where} cannot be read: {error}") from error
    return context
