import struct
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataimportcron.errors import InvalidImageError, VolumeTooSmallError
from dataimportcron.importer.disk.formats import write_disk
from dataimportcron.importer.disk.writer import Disk
from dataimportcron.oci.streams import ByteStream
from tests.importer.conftest import patchwork, qcow2_of, qemu_img
from tests.support.small_qcow2 import CLUSTER, DATA_AT, L1_AT, L2_AT, changed, packed_entry, small_qcow2, with_entry

MIB = 1 << 20
SIZE = 2 * MIB
KINDS = ("zlib", "zstd")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A plain image and one compressed by zlib and by zstd each, as bytes, with clusters of 4 KiB."""
    folder = tmp_path_factory.mktemp("hostile")
    raw = patchwork(SIZE, 11)
    plain = qcow2_of(raw, folder, "cluster_size=4096").read_bytes()
    packed = (qcow2_of(raw, folder, f"cluster_size=4096,compression_type={name}", compress=True) for name in KINDS)
    return plain, *(image.read_bytes() for image in packed)


def attempt(data, folder, size=SIZE):
    with (folder / "out").open("wb+") as file:
        disk = Disk(file.fileno(), size, folder)
        write_disk(ByteStream([data], "image"), len(data), disk)
        return disk


def put(data, at, form, value):
    changed = bytearray(data)
    struct.pack_into(form, changed, at, value)
    return bytes(changed)


def tables(data):
    """Offset of the L1 table, and of the first L2 table."""
    (l1,) = struct.unpack_from(">Q", data, 40)
    (entry,) = struct.unpack_from(">Q", data, l1)
    return l1, entry & 0x00FFFFFFFFFFFE00


HEADER_LIES = {
    "version 1": (4, ">I", 1, "version 1"),
    "version 4": (4, ">I", 4, "version 4"),
    "backing file": (8, ">Q", 0x200, "backing file"),
    "clusters of 256 bytes": (20, ">I", 8, r"2\^8"),
    "clusters of 4 MiB": (20, ">I", 22, r"2\^22"),
    "clusters of 2^4294967295 bytes": (20, ">I", 0xFFFFFFFF, "clusters"),
    "encrypted": (32, ">I", 1, "encrypted"),
    "L1 too short": (36, ">I", 0, "L1 table of 0 entries"),
    "L1 absurdly long": (36, ">I", 0xFFFFFFFF, "L1 table of 4294967295 entries"),
    "L1 outside": (40, ">Q", 1 << 40, "L1 table at byte"),
    "L1 at nothing": (40, ">Q", 0, "L1 table at byte"),
    "L1 not aligned": (40, ">Q", 0x3008, "L1 table at byte"),
    "corrupt": (72, ">Q", 2, "corrupt"),
    "data file": (72, ">Q", 4, "data file"),
    "zstd by its feature bit only": (72, ">Q", 8, "compression type 0"),
    "zstd by its type only": (104, ">B", 1, "feature bit that says otherwise"),
    "unknown compression": (104, ">B", 2, "compression type 2"),
    "extended L2": (72, ">Q", 16, "extended L2"),
    "unknown feature": (72, ">Q", 1 << 40, "unknown features"),
    "short header": (100, ">I", 72, "header of 72 bytes"),
}


@pytest.mark.parametrize("lie", HEADER_LIES)
def test_header(images, tmp_path, lie):
    at, form, value, complaint = HEADER_LIES[lie]
    with pytest.raises(InvalidImageError, match=complaint):
        attempt(put(images[0], at, form, value), tmp_path)
    assert (tmp_path / "out").stat().st_size == 0


def test_a_virtual_size_beyond_the_volume(images, tmp_path):
    with pytest.raises(VolumeTooSmallError):
        attempt(images[0], tmp_path, SIZE - 1)


@pytest.mark.parametrize("size", [1 << 50, 1 << 60, (1 << 64) - 1])
def test_a_virtual_size_beyond_the_tables(images, tmp_path, size):
    with pytest.raises(InvalidImageError):
        attempt(put(images[0], 24, ">Q", size), tmp_path, 1 << 62)


def test_a_real_backing_file(tmp_path):
    base, image = tmp_path / "base.qcow2", tmp_path / "top.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", base, "1M")
    qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", image)
    with pytest.raises(InvalidImageError, match="backing file"):
        attempt(image.read_bytes(), tmp_path)


@pytest.mark.parametrize("option", ["data_file=x.raw"])
def test_real_images_that_are_not_read(tmp_path, option, monkeypatch):
    monkeypatch.chdir(tmp_path)
    qemu_img("create", "-q", "-f", "qcow2", "-o", option, "image.qcow2", "1M")
    with pytest.raises(InvalidImageError, match="qcow2 image") as caught:
        attempt((tmp_path / "image.qcow2").read_bytes(), tmp_path)
    assert "qemu-img convert" in caught.value.hint


ENTRY_LIES = {
    "outside": (1 << 40, "refers to byte"),
    "the header": (0x200, "refers to byte"),
    "not aligned": (0x5200, "refers to byte"),
    "reserved bits": (0x5000 | 1 << 58, "means nothing"),
    "compressed, outside": (1 << 62 | 1 << 40, "refers to byte"),
    "compressed, in the header": (1 << 62 | 8, "no compressed cluster"),
}


@pytest.mark.parametrize("lie", ENTRY_LIES)
def test_entries_of_an_l2_table(images, tmp_path, lie):
    value, complaint = ENTRY_LIES[lie]
    _, l2 = tables(images[0])
    with pytest.raises(InvalidImageError, match=complaint):
        attempt(put(images[0], l2 + 8, ">Q", value), tmp_path)


@pytest.mark.parametrize("to", ["l1", "l2", "another cluster"])
def test_a_cluster_is_used_once(images, tmp_path, to):
    data = images[0]
    l1, l2 = tables(data)
    used = [entry for entry in struct.unpack_from(">512Q", data, l2) if entry]
    value = {"l1": l1, "l2": l2, "another cluster": used[0]}[to]
    with pytest.raises(InvalidImageError, match="twice"):
        attempt(put(data, l2 + 8 * 511, ">Q", value), tmp_path)


def test_a_table_is_used_once(images, tmp_path):
    l1, l2 = tables(images[0])
    assert struct.unpack_from(">I", images[0], 36) == (1,)
    two = put(put(images[0], 36, ">I", 2), 24, ">Q", SIZE + 4096)
    with pytest.raises(InvalidImageError, match="twice"):
        attempt(put(two, l1 + 8, ">Q", l2), tmp_path, 2 * SIZE)


@pytest.mark.parametrize("kind", [1, 2], ids=KINDS)
def test_compressed_data_is_used_once(images, tmp_path, kind):
    data = images[kind]
    _, l2 = tables(data)
    entries = struct.unpack_from(">512Q", data, l2)
    packed = next(entry for entry in entries if entry >> 62 & 1)
    with pytest.raises(InvalidImageError, match="twice"):
        attempt(put(data, l2 + 8 * 511, ">Q", packed), tmp_path)


@pytest.mark.parametrize("kind", [1, 2], ids=KINDS)
def test_damaged_compressed_data(images, tmp_path, kind):
    data = images[kind]
    _, l2 = tables(data)
    packed = next(entry for entry in struct.unpack_from(">512Q", data, l2) if entry >> 62 & 1)
    offset = packed & ((1 << 58) - 1)
    with pytest.raises(InvalidImageError, match="no compressed cluster at byte"):
        attempt(data[:offset] + b"\xff" * 64 + data[offset + 64 :], tmp_path)


def test_compressed_data_of_which_only_a_part_has_come_with_its_table(tmp_path):
    """It begins behind the L1 table, in its last cluster, and the L2 table lies in front of both."""
    image = small_qcow2(b"golden".ljust(CLUSTER, b"1") * 4)
    l1, l2 = L1_AT.to_bytes(8, "big"), image[L2_AT:DATA_AT]
    stored = b"\1" + struct.pack("<HH", CLUSTER, CLUSTER ^ 0xFFFF)
    image = changed(image[:L1_AT] + l2 + l1.ljust(CLUSTER - 5, b"\0") + stored + image[DATA_AT:], l1_offset=L2_AT)
    image = with_entry(image, L1_AT, 0, packed_entry(DATA_AT - 5, CLUSTER + 5))
    with pytest.raises(InvalidImageError, match=f"no compressed cluster at byte {DATA_AT - 5}"):
        attempt(image, tmp_path)


@pytest.mark.parametrize("length", [4, 50, 72, 100, 4096])
def test_a_file_that_ends_early(images, tmp_path, length):
    with pytest.raises(InvalidImageError):
        attempt(images[0][:length], tmp_path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.tuples(st.integers(0, 2), st.sampled_from(["header", "l1", "l2", "anywhere"]), st.integers(0, 1 << 30)),
    value=st.one_of(st.binary(min_size=1, max_size=9), st.integers(0, 1 << 20).map(lambda n: (n * 512).to_bytes(8))),
)
def test_a_damaged_image_is_read_or_refused(images, tmp_path, place, value):
    kind, where, at = place
    data = bytearray(images[kind])
    l1, l2 = tables(data)
    start = {"header": at % 112, "l1": l1, "l2": l2 + at % 4096 // 8 * 8, "anywhere": at % len(data)}[where]
    data[start : start + len(value)] = value
    # Any other error, and a hang, fails the test.
    with suppress(InvalidImageError, VolumeTooSmallError):
        assert attempt(bytes(data), tmp_path).written <= SIZE
    assert (tmp_path / "out").stat().st_size <= SIZE


REFUSED = {
    "vmdk of ESX": b"COWD\1\0\0\0",
    "vmdk descriptor": b"# Disk DescriptorFile\n",
    "bzip2": b"BZh91AY&SY",
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_formats_are_named_not_written(tmp_path, name):
    with pytest.raises(InvalidImageError, match=name):
        attempt(REFUSED[name].ljust(4096, b"\1"), tmp_path)
    assert (tmp_path / "out").stat().st_size == 0
