"""The port `Source` in a cluster: registries that the worker asks itself, and what only nodes or the cluster know."""

from __future__ import annotations

from dataimportcron.cluster.jobs.image_streams import ImageStreams
from dataimportcron.cluster.jobs.node_pull import NodeDigest
from dataimportcron.cluster.registries.access import ClusterAccess
from dataimportcron.cluster.registries.settings import ClusterSettings
from dataimportcron.errors import InvalidObjectError
from dataimportcron.oci.lookups import Lookup, Lookups, Pace
from dataimportcron.oci.manifest import Platform
from dataimportcron.reference import Reference
from dataimportcron.values import ImageSource, ResolvedImage


class ClusterSource:
    """`ports.Source`.

    Args:
        access: in whose name a registry is asked.
        settings: the worker's.
        nodes: asks a node what an image is, for `pullMethod: node`.
        image_streams: reads the ImageStreams of the cluster.
    """

    def __init__(
        self, access: ClusterAccess, settings: ClusterSettings, *, nodes: NodeDigest, image_streams: ImageStreams
    ) -> None:
        self._access = access
        self._settings = settings
        self._nodes = nodes
        self._image_streams = image_streams
        self._lookups = Lookups(at_a_time=settings.concurrent_lookups)

    async def resolve(self, image: ImageSource, *, fresh: bool = False) -> ResolvedImage:
        """See the port."""
        if image.image_stream:
            return await self._image_streams.resolve(image)
        if not image.url.startswith("docker://"):
            raise InvalidObjectError(
                f"{image.url} cannot be polled in a cluster",
                hint="write docker://…; archives and files are for `dataimportcron up` on one host",
            )
        if image.pull_method == "node":
            return await self._nodes.resolve(image)
        reference = Reference.parse(image.url)
        platform, strict = Platform.wanted(image.architecture or self._settings.architecture)
        access = await self._access.registry_access(image, reference)
        lookup = Lookup(reference=reference, platform=platform, strict=strict, access=access)
        pace = Pace(window=self._settings.poll_jitter, rate=self._settings.lookup_rate)
        resolved = await self._lookups.resolve(reference, lambda: (lookup, pace), fresh=fresh)
        return ResolvedImage(digest=resolved.digest, manifest_digest=resolved.manifest_digest)

    def close(self) -> None:
        """See the port."""
        self._lookups.close()
