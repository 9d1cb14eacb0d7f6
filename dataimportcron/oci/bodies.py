"""Bodies that are held in memory: never more of them than was agreed on, and verified where a digest is known."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

import httpx

from dataimportcron.errors import NotARegistryError, RegistryUnavailableError

_PATIENCE = 60.0
"""Seconds for a whole body; a time-out of each read alone could be drawn out for ever, byte by byte."""


def bounded(response: httpx.Response, limit: int, who: str) -> bytes:
    """The whole body.

    Args:
        response: a stream that is still to be read.
        limit: bytes.
        who: sends it, for the message.

    Raises:
        NotARegistryError: it is longer.
        RegistryUnavailableError: it takes too long.
    """
    body = bytearray()
    for part in _parts(response, who):
        body += part
        if len(body) > limit:
            raise NotARegistryError(f"{who} sends more than {limit} bytes where a short document was expected")
    return bytes(body)


def beginning(response: httpx.Response, limit: int) -> bytes:
    """The body up to a limit; for answers of which any length is right, such as an error's.

    Raises:
        RegistryUnavailableError: it takes too long.
    """
    body = bytearray()
    for part in _parts(response, response.url.netloc.decode("ascii", "replace")):
        body += part
        if len(body) >= limit:
            break
    return bytes(body[:limit])


def _parts(response: httpx.Response, who: str) -> Iterator[bytes]:
    deadline = monotonic() + _PATIENCE
    # As they come: to fill a chunk first could take for ever.
    for part in response.iter_bytes():
        if monotonic() > deadline:
            raise RegistryUnavailableError(f"{who} is still sending a short document after {_PATIENCE:.0f} s")
        yield part
