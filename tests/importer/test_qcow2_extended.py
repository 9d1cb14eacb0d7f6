"""qcow2 images whose clusters have subclusters; the oracle is qemu-img."""

import random
import struct
import subprocess
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataimportcron.errors import InvalidImageError, VolumeTooSmallError
from tests.importer.conftest import patchwork, qcow2_of, qemu_img, raw_of
from tests.importer.test_qcow2 import converted

KIB, MIB = 1 << 10, 1 << 20
SIZE = 3 * MIB
OFFSET = 0x00FFFFFFFFFFFE00


def qemu_io(image, commands):
    subprocess.run(
        ["qemu-io", *(part for command in commands for part in ("-c", command)), image],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def empty(folder, cluster, size=SIZE):
    image = folder / "image.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"extended_l2=on,cluster_size={cluster}", image, size)
    return image


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("cluster", [16 * KIB, 128 * KIB, 2 * MIB])
def test_the_same_bytes_as_qemu_img(tmp_path, cluster, compress):
    raw = patchwork(5 * MIB + 512, cluster)
    image = qcow2_of(raw, tmp_path, f"extended_l2=on,cluster_size={cluster}", compress=compress)
    assert converted(image.read_bytes(), len(raw), tmp_path)[0] == raw == raw_of(image)


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_clusters_of_all_kinds_side_by_side(tmp_path, compression):
    options = f"extended_l2=on,cluster_size=128k,compression_type={compression}"
    image = qcow2_of(patchwork(SIZE, 5), tmp_path, options, compress=True)
    qemu_io(image, ["write -P 7 130k 6k", "write -z 300k 12k", "write -P 8 1M 256k", "write -z 1028k 4k"])
    want = raw_of(image)
    assert converted(image.read_bytes(), SIZE, tmp_path)[0] == want
    assert want[130 * KIB] == 7
    assert want[1027 * KIB] == want[1032 * KIB] == 8
    assert want[1028 * KIB] == 0


def changes(seed, number):
    """Commands of qemu-io: bytes, zeros and holes in whole and half subclusters."""
    generator = random.Random(seed)  # noqa: S311 -- test data
    commands = []
    for _ in range(number):
        start = generator.randrange(SIZE // 512) * 512
        length = min(generator.choice([512, 4 * KIB, 24 * KIB, 200 * KIB]), SIZE - start)
        kind = generator.choice(["write -P 65", "write -P 66", "write -z", "write -z -u", "discard"])
        commands.append(f"{kind} {start} {length}")
    return commands


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1 << 30),
    number=st.integers(1, 12),
    cluster=st.sampled_from([16 * KIB, 32 * KIB, 64 * KIB, 128 * KIB, MIB]),
    chunk=st.sampled_from([1000, 65536, 1 << 20]),
)
def test_any_image_that_was_written_in_parts(tmp_path, seed, number, cluster, chunk):
    image = empty(tmp_path, cluster)
    qemu_io(image, changes(seed, number))
    assert converted(image.read_bytes(), SIZE, tmp_path, chunk)[0] == raw_of(image)


@pytest.mark.parametrize("seed", range(4))
def test_clusters_before_their_tables(tmp_path, seed):
    image = empty(tmp_path, 16 * KIB)
    qemu_io(image, changes(seed, 8))
    qemu_img("snapshot", "-c", "before", image)
    qemu_io(image, changes(seed + 100, 8))
    qemu_img("resize", "-q", image, "64M")
    got, spilled = converted(image.read_bytes(), 64 * MIB, tmp_path)
    assert got == raw_of(image)
    assert spilled >= 16 * KIB


def first_entry(data):
    """Where the first extended entry with data is."""
    (l1,) = struct.unpack_from(">Q", data, 40)
    (entry,) = struct.unpack_from(">Q", data, l1)
    l2 = entry & OFFSET
    (bits,) = struct.unpack_from(">I", data, 20)
    for at in range(l2, l2 + (1 << bits), 16):
        if struct.unpack_from(">Q", data, at)[0] & OFFSET:
            return at
    raise AssertionError("no data")


LIES = {
    "data and zero at once": lambda entry, bitmap: (entry, bitmap | 1 << 32 | 1),
    "data without a place": lambda entry, bitmap: (entry & ~OFFSET, bitmap),
    "compressed with a bitmap": lambda entry, bitmap: (entry | 1 << 62, bitmap),
    "the zero bit of plain entries": lambda entry, bitmap: (entry | 1, bitmap),
}


@pytest.mark.parametrize("lie", LIES)
def test_halves_that_contradict_each_other(tmp_path, lie):
    image = empty(tmp_path, 64 * KIB)
    qemu_io(image, ["write -P 1 0 2k"])
    data = bytearray(image.read_bytes())
    at = first_entry(data)
    struct.pack_into(">QQ", data, at, *LIES[lie](*struct.unpack_from(">QQ", data, at)))
    with pytest.raises(InvalidImageError, match="contradicts its subclusters"):
        converted(bytes(data), SIZE, tmp_path)


@pytest.mark.parametrize("entry", [1 << 58, 1 << 40])
def test_plain_halves_that_mean_nothing(tmp_path, entry):
    image = empty(tmp_path, 64 * KIB)
    qemu_io(image, ["write -P 1 0 2k"])
    data = bytearray(image.read_bytes())
    struct.pack_into(">QQ", data, first_entry(data), entry, 1 if entry == 1 << 40 else 0)
    with pytest.raises(InvalidImageError, match=r"means nothing|refers to byte"):
        converted(bytes(data), SIZE, tmp_path)


def test_what_a_cluster_holds_beside_its_data_never_shows(tmp_path):
    image = empty(tmp_path, 64 * KIB)
    qemu_io(image, ["write -P 1 0 64k"])
    data = bytearray(image.read_bytes())
    at = first_entry(data)
    struct.pack_into(">Q", data, at + 8, 0b101 | 0b10 << 32)
    image.write_bytes(data)
    got, _ = converted(bytes(data), SIZE, tmp_path)
    assert got == raw_of(image)
    assert [got[number * 2 * KIB] for number in range(4)] == [1, 0, 1, 0]


def test_a_file_that_ends_within_a_cluster_of_which_a_part_counts(tmp_path):
    image = empty(tmp_path, 64 * KIB)
    qemu_io(image, ["write -P 1 0 64k"])
    data = bytearray(image.read_bytes())
    at = first_entry(data)
    struct.pack_into(">Q", data, at + 8, 0b101)
    del data[(struct.unpack_from(">Q", data, at)[0] & OFFSET) + 5 * KIB :]
    image.write_bytes(data)
    got, _ = converted(bytes(data), SIZE, tmp_path)
    assert got == raw_of(image)
    assert [got[number * KIB] for number in range(6)] == [1, 1, 0, 0, 1, 0]


def test_clusters_that_are_too_small_for_subclusters(tmp_path):
    data = bytearray(empty(tmp_path, 16 * KIB).read_bytes())
    struct.pack_into(">I", data, 20, 13)
    with pytest.raises(InvalidImageError, match=r"clusters of 2\^13 bytes, expected 2\^14"):
        converted(bytes(data), SIZE, tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extended")
    image = empty(folder, 16 * KIB)
    qemu_io(image, changes(3, 10))
    return image.read_bytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 1 << 30), entry=st.booleans(), value=st.binary(min_size=1, max_size=9))
def test_a_damaged_image_is_read_or_refused(written, tmp_path, at, entry, value):
    data = bytearray(written)
    start = first_entry(data) + at % 512 if entry else at % len(data)
    data[start : start + len(value)] = value
    # Any other error, and a hang, fails the test.
    with suppress(InvalidImageError, VolumeTooSmallError):
        converted(bytes(data), SIZE, tmp_path)
