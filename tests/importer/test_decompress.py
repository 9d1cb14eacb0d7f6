import gzip
import os
import struct
import tracemalloc
import zlib

import pytest
from backports import zstd

from dataimportcron.errors import InvalidImageError
from dataimportcron.importer.decompress import STEP, decompress, inflate
from dataimportcron.importer.zstd import unpack_cluster

TEXT = b"The quick brown fox. " * 20_000


def cut(data, length):
    return [data[start : start + length] for start in range(0, len(data), length)]


@pytest.mark.parametrize("length", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("members", [1, 2, 5])
def test_members_in_chunks_of_any_size(length, members):
    part = TEXT[: len(TEXT) // members if length > 1 else 500]
    assert b"".join(decompress(cut(gzip.compress(part) * members, length), "layer")) == part * members


def test_an_empty_member_between_two():
    data = gzip.compress(b"a") + gzip.compress(b"") + gzip.compress(b"b")
    assert b"".join(decompress([data], "layer")) == b"ab"


@pytest.mark.parametrize("length", [1, 3, 3 * STEP])
def test_a_tar_that_is_not_compressed_passes(length):
    data = TEXT[:5000] if length < 10 else TEXT * 10
    parts = list(decompress(cut(data, length), "layer"))
    assert b"".join(parts) == data
    assert max(map(len, parts)) <= STEP


@pytest.mark.parametrize("missing", [1, 4, 8, 9, 100])
def test_truncated(missing):
    with pytest.raises(InvalidImageError, match="truncated"):
        list(decompress([gzip.compress(TEXT)[:-missing]], "layer"))


@pytest.mark.parametrize("tail", [b"x", bytes(1), bytes(512), b"garbage behind the end", b"\x1f\x8b"])
def test_garbage_behind_the_last_member(tail):
    with pytest.raises(InvalidImageError, match=r"gzip"):
        list(decompress([gzip.compress(TEXT) + tail], "layer"))


def test_a_wrong_checksum():
    data = bytearray(gzip.compress(TEXT))
    data[-6] ^= 1
    with pytest.raises(InvalidImageError, match="checksum"):
        list(decompress([bytes(data)], "layer"))


@pytest.mark.parametrize("magic", [b"\xfd7zXZ\0", b"BZh9", b"\x04\x22\x4d\x18"])
def test_other_compressions_are_named(magic):
    with pytest.raises(InvalidImageError, match="is compressed by") as caught:
        list(decompress([magic + bytes(100)], "layer"))
    assert "gzip" in caught.value.hint


@pytest.mark.parametrize("bomb", [gzip.compress(bytes(256 << 20)), zstd.compress(bytes(256 << 20))])
def test_a_bomb_is_read_in_small_steps(bomb):
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        total = 0
        for part in decompress([bomb], "layer"):
            assert len(part) <= STEP
            total += len(part)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 256 << 20
    assert peak < 8 << 20


def test_inflate_says_how_much_it_took():
    packer = zlib.compressobj(wbits=-12)
    packed = packer.compress(TEXT[:4096]) + packer.flush()
    assert inflate(packed + b"behind", 4096) == (TEXT[:4096], len(packed))
    assert inflate(packed, 4097) is None
    assert inflate(packed[:-5], 4096) is None
    assert inflate(b"\xff" * 50, 4096) is None


def test_a_zstd_bomb_takes_little_memory_of_its_library_too():
    """What C allocates tracemalloc does not see: the frame's window is bounded."""
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 28})
    frame = packer.compress(TEXT) + packer.flush()
    with pytest.raises(InvalidImageError, match="too much memory"):
        list(decompress([frame], "layer"))
    assert unpack_cluster(frame, len(TEXT)) is None


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress, bytes])
def test_no_more_than_there_is_room_for(pack):
    assert b"".join(decompress([pack(TEXT)], "layer", len(TEXT))) == TEXT
    with pytest.raises(InvalidImageError, match=f"unpacks to more than {len(TEXT) - 1} bytes"):
        list(decompress([pack(TEXT)], "layer", len(TEXT) - 1))


SKIPPABLE = struct.pack("<II", 0x184D2A5E, 5) + b"hello"


@pytest.mark.parametrize("length", [1, 7, 1000, 1 << 20])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_zstd_frames_in_chunks_of_any_size(length, frames):
    part = os.urandom(1000) + TEXT[:50_000]
    data = SKIPPABLE.join([zstd.compress(part)] * frames)
    for stream in (data, SKIPPABLE + data, data + SKIPPABLE, data + zstd.compress(b"")):
        parts = list(decompress(cut(stream, length), "layer"))
        assert b"".join(parts) == part * frames
        assert max(map(len, parts)) <= STEP


@pytest.mark.parametrize("data", [zstd.compress(TEXT), zstd.compress(TEXT) * 2, zstd.compress(TEXT) + SKIPPABLE])
@pytest.mark.parametrize("missing", [1, 3, 4, 6])
def test_truncated_zstd(data, missing):
    with pytest.raises(InvalidImageError, match="truncated"):
        list(decompress([data[:-missing]], "layer"))


@pytest.mark.parametrize("tail", [b"x", bytes(1), bytes(512), b"garbage behind the end", b"\x28\xb5", b"\x1f\x8b"])
@pytest.mark.parametrize("length", [1, 1 << 20])
def test_garbage_behind_the_last_zstd_frame(tail, length):
    with pytest.raises(InvalidImageError, match="zstd"):
        list(decompress(cut(zstd.compress(TEXT) + tail, length), "layer"))


def test_a_wrong_zstd_checksum():
    data = bytearray(zstd.compress(TEXT, options={zstd.CompressionParameter.checksum_flag: 1}))
    data[-2] ^= 1
    with pytest.raises(InvalidImageError, match="checksum"):
        list(decompress([bytes(data)], "layer"))


def test_a_cluster_says_how_much_it_took():
    packed = zstd.compress(TEXT[:4096])
    assert unpack_cluster(packed + b"behind", 4096) == (TEXT[:4096], len(packed))
    assert unpack_cluster(packed * 2 + b"behind", 8192) == (TEXT[:4096] * 2, 2 * len(packed))
    assert unpack_cluster(packed, 4097) is None
    assert unpack_cluster(packed, 4095) is None
    assert unpack_cluster(packed[:-5], 4096) is None
    assert unpack_cluster(b"\xff" * 50, 4096) is None
    assert unpack_cluster(b"", 4096) is None
