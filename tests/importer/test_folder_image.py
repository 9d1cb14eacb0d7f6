"""The files of an image that somebody else has unpacked, as a node's container runtime mounts them."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from dataimportcron.errors import InvalidImageError
from dataimportcron.importer.__main__ import _parser, _reader
from dataimportcron.importer.source.local_image import _environment
from tests.importer.conftest import sha256

DISK = os.urandom(10_000)


def reader(root):
    arguments = ["--source", str(root), "--target", "unused", "--size", "1"]
    return _reader(_parser().parse_args(arguments))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "image"
    (folder / "disk").mkdir(parents=True)
    (folder / "disk" / "fedora.qcow2").write_bytes(DISK)
    return folder


def test_the_only_file_is_the_disk(root):
    image = reader(root)
    loaded = image.load()
    assert loaded.digest == sha256(DISK)
    assert DISK in b"".join(image.open(loaded.layers[0]))
    assert loaded.env == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: (root / "disk" / "more").touch(), "holds fedora.qcow2, more, expected one file"),
        (lambda root: (root / "disk" / "fedora.qcow2").unlink(), "holds nothing, expected one file"),
        (lambda root: (root / "disk").rename(root / "disks"), "has no folder /disk"),
        (lambda root: (root / "sysroot").mkdir(), "has /sysroot, so it is a bootable container"),
        (lambda root: (root / "ostree").mkdir(), "has /ostree, so it is a bootable container"),
    ],
)
def test_what_is_no_container_disk(root, change, words):
    change(root)
    with pytest.raises(InvalidImageError, match=words):
        reader(root)


def test_a_folder_in_the_folder(root):
    (root / "disk" / "fedora.qcow2").unlink()
    (root / "disk" / "folder").mkdir()
    with pytest.raises(InvalidImageError, match="holds folder, expected one file"):
        reader(root)


@pytest.mark.parametrize("whole", [False, True], ids=["file", "folder"])
def test_nothing_is_followed_out_of_the_image(root, tmp_path, whole):
    secret = tmp_path / "secret"
    if whole:
        (root / "disk").rename(secret)
        (root / "disk").symlink_to(secret)
    else:
        secret.write_text("ours")
        (root / "disk" / "fedora.qcow2").unlink()
        (root / "disk" / "fedora.qcow2").symlink_to(secret)
    with pytest.raises(InvalidImageError, match="Invalid container image"):
        reader(root)


def test_the_root_of_a_process_brings_its_environment(tmp_path):
    process = subprocess.Popen(["sleep", "60"], env={"A_KUBEVIRT_IO_B": "fedora"})
    try:
        link = tmp_path / "root"
        link.symlink_to(f"/proc/{process.pid}/root")
        # Between fork and exec it has ours.
        deadline = time.monotonic() + 10
        while _environment(link) != {"A_KUBEVIRT_IO_B": "fedora"}:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert _environment(link) == {}


def test_a_mounted_image_has_its_environment_beside_it(root):
    assert _environment(root) == {}
    root.with_name("environ").write_bytes(b"A_KUBEVIRT_IO_B=fedora\0EMPTY=\0")
    assert reader(root).load().env == {"A_KUBEVIRT_IO_B": "fedora", "EMPTY": ""}
