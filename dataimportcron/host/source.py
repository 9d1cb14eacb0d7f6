"""The port `Source` on a host: registries, OCI archives and files."""

from __future__ import annotations

from functools import partial

from dataimportcron.errors import InvalidObjectError
from dataimportcron.host.access import HostAccess
from dataimportcron.host.disks.local_disks import FILE_SCHEME, LocalDisks
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.oci.archive import SCHEME, Archive, ArchiveReference
from dataimportcron.oci.lookups import Lookup, Lookups, Pace
from dataimportcron.oci.manifest import Platform
from dataimportcron.reference import Reference
from dataimportcron.values import ImageSource, ResolvedImage


class HostSource:
    """`ports.Source`."""

    def __init__(self, access: HostAccess, state: StateFolder) -> None:
        self._access = access
        self._state = state
        self._lookups = Lookups(at_a_time=state.settings().concurrent_lookups)
        self._disks = LocalDisks()

    async def resolve(self, image: ImageSource, *, fresh: bool = False) -> ResolvedImage:
        """See the port."""
        if image.image_stream:
            raise InvalidObjectError(
                f"ImageStream {image.image_stream} cannot be polled: ImageStreams are OpenShift's",
                hint="set url in place of imageStream",
            )
        if image.url.startswith(SCHEME):
            return await self._lookups.run(SCHEME, partial(self._resolve_archive, image))
        if image.url.startswith(FILE_SCHEME):
            digest = await self._lookups.run(FILE_SCHEME, partial(self._disks.digest_of, image.url))
            return ResolvedImage(digest=digest, manifest_digest=digest)
        if not image.url.startswith("docker://"):
            raise InvalidObjectError(
                f"{image.url} cannot be polled", hint=f"write docker://…, {SCHEME}… or {FILE_SCHEME}/…"
            )
        reference = Reference.parse(image.url)
        found = await self._lookups.resolve(reference, partial(self._prepare, image, reference), fresh=fresh)
        return ResolvedImage(digest=found.digest, manifest_digest=found.manifest_digest)

    def close(self) -> None:
        """Close all connections."""
        self._lookups.close()

    def _prepare(self, image: ImageSource, reference: Reference) -> tuple[Lookup, Pace]:
        settings = self._state.settings()
        platform, strict = Platform.wanted(image.architecture or settings.architecture)
        access = self._access.registry_access(image, reference, settings)
        lookup = Lookup(reference=reference, platform=platform, strict=strict, access=access)
        return lookup, Pace(window=settings.poll_jitter, rate=settings.lookup_rate)

    def _resolve_archive(self, image: ImageSource) -> ResolvedImage:
        reference = ArchiveReference.parse(image.url)
        platform, strict = Platform.wanted(image.architecture or self._state.settings().architecture)
        with Archive(reference.path) as archive:
            digest, manifest = archive.manifest(reference.tag, platform, strict=strict)
        return ResolvedImage(digest=digest, manifest_digest=manifest.digest)
