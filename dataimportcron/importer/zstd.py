"""Zstandard: the frames of layers, and the clusters of qcow2 images.

Imported only where such a stream is met: most imports never need the library. Refused: truncated and corrupt frames,
and frames whose window is larger than memory is given for it. Source: RFC 8878.
"""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["ZstdError", "layer_decoder", "unpack_cluster"]

ZstdError = zstd.ZstdError

_LAYER_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 27}
"""128 MiB, the zstd program's own limit; its levels up to 19 need 8 MiB."""
_CLUSTER_WINDOW: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
"""A cluster has 2 MiB at most."""


def layer_decoder() -> zstd.ZstdDecompressor:
    """A decoder of one frame of a layer; it raises `ZstdError` for what is none."""
    return zstd.ZstdDecompressor(options=_LAYER_WINDOW)


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
