"""Disks on the host itself: archives and plain files, polled and imported."""

from __future__ import annotations

import hashlib
import os

import pytest

from dataimportcron.errors import MissingDependencyError
from dataimportcron.host.disks import local_disks
from dataimportcron.host.disks.local_disks import LocalDisks


def sha256(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_the_digest_is_that_of_the_bytes(tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"one")
    disks = LocalDisks()
    assert disks.digest_of(f"file://{disk}") == sha256(b"one")
    disk.write_bytes(b"two")
    assert disks.digest_of(f"file://{disk}") == sha256(b"two")


def test_a_file_that_has_not_changed_is_not_read_again(tmp_path, monkeypatch):
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"one")
    disks = LocalDisks()
    disks.digest_of(f"file://{disk}")

    def refuse(*_args):
        raise AssertionError

    monkeypatch.setattr(local_disks, "_sha256", refuse)
    assert disks.digest_of(f"file://{disk}") == sha256(b"one")


@pytest.mark.parametrize("make", [None, os.mkdir, os.mkfifo], ids=["nothing", "a folder", "a pipe"])
def test_what_is_no_file_is_said(tmp_path, make):
    path = tmp_path / "disk.img"
    if make:
        make(path)
    with pytest.raises(MissingDependencyError, match=str(path)):
        LocalDisks().digest_of(f"file://{path}")
