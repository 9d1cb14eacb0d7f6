"""A real forward proxy: CONNECT for https, whole URLs for http, credentials if wanted."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

from demo.registry import HOST
from tests.support.loopback import serve


@dataclass(slots=True)
class ForwardProxy:
    """The running proxy.

    Attributes:
        routes: where a host:port of a request really is, by what the client calls it; all else is unknown (502).
        login: user and password as `user:password`, "" for everybody.
        refusal: status that it answers whatever it is asked, 0 for none.
        host: its address and port.
        requests: method, target and headers of all that came, those of the connection to the proxy.
    """

    routes: dict[str, str] = field(default_factory=dict)
    login: str = ""
    refusal: int = 0
    host: str = ""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its URL, without credentials."""
        return f"http://{self.host}"

    def status(self, authorization: str, target: str) -> int:
        """What a request is answered with; 200 if it is let through."""
        if self.refusal:
            return self.refusal
        wanted = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        if self.login and authorization != wanted:
            return 407
        return 200 if target in self.routes else 502


@contextmanager
def forward_proxy(address: str = HOST, **members) -> Iterator[ForwardProxy]:
    """Run one, at an address of this machine."""
    state = ForwardProxy(**members)
    with serve(_handler(state), address=address) as host:
        state.host = host
        yield state


def _handler(state: ForwardProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_CONNECT(self):
            if not self._admitted(self.path):
                return
            host, _, port = state.routes[self.path].partition(":")
            with socket.create_connection((host, int(port)), timeout=10) as origin:
                self.send_response(200, "Connection established")
                self.end_headers()
                back = threading.Thread(target=_pump, args=(origin, self.connection))
                back.start()
                _pump(self.connection, origin)
                back.join()
            self.close_connection = True

        def do_GET(self):
            parts = urlsplit(self.path)
            if not self._admitted(f"{parts.hostname}:{parts.port or 80}"):
                return
            origin = HTTPConnection(state.routes[f"{parts.hostname}:{parts.port or 80}"], timeout=10)
            kept = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
            origin.request(self.command, f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=kept)
            answer = origin.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            origin.close()

        do_HEAD = do_GET  # noqa: N815 -- the name that http.server looks for

        def _admitted(self, target):
            state.requests.append((self.command, target, dict(self.headers)))
            status = state.status(self.headers.get("Proxy-Authorization", ""), target)
            if status != 200:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
            return status == 200

        def log_message(self, *_):
            """Nothing: a failing test prints what it needs."""

    return Handler


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Copy until the end, and pass the end on."""
    with suppress(OSError):
        while part := source.recv(1 << 16):
            target.sendall(part)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
