"""Zstandard in bounded steps: layers of any number of frames, and the clusters of qcow2 images.

Imported only where such a stream is met: most imports never need the library. Refused: truncated and corrupt frames,
anything behind the last frame that is no frame, and frames whose window is larger than memory is given for it.
Source: RFC 8878.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from dataimportcron.errors import InvalidImageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LAYER_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 27}
"""128 MiB, the zstd program's own limit; its levels up to 19 need 8 MiB."""
_CLUSTER_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
"""A cluster has 2 MiB at most."""


def unpack(chunks: Iterable[bytes], name: str, step: int) -> Iterator[bytes]:
    """What all frames of a stream hold, in pieces of at most `step` bytes; skippable frames hold nothing.

    Args:
        chunks: the stream.
        name: what it is, for messages.
        step: in bytes.

    Raises:
        InvalidImageError: see the module.
    """
    decoder = None
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                decoder = decoder or zstd.ZstdDecompressor(options=_LAYER_WINDOW)
                yield from _pieces(decoder, rest, step)
                rest = b""
                if decoder.eof:
                    rest, decoder = decoder.unused_data, None
    except zstd.ZstdError as error:
        raise InvalidImageError(f"{name} is no valid zstd stream: {error}") from error
    if decoder is not None:
        raise InvalidImageError(f"{name} ends in the middle of a zstd frame: it is truncated")


def unpack_cluster(data: bytes, length: int) -> tuple[bytes, int] | None:
    """Unpack frames that must hold exactly `length` bytes together.

    Returns:
        The bytes and how many bytes of `data` they took, None where `data` does not hold them.
    """
    out, rest = b"", data
    try:
        while rest and len(out) < length:
            decoder = zstd.ZstdDecompressor(options=_CLUSTER_WINDOW)
            # One byte more, so that a frame that holds more is not taken for one that ends there.
            out += decoder.decompress(rest, length - len(out) + 1)
            if not decoder.eof:
                return None
            rest = decoder.unused_data
    except zstd.ZstdError:
        return None
    return (out, len(data) - len(rest)) if len(out) == length else None


def _pieces(decoder: zstd.ZstdDecompressor, chunk: bytes, step: int) -> Iterator[bytes]:
    """All that the decoder makes of a chunk, up to the end of its frame."""
    out = decoder.decompress(chunk, step)
    while True:
        if out:
            yield out
        if decoder.eof or decoder.needs_input:
            return
        out = decoder.decompress(b"", step)
