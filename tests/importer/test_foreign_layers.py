"""Only the disk that stays counts, over all layers and formats."""

import os
import time

import pytest

from dataimportcron.errors import (
    InvalidImageError,
    MissingDependencyError,
    RegistryUnavailableError,
    VolumeTooSmallError,
)
from dataimportcron.importer.report import Phase
from tests.importer.conftest import MemoryImage, patchwork, qemu_img, tar_of

MIB = 1 << 20
RAW = patchwork(2 * MIB, 12)
LARGE = b"large" * MIB
VDI = bytes(0x40) + b"\x7f\x10\xda\xbe"
BROKEN = b"QFI\xfb\0\0\0\1".ljust(4096, b"\0")


@pytest.fixture
def vmdk(tmp_path):
    (tmp_path / "raw").write_bytes(RAW)
    qemu_img("convert", "-f", "raw", "-O", "vmdk", tmp_path / "raw", tmp_path / "vmdk")
    return (tmp_path / "vmdk").read_bytes()


def layers(*members):
    return MemoryImage.of(*(tar_of(*files) for files in members))


@pytest.mark.parametrize("below", [LARGE, BROKEN, b""], ids=["too large", "broken", "empty"])
@pytest.mark.parametrize(
    "above",
    [[("disk/d", RAW)], [("disk/.wh.d", b""), ("disk/e", RAW)], [("disk/.wh..wh..opq", b""), ("disk/e", RAW)]],
    ids=["replaced", "removed", "folder emptied"],
)
def test_a_disk_that_does_not_stay_may_be_anything(bench, below, above):
    result = bench.run(layers([("disk/d", below), ("etc/x", b"1")], above), 2 * MIB)
    assert bench.target.read_bytes() == RAW
    assert result.virtual_size == len(RAW)


@pytest.mark.parametrize(
    ("below", "error"), [(LARGE, VolumeTooSmallError), (BROKEN, InvalidImageError)], ids=["too large", "broken"]
)
def test_one_that_stays_fails_the_import(bench, below, error):
    for image in (
        layers([("disk/d", below)], [("etc/x", b"1")]),
        layers([("disk/d", below)], [("disk/e", RAW)], [("disk/.wh.e", b"")]),
        layers([("disk/d", RAW)], [("disk/d", below)]),
    ):
        with pytest.raises(error):
            bench.run(image, 2 * MIB)
        assert bench.target.stat().st_size == 0
        assert not bench.marker.exists()


def test_a_failure_of_the_last_layer_is_told_at_once(bench):
    image = layers([("disk/d", LARGE), ("etc/x", RAW * 4)])
    image.chunk = 1000
    with pytest.raises(VolumeTooSmallError):
        bench.run(image, MIB)
    assert max(progress.bytes_read for progress in bench.progress) < image.image.layers[0].size


class HalfWay(MemoryImage):
    def open(self, layer):
        chunks = list(super().open(layer))
        yield from chunks[: len(chunks) // 2]
        # Time for whoever reads what has come.
        for _ in range(100):
            time.sleep(0.05)
            yield b""
        raise RegistryUnavailableError("cut off")


@pytest.mark.parametrize(
    ("disk", "error"),
    [(b"KDMV" + os.urandom(MIB), MissingDependencyError), (VDI.ljust(90 * MIB, b"\0"), InvalidImageError)],
    ids=["no qemu-img", "larger than any"],
)
def test_what_cannot_be_converted_is_refused_before_it_has_come(bench, monkeypatch, disk, error):
    if error is MissingDependencyError:
        monkeypatch.setenv("PATH", "/does/not/exist")
    with pytest.raises(error):
        bench.run(HalfWay.of(tar_of(("disk/d", disk))), MIB)


@pytest.mark.parametrize("first", [True, False])
def test_a_disk_that_is_set_aside_is_written_only_if_it_stays(bench, vmdk, first):
    disks = [("disk/d", vmdk), ("disk/d", RAW[:512])]
    result = bench.run(layers(*([disk] for disk in (disks if first else reversed(disks)))), 2 * MIB)
    assert result.format == ("raw" if first else "vmdk")
    assert bench.target.read_bytes() == (RAW[:512].ljust(2 * MIB, b"\0") if first else RAW)
    assert (Phase.CONVERTING in [progress.phase for progress in bench.progress]) <= (not first)


def test_one_below_that_is_set_aside_again(bench, vmdk):
    image = layers([("disk/d", vmdk)], [("disk/e", LARGE)], [("disk/.wh.e", b"")])
    assert bench.run(image, 2 * MIB).format == "vmdk"
    assert bench.target.read_bytes() == RAW
    assert image.opens == 4


def test_qemu_img_is_needed_only_for_the_disk_that_stays(bench, vmdk, monkeypatch):
    monkeypatch.setenv("PATH", "/does/not/exist")
    assert bench.run(layers([("disk/d", vmdk)], [("disk/d", RAW)]), 2 * MIB).format == "raw"
    with pytest.raises(MissingDependencyError):
        bench.run(layers([("disk/d", vmdk)], [("etc/x", RAW)]), 2 * MIB)
