"""OCI image layouts in a tar, as `skopeo copy … oci-archive:FILE` makes them: what is inside and where, verified.

The archive is read in place and never unpacked: its headers once, its documents as they are asked for. Every document
but `index.json` is checked against its digest. Refused: archives that are compressed, and those with several images
where none is named. Source: the OCI image layout specification 1.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO, Self

from dataimportcron.errors import (
    ImageNotFoundError,
    InvalidImageError,
    InvalidReferenceError,
    MissingDependencyError,
    NotARegistryError,
)
from dataimportcron.oci.digests import verify
from dataimportcron.oci.manifest import (
    Manifest,
    Platform,
    check_architecture,
    choose,
    is_index,
    parse_document,
    parse_manifest,
)
from dataimportcron.oci.streams import ByteStream
from dataimportcron.oci.tar import entries
from dataimportcron.reference import is_digest

SCHEME = "oci-archive:"
_REF_NAME = "org.opencontainers.image.ref.name"
_LARGEST_DOCUMENT = 4 << 20
_MOST_ENTRIES = 100_000
_READ_AHEAD = 4096
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ArchiveReference:
    """`oci-archive:PATH[:TAG]`; the first colon ends the path, as containers/image reads it."""

    path: Path
    tag: str

    @classmethod
    def parse(cls, text: str) -> ArchiveReference:
        """Read a reference.

        Raises:
            InvalidReferenceError: it is none.
        """
        path, _, tag = text.removeprefix(SCHEME).partition(":")
        if not text.startswith(SCHEME) or not path or "\0" in path:
            raise InvalidReferenceError(f"{text!r} is no archive", hint=f"write {SCHEME}PATH or {SCHEME}PATH:TAG")
        return cls(Path(path), tag)


class Archive:
    """One archive, open; use it as a context manager.

    Raises:
        MissingDependencyError: there is no such file, or it cannot be read.
        InvalidImageError: it is no tar, or no image layout.
    """

    def __init__(self, path: Path) -> None:
        self._name = f"the archive {path}"
        self._file = open_file(path)
        try:
            self._places = self._index(self._file.seek(0, 2))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def manifest(self, tag: str, platform: Platform, *, digest: str = "", strict: bool = False) -> tuple[str, Manifest]:
        """The image that is asked for: its digest (an index's, where it is one) and the platform's manifest.

        Args:
            tag: of the image, "" for the only one.
            platform: whose manifest counts, in an index.
            digest: that it must have, "" for any.
            strict: an image that is no index must say that it is for this platform.

        Raises:
            ImageNotFoundError: there is no such image.
            PlatformNotFoundError: it is not for the platform.
            DigestMismatchError: a document is not what its digest says.
            InvalidImageError: a document is not what it should be, or several images might be meant.
        """
        with self._faults():
            found = self._chosen(tag, digest)
            document = self._document(found)
            media_type = str(document.get("mediaType", ""))
            if is_index(document, media_type, self._name):
                chosen = choose(document, platform, self._name).digest
                document = self._document(chosen)
                return found, parse_manifest(document, chosen, str(document.get("mediaType", "")), self._name)
            manifest = parse_manifest(document, found, media_type, self._name)
            if strict:
                check_architecture(self.config(manifest), platform, self._name)
        return found, manifest

    def config(self, manifest: Manifest) -> dict[str, Any]:
        """The image's configuration, verified.

        Raises:
            DigestMismatchError: it is not what its digest says.
            InvalidImageError: it is not there, or no configuration.
        """
        with self._faults():
            return self._document(manifest.config.digest)

    def blob(self, digest: str) -> Iterator[bytes]:
        """The bytes of a blob, not verified.

        Raises:
            InvalidImageError: it is not there.
        """
        at, size = self._place(digest)
        self._file.seek(at)
        while size and (part := self._file.read(min(size, _CHUNK))):
            size -= len(part)
            yield part

    def _index(self, length: int) -> dict[str, tuple[int, int]]:
        places: dict[str, tuple[int, int]] = {}
        self._file.seek(0)
        stream = _FileStream(self._file, length, self._name)
        for number, entry in enumerate(entries(stream, self._name)):
            if number >= _MOST_ENTRIES:
                raise InvalidImageError(f"{self._name} has more than {_MOST_ENTRIES} entries")
            if entry.kind == "file" and (entry.path[:1] == ("blobs",) or entry.path == ("index.json",)):
                places["/".join(entry.path)] = (stream.position, entry.size)
        if "index.json" not in places:
            raise InvalidImageError(
                f"{self._name} holds no index.json, expected an OCI image layout",
                hint="an archive of docker save becomes one by: skopeo copy docker-archive:OLD oci-archive:NEW",
            )
        return places

    def _chosen(self, tag: str, digest: str) -> str:
        """The digest of the image that is asked for."""
        listed = parse_document(self._read("index.json"), f"the index.json of {self._name}").get("manifests")
        found: dict[str, str] = {}
        for entry in listed if isinstance(listed, list) else []:
            given = entry.get("digest") if isinstance(entry, dict) else None
            if not isinstance(given, str) or not is_digest(given):
                raise InvalidImageError(f"the index.json of {self._name} holds an image without a valid digest")
            annotations = entry.get("annotations")
            name = annotations.get(_REF_NAME, "") if isinstance(annotations, dict) else ""
            if tag in ("", name) and digest in ("", given):
                found[given] = str(name)
        if len(found) > 1:
            names = ", ".join(sorted(name or given for given, name in found.items())[:10])
            raise InvalidImageError(
                f"{self._name} holds {len(found)} images, expected one: {names}", hint=f"name one: {SCHEME}PATH:TAG"
            )
        if not found:
            wanted = " and ".join(
                part for part in (tag and f"the tag {tag!r}", digest and f"the digest {digest}") if part
            )
            raise ImageNotFoundError(
                f"{self._name} holds no image{wanted and f' with {wanted}'}",
                hint="look what it has: tar -xOf FILE index.json",
            )
        return next(iter(found))

    def _document(self, digest: str) -> dict[str, Any]:
        body = self._read(_path(digest))
        verify(body, digest, f"the blob {digest} of {self._name}")
        return parse_document(body, f"the blob {digest} of {self._name}")

    def _read(self, path: str) -> bytes:
        at, size = self._places.get(path) or self._place(path.removeprefix("blobs/").replace("/", ":"))
        if size > _LARGEST_DOCUMENT:
            raise InvalidImageError(f"{path} of {self._name} has {size} bytes, more than any such document")
        self._file.seek(at)
        return self._file.read(size)

    def _place(self, digest: str) -> tuple[int, int]:
        place = self._places.get(_path(digest))
        if place is None:
            raise InvalidImageError(
                f"{self._name} lacks the blob {digest}, which it refers to", hint="it is incomplete; make it again"
            )
        return place

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What a registry's answer would lack, an archive lacks."""
        try:
            yield
        except NotARegistryError as error:
            raise InvalidImageError(error.message, hint="make the archive again") from error


class _FileStream(ByteStream):
    """A file that seeks over what is skipped."""

    def __init__(self, file: BinaryIO, length: int, name: str) -> None:
        super().__init__(iter(lambda: file.read(_READ_AHEAD), b""), name)
        self._file = file
        self._length = length

    def skip(self, length: int) -> None:
        """See `ByteStream`."""
        if self.position + length > self._length:
            raise InvalidImageError(f"{self._name} ends too early: it is truncated")
        have = min(len(self._chunk) - self._at, length)
        self._take(have)
        self._file.seek(length - have, 1)
        self.position += length - have


def open_file(path: Path) -> FileIO:
    """Open a regular file for unbuffered reading.

    Raises:
        MissingDependencyError: there is none, or it cannot be read.
    """
    try:
        if not path.is_file():
            what = "is no regular file" if path.exists() else "does not exist"
            raise MissingDependencyError(f"the source {path} {what}", hint="correct the path, or mount the file there")
        return path.open("rb", buffering=0)
    except (OSError, ValueError) as error:
        raise MissingDependencyError(f"the source {path} cannot be read: {error}") from error


def _path(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
