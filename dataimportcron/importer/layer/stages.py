"""Threads in a row, joined by channels of bounded length, that end together.

A stage that fails ends all others, wherever they wait, and its error is the one that is raised. Threads are daemons:
one that waits for a dead network never keeps the process alive.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator

DEPTH = 8
"""Items in a channel; they have up to a mebibyte each."""
_GRACE = 5.0
"""Seconds for the other stages to end after one has failed; only a read from the network takes longer."""


class StoppedError(Exception):
    """Another stage has failed: ends a stage, whose error counts no more."""


class Channel:
    """Hands items from one stage to the next; made by `Stages.channel`."""

    def __init__(self, lock: threading.Lock) -> None:
        self._changed = threading.Condition(lock)
        self._items: deque[bytes] = deque()
        self._closed = False
        self._stopped = False

    def put(self, item: bytes) -> None:
        """Append; waits while the channel is full.

        Raises:
            StoppedError: another stage has failed.
        """
        with self._changed:
            while len(self._items) >= DEPTH and not self._stopped:
                self._changed.wait()
            if self._stopped:
                raise StoppedError
            self._items.append(item)
            self._changed.notify_all()

    def close(self) -> None:
        """There is no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                while not self._items and not self._closed and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    raise StoppedError
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def stop(self) -> None:
        """Wake everybody up; the lock is held."""
        self._stopped = True
        self._changed.notify_all()


class Stages:
    """A group of threads that end together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._channels: list[Channel] = []
        self._threads: list[threading.Thread] = []
        self._running = 0
        self._error: BaseException | None = None

    def channel(self) -> Channel:
        """A new channel of the group."""
        channel = Channel(self._lock)
        self._channels.append(channel)
        return channel

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Run one stage."""
        thread = threading.Thread(target=self._guard, args=(work,), name=name, daemon=True)
        self._threads.append(thread)
        with self._lock:
            self._running += 1
        thread.start()

    def pause(self, seconds: float) -> None:
        """Let a stage rest.

        Raises:
            StoppedError: another stage has failed meanwhile.
        """
        if seconds <= 0:
            return
        with self._changed:
            if self._changed.wait_for(lambda: self._error is not None, seconds):
                raise StoppedError

    def wait(self, tick: Callable[[], None], interval: float) -> None:
        """Wait for all stages.

        Args:
            tick: called every `interval` seconds; an error that it raises ends the stages as theirs do.
            interval: in seconds.

        Raises:
            BaseException: what the first stage that failed raised.
        """
        try:
            while self._wait_once(interval):
                tick()
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            for thread in self._threads:
                thread.join(_GRACE if self._error else None)
        if self._error is not None:
            raise self._error

    def _wait_once(self, interval: float) -> bool:
        """Whether they still run."""
        with self._changed:
            return not self._changed.wait_for(lambda: not self._running or self._error is not None, interval)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 -- it is raised again where `wait` is called
            self._fail(error)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            if self._error is None:
                self._error = error
            for channel in self._channels:
                channel.stop()
            self._changed.notify_all()
