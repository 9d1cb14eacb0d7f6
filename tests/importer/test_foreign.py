"""Disks of other programs, made and judged by the real qemu-img."""

import json
import os
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataimportcron.errors import (
    InvalidImageError,
    MissingDependencyError,
    NoSpaceError,
    TargetBusyError,
    TransientError,
    VolumeTooSmallError,
)
from dataimportcron.importer.disk import qemu_img
from dataimportcron.importer.disk.writer import Disk
from dataimportcron.importer.run import Request, run_import
from tests.importer.conftest import MemoryImage, Workbench, patchwork, tar_of
from tests.support.storage import loop_device, mounted

MIB = 1 << 20
ROOM = 8 * MIB
RAW = patchwork(5 * MIB, 33)

FORMATS = {
    "vmdk monolithicSparse": ("vmdk", "subformat=monolithicSparse"),
    "vmdk streamOptimized": ("vmdk", "subformat=streamOptimized"),
    "vdi dynamic": ("vdi", "static=off"),
    "vdi static": ("vdi", "static=on"),
    "vhd dynamic": ("vpc", "subformat=dynamic"),
    "vhd dynamic, exact": ("vpc", "subformat=dynamic,force_size=on"),
    "vhd fixed": ("vpc", "subformat=fixed"),
    "vhd fixed, exact": ("vpc", "subformat=fixed,force_size=on"),
    "vhdx dynamic": ("vhdx", "subformat=dynamic"),
    "vhdx fixed": ("vhdx", "subformat=fixed"),
    "qed": ("qed", "cluster_size=65536"),
}


def run(*arguments):
    return subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Each format's image, and what qemu-img makes of it."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "raw").write_bytes(RAW)
    made = {}
    for name, (driver, options) in FORMATS.items():
        image, oracle = folder / "image", folder / "oracle"
        run("convert", "-f", "raw", "-O", driver, "-o", options, folder / "raw", image)
        run("convert", "-f", driver, "-O", "raw", image, oracle)
        made[name] = (image.read_bytes(), oracle.read_bytes())
    return made


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_bytes_as_qemu_img(bench, images, name):
    image, want = images[name]
    assert want.startswith(RAW)
    result = bench.run(MemoryImage.of(tar_of(("disk/d", image), ("etc/x", b"1" * 9000))), ROOM)
    assert bench.target.read_bytes() == want.ljust(ROOM, b"\0")
    assert (result.format, result.virtual_size) == (name.split()[0], len(want))
    assert 0 < result.bytes_written <= len(want)
    assert {path.name for path in bench.folder.iterdir()} == {bench.target.name, bench.marker.name}


@pytest.mark.parametrize("name", ["vmdk streamOptimized", "vhdx fixed"])
def test_holes_take_no_space(bench, tmp_path, name):
    driver, options = FORMATS[name]
    with (tmp_path / "raw").open("wb") as file:
        file.truncate(64 * MIB)
        file.write(b"boot" * 1024)
    run("convert", "-f", "raw", "-O", driver, "-o", options, tmp_path / "raw", tmp_path / "image")
    bench.disk((tmp_path / "image").read_bytes(), 64 * MIB)
    assert bench.target.stat().st_blocks * 512 <= MIB


def test_old_bytes_never_shine_through(bench, images):
    bench.target.write_bytes(os.urandom(ROOM))
    image, want = images["vmdk monolithicSparse"]
    assert bench.disk(image, ROOM) == want.ljust(ROOM, b"\0")


@pytest.mark.parametrize("name", FORMATS)
def test_too_large_is_refused_with_both_sizes(bench, images, name):
    image, want = images[name]
    size = len(want) - 512
    # Whether a fixed vhd is one shows at its end only.
    needed = len(image) if name.startswith("vhd fixed") else len(want)
    with pytest.raises(VolumeTooSmallError, match=f"{needed} is larger than the reported available storage {size}"):
        bench.disk(image, size)
    assert bench.target.stat().st_size == 0


def test_a_file_larger_than_any_disk_for_the_volume(bench, images):
    image = images["vdi static"][0] + bytes(70 * MIB)
    with pytest.raises(InvalidImageError, match="more than 69206016 bytes as a file"):
        bench.disk(image, MIB)


# -- fixed vhd: raw with a footer ----------------------------------------------------------------------------------


def test_a_fixed_vhd_fills_its_volume(bench, images):
    image, want = images["vhd fixed"]
    assert bench.disk(image, len(want)) == want
    assert len(image) == len(want) + 512


FOOTER_LIES = {"cookie": 0, "size": 48, "type": 60, "checksum": 64, "elsewhere": 100}


@pytest.mark.parametrize("where", FOOTER_LIES)
def test_what_is_no_footer_belongs_to_the_disk(bench, images, where):
    image = bytearray(images["vhd fixed"][0])
    image[len(image) - 512 + FOOTER_LIES[where]] ^= 1
    assert bench.disk(bytes(image), ROOM) == bytes(image).ljust(ROOM, b"\0")


def test_a_disk_that_is_too_large_by_its_last_sector(bench):
    with pytest.raises(VolumeTooSmallError, match=f"{MIB} is larger than the reported available storage {MIB - 512}"):
        bench.disk(os.urandom(MIB), MIB - 512)
    assert not bench.marker.exists()


# -- hostile -------------------------------------------------------------------------------------------------------


def put(data, at, form, *values):
    changed = bytearray(data)
    struct.pack_into(form, changed, at, *values)
    return bytes(changed)


@pytest.mark.parametrize("kind", ["monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse"])
def test_vmdks_whose_data_is_in_other_files(bench, tmp_path, kind):
    run("create", "-f", "vmdk", "-o", f"subformat={kind}", tmp_path / "disk.vmdk", "4M")
    with pytest.raises(InvalidImageError, match="descriptor, whose data is elsewhere"):
        bench.disk((tmp_path / "disk.vmdk").read_bytes(), ROOM)
    for part in tmp_path.glob("disk-s*.vmdk"):
        with pytest.raises(InvalidImageError, match="with 0 extents"):
            bench.disk(part.read_bytes(), ROOM)


def embedded(image, change):
    """The image with its embedded descriptor changed."""
    offset, sectors = struct.unpack_from("<QQ", image, 28)
    start, end = offset * 512, (offset + sectors) * 512
    text = change(image[start:end].rstrip(b"\0"))
    return image[:start] + text.ljust(end - start, b"\0") + image[end:]


FLAT = b'RW 8 FLAT "/etc/shadow" 0'
DESCRIPTOR_LIES = {
    "another kind": lambda text: text.replace(b"monolithicSparse", b"monolithicFlat"),
    "an extent of /etc/shadow": lambda text: re.sub(rb"RW .*", FLAT, text),
    "a second extent": lambda text: re.sub(rb"(RW .*)", rb"\1\n" + FLAT, text),
    "no extent": lambda text: re.sub(rb"RW .*", b"", text),
    "nothing": lambda _: b"",
    "a parent": lambda text: text + b'\nparentFileNameHint="/etc/shadow"\n',
}


@pytest.mark.parametrize("lie", DESCRIPTOR_LIES)
def test_vmdk_descriptors_that_lie(bench, images, lie):
    with pytest.raises(InvalidImageError, match=r"expected monolithicSparse or streamOptimized|needs a parent"):
        bench.disk(embedded(images["vmdk monolithicSparse"][0], DESCRIPTOR_LIES[lie]), ROOM)
    assert bench.target.stat().st_size == 0


def test_a_vmdk_without_size_is_what_its_descriptor_says(bench, images):
    image = embedded(images["vmdk monolithicSparse"][0], DESCRIPTOR_LIES["an extent of /etc/shadow"])
    with pytest.raises(InvalidImageError, match="a part of a disk"):
        bench.disk(put(image, 12, "<Q", 0), ROOM)


def test_a_vhd_that_needs_a_parent(bench, images):
    image = put(images["vhd dynamic"][0], 60, ">I", 4)
    with pytest.raises(InvalidImageError, match="of type 4, expected 3"):
        bench.disk(image, ROOM)


def test_a_vdi_that_needs_a_parent(bench, images):
    image = images["vdi dynamic"][0]
    with pytest.raises(InvalidImageError, match="of type 4, expected 1"):
        bench.disk(put(image, 0x4C, "<I", 4), ROOM)
    with pytest.raises(InvalidImageError, match="the vdi file cannot be read"):
        bench.disk(put(image, 0x1A8, "<I", 4), ROOM)


def test_a_vdi_whose_blocks_are_one_twice(bench, images):
    """qemu-img would convert it: only its check says that one of them is lost."""
    image = images["vdi dynamic"][0]
    (table,) = struct.unpack_from("<I", image, 0x154)
    first, second = struct.unpack_from("<II", image, table)
    assert first != second
    with pytest.raises(InvalidImageError, match="the vdi file cannot be read"):
        bench.disk(put(image, table + 4, "<I", first), ROOM)


def test_a_vhd_without_its_end(bench, images):
    with pytest.raises(InvalidImageError, match="does not end with a footer: it is truncated"):
        bench.disk(images["vhd dynamic"][0][:-512], ROOM)


@pytest.mark.parametrize("nested", [False, True])
def test_another_file_that_qemu_img_names(nested):
    other = {"filename": "/etc/shadow"}
    said = json.dumps({"virtual-size": 512, "filename": "it"} | ({"children": [{"info": other}]} if nested else other))
    with pytest.raises(InvalidImageError, match="needs another file: '/etc/shadow'"):
        qemu_img._checked_size(said.encode(), "vdi", "it")


def test_a_vhdx_that_needs_a_parent(bench, images):
    image = images["vhdx dynamic"][0]
    parameters = bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b")
    (offset,) = struct.unpack_from("<I", image, image.index(parameters) + 16)
    table = image.index(b"metadata")
    with pytest.raises(InvalidImageError, match="the vhdx file cannot be read"):
        bench.disk(put(image, table + offset + 4, "<I", 2), ROOM)


def test_a_qed_with_a_backing_file(bench, tmp_path):
    run("create", "-f", "raw", tmp_path / "base", "1M")
    run("create", "-f", "qed", "-b", tmp_path / "base", "-F", "raw", tmp_path / "top")
    with pytest.raises(InvalidImageError, match=r"the qed file needs another file: .*base"):
        bench.disk((tmp_path / "top").read_bytes(), ROOM)
    assert bench.target.stat().st_size == 0


@pytest.mark.parametrize("name", [name for name in FORMATS if not name.startswith("vhd fixed")])
@pytest.mark.parametrize("damage", ["short", "noise"])
def test_damaged_files_are_refused_for_good(bench, images, name, damage):
    image = images[name][0]
    head = image[:70]
    bad = image[:600] if damage == "short" else head + os.urandom(3000)
    with pytest.raises(InvalidImageError, match=name.split()[0]) as caught:
        bench.disk(bad, ROOM)
    assert "/proc/" not in str(caught.value)
    assert not bench.marker.exists()


@pytest.mark.parametrize("name", [name for name in FORMATS if not name.startswith("vhd fixed")])
def test_a_truncated_file_is_never_taken_for_zeros(bench, images, name):
    image = images[name][0]
    for length in (len(image) // 2, len(image) // 4 * 3):
        try:
            bench.disk(image[:length], ROOM)
        except InvalidImageError:
            assert not bench.marker.exists()
        else:
            # Nothing but holes was cut off.
            assert bench.target.read_bytes() == images[name][1].ljust(ROOM, b"\0")


@pytest.mark.parametrize("at", [0x158, 0x170, 0x180])
def test_a_vdi_of_absurd_numbers(bench, images, at):
    with pytest.raises((InvalidImageError, VolumeTooSmallError)):
        bench.disk(put(images["vdi dynamic"][0], at, "<I", 0xFFFFFFFF), ROOM)


# -- running qemu-img ----------------------------------------------------------------------------------------------


def test_without_qemu_img(bench, images, monkeypatch):
    monkeypatch.setenv("PATH", "/does/not/exist")
    with pytest.raises(MissingDependencyError, match="read by qemu-img") as caught:
        bench.disk(images["vdi dynamic"][0], ROOM)
    assert "apt-get install qemu-utils" in caught.value.hint


def qemu_img_as(program, monkeypatch, folder):
    """What runs qemu-img, and runs something else instead, that ends or takes its time as one wishes."""
    monkeypatch.setattr(qemu_img, "program", lambda _: program)
    (folder / "source").write_bytes(b"disk")
    descriptor = os.open(folder / "source", os.O_RDONLY)
    ticks = []
    source = qemu_img.ForeignDisk(descriptor=descriptor, length=4, name="vdi")
    return qemu_img._Run(source, lambda: ticks.append(1)), ticks, descriptor


ENDS = {
    "echo 'qemu-img: error while writing at byte 0: No space left on device' >&2; exit 1": NoSpaceError,
    "echo 'qemu-img: error while writing at byte 0: Input/output error' >&2; exit 1": TransientError,
    "echo 'qemu-img: error while reading at byte 0: Input/output error' >&2; exit 1": InvalidImageError,
    "kill -KILL $$": TransientError,
    "kill -SEGV $$": InvalidImageError,
}


@pytest.mark.parametrize("script", ENDS)
def test_how_it_may_end(tmp_path, monkeypatch, script):
    run, _, descriptor = qemu_img_as("/bin/dash", monkeypatch, tmp_path)
    with pytest.raises(ENDS[script], match=r"Input/output|SIGSEGV|killed|No space"):
        run("-c", script)
    os.close(descriptor)


def test_it_ticks_and_has_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(qemu_img, "_LEAST_SECONDS", 1)
    run, ticks, descriptor = qemu_img_as("/bin/sleep", monkeypatch, tmp_path)
    began = time.monotonic()
    with pytest.raises(TransientError, match="not read the vdi file within 1 seconds"):
        run("60")
    assert time.monotonic() - began < 30
    assert len(ticks) >= 3
    os.close(descriptor)


def test_it_has_more_time_for_more_bytes_and_nothing_of_our_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "ours")
    run, _, descriptor = qemu_img_as("/bin/dash", monkeypatch, tmp_path)
    assert b"SECRET" not in run("-c", "export -p")
    large = qemu_img.ForeignDisk(descriptor=descriptor, length=1 << 30, name="vdi")
    assert qemu_img._Run(large, lambda: None)("-c", "ulimit -t") == b"572\n"
    os.close(descriptor)


def test_it_never_waits_for_who_says_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(qemu_img, "_LEAST_SECONDS", 1)
    run, _, descriptor = qemu_img_as("/bin/dash", monkeypatch, tmp_path)
    with pytest.raises(TransientError, match="within 1 seconds"):
        run("-c", "while :; do echo much; done")
    assert run("-c", "echo some") == b"some\n"
    os.close(descriptor)


def test_a_target_without_space(tmp_path, images):
    with mounted("tmpfs", tmp_path / "small", "-t", "tmpfs", "-o", "size=128k") as folder:
        bench = Workbench(tmp_path)
        bench.folder = folder
        with pytest.raises(NoSpaceError, match=r"no space for the (scratch file|target)"):
            bench.disk(images["vmdk monolithicSparse"][0], ROOM)
        scratch = os.open(tmp_path / "scratch", os.O_RDWR | os.O_CREAT)
        os.write(scratch, images["vdi static"][0])
        target = os.open(bench.target, os.O_RDWR)
        source = qemu_img.ForeignDisk(descriptor=scratch, length=len(images["vdi static"][0]), name="vdi")
        with pytest.raises(NoSpaceError, match=r"no space for the target: .*No space left on device"):
            qemu_img.convert(source, Disk(target, ROOM, folder), lambda: None)
        os.close(scratch)
        os.close(target)


def test_a_block_device(tmp_path, images):
    (tmp_path / "backing").write_bytes(os.urandom(ROOM))
    image, want = images["vhdx dynamic"]
    with loop_device(tmp_path / "backing") as device:
        request = Request(target=device, marker=None, size=ROOM)
        result = run_import(request, MemoryImage.of(tar_of(("disk/d", image))), lambda _: None)
        assert device.read_bytes() == want.ljust(ROOM, b"\0")
    assert result.bytes_written == len(want)


SLEEPING = """
import sys
from pathlib import Path
from dataimportcron.importer.disk import qemu_img
from tests.importer.conftest import MemoryImage, Workbench, tar_of
real, qemu_img._Run.__call__ = qemu_img._Run.__call__, lambda run, *given, **_: called(run, given)
def called(run, arguments):
    if arguments[0] == "convert":
        qemu_img.program, arguments = (lambda _: "/bin/sleep"), ("60",)
    return real(run, *arguments)
Workbench(Path(sys.argv[1])).run(MemoryImage.of(tar_of(("disk/d", Path(sys.argv[2]).read_bytes()))), 8 << 20)
"""


def test_it_is_killed_with_the_importer_and_holds_the_target_until_then(bench, images, tmp_path):
    (tmp_path / "image").write_bytes(images["vdi dynamic"][0])
    command = [sys.executable, "-c", SLEEPING, bench.folder, tmp_path / "image"]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as importer:
        try:
            sleeper = until(lambda: next((one for one in children(importer.pid) if is_asleep(one)), None))
            with pytest.raises(TargetBusyError):
                bench.disk(b"x", ROOM)
        finally:
            importer.kill()
    until(lambda: not is_asleep(sleeper))
    assert bench.disk(b"x", 512) == b"x".ljust(512, b"\0")
    assert {path.name for path in bench.folder.iterdir()} == {bench.target.name, bench.marker.name}


def until(condition):
    end = time.monotonic() + 10
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def children(parent):
    return [int(text) for text in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def is_asleep(process):
    try:
        return Path(f"/proc/{process}/cmdline").read_text().startswith("/bin/sleep")
    except (FileNotFoundError, ProcessLookupError):
        return False
