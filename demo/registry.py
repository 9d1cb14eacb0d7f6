"""A real registry for the demonstration and the tests: Debian's docker-registry, with TLS of its own CA.

It starts in a folder of its own on a free port, and ends with its context, by its process id.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dataimportcron.errors import MissingDependencyError, TransientError

HOST = "127.0.0.1"
_START = 20.0
"""Seconds."""
_VALID_FROM = datetime(2020, 1, 1, tzinfo=UTC)
_VALID_FOR = timedelta(days=36500)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningRegistry:
    """A registry that answers.

    Attributes:
        host: address and port.
        scheme: http or https.
        ca: PEM file of its CA; None for http.
        process: the server, for tests that stop it.
        log: what it writes.
    """

    host: str
    scheme: str
    ca: Path | None
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        """Base URL."""
        return f"{self.scheme}://{self.host}"


@contextmanager
def registry(  # noqa: PLR0913 -- each option has a name
    folder: Path,
    *,
    tls: bool = True,
    auth: dict[str, Any] | None = None,
    port: int = 0,
    host: str = HOST,
    names: tuple[str, ...] = (),
) -> Iterator[RunningRegistry]:
    """Run a registry in `folder`; its content stays there for a later run.

    Args:
        folder: for configuration, certificates, content and log.
        tls: whether it speaks https; its CA is `folder/ca.crt`.
        auth: the member `auth` of docker-registry's configuration.
        port: 0 for any free one.
        host: the address where it listens.
        names: by which else it is known.

    Raises:
        MissingDependencyError: docker-registry is not installed.
        TransientError: it does not start.
    """
    program = shutil.which("docker-registry")
    if program is None:
        raise MissingDependencyError(
            "The program docker-registry is not installed",
            hint="apt-get install --no-install-recommends docker-registry",
        )
    folder.mkdir(parents=True, exist_ok=True)
    address = f"{host}:{port or _free_port(host)}"
    http: dict[str, Any] = {"addr": address, "secret": "not-used-by-one-instance"}
    if tls:
        certificate, key = make_certificates(folder, host, *names)
        http["tls"] = {"certificate": str(certificate), "key": str(key)}
    configuration = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "content")}, "delete": {"enabled": True}},
        "http": http,
    } | ({"auth": auth} if auth else {})
    (folder / "config.yml").write_text(yaml.safe_dump(configuration))
    log = folder / "registry.log"
    # It takes variables such as REGISTRY_AUTH_FILE, which is podman's, for settings of its own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
    command = [program, "serve", str(folder / "config.yml")]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        ca = folder / "ca.crt" if tls else None
        running = RunningRegistry(host=address, scheme="https" if tls else "http", ca=ca, process=process, log=log)
        _wait(running)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def make_certificates(folder: Path, host: str = HOST, *others: str) -> tuple[Path, Path]:
    """A CA (`ca.crt`) and a certificate of it; returns certificate and key. Made once per folder.

    Args:
        folder: where.
        host: the server's address.
        others: names of it, beside localhost.
    """
    certificate, key = folder / "server.crt", folder / "server.key"
    if certificate.exists():
        return certificate, key
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dataimportcron demo CA")])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    ca = (
        _builder(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    server_key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.IPAddress(ipaddress.ip_address(host)), *map(x509.DNSName, ("localhost", *others))]
    server = (
        _builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry")]), ca_name, server_key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(ca.public_bytes(pem))
    key.touch(mode=0o600)
    key.write_bytes(server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    certificate.write_bytes(server.public_bytes(pem))
    return certificate, key


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_VALID_FROM)
        .not_valid_after(_VALID_FROM + _VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _wait(running: RunningRegistry) -> None:
    deadline = time.monotonic() + _START
    host, _, port = running.host.partition(":")
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            break
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TransientError(f"docker-registry does not answer at {running.host}:\n{running.log.read_text()[-2000:]}")


def client(running: RunningRegistry, **options: Any) -> httpx.Client:  # noqa: ANN401 -- httpx's own options
    """An HTTP client that trusts the registry's CA."""
    import ssl  # noqa: PLC0415 -- used here alone

    verify: Any = ssl.create_default_context(cafile=str(running.ca)) if running.ca else True
    return httpx.Client(base_url=running.url, verify=verify, timeout=60, trust_env=False, **options)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
