"""A registry that does as it is told: limits, cut bodies, wrong digests, redirects; and a record of all requests."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from demo.registry import HOST
from tests.support.loopback import serve


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer.

    Attributes:
        status: of HTTP.
        body: whole; a HEAD gets its headers only.
        headers: beside Content-Length.
        cut: bytes after which the connection breaks, None for never.
        chunked: without Content-Length, so that a cut looks like the end.
        ranges: a Range request gets its part.
        delay: seconds before the answer.
        drip: seconds between the body's bytes, which come one by one; 0 for all at once.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    chunked: bool = False
    ranges: bool = False
    delay: float = 0.0
    drip: float = 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as it came; the body of a POST only."""

    method: str
    path: str
    headers: Message
    body: bytes = b""


@dataclass(slots=True)
class FaultRegistry:
    """The running server.

    Attributes:
        scheme: http or https.
        host: host:port.
        ca: PEM file to trust; None for http.
        replies: by path: one after the other, the last for ever. What has none is MANIFEST_UNKNOWN.
        requests: all that came.
        sent: bytes of bodies, of all answers together.
    """

    scheme: str
    ca: Path | None
    host: str = ""
    replies: defaultdict[str, list[Reply]] = field(default_factory=lambda: defaultdict(list))
    requests: list[Request] = field(default_factory=list)
    sent: int = 0

    @property
    def url(self) -> str:
        """Base URL."""
        return f"{self.scheme}://{self.host}"

    def answer(self, path: str, *replies: Reply) -> None:
        """Say what is answered at a path."""
        self.replies[path] = list(replies)

    def seen(self, method: str = "", path: str = "") -> list[Request]:
        """The requests with this method and a path that ends so."""
        return [
            request
            for request in self.requests
            if method in {"", request.method} and request.path.partition("?")[0].endswith(path)
        ]


@contextmanager
def fault_registry(
    certificates: Path | None = None, *, address: str = HOST, demanding: bool = False
) -> Iterator[FaultRegistry]:
    """Run one; with a folder for certificates it speaks https, and wants the client's if it is `demanding`."""
    ca = certificates / "ca.crt" if certificates else None
    state = FaultRegistry(scheme="https" if certificates else "http", ca=ca)
    with serve(_handler(state), certificates, address=address, demanding=demanding) as host:
        state.host = host
        yield state


def document(content: Any, media_type: str, **headers: str) -> Reply:
    """A JSON document."""
    return Reply(body=json.dumps(content).encode(), headers={"Content-Type": media_type, **headers})


def _handler(state: FaultRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            form = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            state.requests.append(Request(self.command, self.path, self.headers, form))
            replies = state.replies[self.path.partition("?")[0]]
            reply = replies.pop(0) if len(replies) > 1 else replies[0] if replies else _UNKNOWN
            time.sleep(reply.delay)
            status, body, extra = _part(reply, self.headers.get("Range"))
            self.send_response(status)
            for name, value in {**reply.headers, **extra}.items():
                self.send_header(name, value)
            if reply.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self._send(reply, body)

        do_HEAD = do_GET  # noqa: N815 -- the name that http.server looks for
        do_POST = do_GET  # noqa: N815 -- the same

        def _send(self, reply, body):
            body = body[: reply.cut]
            state.sent += len(body)
            for piece in _pieces(reply, body):
                self.wfile.write(piece)
            if reply.cut is not None:
                self.close_connection = True

        def log_message(self, *_):
            """Nothing: a failing test prints what it needs."""

    return Handler


def _pieces(reply: Reply, body: bytes) -> Iterator[bytes]:
    """The body as it goes over the wire."""
    if reply.chunked:
        yield b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        yield b"0\r\n\r\n"
    elif reply.drip:
        for byte in body:
            yield bytes([byte])
            time.sleep(reply.drip)
    else:
        yield body


def _part(reply: Reply, wanted: str | None) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers, of a range where it is served."""
    if not reply.ranges or not wanted:
        return reply.status, reply.body, {}
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    body = reply.body[int(first) : int(last) + 1]
    return 206, body, {"Content-Range": f"bytes {first}-{int(first) + len(body) - 1}/{len(reply.body)}"}


_UNKNOWN = Reply(
    status=404,
    body=b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}',
    headers={"Content-Type": "application/json"},
)
