"""Images from local files: OCI archives, and disks as they are.

A disk in a plain file is to the importer an image of one layer, a tar that is never stored: so it goes the same way,
through the same checks. Its digest is the file's own sha256, read before; a file that changes meanwhile is refused.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from dataimportcron.errors import DigestMismatchError, InvalidImageError
from dataimportcron.importer.source.image import Image, Layer, build_image
from dataimportcron.oci.archive import SCHEME, Archive, ArchiveReference, open_file
from dataimportcron.oci.manifest import Platform

_CHUNK = 1 << 20
_RECORD = 512
_END = bytes(2 * _RECORD)
_TAR_MAGIC = slice(257, 262)


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

    def open(self, layer: Layer) -> Iterator[bytes]:
        """See `ImageReader`."""
        with open_file(self._path) as file:
            size = os.fstat(file.fileno()).st_size
            yield _header(size)
            # No more than was read before, so that a file that grows is refused at once.
            left = layer.size
            while left > 0 and (part := file.read(_CHUNK)):
                left -= len(part)
                yield part
            yield _tail(size)


def _header(size: int) -> bytes:
    member = tarfile.TarInfo("disk/disk.img")
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def _tail(size: int) -> bytes:
    return bytes(-size % _RECORD) + _END
