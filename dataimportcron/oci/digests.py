"""Content against its digest."""

from __future__ import annotations

import hashlib

from dataimportcron.errors import DigestMismatchError


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
