import os
import random
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataimportcron.errors import InvalidImageError, VolumeTooSmallError
from dataimportcron.importer.disk import compressed, conversion, qcow2
from dataimportcron.importer.disk.formats import write_disk
from dataimportcron.importer.disk.writer import Disk
from dataimportcron.oci.streams import ByteStream
from tests.importer.conftest import patchwork, qcow2_of, qemu_img, raw_of, set_aside
from tests.support.small_qcow2 import CLUSTER, COPIED, DATA_AT, ENTRIES, L1_AT, L2_AT, changed, small_qcow2, with_entry

MIB = 1 << 20
LAYOUTS = st.sampled_from(["plain", "compressed", "zstd", "metadata", "falloc", "full"])


def converted(data, size, folder, chunk=100_000):
    """Bytes of the disk, and how many had to be spilled."""
    path = folder / "out.raw"
    stream = ByteStream((data[at : at + chunk] for at in range(0, len(data), chunk)), "image")
    with path.open("wb+") as file:
        disk = Disk(file.fileno(), size, folder)
        conversion_ = conversion.Conversion(stream, len(data), disk)
        conversion_.run()
        assert stream.at_end()
        file.truncate(disk.virtual_size)
    assert disk.format == "qcow2"
    return path.read_bytes(), conversion_.spilled


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("compat", ["0.10", "1.1"])
@pytest.mark.parametrize("cluster", [512, 4096, 65536, 2 * MIB])
def test_the_same_bytes_as_qemu_img(tmp_path, cluster, compat, compress):
    raw = patchwork(5 * MIB + 512, cluster)
    image = qcow2_of(raw, tmp_path, f"compat={compat},cluster_size={cluster}", compress=compress)
    assert converted(image.read_bytes(), len(raw), tmp_path)[0] == raw == raw_of(image)


@pytest.mark.parametrize("cluster", [512, 4096, 65536, 2 * MIB])
@pytest.mark.parametrize("chunk", [1000, MIB])
def test_clusters_compressed_by_zstd(tmp_path, cluster, chunk):
    raw = patchwork(5 * MIB + 512, cluster)
    image = qcow2_of(raw, tmp_path, f"compression_type=zstd,cluster_size={cluster}", compress=True)
    got, _ = converted(image.read_bytes(), len(raw), tmp_path, chunk)
    assert got == raw == raw_of(image)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1 << 30),
    sectors=st.integers(1, 6000),
    layout=st.tuples(st.sampled_from(["0.10", "1.1"]), st.sampled_from([9, 10, 12, 14, 16, 18, 21]), LAYOUTS),
    chunk=st.sampled_from([1000, 65536, 1 << 20]),
)
def test_any_image_of_qemu_img(tmp_path, seed, sectors, layout, chunk):
    raw = patchwork(sectors * 512, seed)
    compat, cluster_bits, kind = layout
    options = f"compat={compat},cluster_size={1 << cluster_bits}"
    if kind == "zstd":
        options = f"compat=1.1,compression_type=zstd,cluster_size={1 << cluster_bits}"
    elif kind not in ("plain", "compressed"):
        options += f",preallocation={kind}"
    image = qcow2_of(raw, tmp_path, options, compress=kind in ("compressed", "zstd"))
    assert converted(image.read_bytes(), len(raw), tmp_path, chunk)[0] == raw


@pytest.mark.parametrize("compress", [False, True])
def test_what_qemu_img_writes_needs_almost_no_spill(tmp_path, compress):
    raw = os.urandom(24 * MIB)
    image = qcow2_of(raw, tmp_path, compress=compress)
    got, spilled = converted(image.read_bytes(), len(raw), tmp_path)
    assert got == raw
    # Header, reference counts and tables in front of the first L1 table.
    assert spilled <= 6 * 65536


@pytest.mark.parametrize("compress", [False, True])
def test_an_image_that_was_enlarged_has_its_first_table_at_the_end(tmp_path, compress):
    raw = patchwork(4 * MIB, 3)
    image = qcow2_of(raw, tmp_path, "cluster_size=512" if compress else "cluster_size=1024", compress=compress)
    qemu_img("resize", "-q", image, "64M")
    got, spilled = converted(image.read_bytes(), 64 * MIB, tmp_path)
    assert spilled >= 100_000
    assert got[: len(raw)] == raw
    assert got == raw_of(image)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("compress", [False, True])
def test_snapshots_put_clusters_before_their_tables(tmp_path, compress, keep):
    raw = patchwork(6 * MIB, 4)
    image = qcow2_of(raw, tmp_path, "cluster_size=4096", compress=compress)
    qemu_img("snapshot", "-c", "before", image)
    writes = [f"write -P {number} {number * 700_416} 614400" for number in range(1, 8)]
    commands = [part for write in writes for part in ("-c", write)]
    subprocess.run(["qemu-io", *commands, image], check=True, stdout=subprocess.DEVNULL)
    if not keep:
        qemu_img("snapshot", "-d", "before", image)
        subprocess.run(["qemu-io", "-c", "write -P 77 0 2M", image], check=True, stdout=subprocess.DEVNULL)
    want = raw_of(image)
    assert want != raw
    assert converted(image.read_bytes(), len(raw), tmp_path)[0] == want


def test_discarded_and_zeroed_clusters_read_as_zeros(tmp_path):
    raw = os.urandom(2 * MIB)
    image = qcow2_of(raw, tmp_path)
    commands = ["-c", "discard 64k 128k", "-c", "write -z 512k 256k", "-c", "write -z -u 1M 64k"]
    subprocess.run(["qemu-io", *commands, image], check=True, stdout=subprocess.DEVNULL)
    got, _ = converted(image.read_bytes(), len(raw), tmp_path)
    assert got == raw_of(image)
    assert got[65536:131072] == bytes(65536)


@pytest.mark.parametrize("size", ["0", "512", "1T"])
def test_an_image_without_data(tmp_path, size):
    image = tmp_path / "empty.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", image, size)
    path = tmp_path / "out"
    data = image.read_bytes()
    with path.open("wb+") as file:
        disk = Disk(file.fileno(), 1 << 40, tmp_path)
        write_disk(ByteStream([data], "image"), len(data), disk)
    assert disk.written == 0
    assert disk.virtual_size == {"0": 0, "512": 512, "1T": 1 << 40}[size]


def test_a_disk_that_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    raw = os.urandom(MIB)
    image = qcow2_of(raw, tmp_path)
    with pytest.raises(VolumeTooSmallError, match=f"{MIB} is larger than the reported available storage {MIB - 512}"):
        converted(image.read_bytes(), MIB - 512, tmp_path)
    assert (tmp_path / "out.raw").stat().st_size == 0


def test_what_the_last_cluster_holds_behind_the_disk_never_shows(bench, tmp_path):
    raw = os.urandom(65536)
    image = qcow2_of(raw, tmp_path).read_bytes()
    image = image[:24] + (65536 - 512).to_bytes(8, "big") + image[32:]
    assert bench.disk(image, 65536) == raw[:-512] + bytes(512)


def test_what_a_table_says_of_clusters_behind_the_disk_counts_for_nothing(tmp_path):
    raw = b"golden".ljust(CLUSTER, b"1") * 4
    image = with_entry(small_qcow2(raw), L2_AT, ENTRIES - 1, 1 << 58)
    (tmp_path / "image").write_bytes(image)
    assert converted(image, len(raw), tmp_path)[0] == raw_of(tmp_path / "image") == raw


def test_plain_data_where_compressed_data_was(tmp_path):
    """The first table names a compressed cluster that comes; the second, at the end, the same bytes as they are."""
    image = small_qcow2(b"golden".ljust(CLUSTER, b"1") * 4, compression="zlib")
    end, size = len(image), (ENTRIES + 1) * CLUSTER
    image = with_entry(changed(image, size=size, l1_size=2), L1_AT, 1, end | COPIED)
    image += (DATA_AT | COPIED).to_bytes(8, "big").ljust(CLUSTER, b"\0")
    with pytest.raises(InvalidImageError, match=f"uses its cluster {DATA_AT // CLUSTER} twice"):
        converted(image, size, tmp_path)


def test_clusters_that_came_too_early_are_joined_up_to_a_bound():
    pairs = [(number, number + 100) for number in range(1, 8)] + [(9, 108)]
    assert list(conversion._runs(pairs, 3)) == [(1, 101, 3), (4, 104, 3), (7, 107, 1), (9, 108, 1)]


def test_nothing_is_left_of_the_spill_file(tmp_path):
    image = qcow2_of(os.urandom(MIB), tmp_path, "cluster_size=1024")
    qemu_img("resize", "-q", image, "64M")
    before = set(tmp_path.iterdir())
    _, spilled = converted(image.read_bytes(), 64 * MIB, tmp_path)
    assert spilled >= MIB
    assert set(tmp_path.iterdir()) - before == {tmp_path / "out.raw"}
    assert set_aside(tmp_path) == []


def test_clusters_are_small_and_many_and_few_are_ahead(tmp_path, monkeypatch):
    raw = random.Random(5).randbytes(256) * (4 * MIB // 256)  # noqa: S311 -- test data
    image = qcow2_of(raw, tmp_path, "cluster_size=512", compress=True)
    # A table names 64 clusters of 512 bytes.
    monkeypatch.setattr(compressed, "_MOST_PENDING", 64)
    assert converted(image.read_bytes(), len(raw), tmp_path, MIB)[0] == raw


@pytest.fixture
def pending(tmp_path):
    qemu_img("create", "-q", "-f", "qcow2", tmp_path / "empty.qcow2", "1G")
    header = (tmp_path / "empty.qcow2").read_bytes()[: qcow2.HEADER_LENGTH]
    return compressed.PendingRanges(qcow2.parse_header(header, 1 << 40))


def test_all_tables_may_come_before_all_compressed_clusters(pending):
    order = list(range(2000))
    random.Random(3).shuffle(order)  # noqa: S311 -- test data
    tables = [sorted(order[at : at + 50]) for at in range(0, 2000, 50)]
    for table in tables:
        ranges = compressed.Ranges()
        for number in table:
            ranges.append(1 << 62 | 65536 + number * 1000, number)
        pending.add(ranges)
    for number in range(2000):
        assert pending.next() == (65536 + number * 1000, 512 - (65536 + number * 1000) % 512, number)
        pending.pop()
    assert pending.next() is None


def test_too_many_ahead_are_refused(pending, monkeypatch):
    monkeypatch.setattr(compressed, "_MOST_PENDING", 10)
    ranges = compressed.Ranges()
    for number in range(6):
        ranges.append(1 << 62 | 65536 + number * 1000, number)
    pending.add(ranges)
    pending.pop()
    with pytest.raises(InvalidImageError, match="more than 10 compressed clusters ahead"):
        pending.add(ranges)
