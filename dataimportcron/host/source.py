"""The port `Source`: the synchronous registry client, and the reader of OCI archives, in a bounded pool of threads.

A registry gets a few lookups at a time, and who waits for his turn holds no thread: a slow registry holds up nobody
else. Polls of one image share one lookup.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from dataimportcron.errors import InvalidObjectError, RegistryUnavailableError
from dataimportcron.host.access import HostAccess
from dataimportcron.host.clients import Clients
from dataimportcron.host.local_disks import FILE_SCHEME, LocalDisks
from dataimportcron.host.state import Settings, StateFolder
from dataimportcron.oci.archive import SCHEME, Archive, ArchiveReference
from dataimportcron.oci.manifest import Platform
from dataimportcron.oci.registry import Access
from dataimportcron.ports import ImageSource, ResolvedImage
from dataimportcron.reference import Reference

_THREADS = 256
"""So many lookups are under way at most; a thread that was never needed is never started."""
_PATIENCE = 45.0
"""Seconds to wait for a turn at a registry; then somebody else may have the place, and the lookup is tried later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lookup:
    """What makes two lookups the same."""

    reference: Reference
    platform: Platform
    strict: bool
    access: Access


@dataclass(frozen=True, slots=True)
class _Started:
    """A lookup that was begun at `time`, in seconds."""

    time: float
    future: Future[ResolvedImage]

    def serves(self, now: float, window: float) -> bool:
        """Whether it is under way, or has succeeded and is young enough."""
        if not self.future.done():
            return True
        return now < self.time + window and self.future.exception() is None


class HostSource:
    """`ports.Source`."""

    def __init__(self, access: HostAccess, state: StateFolder) -> None:
        self._access = access
        self._state = state
        self._at_a_time = state.settings().concurrent_lookups
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="registry")
        self._clients = Clients()
        self._disks = LocalDisks()
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(self._at_a_time))
        self._started: dict[_Lookup, _Started] = {}
        self._look_through = 0.0
        self._next: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    async def resolve(self, image: ImageSource, *, fresh: bool = False) -> ResolvedImage:
        """See the port."""
        loop = asyncio.get_running_loop()
        if image.url.startswith(SCHEME):
            async with self._turns[SCHEME]:
                return await loop.run_in_executor(self._pool, self._resolve_archive, image)
        if image.url.startswith(FILE_SCHEME):
            async with self._turns[FILE_SCHEME]:
                digest = await loop.run_in_executor(self._pool, self._disks.digest_of, image.url)
                return ResolvedImage(digest=digest, manifest_digest=digest)
        if not image.url.startswith("docker://"):
            raise InvalidObjectError(
                f"{image.url} cannot be polled", hint=f"write docker://…, {SCHEME}… or {FILE_SCHEME}/…"
            )
        reference = Reference.parse(image.url)
        turn = await self._turn(reference)
        try:
            shared = await loop.run_in_executor(self._pool, self._resolve, image, reference, fresh)
        finally:
            turn.release()
        return shared.result() if shared.done() else await asyncio.wrap_future(shared)

    def close(self) -> None:
        """Close all connections."""
        self._pool.shutdown(cancel_futures=True)
        self._clients.close()

    async def _turn(self, reference: Reference) -> asyncio.Semaphore:
        """A turn at the reference's registry, to be released."""
        turn = self._turns[reference.registry]
        try:
            async with asyncio.timeout(_PATIENCE):
                await turn.acquire()
        except TimeoutError:
            raise RegistryUnavailableError(
                f"{reference.registry} is slow: {reference} has waited {_PATIENCE:.0f} s for other lookups there",
                hint="more at a time: concurrent_lookups in settings.toml",
            ) from None
        return turn

    def _resolve(self, image: ImageSource, reference: Reference, fresh: bool) -> Future[ResolvedImage]:
        """A lookup that is done here, or one that somebody else does: then it is only to be waited for."""
        settings = self._state.settings()
        platform, strict = _platform(image, settings)
        lookup = _Lookup(
            reference=reference,
            platform=platform,
            strict=strict,
            access=self._access.registry_access(image, reference, settings),
        )
        now, window = time.monotonic(), float(settings.poll_jitter)
        with self._lock:
            started = self._started.get(lookup)
            if started is not None and not fresh and started.serves(now, window):
                return started.future
            self._forget_old(now, window)
            mine: Future[ResolvedImage] = Future()
            # From now on nobody who stops waiting can cancel it for the others.
            mine.set_running_or_notify_cancel()
            self._started[lookup] = _Started(now, mine)
        try:
            self._keep_pace(reference.registry, settings.lookup_rate)
            mine.set_result(self._ask(lookup))
        except BaseException as error:  # noqa: BLE001 -- whatever it is, it is everybody's who waits
            mine.set_exception(error)
        return mine

    def _keep_pace(self, registry: str, rate: int) -> None:
        """Wait, holding a turn, until the next lookup at a registry may begin."""
        if not rate:
            return
        with self._lock:
            now = time.monotonic()
            begin = max(now, self._next[registry])
            self._next[registry] = begin + 1 / rate
        time.sleep(begin - now)

    def _forget_old(self, now: float, window: float) -> None:
        """Drop what serves nobody any more; not at each lookup, for there may be thousands."""
        if now >= self._look_through:
            self._started = {key: one for key, one in self._started.items() if one.serves(now, window)}
            self._look_through = now + max(window, 1.0)

    def _ask(self, lookup: _Lookup) -> ResolvedImage:
        with self._clients.use(lookup.access) as registry:
            found = registry.resolve(lookup.reference, lookup.platform, strict=lookup.strict)
        return ResolvedImage(digest=found.digest, manifest_digest=found.manifest_digest)

    def _resolve_archive(self, image: ImageSource) -> ResolvedImage:
        reference = ArchiveReference.parse(image.url)
        platform, strict = _platform(image, self._state.settings())
        with Archive(reference.path) as archive:
            digest, manifest = archive.manifest(reference.tag, platform, strict=strict)
        return ResolvedImage(digest=digest, manifest_digest=manifest.digest)


def _platform(image: ImageSource, settings: Settings) -> tuple[Platform, bool]:
    """Whose manifest counts, and whether an image that is no index must be for it: where somebody has asked for it."""
    architecture = image.architecture or settings.architecture
    return (Platform(architecture=architecture), True) if architecture else (Platform.default(), False)
