"""Layers are decompressed in bounded steps: a kilobyte may mean a megabyte of zeros or more, and a bomb says so.

The kind of compression is read from the bytes themselves, as container runtimes do, not from the media type. Refused:
corrupt and truncated streams, anything behind the last gzip member or zstd frame, more of these than anybody makes,
more than the caller has room for, and every other compression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, cast

from isal import igzip_lib

from dataimportcron.errors import InvalidImageError

STEP = 1 << 20
"""The most bytes that one step yields."""

_MOST_MEMBERS = 1 << 20
"""Gzip members or zstd frames of one layer. Each costs some microseconds, even where it holds nothing; parallel
compressors make one per 64 KiB or more."""
_FEED = 1 << 16
"""Bytes that a decoder gets at once where there are several members."""

# The stubs of isal say that its error is an instance.
_ISAL_ERROR = cast("type[Exception]", igzip_lib.error)
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
"""Behind a first byte from 0x50 to 0x5f; pzstd begins so."""
_FOREIGN = {
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
    b"\x04\x22\x4d\x18": "lz4",
}
_LONGEST_MAGIC = 6


def decompress(chunks: Iterable[bytes], name: str, most: int | None = None) -> Iterator[bytes]:
    """The bytes of a layer's tar, in pieces of at most `STEP` bytes.

    Args:
        chunks: the layer as it comes from its source.
        name: of the layer, for messages.
        most: bytes that the tar may have, None for any number.

    Raises:
        InvalidImageError: see the module.
    """
    pieces = _unpacked(iter(chunks), name)
    return pieces if most is None else _limited(pieces, name, most)


def inflate(data: bytes, length: int) -> tuple[bytes, int] | None:
    """Inflate one raw deflate stream that must hold exactly `length` bytes.

    Returns:
        The bytes and how many bytes of `data` they took, None where `data` does not hold them.
    """
    decoder = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
    try:
        out = decoder.decompress(data, length)
    except _ISAL_ERROR:
        return None
    if len(out) != length:
        return None
    return out, len(data) - len(decoder.unused_data)


def _unpacked(source: Iterator[bytes], name: str) -> Iterator[bytes]:
    head = _head(source)
    chunks = _chain(head, source)
    if head.startswith(_GZIP):
        return members(chunks, name, Codec("gzip", "members", _gzip_decoder, _ISAL_ERROR))
    if head.startswith(_ZSTD) or (head[1:4] == _ZSTD_SKIPPABLE and head[0] >> 4 == 5):  # noqa: PLR2004 -- see there
        from dataimportcron.importer import zstd  # noqa: PLC0415 -- few layers need it

        return members(chunks, name, Codec("zstd", "frames", zstd.layer_decoder, zstd.ZstdError))
    for magic, kind in _FOREIGN.items():
        if head.startswith(magic):
            raise InvalidImageError(
                f"{name} is compressed by {kind}, expected gzip, zstd or an uncompressed tar",
                hint="push the image again with gzip, for example: skopeo copy --dest-compress-format gzip",
            )
    return _cut(chunks, STEP)


class _Decoder(Protocol):
    """Of one gzip member or zstd frame, as `bz2.BZ2Decompressor` has it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Codec(NamedTuple):
    """A compression whose streams may follow one another.

    Attributes:
        name: of it.
        parts: what its streams are called.
        decoder: makes a decoder for one of them.
        error: what a decoder raises.
        padding: bytes that may stand between them, and behind the last.
    """

    name: str
    parts: str
    decoder: Callable[[], _Decoder]
    error: type[Exception]
    padding: bytes = b""


def _gzip_decoder() -> igzip_lib.IgzipDecompressor:
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


def members(chunks: Iterable[bytes], name: str, codec: Codec) -> Iterator[bytes]:
    """What all members of a stream hold, one behind the other, in pieces of at most `STEP` bytes.

    Raises:
        InvalidImageError: it is damaged or truncated, something else stands in it, or there are too many.
    """
    decoder: _Decoder | None = None
    begun = 0
    try:
        for chunk in chunks:
            # Where members are many they may be small, and what is behind the end of each is copied.
            for part in (chunk,) if begun <= 1 else _cut((chunk,), _FEED):
                rest = part
                while rest:
                    if decoder is None:
                        rest = rest.lstrip(codec.padding)
                        if not rest:
                            break
                        begun += 1
                        if begun > _MOST_MEMBERS:
                            raise InvalidImageError(f"{name} has more than {_MOST_MEMBERS} {codec.name} {codec.parts}")
                        decoder = codec.decoder()
                    yield from _pieces(decoder, rest)
                    rest = b""
                    if decoder.eof:
                        rest, decoder = decoder.unused_data, None
    except codec.error as error:
        raise InvalidImageError(f"{name} is no valid {codec.name} stream: {error}", hint="compress it again") from error
    if decoder is not None:
        raise InvalidImageError(f"{name} ends in the middle of a {codec.name} stream: it is truncated")


def _pieces(decoder: _Decoder, chunk: bytes) -> Iterator[bytes]:
    """All that a decoder makes of a chunk, up to the end of its member."""
    out = decoder.decompress(chunk, STEP)
    while True:
        if out:
            yield out
        if decoder.eof or (decoder.needs_input and len(out) < STEP):
            return
        out = decoder.decompress(b"", STEP)
        if not out and not decoder.eof:
            return


def _head(source: Iterator[bytes]) -> bytes:
    head = b""
    while len(head) < _LONGEST_MAGIC:
        chunk = next(source, None)
        if chunk is None:
            break
        head += chunk
    return head


def _limited(pieces: Iterator[bytes], name: str, most: int) -> Iterator[bytes]:
    have = 0
    for piece in pieces:
        have += len(piece)
        if have > most:
            raise InvalidImageError(
                f"{name} unpacks to more than {most} bytes, which no container disk for this volume has",
                hint="it is made to exhaust its reader; if it is not, a larger volume is required",
            )
        yield piece


def _chain(head: bytes, source: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from source


def _cut(chunks: Iterable[bytes], length: int) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), length):
            yield chunk if len(chunk) <= length else chunk[start : start + length]
