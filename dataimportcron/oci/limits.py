"""What registries ask of their clients: after a 429, or a 503 with Retry-After, a host is left alone for that long.

One value is shared by all clients of a process, so that one answer speaks to all of them. Nobody waits here: who comes
too early is told at once for how long, and can give its place to others.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from time import monotonic

from dataimportcron.errors import TooManyRequestsError


class Limits:
    """Hosts that must not be asked now. For several threads at once.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def check(self, host: str) -> None:
        """Pass, if a host may be asked.

        Raises:
            TooManyRequestsError: it may not, for `retry_after` seconds.
        """
        until = self._until.get(host)
        if until is None:
            return
        remaining = until - self._clock()
        if remaining <= 0:
            with self._lock:
                # It may have been set anew meanwhile.
                if self._until.get(host) == until:
                    del self._until[host]
            return
        raise TooManyRequestsError(
            f"{host} has asked to wait; it is not asked again for {math.ceil(remaining)} s", retry_after=remaining
        )

    def note(self, host: str, error: TooManyRequestsError) -> None:
        """Remember how long a host has asked to wait; the longest counts, and an answer without a time changes nothing.

        Args:
            host: as `check` is asked for it.
            error: its answer, with bounded seconds.
        """
        if error.retry_after:
            until = self._clock() + error.retry_after
            with self._lock:
                self._until[host] = max(until, self._until.get(host, 0.0))
