"""TLS before a Temporal server that has none, as a load balancer puts it there; and a server that refuses every key."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

CHEAP = "012aceiost"
"""What keys are made of that this server can read."""
_HEADERS, _SETTINGS, _END = 1, 4, 0x5
"""HTTP/2: types of frames, and the flags END_STREAM and END_HEADERS."""


@asynccontextmanager
async def tls_before(  # noqa: PLR0913 -- each demand has a name
    address: str,
    certificate: Path,
    key: Path,
    *,
    clients_ca: Path | None = None,
    api_key: str = "",
    host: str = "127.0.0.1",
) -> AsyncIterator[str]:
    """Yields the address that speaks TLS for the server at `address`.

    Args:
        address: of the server.
        certificate: chain of the server.
        key: of the server.
        clients_ca: whoever has no certificate of this CA is refused; None for everybody.
        api_key: a connection whose first call comes without it is cut; "" for everybody. See `key_of`.
        host: where to listen.
    """
    far, _, port = address.rpartition(":")
    wanted = key_of(api_key)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(far, int(port))
        try:
            begun = await _first_call(reader) if wanted else b""
            if wanted in begun:
                far_writer.write(begun)
                with suppress(OSError):
                    await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.close()

    async with _listening(serve, _context(certificate, key, clients_ca), host) as listening:
        yield listening


def key_of(api_key: str) -> bytes:
    """An API key as it stands in the header of a call, behind `Bearer `.

    HPACK writes each character of `CHEAP` with five bits, and `Bearer ` with forty (RFC 7541, appendix B), so that a
    key of eight, sixteen, … of them is found without undoing the code of the others.
    """
    bits = "".join(f"{CHEAP.index(character):05b}" for character in api_key)
    return int(f"0{bits}", 2).to_bytes(len(bits) // 8, "big")


@asynccontextmanager
async def refusing(certificate: Path, key: Path) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Yields the address of a server that answers each call with UNAUTHENTICATED, and the calls as they came."""
    calls: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(24)  # the client's preface
            writer.write(_frame(_SETTINGS, 0, 0, b""))
            while True:
                head = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] == _SETTINGS and not head[4]:
                    writer.write(_frame(_SETTINGS, 1, 0, b""))
                if head[3] == _HEADERS:
                    calls.append(payload)
                    answer = b"\x88" + _literal("content-type", "application/grpc") + _literal("grpc-status", "16")
                    answer += _literal("grpc-message", "Request unauthorized")
                    writer.write(_frame(_HEADERS, _END, int.from_bytes(head[5:9], "big"), answer))
                await writer.drain()

    async with _listening(serve, _context(certificate, key, None)) as listening:
        yield listening, calls


@asynccontextmanager
async def _listening(
    serve: Callable[..., Awaitable[None]], context: ssl.SSLContext, host: str = "127.0.0.1"
) -> AsyncIterator[str]:
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        tasks.add(task)
        try:
            with suppress(asyncio.CancelledError):
                await serve(reader, writer)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, host, 0, ssl=context)
    try:
        yield f"{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
            await asyncio.wait([task])


def _context(certificate: Path, key: Path, clients_ca: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    if clients_ca is not None:
        context.load_verify_locations(clients_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def _first_call(reader: asyncio.StreamReader) -> bytes:
    """The client's preface and its frames up to the first HEADERS."""
    read = await reader.readexactly(24)
    kind = None
    while kind != _HEADERS:
        head = await reader.readexactly(9)
        kind = head[3]
        read += head + await reader.readexactly(int.from_bytes(head[:3], "big"))
    return read


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _literal(name: str, value: str) -> bytes:
    """A header that is not indexed, in HPACK (RFC 7541, 6.2.2)."""
    return b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
