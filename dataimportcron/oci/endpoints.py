"""Where a registry may be asked: its mirrors in the order of containerd's `hosts.toml`, itself last.

Source: containerd's docs/hosts.md. `server` replaces the origin; where it names a mirror there is no origin, so an
air-gapped host asks nobody else. What concerns pushing, client certificates, headers and time-outs is not read.
"""

from __future__ import annotations

import ssl
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from dataimportcron.errors import InvalidObjectError, MissingDependencyError, UntrustedCertificateError
from dataimportcron.oci.credentials import HUB_HOST, canonical_host
from dataimportcron.reference import DOCKER_HUB


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One place to ask.

    Attributes:
        base: URL up to and including /v2.
        host: of the URL, for messages and credentials; docker.io for Docker Hub.
        resolve: whether tags may be looked up here.
        ca_files: more trusted certificates.
        verify: False where TLS certificates are not checked.
    """

    base: str
    host: str
    resolve: bool = True
    ca_files: tuple[Path, ...] = ()
    verify: bool = True


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
            if path.is_file():
                return _read(path, origin, insecure)
    return origin


def _origin(registry: str, insecure: frozenset[str]) -> list[Endpoint]:
    host = HUB_HOST if registry == DOCKER_HUB else registry
    if registry not in insecure:
        return [Endpoint(base=f"https://{host}/v2", host=registry)]
    return [Endpoint(base=f"{scheme}://{host}/v2", host=registry, verify=False) for scheme in ("https", "http")]


def _read(path: Path, origin: list[Endpoint], insecure: frozenset[str]) -> list[Endpoint]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidObjectError(f"{path} is no TOML: {error}", hint="see containerd's docs/hosts.md") from error
    except OSError as error:
        raise MissingDependencyError(f"{path} cannot be read: {error.strerror}") from error
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
    return list(endpoints.values())


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
    prefix = parts.path.rstrip("/")
    if not entry.get("override_path") and not prefix.endswith("/v2"):
        prefix += "/v2"
    return Endpoint(
        base=f"{parts.scheme}://{parts.netloc}{prefix}",
        host=canonical_host(parts.netloc),
        resolve="resolve" in capabilities,
        ca_files=tuple(path.parent / file for file in files),
        verify=not entry.get("skip_verify") and parts.netloc not in insecure,
    )


def _strings(path: Path, url: str, member: str, value: object) -> list[str]:
    """A string, or a list of strings."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise InvalidObjectError(f"{path}: {member} of {url} must be a string or a list of strings, found {value!r}")
    return values


def trust(ca_files: tuple[Path, ...], ca_certificates: tuple[str, ...], *, verify: bool) -> ssl.SSLContext:
    """The TLS settings that trust the system's certificates and the given ones.

    Args:
        ca_files: PEM files, read anew each time: they are rotated in place.
        ca_certificates: PEM texts.
        verify: False where certificates are not checked.

    Raises:
        UntrustedCertificateError: a certificate cannot be read.
    """
    texts = [(_certificate(file), str(file)) for file in ca_files]
    texts += [(text, "certConfigMap") for text in ca_certificates]
    return _context(tuple(texts), verify=verify)


@lru_cache(maxsize=64)
def _context(texts: tuple[tuple[str, str], ...], *, verify: bool) -> ssl.SSLContext:
    # Loading the system's certificates takes tens of milliseconds, hence the cache.
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for text, where in texts:
        try:
            context.load_verify_locations(cadata=text)
        except (ssl.SSLError, ValueError) as error:
            raise UntrustedCertificateError(
                f"A CA certificate of {where} cannot be used: {error}", hint="it must be a certificate in PEM"
            ) from error
    return context


def _certificate(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UntrustedCertificateError(f"The CA certificate {file} cannot be read: {error}") from error
