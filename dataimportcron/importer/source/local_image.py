"""Images from local files: OCI archives, disks as they are, and the files of an image that somebody else has unpacked.

A disk in a plain file is to the importer an image of one layer, a tar that is never stored: so it goes the same way,
through the same checks. Its digest is the file's own sha256, read before; a file that changes meanwhile is refused.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dataimportcron.errors import DigestMismatchError, InvalidImageError
from dataimportcron.importer.source.image import Image, Layer, build_image
from dataimportcron.oci.archive import SCHEME, Archive, ArchiveReference, open_file
from dataimportcron.oci.manifest import Platform

_CHUNK = 1 << 20
_RECORD = 512
_END = bytes(2 * _RECORD)
_TAR_MAGIC = slice(257, 262)
_BOOTABLE = ("sysroot", "ostree")
"""Folders of images that are booted as they are."""
_SOME = 5
_ONE_FILE = "a container disk has one file in /disk, and nothing else there"


class ArchiveImage:
    """`ImageReader` of an image in an OCI archive.

    Args:
        source: `oci-archive:PATH[:TAG]`.
        platform: os/architecture, which an image that is no index must say too; "" for this machine's.
        digest: that the image must have, "" for any.

    Raises:
        InvalidReferenceError: `source` is none.
    """

    def __init__(self, source: str, platform: str, digest: str = "") -> None:
        self._reference = ArchiveReference.parse(source)
        self._strict = bool(platform)
        self._platform = Platform.parse(platform) if platform else Platform.default()
        self._digest = digest

    @property
    def digest(self) -> str:
        """See `ImageReader`."""
        return self._digest

    def load(self) -> Image:
        """See `ImageReader`."""
        with Archive(self._reference.path) as archive:
            digest, manifest = archive.manifest(
                self._reference.tag, self._platform, digest=self._digest, strict=self._strict
            )
            config = archive.config(manifest)
        return build_image(digest, manifest.digest, [(layer.digest, layer.size) for layer in manifest.layers], config)

    def open(self, layer: Layer) -> Iterator[bytes]:
        """See `ImageReader`."""
        with Archive(self._reference.path) as archive:
            yield from archive.blob(layer.digest)


class FileImage:
    """`ImageReader` of a disk in a plain file.

    Args:
        path: of the file.
        digest: that the file must have, "" for any.
    """

    def __init__(self, path: Path, digest: str = "") -> None:
        self._path = path
        self._digest = digest

    @property
    def digest(self) -> str:
        """See `ImageReader`."""
        return self._digest

    def load(self) -> Image:
        """See `ImageReader`."""
        size, plain, tar = 0, hashlib.sha256(), hashlib.sha256()
        with open_file(self._path) as file:
            length = os.fstat(file.fileno()).st_size
            tar.update(_header(length))
            while part := file.read(_CHUNK):
                if not size and part[_TAR_MAGIC] == b"ustar":
                    raise InvalidImageError(
                        f"{self._path} is a tar, expected a disk",
                        hint=f"write {SCHEME}{self._path} if it is an image made by skopeo or podman",
                    )
                size += len(part)
                plain.update(part)
                tar.update(part)
        tar.update(_tail(size))
        digest = f"sha256:{plain.hexdigest()}"
        if size != length:
            raise DigestMismatchError(
                f"{self._path} has {size} bytes, {length} were expected", hint="something writes to it; import a copy"
            )
        if self._digest not in ("", digest):
            raise DigestMismatchError(f"{self._path} has the digest {digest}, {self._digest} was expected")
        tar_digest = f"sha256:{tar.hexdigest()}"
        layer = Layer(digest=tar_digest, size=len(_header(size)) + size + len(_tail(size)), diff_id=tar_digest)
        return Image(digest=digest, manifest_digest=digest, layers=(layer,), env={})

    def open(self, _: Layer) -> Iterator[bytes]:
        """See `ImageReader`."""
        with open_file(self._path) as file:
            size = os.fstat(file.fileno()).st_size
            yield _header(size)
            while part := file.read(_CHUNK):
                yield part
            yield _tail(size)


class FolderImage(FileImage):
    """`ImageReader` of an image whose files are mounted in a folder, as a node's container runtime does it.

    Nothing in it is followed out of it: a link could name a file of ours.

    Args:
        root: the folder that is `/` in the image.
        digest: that the file in `/disk` must have, "" for any.

    Raises:
        InvalidImageError: there is no disk in it, or more than one.
    """

    def __init__(self, root: Path, digest: str = "") -> None:
        self._root = root
        super().__init__(_only_disk(root), digest)

    def load(self) -> Image:
        """See `ImageReader`. The environment is that of the process whose root this is, or stands beside it."""
        return replace(super().load(), env=_environment(self._root))


def _only_disk(root: Path) -> Path:
    """The only file in `/disk` (N-06); an image that boots by itself is none (N-07)."""
    try:
        for mark in _BOOTABLE:
            if (root / mark).is_dir() and not (root / mark).is_symlink():
                raise InvalidImageError(
                    f"Invalid container image: it has /{mark}, so it is a bootable container and no container disk",
                    hint="use an image that holds one disk in /disk",
                )
        folder = root / "disk"
        if folder.is_symlink() or not folder.is_dir():
            raise InvalidImageError("Invalid container image: it has no folder /disk", hint=_ONE_FILE)
        found = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InvalidImageError(f"Invalid container image: /disk cannot be read: {error.strerror}") from error
    names = ", ".join(entry.name for entry in found[:_SOME]) or "nothing"
    if len(found) != 1 or not found[0].is_file(follow_symlinks=False):
        raise InvalidImageError(f"Invalid container image: /disk holds {names}, expected one file", hint=_ONE_FILE)
    return Path(found[0].path)


def _environment(root: Path) -> dict[str, str]:
    """As /proc/<pid>/environ has it; {} where nobody says it."""
    try:
        text = (root.readlink() if root.is_symlink() else root).with_name("environ").read_bytes()
    except OSError:
        return {}
    pairs = (pair.decode("utf-8", "replace").partition("=") for pair in text.split(b"\0"))
    return {name: value for name, found, value in pairs if found}


def _header(size: int) -> bytes:
    member = tarfile.TarInfo("disk/disk.img")
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def _tail(size: int) -> bytes:
    return bytes(-size % _RECORD) + _END
