"""A way from one address of the machine to another: servers that listen on loopback alone are reached by pods.

Temporal's development server is in parts that talk over loopback, whatever address it is told to listen at.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def forwarding(host: str, port: int, to_port: int) -> Iterator[None]:
    """Hand on to loopback what comes to an address, for the length of the context."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="forwarding", daemon=True)
    thread.start()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", to_port)
        except OSError:
            writer.close()
            return
        with suppress(asyncio.CancelledError):  # at the end; asyncio's streams would complain of it
            await asyncio.gather(_copy(reader, back), _copy(there, writer))

    try:
        listening = asyncio.run_coroutine_threadsafe(asyncio.start_server(serve, host, port), loop).result(10)
        yield
        loop.call_soon_threadsafe(listening.close)
    finally:
        asyncio.run_coroutine_threadsafe(_end_all(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    target.close()
