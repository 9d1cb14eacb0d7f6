"""From a path to a target that nobody else writes.

A file is held by `flock`. A block device is opened exclusively as well: the kernel refuses that for one that is
mounted, part of another device, or held by another importer. Anything else is no target.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dataimportcron.errors import (
    InvalidObjectError,
    MissingDependencyError,
    TargetBusyError,
    TargetNotWritableError,
)
from dataimportcron.importer.targets import device
from dataimportcron.importer.targets.kinds import BlockTarget, FileTarget, Target
from dataimportcron.importer.targets.marker import MarkerFile
from dataimportcron.importer.targets.storage import storage_errors

_DISK = "disk.img"
_HIDDEN = ".dataimportcron"
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_PATIENCE = 5.0
"""Seconds to wait for a device's lock: udev takes it for a moment to look what is on a device."""
_DEVICE_HINT = (
    "it must not be read-only, and must belong to the user that the importer runs as; "
    "in a pod: device_ownership_from_security_context = true in the configuration of containerd or CRI-O; "
    "on OpenShift: an SCC that allows uid 107"
)
_FILE_HINT = (
    "file and folder must belong to the user that the importer runs as, on a file system that is not read-only; "
    "in a pod: set fsGroup, which NFS and hostPath ignore; on NFS: squashing makes the user nobody; "
    "on OpenShift: an SCC that allows uid 107"
)


def disk_in(path: Path) -> Path:
    """The file or device that holds the disk of a volume: in a folder that is `disk.img`, KubeVirt's name."""
    return path / _DISK if path.is_dir() else path


def place(target: Path, marker: Path | None) -> tuple[Path, Path | None]:
    """What is written and where that is recorded, for a target as a person names it.

    Args:
        target: a file, a block device, or a folder: the disk is `disk.img` in it then, KubeVirt's name.
        marker: where it is to be recorded, None for the default: beside a file; in a folder of its own within a
            folder, where no libvirt pool takes it for a disk; nowhere for a device.

    Raises:
        TargetNotWritableError: nothing can be made in the folder.
        TransientError: the storage fails.
    """
    with _opening(target):
        if target.is_dir():
            if marker is None:
                (target / _HIDDEN).mkdir(exist_ok=True)
                marker = target / _HIDDEN / f"{_DISK}.complete"
            return disk_in(target), marker
        if marker is None and not target.is_block_device():
            marker = target.with_name(f"{target.name}.complete")
        return target, marker


@contextmanager
def lock(path: Path, marker: Path | None) -> Iterator[Target]:
    """Open the target, made if it is not there, and hold it alone.

    Args:
        path: of a file or block device.
        marker: the file in which it is recorded, None for no record.

    Raises:
        InvalidObjectError: it is neither.
        MissingDependencyError: the device, or the folder in which a file is to be, does not exist.
        TargetBusyError: another process holds it.
        TargetNotWritableError: this user must not write it.
        TransientError: the storage fails.
    """
    with _opening(path):
        for folder in (path.parent, marker.parent if marker else path.parent):
            if not folder.is_dir():
                raise MissingDependencyError(f"the folder {folder} does not exist", hint="make it, or mount it there")
        mode = _mode_of(path)
        descriptor = _open(path, mode)
    try:
        block = stat.S_ISBLK(mode)
        with _opening(path):
            if block and device.is_read_only(descriptor):
                raise OSError(errno.EROFS, "the device is read-only")
            _hold(descriptor, path, mode, _PATIENCE if block else 0.0)
        kind = BlockTarget if block else FileTarget
        yield kind(path, MarkerFile(marker), descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    """Errors of the operating system as ours; what is denied names its usual causes."""
    with storage_errors(str(path)):
        try:
            yield
        except OSError as error:
            if error.errno not in _DENIED:
                raise
            hint = _FILE_HINT
            with suppress(OSError):
                hint = _DEVICE_HINT if path.is_block_device() else _FILE_HINT
            raise TargetNotWritableError(f"{path} cannot be written: {error.strerror}", hint=hint) from error


def _mode_of(path: Path) -> int:
    """Kind of a target; that of a regular file for one that is not there.

    It is looked at before it is opened: that alone makes some devices do things, and makes a file of a device that is
    not there.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = 0
    if mode and not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        what = "a folder" if stat.S_ISDIR(mode) else "neither file nor block device"
        raise InvalidObjectError(f"the target {path} is {what}", hint="name a file, new or old, or a block device")
    parents = path.absolute().parents
    if not stat.S_ISBLK(mode) and Path("/dev") in parents and Path("/dev/shm") not in parents:  # noqa: S108 -- files are at home there
        raise MissingDependencyError(f"there is no block device {path}", hint="attach it, or name a file elsewhere")
    return mode or stat.S_IFREG


def _open(path: Path, mode: int) -> int:
    if stat.S_ISBLK(mode):
        try:
            return os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise TargetBusyError(
                f"{path} is in use: mounted, part of another device, or held by another importer",
                hint="unmount it, or wait until that has ended",
            ) from None
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return os.open(path, flags, 0o600)
    except PermissionError:
        # A run that died between completing the file and handing it over left it read-only; its owner may go on.
        with suppress(OSError):
            path.chmod(0o600)
            return os.open(path, flags, 0o600)
        raise


def _hold(descriptor: int, path: Path, mode: int, patience: float) -> None:
    """Lock what was opened, if that is still what has the name, and of the kind that was seen."""
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = os.fstat(descriptor)
            same = stat.S_IFMT(status.st_mode) == stat.S_IFMT(mode) and os.path.samestat(status, path.stat())
        except (BlockingIOError, FileNotFoundError):
            same = False
        if same or time.monotonic() >= until:
            break
        time.sleep(0.05)
    if not same:
        raise TargetBusyError(f"another process holds {path}", hint="wait until it has ended")
