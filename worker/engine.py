"""Waiting for Temporal: until it answers and its namespace has what we need, the worker polls nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from temporalio.client import Client
from temporalio.service import RPCError

from dataimportcron.errors import MissingDependencyError
from dataimportcron.host import clock
from worker.binding.outage import Outage
from worker.build import Home
from worker.notify import notify
from worker.temporal import (
    Endpoint,
    TemporalUnavailableError,
    connect,
    keep_history,
    probe,
    require_search_attributes,
    unavailable,
)

logger = logging.getLogger(__name__)

_FIRST_DELAY, _LONGEST_DELAY = 1.0, 30.0
"""Seconds between two tries."""


def _tell_service_manager(message: str) -> None:
    # Whoever waits for us to be up need not wait for somebody else's server.
    notify("READY=1", f"STATUS=waiting: {message}")


async def await_engine(
    endpoint: Endpoint, stop: asyncio.Event, *, tell: Callable[[str], None] = _tell_service_manager
) -> Client | None:
    """The client, once Temporal can be worked with; None if `stop` was set before.

    What is in the way is said when it changes, not at each try.

    Args:
        endpoint: where Temporal is.
        stop: ends the wait.
        tell: whoever supervises this process, what it waits for.

    Raises:
        TemporalSettingsError: the user's configuration cannot be used.
    """
    said = ""
    delay = _FIRST_DELAY
    while not stop.is_set():
        try:
            return await _ready(endpoint)
        except (TemporalUnavailableError, MissingDependencyError) as error:
            if str(error) != said:
                said, delay = str(error), _FIRST_DELAY
                logger.warning("waiting: %s", said)
                tell(error.message)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), delay)
        delay = min(delay * 2, _LONGEST_DELAY)
    return None


async def _ready(endpoint: Endpoint) -> Client:
    client = await connect(endpoint)
    try:
        if not endpoint.profile:
            await keep_history(client)
        await require_search_attributes(client)
    except RPCError as error:
        raise unavailable(endpoint, error) from error
    return client


@asynccontextmanager
async def saying_outages(home: Home, endpoint: Endpoint) -> AsyncIterator[None]:
    """Say on the crons that Temporal does not answer, for as long as it does not.

    Raises:
        TemporalSettingsError: the user's configuration cannot be used.
    """
    # A client of its own: a worker cannot have one that has never been connected.
    client = await connect(endpoint, lazy=True)
    outage = Outage(
        objects=home.objects,
        events=home.events,
        jitter=home.poll_jitter,
        now=clock.now,
        probe=lambda: probe(client, endpoint),
    )
    async with _beside(outage.run()):
        yield


def reading_files(home: Home) -> AbstractAsyncContextManager[None]:
    """Take in what people do to files, while the binding, which does it otherwise, has to wait."""
    return _beside(home.read_files())


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Something runs meanwhile."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
