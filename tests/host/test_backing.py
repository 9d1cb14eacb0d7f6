"""Who has a volume as its backing file: real files of qemu-img, and headers that it would not make."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from dataimportcron.host.disks import backing as module
from dataimportcron.host.disks.backing import BackingFiles
from dataimportcron.host.disks.qcow2_header import MAGIC
from tests.support.overlays import make_overlay
from tests.support.storage import denied, public_folder


@pytest.fixture
def tmp_path():
    """Whoever we become may come here."""
    with public_folder() as folder:
        yield folder


@pytest.fixture
def golden(tmp_path):
    folder = tmp_path / "pool"
    folder.mkdir()
    file = folder / "golden.img"
    file.write_bytes(bytes(1 << 20))
    return file


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


@pytest.fixture
def user_of(golden, images):
    backing = BackingFiles()

    def look(*folders: Path) -> str:
        return backing.user_of(golden, [golden.parent, images, *folders], hidden=".dataimportcron")

    return look


def test_nobody(user_of, images, golden):
    (images / "other.img").write_bytes(b"raw")
    (images / "empty").touch()
    make_overlay(images / "elsewhere.qcow2", golden.with_name("other.img"))
    os.mkfifo(images / "fifo")
    (images / "nowhere").symlink_to("absent")
    (images / "loop").symlink_to(".")
    (images / "itself").symlink_to("itself")
    assert user_of() == ""


def test_an_overlay(user_of, images, golden):
    overlay = make_overlay(images / "vm.qcow2", golden)
    assert user_of() == f"{overlay} has it as its backing file"
    overlay.unlink()
    assert user_of() == ""


@pytest.mark.parametrize("options", [("-o", "compat=0.10"), ("-o", "compat=1.1"), ("-o", "cluster_size=512")])
def test_each_version(user_of, images, golden, options):
    make_overlay(images / "vm.qcow2", golden, options=options)
    assert "backing file" in user_of()


def test_what_an_overlay_says_now_counts(user_of, images, golden):
    other = golden.with_name("golden-2.img")
    other.write_bytes(bytes(1 << 20))
    overlay = make_overlay(images / "vm.qcow2", golden)
    assert user_of()
    subprocess.run(["qemu-img", "rebase", "-u", "-b", other, "-F", "raw", overlay], check=True)
    assert user_of() == ""
    subprocess.run(["qemu-img", "rebase", "-u", "-b", golden, "-F", "raw", overlay], check=True)
    assert user_of()


def test_a_chain_through_files_that_are_in_no_folder(user_of, images, golden, tmp_path):
    first = make_overlay(tmp_path / "first.qcow2", golden)
    second = make_overlay(tmp_path / "second.qcow2", first, base_format="qcow2")
    third = make_overlay(images / "third.qcow2", second, base_format="qcow2")
    assert user_of() == f"{third} has it as its backing file, through {first}"


def test_a_chain_that_bites_its_tail(user_of, images):
    make_overlay(images / "a.qcow2", images / "b.qcow2", base_format="qcow2")
    make_overlay(images / "b.qcow2", images / "a.qcow2", base_format="qcow2")
    assert user_of() == ""


def test_relative_paths_are_read_from_the_overlays_folder(user_of, images, golden):
    deep = images / "a" / "b"
    deep.mkdir(parents=True)
    overlay = make_overlay(deep / "vm.qcow2", f"../../../pool/{golden.name}")
    assert user_of() == f"{overlay} has it as its backing file"


def test_relative_paths_of_a_linked_overlay(user_of, images, golden, tmp_path):
    """QEMU reads them from the link's folder; whoever opens the file itself, from the file's."""
    store = tmp_path / "store"
    store.mkdir()
    (images / "vm.qcow2").symlink_to(make_overlay(store / "vm.qcow2", f"../pool/{golden.name}"))
    assert "vm.qcow2 has it as its backing file" in user_of()
    (store / "vm.qcow2").unlink()
    make_overlay(store / "vm.qcow2", "base.img")
    assert user_of() == ""
    (images / "base.img").symlink_to(golden)
    assert "vm.qcow2 has it as its backing file" in user_of()


def test_the_same_file_by_other_names(user_of, images, golden, tmp_path):
    alias = tmp_path / "alias.img"
    alias.hardlink_to(golden)
    make_overlay(images / "vm.qcow2", alias)
    assert "backing file" in user_of()
    alias.unlink()
    assert user_of() == ""
    alias.symlink_to(golden)
    assert "backing file" in user_of()


def test_a_linked_folder(user_of, images, golden, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    make_overlay(elsewhere / "vm.qcow2", golden)
    assert user_of() == ""
    (images / "more").symlink_to(elsewhere)
    assert "backing file" in user_of()


@pytest.mark.parametrize(
    "name",
    [
        "file:{}",
        'json:{{"driver": "raw", "file": {{"driver": "file", "filename": "{}"}}}}',
        'json:{{"file.filename": "{}"}}',
        'json:{{"file": {{"filename": "{}"}}, "driver": "raw"}}',
        'json:{{"driver": "file", "filename": "file:{}"}}',
    ],
)
def test_the_spellings_that_qemu_knows(user_of, images, golden, name):
    make_overlay(images / "vm.qcow2", name.format(golden))
    assert "backing file" in user_of()


@pytest.mark.parametrize(
    "name",
    [
        "nbd://server/disk",
        "rbd:pool/disk",
        "https://example.invalid/disk.img",
        'json:{"driver": "nbd", "server": {"type": "inet", "host": "h", "port": "1"}}',
    ],
)
def test_what_is_on_another_host_is_not_ours(user_of, images, name):
    make_overlay(images / "vm.qcow2", name)
    assert user_of() == ""


@pytest.mark.parametrize(
    "name", ["future:disk", "json:{", "json:[]", 'json:{"driver": "future", "file": {"filename": "/x"}}', "json:{}"]
)
def test_a_name_that_is_not_understood_may_be_ours(user_of, images, name, golden):
    overlay = make_overlay(images / "vm.qcow2", name)
    said = user_of()
    assert said.startswith(f"whether a disk has {golden} as its backing file cannot be known: {overlay} names ")


def test_an_external_data_file(user_of, images, golden):
    data = images / "data.raw"
    options = ["-f", "qcow2", "-o", f"data_file={data},data_file_raw=on"]
    subprocess.run(["qemu-img", "create", "-q", *options, images / "vm.qcow2", "1M"], check=True)
    data.unlink()
    data.symlink_to(golden)
    assert user_of() == f"{images / 'vm.qcow2'} has it as its data file"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (MAGIC, "its header is cut off"),
        (MAGIC + struct.pack(">I", 9) + bytes(96), "it is of version 9, which is not known"),
        (MAGIC + struct.pack(">IQI", 3, 512, 5000) + bytes(84), "the name of its backing file has 5000 bytes at 512"),
        (MAGIC + struct.pack(">IQI", 3, 512, 50) + bytes(84), "the name of its backing file is cut off"),
        (MAGIC + struct.pack(">IQIIQ", 3, 0, 0, 16, 0) + bytes(40) + struct.pack(">QQQII", 4, 0, 0, 4, 104),
         "it does not name its external data file"),
    ],
)  # fmt: skip
def test_a_header_that_is_not_understood_may_be_an_overlay(user_of, images, content, why):
    (images / "vm.qcow2").write_bytes(content)
    assert user_of().endswith(f"cannot be known: {images}/vm.qcow2: {why}")


def test_a_backing_file_is_found_although_something_else_is_in_doubt(user_of, images, golden):
    (images / "a.qcow2").write_bytes(MAGIC)
    (images / "z.qcow2").write_bytes(MAGIC)
    overlay = make_overlay(images / "m.qcow2", golden)
    assert user_of() == f"{overlay} has it as its backing file"


def test_a_folder_that_is_not_there(user_of, tmp_path):
    assert user_of(tmp_path / "unmounted").endswith(
        f"cannot be known: the folder {tmp_path}/unmounted cannot be read: No such file or directory"
    )


def test_our_own_unfinished_files_are_left_out(user_of, golden):
    hidden = golden.parent / ".dataimportcron"
    hidden.mkdir()
    make_overlay(hidden / "vm.partial", golden)
    assert user_of() == ""


def test_the_volume_may_be_an_overlay_itself(images, golden):
    volume = make_overlay(golden.parent / "disk.qcow2", golden)
    backing = BackingFiles()
    assert backing.user_of(volume, [golden.parent, images]) == ""
    overlay = make_overlay(images / "vm.qcow2", volume, base_format="qcow2")
    assert backing.user_of(volume, [golden.parent, images]) == f"{overlay} has it as its backing file"


def test_an_unreadable_file_is_in_doubt(user_of, images, golden):
    overlay = make_overlay(images / "vm.qcow2", golden)
    overlay.chmod(0o600)
    with denied(overlay):
        said = user_of()
    assert said.endswith(f"cannot be known: {overlay}: it cannot be read: Permission denied")


def test_an_unreadable_folder_is_in_doubt(user_of, images, golden):
    make_overlay(images / "vm.qcow2", golden)
    images.chmod(0o700)
    with denied(images):
        said = user_of()
    assert said.endswith(f"cannot be known: the folder {images} cannot be read: Permission denied")


def test_files_are_read_again_only_when_they_have_changed(images, golden, monkeypatch):
    monkeypatch.setattr(module, "_SETTLED", 0)
    for number in range(2000):
        (images / f"{number}.img").write_bytes(b"raw")
    backing = BackingFiles()
    assert backing.user_of(golden, [images]) == ""
    opened = []
    real_open = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest, **named: opened.append(path) or real_open(path, *rest, **named))
    assert backing.user_of(golden, [images]) == ""
    assert opened == []
    (images / "7.img").unlink()
    overlay = make_overlay(images / "7.img", golden)
    assert backing.user_of(golden, [images]) == f"{overlay} has it as its backing file"
    assert opened == [overlay]
