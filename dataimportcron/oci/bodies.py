"""Bodies that are held in memory: never more of them than was agreed on, and verified where a digest is known."""

from __future__ import annotations

import hashlib

import httpx

from dataimportcron.errors import DigestMismatchError, NotARegistryError

_CHUNK = 64 << 10


def bounded(response: httpx.Response, limit: int, who: str) -> bytes:
    """The whole body.

    Args:
        response: a stream that is still to be read.
        limit: bytes.
        who: sends it, for the message.

    Raises:
        NotARegistryError: it is longer.
    """
    body = bytearray()
    for part in response.iter_bytes(_CHUNK):
        body += part
        if len(body) > limit:
            raise NotARegistryError(f"{who} sends more than {limit} bytes where a short document was expected")
    return bytes(body)


def beginning(response: httpx.Response, limit: int) -> bytes:
    """The body up to a limit; for answers of which any length is right, such as an error's."""
    body = bytearray()
    for part in response.iter_bytes(_CHUNK):
        body += part
        if len(body) >= limit:
            break
    return bytes(body[:limit])


def verify(body: bytes, digest: str, what: str) -> None:
    """Check bytes against their digest.

    Raises:
        DigestMismatchError: they are others.
    """
    algorithm, _, wanted = digest.partition(":")
    found = hashlib.new(algorithm, body).hexdigest()
    if found != wanted:
        raise DigestMismatchError(
            f"{what} has the digest {algorithm}:{found}, {digest} was expected",
            hint="the registry, or something on the way to it, changes content",
        )
