"""Disks that are compressed as a file, by gzip, xz or zstd: unpacked in bounded steps.

Refused: damaged and truncated streams, anything behind the last one, and what needs more memory than is given for it.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Iterator

from dataimportcron.errors import InvalidImageError
from dataimportcron.importer.decompress import STEP, decompress
from dataimportcron.oci.streams import ByteStream

XZ_MAGIC = b"\xfd7zXZ\x00"
_XZ_MEMORY = 100 << 20
"""Bytes for a decoder; the highest level of the xz program needs 65 MiB."""
_NAME = "the disk"


def unpack(stream: ByteStream, length: int) -> Iterator[bytes]:
    """What is in a compressed file, in pieces of at most `STEP` bytes.

    Args:
        stream: stands at the first byte of the file, and at its end afterwards.
        length: of the file, in bytes.

    Raises:
        InvalidImageError: see the module.
    """
    if stream.peek(len(XZ_MAGIC)) == XZ_MAGIC:
        return _unpack_xz(stream.pieces(length))
    return decompress(stream.pieces(length), _NAME)


def _unpack_xz(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What all streams of an xz file hold, in pieces of at most `STEP` bytes."""
    decoder: lzma.LZMADecompressor | None = None
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                if decoder is None:
                    # Zeros may pad it behind a stream.
                    rest = rest.lstrip(b"\0")
                    if not rest:
                        break
                    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
                yield from _pieces(decoder, rest)
                rest = b""
                if decoder.eof:
                    rest, decoder = decoder.unused_data, None
    except lzma.LZMAError as error:
        raise InvalidImageError(f"{_NAME} is no xz file that can be read: {error}", hint="compress it again") from error
    if decoder is not None:
        raise InvalidImageError(f"{_NAME} ends in the middle of an xz stream: it is truncated")


def _pieces(decoder: lzma.LZMADecompressor, chunk: bytes) -> Iterator[bytes]:
    """All that the decoder makes of a chunk, up to the end of its stream."""
    out = decoder.decompress(chunk, STEP)
    while True:
        if out:
            yield out
        if decoder.eof or decoder.needs_input:
            return
        out = decoder.decompress(b"", STEP)
