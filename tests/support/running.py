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
