"""Who has a volume as its backing file: the headers of all qcow2 files in some folders are read, at any depth.

A machine that is shut off has nothing open, and no list of machines is complete; the overlays themselves are. Files are
compared by device and inode, never by the text of a path. What cannot be known counts as a use: the worst that a kept
volume costs is its space, the worst that a removed one costs is a virtual machine.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dataimportcron.host.disks.qcow2_header import Names, UnreadableHeaderError, read_names

_MOST_ENTRIES = 100_000
_MOST_DEPTH = 64
_PROTOCOLS_ELSEWHERE = frozenset(
    [
        "ftp",
        "ftps",
        "gluster",
        "gluster+rdma",
        "gluster+tcp",
        "gluster+unix",
        "http",
        "https",
        "iscsi",
        "iser",
        "nbd",
        "nbd+tcp",
        "nbd+unix",
        "nbd+vsock",
        "nfs",
        "null-aio",
        "null-co",
        "nvme",
        "rbd",
        "sheepdog",
        "ssh",
        "vxhs",
    ]
)
"""QEMU's protocols that lead to no file of this host, or to a server that has it open."""
_DRIVERS_HERE = frozenset(
    [
        "blkdebug",
        "bochs",
        "cloop",
        "copy-on-read",
        "dmg",
        "file",
        "host_cdrom",
        "host_device",
        "luks",
        "parallels",
        "preallocate",
        "qcow",
        "qcow2",
        "qed",
        "raw",
        "throttle",
        "vdi",
        "vhdx",
        "vmdk",
        "vpc",
    ]
)

_SETTLED = 2_000_000_000
"""Nanoseconds."""

FileId = tuple[int, int]
"""Device and inode."""


class UnknownReferenceError(Exception):
    """A name that QEMU may understand, and we do not."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read of a file when it had this stamp: size, time of its last change of content, and of any change."""

    stamp: tuple[int, int, int]
    read_at: int
    names: Names | None
    trouble: str

    def holds(self, stamp: tuple[int, int, int]) -> bool:
        """Whether it is still so. Stamps are coarse: a file that had just changed may have changed again unseen."""
        return self.stamp == stamp and self.read_at > stamp[2] + _SETTLED and not self.trouble


class BackingFiles:
    """Looks for overlays; what it has read of a file that has not changed since is not read again."""

    def __init__(self) -> None:
        self._known: dict[FileId, _Known] = {}

    def user_of(self, file: Path, folders: Sequence[Path], *, hidden: str = "") -> str:
        """Which file is an overlay on `file`, in one sentence; what cannot be looked at, where that may be one; or "".

        Args:
            file: of the volume.
            folders: are looked through with all that is below them; one that does not exist cannot be looked at.
            hidden: name of folders that are left out.
        """
        try:
            status = _status(file)
        except OSError as error:
            return f"whether a disk has {file} as its backing file cannot be known: {error.strerror}"
        if status is None:
            return ""
        wanted = _id_of(status)
        walk = _Walk(hidden)
        search = _Search(self._known, wanted)
        doubt = ""
        for path in walk.files(folders):
            user = search.look(path)
            if user:
                return user
            doubt = doubt or search.doubt
        self._known = search.seen
        doubt = doubt or walk.doubt
        return f"whether a disk has {file} as its backing file cannot be known: {doubt}" if doubt else ""


class _Walk:
    """Goes through folders. `doubt` says what could not be looked at."""

    def __init__(self, hidden: str) -> None:
        self._hidden = hidden
        self._left = _MOST_ENTRIES
        self._visited: set[FileId] = set()
        self.doubt = ""

    def files(self, folders: Sequence[Path]) -> Iterator[Path]:
        """All that is no folder, below these; links are followed, each folder is entered once."""
        waiting = list(folders)
        while waiting:
            folder = waiting.pop()
            try:
                here = _id_of(folder.stat())
                if here in self._visited:
                    continue
                self._visited.add(here)
                with os.scandir(folder) as entries:
                    for entry in entries:
                        self._left -= 1
                        if self._left < 0:
                            self.doubt = self.doubt or f"there are more than {_MOST_ENTRIES} files to look at"
                            return
                        path = Path(entry.path)
                        if not path.is_dir():
                            yield path
                        elif entry.name != self._hidden:
                            waiting.append(path)
            except OSError as error:
                self.doubt = self.doubt or f"the folder {folder} cannot be read: {error.strerror}"


class _Search:
    """One search for one volume. `doubt` says why the last answer is not sure, `seen` what was read for it."""

    def __init__(self, known: dict[FileId, _Known], wanted: FileId) -> None:
        self._known = known
        self._wanted = wanted
        self._clear: set[tuple[FileId, Path]] = set()
        self.seen: dict[FileId, _Known] = {}
        self.doubt = ""

    def look(self, overlay: Path) -> str:
        """Whether the chain of a file leads to the volume, in one sentence; "" if not, or not surely."""
        self.doubt = ""
        waiting = [(overlay, 0)]
        while waiting:
            path, depth = waiting.pop()
            try:
                names = self._names(path)
            except (OSError, UnreadableHeaderError) as error:
                reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
                self._doubt(f"{path}: {reason}")
                continue
            if names is None:
                continue
            for what, target in self._parts(path, names):
                try:
                    status = _status(target)
                except OSError as error:
                    self._doubt(f"{path} names {target}: {error.strerror}")
                    continue
                if status is None:
                    continue  # a file that is not there is not the volume
                found = _id_of(status)
                if found == self._wanted:
                    through = f", through {path}" if path != overlay else ""
                    return f"{overlay} has it as its {what} file{through}"
                if depth == _MOST_DEPTH:
                    self._doubt(f"{overlay} has more than {_MOST_DEPTH} backing files")
                elif (found, target) not in self._clear:
                    self._clear.add((found, target))
                    waiting.append((target, depth + 1))
        return ""

    def _parts(self, path: Path, names: Names) -> Iterator[tuple[str, Path]]:
        """The files of this host that a qcow2 file is made of, each with what it is of it."""
        for what, name in (("backing", names.backing), ("data", names.data)):
            try:
                references = files_of(name) if name else []
            except UnknownReferenceError as error:
                self._doubt(f"{path} names {error}")
                continue
            for target in _places(path, references):
                yield what, target

    def _doubt(self, why: str) -> None:
        self.doubt = self.doubt or why

    def _names(self, path: Path) -> Names | None:
        """The names in a file; None where it has none.

        Raises:
            UnreadableHeaderError: nobody knows.
            OSError: it cannot be read.
        """
        status = _status(path)
        if status is None or not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
            return None
        if _id_of(status) == self._wanted:
            return None  # what the volume itself is made of is not asked
        stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = self.seen.get(_id_of(status)) or self._known.get(_id_of(status))
        if known is None or not known.holds(stamp) or stat.S_ISBLK(status.st_mode):
            known = _Known(stamp, time.time_ns(), *_read(path))
        self.seen[_id_of(status)] = known
        if known.trouble:
            raise UnreadableHeaderError(known.trouble)
        return known.names


def _read(path: Path) -> tuple[Names | None, str]:
    """Names in a file, and why they cannot be known."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, f"it cannot be read: {error.strerror}"
    try:
        return read_names(descriptor), ""
    except UnreadableHeaderError as error:
        return None, str(error)
    except OSError as error:
        return None, f"it cannot be read: {error.strerror}"
    finally:
        os.close(descriptor)


def files_of(name: str) -> list[str]:
    """The files of this host that a name leads to, as QEMU reads names.

    Raises:
        UnknownReferenceError: a protocol or driver that is not known.
    """
    if name.startswith("json:"):
        try:
            return _files_of_options(json.loads(name.removeprefix("json:")))
        except ValueError as error:
            raise UnknownReferenceError(f"{name!r}, which is no JSON: {error}") from error
    protocol, colon, rest = name.partition(":")
    if not colon or "/" in protocol:
        return [name]
    if protocol in {"file", "host_device"}:
        return [rest]
    if protocol in _PROTOCOLS_ELSEWHERE:
        return []
    raise UnknownReferenceError(f"{name!r}, of a protocol that is not known")


def _files_of_options(options: object) -> list[str]:
    """The files in QEMU's options of a block device, nested or with dots in their keys."""
    flat = list(_flat(options))
    drivers = [value for key, value in flat if key == "driver"]
    strange = [driver for driver in drivers if driver not in _DRIVERS_HERE | _PROTOCOLS_ELSEWHERE]
    if strange:
        raise UnknownReferenceError(f"the driver {strange[0]!r}, which is not known")
    names = [value for key, value in flat if key == "filename" and isinstance(value, str)]
    if not names and not _PROTOCOLS_ELSEWHERE.intersection(drivers):
        raise UnknownReferenceError(f"{json.dumps(options)}, which is not understood")
    found = list(names)
    for name in names:
        # QEMU takes the text as it is, or, where it names no driver, as a name like any other.
        with suppress(UnknownReferenceError):
            found += files_of(name)
    return found


def _flat(options: object) -> Iterator[tuple[str, Hashable]]:
    """The last part of each key, with its value."""
    if not isinstance(options, dict):
        return
    for key, value in options.items():
        if isinstance(value, dict):
            yield from _flat(value)
        elif isinstance(value, Hashable):
            yield key.rpartition(".")[2], value


def _places(overlay: Path, names: Sequence[str]) -> list[Path]:
    """Where the files are: relative ones beside the overlay, by the path that led to it or by its real one."""
    folders = dict.fromkeys((overlay.parent, Path(os.path.realpath(overlay)).parent))
    return [folder / name for name in names for folder in folders]


def _status(path: Path) -> os.stat_result | None:
    """Of a file, None where there is none: nothing has the name, or a link leads nowhere.

    Raises:
        OSError: nobody can say.
    """
    try:
        return path.stat()
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            raise
        return None


def _id_of(status: os.stat_result) -> FileId:
    return status.st_dev, status.st_ino
