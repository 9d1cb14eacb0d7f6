"""What a kubelet asks the worker: whether it lives, and whether it serves.

GET /livez    200 as long as the event loop turns; whoever gets no answer starts the process anew
GET /readyz   200 while the worker serves; else 503 and what it waits for
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aiohttp import web

PORT: Final = 8081


@dataclass(slots=True)
class Health:
    """What the worker is doing now; `waits_for` is "" while it serves."""

    waits_for: str = "the start"


@asynccontextmanager
async def answering(health: Health, *, address: str = "", port: int = PORT) -> AsyncIterator[int]:
    """Answer for the length of the context; yields the port.

    Args:
        health: as it is at each request.
        address: to listen at; "" for all.
        port: 0 for any that is free.
    """

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        if health.waits_for:
            return web.Response(status=503, text=f"waits for {health.waits_for}\n")
        return web.Response(text="ok\n")

    application = web.Application()
    application.add_routes([web.get("/livez", livez), web.get("/readyz", readyz)])
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address or None, port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
