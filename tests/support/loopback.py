"""HTTP servers inside the test's process, on loopback, for what no real server can be made to do."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from demo.registry import HOST, make_certificates


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that breaks the connection is what some tests are about."""


@contextmanager
def serve(
    handler: type[BaseHTTPRequestHandler],
    certificates: Path | None = None,
    *,
    address: str = HOST,
    demanding: bool = False,
) -> Iterator[str]:
    """Serve until the end of the context; yields host:port.

    Args:
        handler: answers requests.
        certificates: folder for `make_certificates`; None for plain http.
        address: of this machine; the certificates are for 127.0.0.1.
        demanding: wants the client's certificate, of the same CA.
    """
    with _Server((address, 0), handler) as server:
        if certificates is not None:
            certificates.mkdir(parents=True, exist_ok=True)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*make_certificates(certificates))
            if demanding:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(certificates / "ca.crt")
            # The handshake is the handler thread's: one bad client must not hold up the others.
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"{address}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
