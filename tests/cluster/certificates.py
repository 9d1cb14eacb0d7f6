"""A certificate authority for one cluster, the certificates that its parts show, and kubeconfigs with them."""

from __future__ import annotations

import base64
import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
_VALID_FOR: Final = timedelta(days=36500)
_PEM: Final = serialization.Encoding.PEM


class Authority:
    """Issues into one folder.

    Attributes:
        folder: holds `ca.crt`, and NAME.crt and NAME.key of each that was issued.
        certificate: PEM file of the authority.
        key: its key.
    """

    def __init__(self, folder: Path, name: str = "kubernetes") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = _usage(key_cert_sign=True, crl_sign=True)
        signed = self._builder(self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self._write("ca", signed.add_extension(usage, critical=True), self._key)
        self.certificate = folder / "ca.crt"
        self.key = folder / "ca.key"

    def server(self, name: str, *names: str) -> tuple[Path, Path]:
        """Certificate and key of a server with these DNS names and addresses."""
        alternatives = x509.SubjectAlternativeName([_general(alternative) for alternative in names])
        return self._issue(name, name, (), alternatives)

    def client(self, name: str, user: str, *groups: str) -> tuple[Path, Path]:
        """Certificate and key of a user, as the API server reads them: common name and organizations."""
        return self._issue(name, user, groups, None)

    def kubeconfig(self, server: str, user: str, *groups: str, name: str = "") -> Path:
        """A kubeconfig with a certificate for a user; `name` is the file's, else the user's."""
        certificate, key = self.client(name or user, user, *groups)
        path = self.folder / f"{name or user}.kubeconfig"
        cluster = {"server": server, "certificate-authority-data": _base64(self.certificate)}
        credentials = {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document))
        return path

    def _issue(
        self, name: str, user: str, groups: tuple[str, ...], names: x509.SubjectAlternativeName | None
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, user)])
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if names is None else ExtendedKeyUsageOID.SERVER_AUTH
        builder = self._builder(subject, key).add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        self._write(name, builder.add_extension(issuer, critical=False).add_extension(_usage(), critical=True), key)
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_VALID_FROM)
            .not_valid_after(_VALID_FROM + _VALID_FOR)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )

    def _write(self, name: str, builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> None:
        certificate = builder.sign(self._key, hashes.SHA256())
        (self.folder / f"{name}.crt").write_bytes(certificate.public_bytes(_PEM))
        write_key(self.folder / f"{name}.key", key)


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a private key that only its owner can read."""
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def make_signing_pair(folder: Path) -> tuple[Path, Path]:
    """Public and private key that service account tokens are made with."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = folder / "service-accounts.pub"
    public.write_bytes(key.public_key().public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    write_key(folder / "service-accounts.key", key)
    return public, folder / "service-accounts.key"


def _usage(*, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=key_cert_sign, crl_sign=crl_sign, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
