"""Real storage of a test's own: block devices, small file systems. It needs root or sudo, and is gone afterwards."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def loop_device(backing: Path, *options: str) -> Iterator[Path]:
    """A block device that keeps its bytes in a file.

    Args:
        backing: the file; as large as the device is to be.
        options: of losetup.
    """
    made = _run("losetup", "--find", "--show", *options, str(backing))
    try:
        _own(made)
        yield Path(made)
    finally:
        _run("losetup", "--detach", made)


@contextmanager
def mounted(what: str | Path, folder: Path, *options: str) -> Iterator[Path]:
    """A mounted file system.

    Args:
        what: a device, or a word such as tmpfs.
        folder: the mount point, made for it.
        options: of mount.
    """
    folder.mkdir()
    _run("mount", *options, str(what), str(folder))
    try:
        if "ro" not in options:
            _own(str(folder))
        yield folder
    finally:
        _run("umount", str(folder))


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that every user may come to; pytest's own are closed again whenever another pytest starts."""
    folder = Path(tempfile.mkdtemp(prefix="dataimportcron-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        _run("rm", "-rf", "--one-file-system", str(folder))


@contextmanager
def denied(path: Path) -> Iterator[None]:
    """A file or device belongs to somebody else meanwhile."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        _run("chown", "root", str(path))
        try:
            yield
        finally:
            _own(str(path))


@contextmanager
def as_its_owner(folder: Path) -> Iterator[None]:
    """A folder and its files belong to whom the modes of files stop, which they do not stop root."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.iterdir()):
        os.chown(path, 65534, -1)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def as_root(*command: str) -> list[str]:
    """The command, run by root."""
    return [*(() if os.geteuid() == 0 else ("sudo", "-n", "--")), *command]


def _own(path: str) -> None:
    """Make it ours, where root has made it."""
    if os.geteuid():
        _run("chown", str(os.geteuid()), path)


def _run(*command: str) -> str:
    return subprocess.run(as_root(*command), check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
