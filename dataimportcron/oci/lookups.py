"""Lookups of digests by the synchronous registry client, for many asynchronous callers at once.

A registry gets a few lookups at a time, and who waits for his turn holds no thread: a slow registry holds up nobody
else. Callers who ask the same within a while share one lookup.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from dataimportcron.errors import RegistryUnavailableError
from dataimportcron.oci.access import Access
from dataimportcron.oci.clients import Clients
from dataimportcron.oci.manifest import Platform
from dataimportcron.oci.registry import Resolved
from dataimportcron.reference import Reference

T = TypeVar("T")

_THREADS = 256
"""So many lookups are under way at most; a thread that was never needed is never started."""
_PATIENCE = 45.0
"""Seconds to wait for a turn at a registry; then somebody else may have the place, and the lookup is tried later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """What makes two lookups the same.

    Attributes:
        reference: what is looked up.
        platform: whose manifest counts.
        strict: an image that is no index must be for the platform too.
        access: as whom, and where.
    """

    reference: Reference
    platform: Platform
    strict: bool
    access: Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How lookups are made.

    Attributes:
        window: seconds for which an answer also serves others who ask the same.
        rate: lookups begun per second at one registry; 0 for no limit.
    """

    window: float = 0.0
    rate: int = 0


@dataclass(frozen=True, slots=True)
class _Started:
    """A lookup that was begun at `time`, in seconds."""

    time: float
    future: Future[Resolved]

    def serves(self, now: float, window: float) -> bool:
        """Whether it is under way, or has succeeded and is young enough."""
        if not self.future.done():
            return True
        return now < self.time + window and self.future.exception() is None


class Lookups:
    """A bounded pool of threads, and the registry clients that they share.

    Args:
        at_a_time: lookups under way at one registry.
    """

    def __init__(self, *, at_a_time: int) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="registry")
        self._clients = Clients()
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(at_a_time))
        self._started: dict[Lookup, _Started] = {}
        self._look_through = 0.0
        self._next: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    async def resolve(
        self, reference: Reference, prepare: Callable[[], tuple[Lookup, Pace]], *, fresh: bool
    ) -> Resolved:
        """Look up what a reference means now.

        Args:
            reference: names the registry whose turn is waited for.
            prepare: says in a thread, where it may read files, how the reference is looked up.
            fresh: the answer is of now, not of a lookup that was made for somebody else moments ago.

        Raises:
            RegistryUnavailableError: there was no turn for too long; or what `Registry.resolve` raises.
        """
        turn = self._turns[reference.registry]
        try:
            async with asyncio.timeout(_PATIENCE):
                await turn.acquire()
        except TimeoutError:
            raise RegistryUnavailableError(
                f"{reference.registry} is slow: {reference} has waited {_PATIENCE:.0f} s for other lookups there",
                hint="more at a time: concurrent_lookups in settings.toml",
            ) from None
        try:
            loop = asyncio.get_running_loop()
            shared = await loop.run_in_executor(self._pool, self._resolve, prepare, fresh)
        finally:
            turn.release()
        return shared.result() if shared.done() else await asyncio.wrap_future(shared)

    async def run(self, turn: str, work: Callable[[], T]) -> T:
        """Do other work in one of the threads, as one of a few at a time of those with the same word for `turn`."""
        async with self._turns[turn]:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Close all connections; nothing is looked up any more."""
        self._pool.shutdown(cancel_futures=True)
        self._clients.close()

    def _resolve(self, prepare: Callable[[], tuple[Lookup, Pace]], fresh: bool) -> Future[Resolved]:
        """A lookup that is done here, or one that somebody else does: then it is only to be waited for."""
        lookup, pace = prepare()
        now = time.monotonic()
        with self._lock:
            started = self._started.get(lookup)
            if started is not None and not fresh and started.serves(now, pace.window):
                return started.future
            self._forget_old(now, pace.window)
            mine: Future[Resolved] = Future()
            # From now on nobody who stops waiting can cancel it for the others.
            mine.set_running_or_notify_cancel()
            self._started[lookup] = _Started(now, mine)
        try:
            self._keep_pace(lookup.reference.registry, pace.rate)
            with self._clients.use(lookup.access) as registry:
                mine.set_result(registry.resolve(lookup.reference, lookup.platform, strict=lookup.strict))
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
