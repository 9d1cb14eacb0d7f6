"""Disks that are compressed as a file inside their layer."""

import bz2
import gzip
import lzma
import os
import subprocess
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataimportcron.errors import InvalidImageError, VolumeTooSmallError
from dataimportcron.importer import decompress
from dataimportcron.importer.disk import packed
from dataimportcron.importer.report import Phase
from dataimportcron.importer.run import Request, run_import
from dataimportcron.oci.streams import ByteStream
from tests.importer.conftest import MemoryImage, patchwork, qcow2_of, qemu_img, set_aside, tar_of

MIB = 1 << 20
RAW = patchwork(3 * MIB, 8)
PACK = {
    "gzip": lambda data: gzip.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": zstd.compress,
}
TWO = {
    "gzip": lambda data: PACK["gzip"](data[:MIB]) + PACK["gzip"](data[MIB:]),
    "xz": lambda data: PACK["xz"](data[:MIB]) + bytes(8) + PACK["xz"](data[MIB:]) + bytes(4),
    "zstd": lambda data: PACK["zstd"](data[:MIB]) + PACK["zstd"](data[MIB:]),
}


@pytest.mark.parametrize("parts", [PACK, TWO], ids=["one stream", "two streams"])
@pytest.mark.parametrize("kind", PACK)
def test_a_raw_disk(bench, kind, parts):
    result = bench.run(MemoryImage.of(tar_of(("disk/d", parts[kind](RAW)), ("etc/x", b"1" * 9000))), 4 * MIB)
    assert bench.target.read_bytes() == RAW.ljust(4 * MIB, b"\0")
    assert (result.format, result.virtual_size) == ("raw", len(RAW))
    assert {path.name for path in bench.folder.iterdir()} == {bench.target.name, bench.marker.name}


def test_it_is_set_aside_beside_the_target_and_gives_its_space_back(bench):
    found = []
    request = Request(target=bench.target, marker=bench.marker, size=4 * MIB)
    image = MemoryImage.of(tar_of(("disk/d", PACK["gzip"](RAW))))
    run_import(request, image, lambda progress: found.append((progress.phase, len(set_aside(bench.folder)))))
    assert found[-3:] == [(Phase.CONVERTING, 1), (Phase.SYNCING, 0), (Phase.COMPLETE, 0)]


@pytest.mark.parametrize("format_", ["qcow2", "vmdk", "vpc"])
@pytest.mark.parametrize("kind", PACK)
def test_a_disk_of_another_format(bench, tmp_path, kind, format_):
    (tmp_path / "raw").write_bytes(RAW)
    options = ["-o", "subformat=fixed,force_size=on"] if format_ == "vpc" else []
    qemu_img("convert", "-f", "raw", "-O", format_, *options, tmp_path / "raw", tmp_path / "image")
    result = bench.run(MemoryImage.of(tar_of(("disk/d", PACK[kind]((tmp_path / "image").read_bytes())))), 4 * MIB)
    assert bench.target.read_bytes() == RAW.ljust(4 * MIB, b"\0")
    assert result.format == {"vpc": "vhd"}.get(format_, format_)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("kind", PACK)
def test_chunks_of_any_length(kind, chunk):
    data = b"golden image " * 500
    stored = TWO[kind](data[:1000].ljust(MIB, b"\0") + data)
    chunks = (stored[at : at + chunk] for at in range(0, len(stored), chunk))
    assert b"".join(packed.unpack(ByteStream(chunks, "disk"), len(stored))) == data[:1000].ljust(MIB, b"\0") + data


def test_what_the_xz_program_makes(bench, tmp_path):
    (tmp_path / "raw").write_bytes(RAW)
    done = subprocess.run(["xz", "-9", "--stdout", tmp_path / "raw"], check=True, capture_output=True)
    assert bench.disk(done.stdout, len(RAW)) == RAW


@pytest.mark.parametrize("kind", PACK)
def test_too_large_is_refused_with_both_sizes(bench, kind):
    with pytest.raises(VolumeTooSmallError, match=f"{len(RAW)} is larger than the reported available storage {MIB}"):
        bench.disk(PACK[kind](RAW), MIB)
    assert bench.target.stat().st_size == 0


@pytest.mark.parametrize("kind", PACK)
def test_a_bomb(bench, kind):
    with pytest.raises(InvalidImageError, match="more than 69206016 bytes as a file"):
        bench.disk(PACK[kind](bytes(80 * MIB)), MIB)
    assert bench.target.stat().st_size == 0
    assert [path.name for path in bench.folder.iterdir()] == [bench.target.name]
    assert set_aside(bench.folder) == []


@pytest.mark.parametrize("inner", PACK)
@pytest.mark.parametrize("outer", PACK)
def test_twice_is_refused(bench, outer, inner):
    with pytest.raises(InvalidImageError, match=f"compressed twice, inside by {inner}"):
        bench.disk(PACK[outer](PACK[inner](RAW)), 4 * MIB)


@pytest.mark.parametrize("kind", PACK)
def test_nothing_inside(bench, kind):
    with pytest.raises(InvalidImageError, match="empty file"):
        bench.disk(PACK[kind](b""), MIB)


@pytest.mark.parametrize("kind", PACK)
def test_truncated(bench, kind):
    whole = PACK[kind](RAW)
    for length in (len(whole) - 1, len(whole) // 2, 10):
        with pytest.raises(InvalidImageError, match="truncated"):
            bench.disk(whole[:length], 4 * MIB)
    assert not bench.marker.exists()


@pytest.mark.parametrize("kind", PACK)
def test_something_behind_it(bench, kind):
    with pytest.raises(InvalidImageError, match=kind):
        bench.disk(PACK[kind](RAW) + b"more of something else", 4 * MIB)


STORED = {kind: pack(os.urandom(200) + b"golden image " * 100) for kind, pack in PACK.items()}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(sorted(PACK)), at=st.integers(6, 1 << 20), bit=st.integers(0, 7))
def test_no_flipped_bit_changes_the_disk(kind, at, bit):
    stored = bytearray(STORED[kind])
    want = b"".join(packed.unpack(ByteStream([bytes(stored)], "disk"), len(stored)))
    stored[6 + at % (len(stored) - 6)] ^= 1 << bit
    try:
        found = b"".join(packed.unpack(ByteStream([bytes(stored)], "disk"), len(stored)))
    except InvalidImageError:
        return
    # gzip's header has bits without meaning; zstd has no checksum unless it is asked for.
    assert kind == "zstd" or found == want


def test_an_xz_file_that_needs_too_much_memory(bench):
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 256 * MIB, "preset": 0, "mf": lzma.MF_HC3, "mode": 1}]
    with pytest.raises(InvalidImageError, match=r"no valid xz stream: .*[Mm]emory"):
        bench.disk(lzma.compress(RAW, filters=filters), 4 * MIB)


def test_more_streams_than_anybody_makes(bench, monkeypatch):
    monkeypatch.setattr(decompress, "_MOST_MEMBERS", 3)
    with pytest.raises(InvalidImageError, match="more than 3 xz streams"):
        bench.disk(4 * PACK["xz"](RAW[:512]), 4 * MIB)


def test_a_compression_that_is_not_read(bench):
    with pytest.raises(InvalidImageError, match="bzip2"):
        bench.disk(bz2.compress(RAW), 4 * MIB)


def test_a_qcow2_of_compressed_clusters_is_none(bench, tmp_path):
    image = qcow2_of(RAW, tmp_path, compress=True)
    assert bench.disk(Path(image).read_bytes(), len(RAW)) == RAW
