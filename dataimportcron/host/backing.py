"""Who stands on whom: the backing files that disk images name in their headers, read without opening the images.

A machine that is off has nothing open, and yet is lost with the file that its overlay stands on. So the headers of all
images in some folders are read, and each chain is followed to its end, also where it leaves these folders. What a
header says decides, nothing is probed that QEMU would not probe: a layer that is recorded as raw ends its chain, for
its first bytes are a guest's. Where a chain cannot be followed, nobody knows what it stands on, and that is said.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

Stamp = tuple[int, ...]

_MAGIC = b"QFI\xfb"
_START = struct.Struct(">4sIQI")
"""Magic, version, where the backing file's name is, and its length; alike in qcow and in versions 2 and 3 of qcow2."""
_VERSION_2_LENGTH = 72
_LENGTH_AT = 100
"""Where version 3 has the length of its header; extensions follow the header."""
_BACKING_FORMAT, _DATA_FILE = 0xE2792ACA, 0x44415441
"""Types of header extensions."""
_LONGEST_NAME = 1023
"""QEMU opens no image that names a longer one."""
_LONGEST_HEADER = 1 << 16
"""The smallest clusters are of 512 bytes, usual ones of 64 KiB; the header is in the first."""
_DEEPEST = 200
"""Layers of one chain; QEMU itself opens fewer."""
_REMOTE = {"nbd", "nbd+tcp", "nbds", "http", "https", "ftp", "ftps", "ssh", "rbd", "iscsi", "gluster", "nfs"}
"""Protocols that reach no file through this machine's file systems, or through a server that has it open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What an image names: `backing` and `data` files, "" for none, and whether the backing file is recorded as raw."""

    backing: str = ""
    raw: bool = False
    data: str = ""


class UnknownBackingError(Exception):
    """What an image stands on cannot be known; the text says which image, and why."""


class BackingFiles:
    """Reads headers, each once until its file is written again."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[Stamp, Header]] = {}

    def stands_on(self, volume: Path, folders: Iterable[Path], *, skip: Callable[[Path], bool]) -> str:
        """Which image in the folders, or below them, stands on a volume, at any depth; in one sentence, "" for none.

        What cannot be read counts as standing on it, and the sentence says so.

        Args:
            volume: a file that exists.
            folders: those that do not exist hold no images.
            skip: says of a path whether it surely is no image, whatever its first bytes pretend.
        """
        wanted, unknown = volume.stat(), ""
        seen: set[Path] = set()
        try:
            for image in _files(folders):
                if image == volume or skip(image):
                    continue
                seen.add(image)
                try:
                    if self._chain_has(image, wanted, volume):
                        return f"it is the backing file of {image}"
                except UnknownBackingError as error:
                    unknown = unknown or f"whether {volume} is a backing file cannot be known: {error}"
        except OSError as error:
            return f"whether {volume} is a backing file cannot be known: {error.filename}: {error.strerror}"
        self._read = {path: entry for path, entry in self._read.items() if path in seen or path.exists()}
        return unknown

    def _chain_has(self, image: Path, wanted: os.stat_result, volume: Path) -> bool:
        """Whether a file is below an image. Each layer's candidates are looked at; the first that exists is followed.

        Raises:
            UnknownBackingError: a layer cannot be read.
        """
        layer = image
        for _ in range(_DEEPEST):
            header = self._header(layer)
            if any(_is(path, wanted, volume) for path in _paths(layer, header.data)):
                return True
            candidates = _paths(layer, header.backing)
            if any(_is(path, wanted, volume) for path in candidates):
                return True
            if not candidates or header.raw:
                return False
            below = next((path for path in candidates if os.path.lexists(path)), None)
            if below is None:
                raise UnknownBackingError(f"{layer} stands on {candidates[0]}, which is not there")
            layer = below
        raise UnknownBackingError(f"{image} stands on more than {_DEEPEST} layers")

    def _header(self, path: Path) -> Header:
        try:
            status = path.stat()
            stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
            cached = self._read.get(path)
            if cached is not None and cached[0] == stamp:
                return cached[1]
            readable = stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)
            header = parse_header(_first_bytes(path)) if readable else Header()
        except OSError as error:
            raise UnknownBackingError(f"{path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UnknownBackingError(f"{path} names a file in bytes that are no text") from error
        self._read[path] = (stamp, header)
        return header


def parse_header(data: bytes) -> Header:
    """What the first bytes of a file say; a file that is no qcow2 image names nothing.

    Raises:
        UnicodeDecodeError: a name is no text.
    """
    if len(data) < _START.size or not data.startswith(_MAGIC):
        return Header()
    _, version, at, length = _START.unpack_from(data)
    found = _extensions(data, version)
    name = data[at : at + length] if at and length <= _LONGEST_NAME else b""
    return Header(
        backing=os.fsdecode(name),
        raw=found.get(_BACKING_FORMAT) == b"raw",
        data=os.fsdecode(found.get(_DATA_FILE, b"")),
    )


def _extensions(data: bytes, version: int) -> dict[int, bytes]:
    """The header extensions by type; qcow has none."""
    at = {2: _VERSION_2_LENGTH}.get(version, 0)
    if version > 2 and len(data) >= _LENGTH_AT + 4:  # noqa: PLR2004 -- the version that introduced it
        at = int.from_bytes(data[_LENGTH_AT : _LENGTH_AT + 4], "big")
    found: dict[int, bytes] = {}
    while at and at + 8 <= len(data):
        kind, length = struct.unpack_from(">II", data, at)
        if kind == 0:
            break
        found[kind] = data[at + 8 : at + 8 + length]
        at += 8 + length + -length % 8
    return found


def _first_bytes(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with closing(os.fdopen(descriptor, "rb", buffering=0)) as file:
        return file.read(_LONGEST_HEADER) or b""


def _paths(image: Path, name: str) -> list[Path]:
    """The files that a name in an image's header may mean.

    A relative name counts from the folder of the path by which the image is opened; for an image behind a symbolic
    link these may be two.

    Raises:
        UnknownBackingError: the name is none of a file.
    """
    if not name:
        return []
    protocol, colon, rest = name.partition(":")
    if colon and "/" not in protocol:
        if protocol in _REMOTE:
            return []
        if protocol != "file":
            raise UnknownBackingError(f"{image} stands on {name[:200]!r}, which is not the name of a file")
        name = rest
    folders = dict.fromkeys((image.parent, image.resolve().parent))
    return list(dict.fromkeys(folder / name for folder in folders))


def _is(path: Path, wanted: os.stat_result, volume: Path) -> bool:
    """Whether a path is the file; by its inode, so that links and mounts deceive nobody, or by its name."""
    try:
        return os.path.samestat(path.stat(), wanted)
    except (FileNotFoundError, NotADirectoryError):
        return Path(os.path.normpath(path)) == volume
    except OSError as error:
        raise UnknownBackingError(f"{path}: {error.strerror}") from error


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    """All that may be images in these folders and below, each once.

    Raises:
        OSError: a folder cannot be read.
    """
    seen: set[Path] = set()
    waiting = list(folders)
    while waiting:
        folder = waiting.pop()
        if folder in seen:
            continue
        seen.add(folder)
        try:
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    path = Path(entry.path)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path)
                    elif entry.is_file() or entry.is_symlink():
                        yield path
        except FileNotFoundError:
            continue
