"""The registry client: references in; digests, verified manifests and streams of blobs out.

A lookup costs one HEAD wherever the registry tells the digest and the image is no index. Documents are bounded and
verified; blobs are handed on as they are stored, and whoever reads them verifies them.
Source: the OCI distribution specification 1.1.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Self

import httpx

from dataimportcron.errors import (
    DataImportCronError,
    DigestMismatchError,
    NotARegistryError,
    RegistryUnavailableError,
)
from dataimportcron.oci.access import Access
from dataimportcron.oci.endpoints import Endpoint
from dataimportcron.oci.failures import failure_of_transport
from dataimportcron.oci.limits import Limits
from dataimportcron.oci.manifest import (
    ACCEPT,
    MANIFEST_TYPES,
    Descriptor,
    Manifest,
    Platform,
    check_architecture,
    choose,
    is_index,
    parse_document,
    parse_manifest,
)
from dataimportcron.oci.transport import LARGEST_DOCUMENT, Transport
from dataimportcron.reference import Reference

__all__ = ["Access", "Registry", "Resolved"]

_TIMEOUT = httpx.Timeout(30.0, connect=15.0)
_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before a download that gets no further is continued; a byte of progress starts them anew."""
_CHUNK = 256 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a reference means now.

    Attributes:
        digest: of the reference, as the registry gives it; of the index, where it is one.
        manifest_digest: of the platform's manifest; the same where there is no index.
    """

    digest: str
    manifest_digest: str


class Registry:
    """A client; close it, or use it as a context manager. For several threads at once, which share its connections.

    Every method raises what `errors` says of registries (UnauthorizedError, ImageNotFoundError, NotARegistryError,
    UntrustedCertificateError, RegistryUnavailableError, TooManyRequestsError, DigestMismatchError), and
    InvalidObjectError where a hosts.toml is wrong.

    Args:
        access: as whom, and to where.
        timeout: of each step of a request.
        limits: what registries have asked for, shared with other clients of this process.
    """

    def __init__(self, access: Access, *, timeout: httpx.Timeout = _TIMEOUT, limits: Limits | None = None) -> None:
        self._transport = Transport(access, timeout, limits or Limits())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    def resolve(self, reference: Reference, platform: Platform, *, strict: bool = False) -> Resolved:
        """Look up what a reference means now.

        Args:
            reference: a tag; a digest is only checked to exist.
            platform: whose manifest counts, in an index.
            strict: an image that is no index must say that it is for this platform.

        Raises:
            PlatformNotFoundError: there is no manifest for the platform.
        """
        path = f"manifests/{reference.target}"
        head = self._transport.read("HEAD", reference, path, digest=reference.digest, accept=ACCEPT)
        digest = reference.digest or head.digest
        if digest and not strict and head.media_type in MANIFEST_TYPES:
            return Resolved(digest=digest, manifest_digest=digest)
        # By digest where it is known, so that index and manifest are of one moment.
        document, digest, media_type = self._document(reference.with_digest(digest) if digest else reference)
        if is_index(document, media_type, str(reference)):
            return Resolved(digest=digest, manifest_digest=choose(document, platform, str(reference)).digest)
        manifest = parse_manifest(document, digest, media_type, str(reference))
        if strict:
            self._check_platform(reference, manifest, platform)
        return Resolved(digest=digest, manifest_digest=digest)

    def manifest(self, reference: Reference, platform: Platform) -> Manifest:
        """Read the manifest of a platform.

        Raises:
            PlatformNotFoundError: the index has none.
        """
        document, digest, media_type = self._document(reference)
        if is_index(document, media_type, str(reference)):
            chosen = choose(document, platform, str(reference))
            document, digest, media_type = self._document(reference.with_digest(chosen.digest))
        return parse_manifest(document, digest, media_type, str(reference))

    def config(self, reference: Reference, manifest: Manifest) -> dict[str, Any]:
        """Read the image's config, verified."""
        digest = manifest.config.digest
        if manifest.config.size > LARGEST_DOCUMENT:
            raise NotARegistryError(f"The config of {reference} has {manifest.config.size} bytes, more than any config")
        answer = self._transport.read("GET", reference, f"blobs/{digest}", digest=digest)
        return parse_document(answer.body, f"The config of {reference} from {answer.host}")

    def blob(self, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
        """Download a blob as it is stored: `descriptor.size` bytes or an error. The digest is the caller's to check.

        A cut connection is continued where it ended, by a Range request, at the same host or the next one that has the
        blob. Where a server ignores the range, or serves another version of the blob, it is read again from its start
        and what was handed on is skipped.

        Raises:
            RegistryUnavailableError: it could not be opened, or broke again and again without progress.
            DigestMismatchError: the registry has more bytes than the descriptor says.
        """
        done = stuck = 0
        entity_tags: dict[str, str] = {}
        while done < descriptor.size:
            before = done
            try:
                response, skip, endpoint = self._open_blob(reference, descriptor, done, entity_tags)
                with closing(response):
                    for part in _chunks(response):
                        fresh = part[skip:] if skip else part
                        skip = max(skip - len(part), 0)
                        done += len(fresh)
                        if done > descriptor.size:
                            break
                        if fresh:
                            yield fresh
                _check_end(reference, descriptor, endpoint.host, done)
            except (httpx.RequestError, RegistryUnavailableError) as error:
                stuck = 0 if done > before else stuck + 1
                # What cannot even be opened is the caller's to retry, as it is for everything else here.
                unopened = not done and isinstance(error, RegistryUnavailableError)
                if unopened or stuck > len(_PAUSES):
                    raise _broken(error, reference) from error
                time.sleep(_PAUSES[max(stuck - 1, 0)])

    def _open_blob(
        self, reference: Reference, descriptor: Descriptor, done: int, entity_tags: dict[str, str]
    ) -> tuple[httpx.Response, int, Endpoint]:
        """The rest of a blob: the answer, how many bytes of it are known already, and who gave it.

        An entity tag means something to the host that gave it alone; they are kept in `entity_tags`, by base URL.
        """

        def headers(base: str) -> dict[str, str]:
            if not done:
                return {}
            tag = entity_tags.get(base, "")
            condition = {"If-Range": tag} if tag and not tag.startswith("W/") else {}
            # With its end: there are registries that refuse an open range.
            return {"Range": f"bytes={done}-{descriptor.size - 1}", **condition}

        def check(response: httpx.Response, endpoint: Endpoint) -> None:
            what = f"the blob {descriptor.digest} of {reference}"
            if fault := _fault(response, done, descriptor.size):
                raise NotARegistryError(f"{endpoint.host}, asked for {what}, {fault}")
            if (size := _size(response)) not in (None, descriptor.size):
                raise DigestMismatchError(
                    f"{endpoint.host} has {size} bytes as {what}, {descriptor.size} were expected",
                    hint="the image is damaged there; push it again",
                )

        response, endpoint = self._transport.stream(reference, f"blobs/{descriptor.digest}", headers, check)
        entity_tags[endpoint.base] = response.headers.get("ETag", "")
        return response, 0 if response.status_code == httpx.codes.PARTIAL_CONTENT else done, endpoint

    def _check_platform(self, reference: Reference, manifest: Manifest, wanted: Platform) -> None:
        check_architecture(self.config(reference, manifest), wanted, str(reference))

    def _document(self, reference: Reference) -> tuple[dict[str, Any], str, str]:
        """A manifest or index: the document, its digest and media type."""
        path = f"manifests/{reference.target}"
        answer = self._transport.read("GET", reference, path, digest=reference.digest, accept=ACCEPT)
        document = parse_document(answer.body, f"The manifest of {reference} from {answer.host}")
        digest = reference.digest or answer.digest or f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        declared = str(document.get("mediaType", ""))
        return document, digest, declared or answer.media_type


def _chunks(response: httpx.Response) -> Iterator[bytes]:
    """The body in pieces that are worth handing on; of one that is cut, all that came before the cut."""
    parts: list[bytes] = []
    length = 0
    try:
        for part in response.iter_raw():
            parts.append(part)
            length += len(part)
            if length >= _CHUNK:
                yield b"".join(parts)
                parts, length = [], 0
    except httpx.RequestError:
        if length:
            yield b"".join(parts)
        raise
    if length:
        yield b"".join(parts)


def _fault(response: httpx.Response, done: int, size: int) -> str:
    """What is wrong with the beginning of an answer to a request for a blob's bytes from `done`; "" if nothing."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        return f"encodes it with {encoding!r}, which nobody asked for"
    given = response.headers.get("Content-Range", "")
    if response.status_code == httpx.codes.PARTIAL_CONTENT and not given.startswith(f"bytes {done}-"):
        return f"answers a request for the bytes {done}-{size - 1} with Content-Range {given!r}"
    return ""


def _size(response: httpx.Response) -> int | None:
    """Of the whole blob, as the beginning of an answer tells it; None where it does not."""
    if response.status_code == httpx.codes.PARTIAL_CONTENT:
        told = response.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        told = response.headers.get("Content-Length", "")
    return int(told) if told.isascii() and told.isdigit() else None


def _check_end(reference: Reference, descriptor: Descriptor, host: str, done: int) -> None:
    what = f"the blob {descriptor.digest} of {reference}"
    if done < descriptor.size:
        raise RegistryUnavailableError(f"{host} sends only {done} of the {descriptor.size} bytes of {what}")
    if done > descriptor.size:
        raise DigestMismatchError(f"{host} sends more than the {descriptor.size} bytes of {what}")


def _broken(error: Exception, reference: Reference) -> DataImportCronError:
    if isinstance(error, DataImportCronError):
        return error
    return failure_of_transport(error, str(reference), reference.registry)
