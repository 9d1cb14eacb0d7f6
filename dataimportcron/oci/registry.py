"""The registry client: digests by HEAD, manifests and blobs verified, mirrors first, bodies bounded.

Source: the OCI distribution specification 1.1.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from dataimportcron.errors import (
    DataImportCronError,
    DigestMismatchError,
    ImageNotFoundError,
    NotARegistryError,
    PlatformNotFoundError,
    RegistryUnavailableError,
    UnauthorizedError,
)
from dataimportcron.oci.auth import Authorizer, parse_challenges
from dataimportcron.oci.credentials import Credentials
from dataimportcron.oci.endpoints import Endpoint, endpoints_of, tls_context
from dataimportcron.oci.failures import failure_of_response, failure_of_transport
from dataimportcron.oci.manifest import (
    ACCEPT,
    Descriptor,
    Manifest,
    Platform,
    choose,
    is_index,
    parse_document,
    parse_manifest,
)
from dataimportcron.reference import Reference, is_digest

_LARGEST_DOCUMENT = 4 << 20
"""Bytes of a manifest or a config; the specification's own limit for manifests."""
_TIMEOUT = httpx.Timeout(30.0, connect=15.0)
_RESUMES = 8
"""How often in a row a download is continued without a byte of progress."""
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach registries, and as whom.

    Attributes:
        credentials: by registry host.
        ca_certificates: PEM texts that are trusted beside the system's; they hold for mirrors too.
        certs_dirs: folders with containerd's hosts.toml files.
        insecure_registries: hosts whose certificates are not checked.
    """

    credentials: dict[str, Credentials] = field(default_factory=dict)
    ca_certificates: tuple[str, ...] = ()
    certs_dirs: tuple[Path, ...] = ()
    insecure_registries: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The digest of a reference as the registry gives it, and that of the platform's manifest."""

    digest: str
    manifest_digest: str


class Registry:
    """A client; close it, or use it as a context manager. Not for several threads at once."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._clients: dict[tuple[tuple[str, ...], bool], httpx.Client] = {}
        self._authorizer = Authorizer()
        self._authorization: dict[tuple[str, str], str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    # -- manifests ---------------------------------------------------------------------------------------------------

    def resolve(self, reference: Reference, platform: Platform, *, strict: bool = False) -> Resolved:
        """Look up what a reference means now.

        Args:
            reference: a tag, or a digest, which is only checked to exist.
            platform: whose manifest counts, in an index.
            strict: an image that is no index must say that it is for this platform.

        Raises:
            ImageNotFoundError: no such repository or tag.
            PlatformNotFoundError: the index has no manifest for the platform.
        """
        with self._request("HEAD", reference, f"manifests/{reference.target}", accept=ACCEPT) as (response, _):
            digest = response.headers.get("Docker-Content-Digest", "")
            media_type = _media_type(response)
        if is_digest(digest) and not strict and not is_index({}, media_type) and media_type:
            return Resolved(digest=digest, manifest_digest=digest)
        # Without the digest header, and for an index, the body must be read: by digest, so that both are of one moment.
        target = reference.with_digest(digest) if is_digest(digest) else reference
        document, digest, media_type = self._document(target)
        if is_index(document, media_type):
            return Resolved(digest=digest, manifest_digest=choose(document, platform, str(reference)).digest)
        if strict:
            self._check_platform(reference, parse_manifest(document, digest, media_type, str(reference)), platform)
        return Resolved(digest=digest, manifest_digest=digest)

    def manifest(self, reference: Reference, platform: Platform) -> Manifest:
        """Read the manifest of a platform; verified against its digest."""
        document, digest, media_type = self._document(reference)
        if is_index(document, media_type):
            chosen = choose(document, platform, str(reference))
            document, digest, media_type = self._document(reference.with_digest(chosen.digest))
        return parse_manifest(document, digest, media_type, str(reference))

    def config(self, reference: Reference, manifest: Manifest) -> dict[str, Any]:
        """Read the image's config; verified.

        Raises:
            DigestMismatchError: its size or digest is another.
        """
        descriptor = manifest.config
        if descriptor.size > _LARGEST_DOCUMENT:
            raise NotARegistryError(f"The config of {reference} has {descriptor.size} bytes, more than any config")
        with self._request("GET", reference, f"blobs/{descriptor.digest}") as (response, endpoint):
            body = _bounded(response, endpoint)
        verify(body, descriptor.digest, f"The config of {reference}")
        return parse_document(body, f"The config of {reference}")

    def _check_platform(self, reference: Reference, manifest: Manifest, wanted: Platform) -> None:
        found = self.config(reference, manifest).get("architecture", "")
        if found != wanted.architecture:
            raise PlatformNotFoundError(
                f"Error validating architecture: manifest image architecture: {found} doesn't match requested "
                f"architecture: {wanted.architecture}",
                hint=f"{reference} is for {found} only; correct platform.architecture",
            )

    def _document(self, reference: Reference) -> tuple[dict[str, Any], str, str]:
        """A manifest or index: the document, its digest and media type."""
        with self._request("GET", reference, f"manifests/{reference.target}", accept=ACCEPT) as (response, endpoint):
            body, media_type = _bounded(response, endpoint), _media_type(response)
        if reference.digest:
            verify(body, reference.digest, f"The manifest of {reference} from {endpoint.host}")
        document = parse_document(body, f"The manifest of {reference} from {endpoint.host}")
        digest = reference.digest or f"sha256:{hashlib.sha256(body).hexdigest()}"
        return document, digest, media_type or str(document.get("mediaType", ""))

    # -- blobs -------------------------------------------------------------------------------------------------------

    def blob(self, reference: Reference, descriptor: Descriptor) -> Iterator[bytes]:
        """Download a blob as it is, without checking its digest: the caller sees each byte and does.

        A cut connection is continued where it ended by a Range request; a server that ignores the range is read again
        from its start and what is known is skipped.

        Raises:
            RegistryUnavailableError: it broke too often without progress.
        """
        done = stuck = 0
        tag = ""
        while done < descriptor.size:
            before = done
            try:
                with self._blob_from(reference, descriptor, done, tag) as (response, skip):
                    tag = response.headers.get("ETag", tag)
                    for part in response.iter_raw(_CHUNK):
                        fresh = part[skip:] if skip else part
                        skip = max(skip - len(part), 0)
                        done += len(fresh)
                        if fresh:
                            yield fresh
                if done < descriptor.size and done == before:
                    raise RegistryUnavailableError(
                        f"The blob {descriptor.digest} of {reference} ends after {done} bytes"
                    )
            except (httpx.TransportError, RegistryUnavailableError) as error:
                stuck = stuck + 1 if done == before else 0
                if stuck >= _RESUMES or isinstance(error, RegistryUnavailableError):
                    raise failure_of_transport(error, reference, reference.registry) from error

    @contextmanager
    def _blob_from(
        self, reference: Reference, descriptor: Descriptor, done: int, tag: str
    ) -> Iterator[tuple[httpx.Response, int]]:
        headers = {}
        if done:
            headers["Range"] = f"bytes={done}-"
            if tag and not tag.startswith("W/"):
                headers["If-Range"] = tag
        with self._request("GET", reference, f"blobs/{descriptor.digest}", headers=headers) as (response, _):
            partial = response.status_code == httpx.codes.PARTIAL_CONTENT
            starts = response.headers.get("Content-Range", "").startswith(f"bytes {done}-")
            if partial and not starts:
                raise NotARegistryError(
                    f"{reference.registry} answers a request for bytes {done}- with "
                    f"Content-Range {response.headers.get('Content-Range')!r}"
                )
            yield response, 0 if partial else done

    # -- requests ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _request(
        self,
        method: str,
        reference: Reference,
        path: str,
        *,
        accept: str = "",
        headers: dict[str, str] | None = None,
    ) -> Iterator[tuple[httpx.Response, Endpoint]]:
        """A good answer of the first endpoint that gives one, with its body still to be read.

        Raises:
            DataImportCronError: no endpoint gave one; of several failures the one that says most.
        """
        failures: list[DataImportCronError] = []
        by_tag = method == "HEAD" or (path.startswith("manifests/") and reference.digest is None)
        for endpoint in endpoints_of(reference.registry, self._access.certs_dirs, self._access.insecure_registries):
            if by_tag and not endpoint.resolve:
                continue
            with ExitStack() as stack:
                try:
                    response = self._send(
                        stack, endpoint, method, reference, path, {"Accept": accept} | (headers or {})
                    )
                except httpx.TransportError as error:
                    failures.append(failure_of_transport(error, reference, endpoint.host))
                    continue
                except DataImportCronError as error:
                    failures.append(error)
                    continue
                if response.is_success:
                    yield response, endpoint
                    return
                failures.append(failure_of_response(response, reference, endpoint.host, self._knows(endpoint)))
        raise (
            min(failures, key=_weight)
            if failures
            else RegistryUnavailableError(
                f"No mirror of {reference.registry} may resolve tags", hint='add "resolve" to its capabilities'
            )
        )

    def _send(  # noqa: PLR0913 -- what makes a request
        self,
        stack: ExitStack,
        endpoint: Endpoint,
        method: str,
        reference: Reference,
        path: str,
        headers: dict[str, str],
    ) -> httpx.Response:
        """Send one request, and once more with the answer to a challenge."""
        client = self._client(endpoint)
        url = f"{endpoint.base}/{reference.repository}/{path}"
        sent = {key: value for key, value in headers.items() if value}
        key = (endpoint.base, reference.repository)
        if key in self._authorization:
            sent["Authorization"] = self._authorization[key]
        response = stack.enter_context(client.stream(method, url, headers=sent))
        if response.status_code != httpx.codes.UNAUTHORIZED:
            return response
        challenges = parse_challenges(response.headers.get_list("WWW-Authenticate"))
        answer = self._authorizer.answer(
            client,
            challenges,
            origin=endpoint.base,
            repository=reference.repository,
            credentials=self._access.credentials.get(endpoint.host),
        )
        if answer is None or answer == sent.get("Authorization"):
            return response
        self._authorization[key] = sent["Authorization"] = answer
        return stack.enter_context(client.stream(method, url, headers=sent))

    def _client(self, endpoint: Endpoint) -> httpx.Client:
        key = (endpoint.ca_files, endpoint.verify)
        if key not in self._clients:
            verify_by: ssl.SSLContext = tls_context(
                endpoint.ca_files, self._access.ca_certificates, verify=endpoint.verify
            )
            self._clients[key] = httpx.Client(
                verify=verify_by, timeout=_TIMEOUT, follow_redirects=True, max_redirects=5
            )
        return self._clients[key]

    def _knows(self, endpoint: Endpoint) -> bool:
        return endpoint.host in self._access.credentials


def verify(body: bytes, digest: str, what: str) -> None:
    """Check bytes against their digest.

    Raises:
        DigestMismatchError: they are others.
    """
    algorithm, _, wanted = digest.partition(":")
    found = hashlib.new(algorithm, body).hexdigest()
    if found != wanted:
        raise DigestMismatchError(
            f"{what} has the digest {algorithm}:{found}, {digest} was expected",
            hint="the registry, or something on the way to it, changes content",
        )


def _bounded(response: httpx.Response, endpoint: Endpoint) -> bytes:
    body = b""
    for part in response.iter_bytes(64 << 10):
        body += part
        if len(body) > _LARGEST_DOCUMENT:
            raise NotARegistryError(f"{endpoint.host} sent more than {_LARGEST_DOCUMENT} bytes as a manifest or config")
    return body


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("Content-Type", "")).partition(";")[0].strip()


def _weight(error: DataImportCronError) -> int:
    """Which failure says most: a mirror that knows the repository outranks an origin that cannot be reached."""
    for weight, kind in enumerate((UnauthorizedError, ImageNotFoundError)):
        if isinstance(error, kind):
            return weight
    return 2 if error.permanent else 3
