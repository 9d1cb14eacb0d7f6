"""What runs beside a test."""

import asyncio
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def running(task):
    """Something that runs until cancelled, for as long as the context lasts."""
    made = asyncio.ensure_future(task)
    try:
        yield made
    finally:
        made.cancel()
        with suppress(asyncio.CancelledError):
            await made


async def all_closed():
    """Wait for what was cancelled in mid-request: TLS ends a connection politely, and closing all does not wait for it.

    Without that they are closed when they are found as garbage, in some later test, which fails for it.
    """
    selector = asyncio.get_running_loop()._selector
    async with asyncio.timeout(40):
        while len(selector.get_map()) > 1:  # noqa: ASYNC110 -- it tells nobody; the one left is the loop's own
            await asyncio.sleep(0.01)
