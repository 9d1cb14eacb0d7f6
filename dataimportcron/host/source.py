"""The port `Source`: the synchronous registry client, and the reader of OCI archives, in a bounded pool of threads."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

from dataimportcron.errors import InvalidObjectError
from dataimportcron.host.access import HostAccess
from dataimportcron.host.state import StateFolder
from dataimportcron.oci.archive import SCHEME, Archive, ArchiveReference
from dataimportcron.oci.manifest import Platform
from dataimportcron.oci.registry import Access, Registry
from dataimportcron.ports import ImageSource, ResolvedImage
from dataimportcron.reference import Reference

_PER_REGISTRY = 4
"""Lookups at a time at one registry; a slow one holds up nobody else."""
_THREADS = 64
_IDLE = 32
"""Clients that are kept for the next lookup, the last used ones."""


class HostSource:
    """`ports.Source`."""

    def __init__(self, access: HostAccess, state: StateFolder) -> None:
        self._access = access
        self._state = state
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="registry")
        self._idle: list[tuple[Access, Registry]] = []
        self._lock = threading.Lock()
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_PER_REGISTRY))

    async def resolve(self, image: ImageSource) -> ResolvedImage:
        """See the port."""
        loop = asyncio.get_running_loop()
        if image.url.startswith(SCHEME):
            async with self._turns[SCHEME]:
                return await loop.run_in_executor(self._pool, self._resolve_archive, image)
        if not image.url.startswith("docker://"):
            raise InvalidObjectError(f"{image.url} cannot be polled", hint=f"write docker://… or {SCHEME}…")
        reference = Reference.parse(image.url)
        async with self._turns[reference.registry]:
            return await loop.run_in_executor(self._pool, self._resolve, image, reference)

    def _platform(self, image: ImageSource) -> Platform:
        architecture = image.architecture or self._state.settings().architecture
        return Platform(architecture=architecture) if architecture else Platform.default()

    def _resolve_archive(self, image: ImageSource) -> ResolvedImage:
        reference = ArchiveReference.parse(image.url)
        with Archive(reference.path) as archive:
            strict = bool(image.architecture)
            digest, manifest = archive.manifest(reference.tag, self._platform(image), strict=strict)
        return ResolvedImage(digest=digest, manifest_digest=manifest.digest)

    def _resolve(self, image: ImageSource, reference: Reference) -> ResolvedImage:
        platform = self._platform(image)
        access = self._access.registry_access(image, reference.registry)
        registry = self._take(access) or Registry(access)
        try:
            resolved = registry.resolve(reference, platform, strict=bool(image.architecture))
        except BaseException:
            registry.close()
            raise
        self._keep(access, registry)
        return ResolvedImage(digest=resolved.digest, manifest_digest=resolved.manifest_digest)

    def _take(self, access: Access) -> Registry | None:
        """A client that was used with the same access before: its connections stand and its tokens are good."""
        with self._lock:
            for index, (known, registry) in enumerate(self._idle):
                if known == access:
                    del self._idle[index]
                    return registry
        return None

    def _keep(self, access: Access, registry: Registry) -> None:
        with self._lock:
            self._idle.append((access, registry))
            dropped = self._idle[:-_IDLE]
            del self._idle[:-_IDLE]
        for _, old in dropped:
            old.close()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            while self._idle:
                self._idle.pop()[1].close()
        self._pool.shutdown()
