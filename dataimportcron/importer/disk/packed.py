"""Disks that are compressed as a file, by gzip, xz or zstd: unpacked in bounded steps.

Refused: damaged and truncated streams, anything behind the last one, and what needs more memory than is given for it.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator

from dataimportcron.importer.decompress import Codec, decompress, members
from dataimportcron.oci.streams import ByteStream

XZ_MAGIC = b"\xfd7zXZ\x00"
_XZ_MEMORY = 100 << 20
"""Bytes for a decoder; the highest level of the xz program needs 65 MiB."""
_NAME = "the disk"
_XZ = Codec(
    name="xz",
    parts="streams",
    decoder=lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
    error=lzma.LZMAError,
    padding=b"\0",
)


def unpack(stream: ByteStream, length: int) -> Iterator[bytes]:
    """What is in a compressed file, in pieces of at most `STEP` bytes.

    Args:
        stream: stands at the first byte of the file, and at its end afterwards.
        length: of the file, in bytes.

    Raises:
        InvalidImageError: see the module.
    """
    if stream.peek(len(XZ_MAGIC)) == XZ_MAGIC:
        return members(stream.pieces(length), _NAME, _XZ)
    return decompress(stream.pieces(length), _NAME)
