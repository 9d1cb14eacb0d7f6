"""The port `Source`: the synchronous registry client in a bounded pool of threads."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from dataimportcron.errors import InvalidObjectError
from dataimportcron.host.access import HostAccess
from dataimportcron.host.state import StateFolder
from dataimportcron.oci.manifest import Platform
from dataimportcron.oci.registry import Registry
from dataimportcron.ports import ImageSource, ResolvedImage
from dataimportcron.reference import Reference

_PER_REGISTRY = 4
"""Lookups at a time at one registry; a slow one holds up nobody else."""
_THREADS = 64


class HostSource:
    """`ports.Source`."""

    def __init__(self, access: HostAccess, state: StateFolder) -> None:
        self._access = access
        self._state = state
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="registry")
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_PER_REGISTRY))

    async def resolve(self, image: ImageSource) -> ResolvedImage:
        """See the port."""
        if not image.url.startswith("docker://"):
            raise InvalidObjectError(
                f"{image.url} cannot be polled", hint="only docker:// references are looked up in a registry"
            )
        reference = Reference.parse(image.url)
        async with self._turns[reference.registry]:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._resolve, image, reference)

    def _resolve(self, image: ImageSource, reference: Reference) -> ResolvedImage:
        architecture = image.architecture or self._state.settings().architecture
        platform = Platform(architecture=architecture) if architecture else Platform.default()
        with Registry(self._access.registry_access(image, reference.registry)) as registry:
            resolved = registry.resolve(reference, platform, strict=bool(image.architecture))
        return ResolvedImage(digest=resolved.digest, manifest_digest=resolved.manifest_digest)
