import os
import tarfile
import threading
import time
from types import SimpleNamespace

import pytest
from backports import zstd

from dataimportcron.errors import DigestMismatchError, InvalidImageError, RegistryUnavailableError, VolumeTooSmallError
from dataimportcron.importer import run
from dataimportcron.importer.layer import pipeline
from dataimportcron.importer.report import SUCCEEDED, Phase
from dataimportcron.importer.source.image import build_image
from tests.importer.conftest import MemoryImage, patchwork, qcow2_of, sha256, tar_of, zipped

MIB = 1 << 20


@pytest.mark.parametrize("chunk", [1, 100, MIB])
def test_a_small_raw_disk(bench, chunk):
    data = b"boot" * 300
    assert bench.disk(data, 4096, chunk=chunk) == data.ljust(4096, b"\0")
    assert bench.progress[-1].virtual_size == 1536


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_raw_disk_in_any_tar(bench, format_):
    data = patchwork(3 * MIB + 100, 1)
    image = MemoryImage.of(tar_of(("usr/bin/x", b"1" * 700), ("disk/any name.raw", data), ("z", b"2"), format=format_))
    result = bench.run(image, 4 * MIB)
    assert bench.target.read_bytes() == data.ljust(4 * MIB, b"\0")
    assert (result.phase, result.format, result.exit_code) == (SUCCEEDED, "raw", 0)
    assert result.bytes_read == image.image.layers[0].size
    assert 0 < result.bytes_written <= len(data)


def test_a_qcow2_disk(bench, tmp_path):
    raw = patchwork(3 * MIB, 2)
    image = MemoryImage.of(
        tar_of(("disk/d.qcow2", qcow2_of(raw, tmp_path, compress=True).read_bytes())), env={"A": "b"}
    )
    result = bench.run(image, 5 * MIB)
    assert bench.target.read_bytes() == raw.ljust(5 * MIB, b"\0")
    assert (result.format, result.virtual_size, result.env) == ("qcow2", len(raw), {"A": "b"})


def test_layers_that_are_not_compressed(bench):
    tar = tar_of(("disk/d", b"plain"))
    bench.run(MemoryImage([(tar, tar)]), 512)
    assert bench.target.read_bytes() == b"plain".ljust(512, b"\0")


def test_layers_compressed_by_zstd(bench):
    data = patchwork(3 * MIB, 4)
    below, above = tar_of(("disk/old", b"old")), tar_of(("disk/.wh.old", b""), ("disk/d", data))
    image = MemoryImage([(zipped(below), below), (zstd.compress(above[:MIB]) + zstd.compress(above[MIB:]), above)])
    bench.run(image, 3 * MIB)
    assert bench.target.read_bytes() == data


def test_a_bomb_behind_the_disk_is_not_read_to_its_end(bench, monkeypatch):
    monkeypatch.setattr(run, "_BESIDE_DISK", 4 * MIB)
    tar = tar_of(("disk/d", b"x" * 512))
    for more in (bytes(3 * MIB), bytes(8 * MIB)):
        image = MemoryImage([(zstd.compress(tar) + zstd.compress(more), tar + more)])
        if len(more) < 4 * MIB:
            bench.run(image, 512)
        else:
            with pytest.raises(InvalidImageError, match="unpacks to more than"):
                bench.run(image, 512)


def test_a_bomb_spread_over_layers_is_one(bench, monkeypatch):
    monkeypatch.setattr(run, "_BESIDE_DISK", 4 * MIB)
    layers = [tar_of(("disk/d", b"x" * 512)), *(tar_of((f"usr/{number}", bytes(2 * MIB))) for number in range(3))]
    bench.run(MemoryImage([(zipped(tar), tar) for tar in layers[:2]]), 512)
    with pytest.raises(InvalidImageError, match="unpacks to more than"):
        bench.run(MemoryImage([(zipped(tar), tar) for tar in layers]), 512)


def test_a_layer_that_is_read_again_needs_no_room_again(bench, monkeypatch):
    monkeypatch.setattr(run, "_BESIDE_DISK", 4 * MIB)
    below = tar_of(("disk/a", bytes(2 * MIB)), ("disk/b", b"x" * MIB))
    bench.run(MemoryImage.of(below, tar_of(whiteout("disk/.wh.a"))), MIB)
    assert bench.target.read_bytes() == b"x" * MIB


def test_an_environment_without_end_is_refused():
    config = {"config": {"Env": [f"V{number}={'x' * 1000}" for number in range(200)]}, "rootfs": {"diff_ids": []}}
    with pytest.raises(InvalidImageError, match="environment of 200690 characters"):
        build_image("d", "d", [], config)


def test_the_phases_come_in_their_order(bench, monkeypatch):
    monkeypatch.setattr(pipeline, "TICK", 60)
    bench.disk(b"x", 512)
    phases = [progress.phase for progress in bench.progress]
    assert phases == [Phase.RESOLVING, Phase.SYNCING, Phase.COMPLETE]
    assert bench.progress[1].bytes_total == bench.progress[1].bytes_read > 0


def test_without_holes(bench):
    data = bytes(MIB) + b"x" * 4096
    bench.run(MemoryImage.of(tar_of(("disk/d", data))), 4 * MIB, preallocate=True)
    assert bench.target.read_bytes() == data.ljust(4 * MIB, b"\0")
    assert bench.target.stat().st_blocks * 512 >= 4 * MIB


def test_exactly_as_large_as_the_volume_fits(bench):
    assert bench.disk(b"x" * 1024, 1024) == b"x" * 1024


@pytest.mark.parametrize("size", [512, 1023])
def test_too_large_is_refused_with_both_sizes(bench, size):
    with pytest.raises(VolumeTooSmallError, match=f"1024 is larger than the reported available storage {size}"):
        bench.disk(b"x" * 1000, size)
    assert bench.target.stat().st_size == 0
    assert not bench.marker.exists()


# -- verification --------------------------------------------------------------------------------------------------


def test_no_flipped_byte_of_a_layer_is_ever_accepted(bench):
    tar = tar_of(("disk/disk.img", b"golden image " * 20), format=tarfile.USTAR_FORMAT)
    stored = zipped(tar)
    good = MemoryImage([(stored, tar)]).image
    assert len(stored) < 4096
    for at in range(len(stored)):
        bad = Served(good, stored[:at] + bytes([stored[at] ^ (1 << at % 8)]) + stored[at + 1 :])
        with pytest.raises((DigestMismatchError, InvalidImageError)):
            bench.run(bad, 4096)
        assert not bench.marker.exists()
    assert bench.run(Served(good, stored), 4096).phase == SUCCEEDED


@pytest.mark.parametrize("compressed", [True, False])
def test_no_layer_of_another_length_is_accepted(bench, compressed):
    tar = tar_of(("disk/disk.img", b"golden image " * 20), format=tarfile.USTAR_FORMAT)
    stored = zipped(tar) if compressed else tar
    good = MemoryImage([(stored, tar)]).image
    for length in [*range(0, len(stored), 97), len(stored) - 1]:
        with pytest.raises(DigestMismatchError, match=f"has {length} bytes, {len(stored)} were expected"):
            bench.run(Served(good, stored[:length]), 4096)
    with pytest.raises((DigestMismatchError, InvalidImageError), match=r"more|gzip"):
        bench.run(Served(good, stored + b"x"), 4096)
    assert not bench.marker.exists()


class Served:
    """What the manifest says, and what comes."""

    def __init__(self, image, data):
        self.image, self.data, self.digest = image, data, image.digest

    def load(self):
        return self.image

    def open(self, _):
        yield self.data


def test_a_download_that_is_longer_than_its_layer_is_cut_off(bench):
    asked = []

    class Longer(MemoryImage):
        def open(self, layer):
            yield from super().open(layer)
            for number in range(50):
                asked.append(number)
                yield bytes(1000)

    with pytest.raises(DigestMismatchError, match="has more bytes"):
        bench.run(Longer.of(tar_of(("disk/d", b"x"))), 512)
    assert asked == [0]


def test_a_wrong_diff_id_is_refused(bench):
    tar = tar_of(("disk/d", b"x"))
    with pytest.raises(DigestMismatchError, match=f"unpacks to the diff_id {sha256(tar)}"):
        bench.run(MemoryImage([(zipped(tar), tar + b"x")]), 512)
    assert not bench.marker.exists()


def test_the_rest_of_a_layer_is_verified_too(bench):
    tar = tar_of(("disk/d", b"x"), ("etc/much", os.urandom(100_000)))
    stored = zipped(tar)
    good = MemoryImage([(stored, tar)]).image
    bad = bytearray(zipped(tar[:-20000] + os.urandom(20000)))
    with pytest.raises((DigestMismatchError, InvalidImageError)):
        bench.run(Served(good, bytes(bad[: len(stored)]).ljust(len(stored), b"\0")), 512)
    assert bench.target.stat().st_size == 0


# -- layers --------------------------------------------------------------------------------------------------------


def whiteout(name):
    return (name, b"")


@pytest.mark.parametrize(
    ("layers", "want"),
    [
        ([[("disk/a", b"1")], [("etc/x", b"2")]], b"1"),
        ([[("etc/x", b"2")], [("disk/a", b"1")]], b"1"),
        ([[("disk/a", b"longer than two")], [("disk/a", b"2")]], b"2"),
        ([[("disk/a", b"longer than two")], [("disk/b", b"2"), whiteout("disk/.wh.a")]], b"2"),
        ([[("disk/a", b"1"), ("disk/b", b"2")], [whiteout("disk/.wh.a")]], b"2"),
        ([[("disk/a", b"1")], [("disk/b", b"longer than one")], [whiteout("disk/.wh.b")]], b"1"),
        ([[("disk/a", b"first of two"), ("disk/a", b"2")]], b"2"),
    ],
)
def test_the_disk_may_be_in_any_layer(bench, layers, want):
    bench.run(MemoryImage.of(*(tar_of(*members) for members in layers)), 512)
    assert bench.target.read_bytes() == want.ljust(512, b"\0")
    synced = bench.progress[-2]
    assert (synced.phase, synced.bytes_read) == (Phase.SYNCING, synced.bytes_total), "a layer that is read twice counts"


@pytest.mark.parametrize(
    ("layers", "complaint"),
    [
        ([[("etc/x", b"1")]], "found nothing"),
        ([[("disk/a", b"1"), ("disk/b", b"2")]], r"found a \(file\), b \(file\)"),
        ([[("disk/a", b"")]], "empty file"),
        ([], "found nothing"),
    ],
)
def test_without_exactly_one_disk(bench, layers, complaint):
    with pytest.raises(InvalidImageError, match=complaint):
        bench.run(MemoryImage.of(*(tar_of(*members) for members in layers)), 512)
    assert not bench.marker.exists()


@pytest.mark.parametrize("label", ["containers.bootc", "ostree.bootable"])
@pytest.mark.parametrize("value", ["1", "true", "True"])
def test_bootable_containers_are_refused(label, value):
    with pytest.raises(InvalidImageError, match="bootable container"):
        build_image("sha256:" + "0" * 64, "", [], {"config": {"Labels": {label: value}}, "rootfs": {"diff_ids": []}})


@pytest.mark.parametrize("diff_ids", [None, [], ["sha256:" + "0" * 64] * 2, ["sha256:short"], [1], "text"])
def test_a_configuration_that_does_not_match_its_layers(diff_ids):
    with pytest.raises(InvalidImageError, match="diff_id"):
        build_image("digest", "digest", [("sha256:" + "0" * 64, 5)], {"rootfs": {"diff_ids": diff_ids}})


@pytest.mark.parametrize("config", [{}, {"config": None}, {"config": {"Env": "x"}}, {"config": {"Env": [1, "=x"]}}])
def test_a_configuration_without_an_environment(config):
    assert build_image("d", "d", [], {**config, "rootfs": {"diff_ids": []}}).env == {}


def test_an_environment():
    config = {"config": {"Env": ["A=1", "B=x=y", "C"]}, "rootfs": {"diff_ids": []}}
    assert build_image("d", "d", [], config).env == {"A": "1", "B": "x=y", "C": ""}


# -- again ---------------------------------------------------------------------------------------------------------


def test_the_second_run_does_nothing(bench):
    image = MemoryImage.of(tar_of(("disk/d", b"x" * 600)), env={"OS": "fedora"})
    first = bench.run(image, 4096)
    before = bench.target.stat()
    second = bench.run(image, 4096)
    assert (image.loads, image.opens) == (1, 1)
    assert bench.target.stat().st_mtime_ns == before.st_mtime_ns
    assert second.bytes_read == 0
    assert (second.digest, second.format, second.env) == (first.digest, first.format, first.env)
    assert [progress.phase for progress in bench.progress][-1] == Phase.COMPLETE


def test_a_tag_is_resolved_before_it_is_known_to_be_complete(bench):
    image = MemoryImage.of(tar_of(("disk/d", b"x")), known=False)
    bench.run(image, 512)
    bench.run(image, 512)
    assert (image.loads, image.opens) == (2, 1)


@pytest.mark.parametrize("change", ["digest", "size", "platform", "marker", "torn marker", "file"])
def test_what_is_not_the_same_starts_over(bench, change):
    bench.run(MemoryImage.of(tar_of(("disk/d", b"old" * 1000))), 4096, platform="linux/amd64")
    if change == "marker":
        bench.marker.unlink()
    elif change == "torn marker":
        bench.marker.write_bytes(bench.marker.read_bytes()[:-5])
    elif change == "file":
        os.truncate(bench.target, 1000)
    image = MemoryImage.of(tar_of(("disk/d", b"new" if change == "digest" else b"old" * 1000)))
    size = 8192 if change == "size" else 4096
    bench.run(image, size, platform="linux/arm64" if change == "platform" else "linux/amd64")
    assert image.opens == 1
    want = b"new" if change == "digest" else b"old" * 1000
    assert bench.target.read_bytes() == want.ljust(size, b"\0")


def test_old_bytes_never_shine_through(bench):
    bench.target.write_bytes(os.urandom(3 * MIB))
    assert bench.disk(bytes(MIB) + b"x", 2 * MIB) == bytes(MIB) + b"x" + bytes(MIB - 1)


def test_a_failure_leaves_neither_marker_nor_bytes(bench):
    bench.disk(b"good", 512)
    with pytest.raises(InvalidImageError):
        bench.run(MemoryImage.of(tar_of(("disk/a", b"1"), ("disk/b", b"2"))), 512)
    assert not bench.marker.exists()
    assert bench.target.stat().st_size == 0


# -- failing stages ------------------------------------------------------------------------------------------------


class Breaking(MemoryImage):
    def open(self, layer):
        yield from list(super().open(layer))[:2]
        raise RegistryUnavailableError("cut off")


def test_a_download_that_fails_ends_all_stages(bench):
    before = threading.active_count()
    with pytest.raises(RegistryUnavailableError, match="cut off"):
        bench.run(Breaking.of(tar_of(("disk/d", os.urandom(MIB)))), MIB)
    assert threading.active_count() == before
    assert not bench.marker.exists()


class BreakingLate(MemoryImage):
    def open(self, layer):
        yield from super().open(layer)
        raise RegistryUnavailableError("cut off")


def test_a_disk_that_does_not_fit_is_refused_before_the_rest_of_the_last_layer_has_come(bench):
    tar = tar_of(("disk/d", os.urandom(8 * MIB)))
    with pytest.raises(VolumeTooSmallError):
        bench.run(BreakingLate([(tar, tar)]), MIB)


class Endless(MemoryImage):
    def open(self, _):
        yield b"no tar and no gzip" * 100
        while True:
            yield bytes(MIB)


def test_a_consumer_that_fails_ends_an_endless_download(bench):
    before = threading.active_count()
    image = Endless.of(tar_of(("disk/d", b"x")))
    with pytest.raises((InvalidImageError, DigestMismatchError)):
        bench.run(image, MIB)
    assert threading.active_count() == before


def test_time_that_was_lost_is_made_up_for(monkeypatch):
    clock = [50.0]
    monkeypatch.setattr(pipeline, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    meter = pipeline.Meter(rate=1000)
    pauses = []
    for passed in (0.0, 0.5, 0.5, 3.0, 0.0):
        clock[0] += passed
        pauses.append(meter.count(500))
    assert pauses == [0.5, 0.5, 0.5, 0.0, 0.0]


def test_the_rate_is_kept(bench):
    image = MemoryImage.of(tar_of(("disk/d", os.urandom(400_000))), chunk=20_000)
    began = time.monotonic()
    bench.run(image, MIB, rate=1_000_000)
    assert time.monotonic() - began > 0.35
