"""TLS: whom a client trusts, and which certificate it shows.

Files are read anew each time, for they are rotated in place; what is made of equal contents is made once.
"""

from __future__ import annotations

import hashlib
import ssl
from functools import lru_cache
from pathlib import Path

from dataimportcron.errors import MissingDependencyError, UntrustedCertificateError

Pair = tuple[Path, Path | None]
"""Files of a client certificate and of its key; None where one file holds both."""


def trust(
    ca_files: tuple[Path, ...], ca_certificates: tuple[str, ...], *, verify: bool, client: tuple[Pair, ...] = ()
) -> ssl.SSLContext:
    """The TLS settings that trust the system's certificates and the given ones; the same object for the same contents.

    Args:
        ca_files: PEM files.
        ca_certificates: PEM texts.
        verify: False where certificates are not checked.
        client: certificates that are shown to a server that asks for one.

    Raises:
        UntrustedCertificateError: a CA certificate cannot be read.
        MissingDependencyError: a client certificate or its key cannot be used.
    """
    texts = [(_certificate(file), str(file)) for file in ca_files]
    texts += [(text, "certConfigMap") for text in ca_certificates]
    shown = tuple((pair, _fingerprint(pair)) for pair in client)
    return _context(tuple(texts), shown, verify=verify)


@lru_cache(maxsize=64)
def _context(
    texts: tuple[tuple[str, str], ...], shown: tuple[tuple[Pair, str], ...], *, verify: bool
) -> ssl.SSLContext:
    # Loading the system's certificates takes tens of milliseconds, hence the cache.
    context = ssl.create_default_context() if verify else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
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
    for (certificate, key), _ in shown:
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:
            names = f"{certificate} with the key {key}" if key else f"{certificate}, which must hold its key too,"
            raise MissingDependencyError(
                f"The client certificate {names} cannot be used: {error}",
                hint="certificate and key must be in PEM, without a password, and belong together",
            ) from error
    return context


def _no_password() -> str:
    """Instead of OpenSSL's question at the terminal."""
    return ""


def _fingerprint(pair: Pair) -> str:
    """Tells contents apart without keeping them."""
    digest = hashlib.sha256()
    for file in pair:
        if file is not None:
            try:
                digest.update(file.read_bytes())
            except OSError as error:
                raise MissingDependencyError(
                    f"The client certificate or key {file} cannot be read: {error.strerror}",
                    hint="correct `client` in hosts.toml, or put the file there",
                ) from error
    return digest.hexdigest()


def _certificate(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UntrustedCertificateError(f"The CA certificate {file} cannot be read: {error}") from error
