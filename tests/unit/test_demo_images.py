import shutil
import subprocess
from pathlib import Path

import pytest

from dataimportcron.errors import DataImportCronError, MissingDependencyError, PermanentError, TransientError
from demo.boot import boot
from demo.images import MIB, _run, boot_line, bootable_disk, cache_folder, to_qcow2

SYSTEM_MIB = 64


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    path = tmp_path_factory.mktemp("disk") / "golden.img"
    bootable_disk(path, "41.1")
    return path


def payload_of(disk):
    return subprocess.run(["mtype", "-i", disk, "::payload.bin"], check=True, capture_output=True).stdout


def test_a_disk_boots_says_its_version_and_powers_off(disk):
    serial = boot(disk, timeout=120)
    assert boot_line("41.1") in serial.splitlines()


def test_booting_changes_no_byte_of_the_disk(disk, tmp_path):
    before = disk.read_bytes()
    copy = tmp_path / "a,b=c.img"  # qemu takes a comma in a name for the end of the name
    shutil.copyfile(disk, copy)
    boot(copy, timeout=120)
    assert copy.read_bytes() == before


def test_equal_versions_make_equal_bytes_and_others_do_not(disk, tmp_path):
    again, other = tmp_path / "again.img", tmp_path / "other.img"
    bootable_disk(again, "41.1")
    bootable_disk(other, "41.2")
    assert again.read_bytes() == disk.read_bytes()
    assert other.read_bytes() != disk.read_bytes()


def test_a_payload_is_on_the_disk_and_differs_by_version(tmp_path):
    disks = {version: tmp_path / f"{version}.img" for version in ("1", "2")}
    for version, path in disks.items():
        bootable_disk(path, version, payload_mib=3)
    one, two = payload_of(disks["1"]), payload_of(disks["2"])
    assert len(one) == len(two) == 3 * MIB
    assert one != two
    assert len(set(one[:MIB])) == 256
    assert disks["1"].stat().st_size == (SYSTEM_MIB + 3) * MIB


def test_nothing_but_the_disk_is_left_in_its_folder(disk):
    assert [path.name for path in disk.parent.iterdir()] == ["golden.img"]


def test_a_disk_is_sparse(disk):
    assert disk.stat().st_blocks * 512 < disk.stat().st_size / 2


@pytest.mark.parametrize("compressed", [False, True])
def test_qcow2_holds_the_same_disk(disk, tmp_path, compressed):
    target = tmp_path / "golden.qcow2"
    to_qcow2(disk, target, compressed=compressed)
    assert target.read_bytes()[:8] == b"QFI\xfb\x00\x00\x00\x03"
    compare = ["qemu-img", "compare", "-f", "raw", "-F", "qcow2", disk, target]
    assert subprocess.run(compare, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize("version", ["", 'a"b', "a b", "$(reboot)", "é", "-x", "v" * 64])
def test_a_version_that_a_shell_would_read_is_refused(tmp_path, version):
    with pytest.raises(PermanentError, match="version"):
        bootable_disk(tmp_path / "x.img", version)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mib", [-1, 4096])
def test_a_payload_that_fat_cannot_hold_is_refused(tmp_path, mib):
    with pytest.raises(PermanentError, match="0 to 4095 MiB"):
        bootable_disk(tmp_path / "x.img", "1", payload_mib=mib)


def test_a_missing_kernel_names_the_cure(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"vmlinuz.*tools/setup\.sh demo"):
        bootable_disk(tmp_path / "x.img", "1")


def test_the_cache_is_in_the_home_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder() == tmp_path / ".cache/dataimportcron"


def test_a_missing_program_names_its_package(tmp_path, monkeypatch, disk):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"qemu-img is not installed.*apt-get install .*qemu-utils"):
        to_qcow2(disk, tmp_path / "x.qcow2")
    with pytest.raises(MissingDependencyError, match=r"apt-get install .*qemu-system-x86"):
        boot(disk, timeout=1)


def test_a_failure_leaves_the_old_disk(tmp_path, monkeypatch):
    path = tmp_path / "golden.img"
    path.write_bytes(b"old")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="cpio is not installed"):
        bootable_disk(path, "1")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("golden.img", b"old")]


def test_a_program_that_ends_before_its_input_is_quoted(tmp_path):
    with pytest.raises(DataImportCronError, match=r"mcopy .*exit code 1.*absent\.img"):
        _run(["mcopy", "-i", str(tmp_path / "absent.img"), "-", "::x"], feed=[bytes(MIB)] * 4)


def test_a_failing_program_is_quoted(tmp_path):
    with pytest.raises(DataImportCronError, match=r"qemu-img convert .*exit code 1.*absent"):
        to_qcow2(tmp_path / "absent.img", tmp_path / "x.qcow2")


def test_a_disk_that_does_not_boot_ends_in_time_with_its_last_words(tmp_path):
    blank = tmp_path / "blank.img"
    blank.write_bytes(bytes(MIB))
    with pytest.raises(TransientError, match=r"blank\.img did not power off within 1\.5 s"):
        boot(blank, timeout=1.5)
    assert not any(str(blank).encode() in line for line in command_lines())


def command_lines():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes()
        except OSError:  # it ended meanwhile
            continue


def test_booting_an_absent_disk_says_so(tmp_path):
    with pytest.raises(MissingDependencyError, match=r"no disk .*absent\.img"):
        boot(tmp_path / "absent.img", timeout=1)
