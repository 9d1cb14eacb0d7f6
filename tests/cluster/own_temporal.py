"""A Temporal of one's own as administrators have it: behind TLS, for whoever has a certificate or an API key.

The server is the development server of `demo.cluster.installation.temporal`; what is before it, and refuses all others,
listens where pods reach it.
"""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from demo.cluster.installation import NAMESPACE, Engine
from tests.cluster.certificates import Authority
from tests.support.temporal_tls import tls_before

T = TypeVar("T")

API_KEY = "ascetic0toastie2coatie1s"


@contextmanager
def by_certificate(address: str, host: str, folder: Path) -> Iterator[Engine]:
    """Temporal at `address`, for who has a certificate of its authority; for pods at `host`."""
    authority = Authority(folder / "temporal-tls", "temporal")
    certificate, key = authority.client("worker", "worker")
    files = {"ca.crt": authority.certificate, "tls.crt": certificate, "tls.key": key}
    secret = _secret("dataimportcron-temporal-tls", {name: path.read_bytes() for name, path in files.items()})
    server = authority.server("temporal", host)
    with _in_background(tls_before(address, *server, clients_ca=authority.certificate, host=host)) as listening:
        yield Engine(address=listening, components=("temporal-tls",), secrets=(secret,))


@contextmanager
def by_api_key(address: str, host: str, folder: Path) -> Iterator[Engine]:
    """Temporal at `address`, for who has its API key; for pods at `host`."""
    authority = Authority(folder / "temporal-tls", "temporal")
    secret = _secret("dataimportcron-temporal-api-key", {"api-key": API_KEY.encode()})
    variables = (f"TEMPORAL_TLS_SERVER_CA_CERT_DATA={authority.certificate.read_text()}",)
    server = authority.server("temporal", host)
    with _in_background(tls_before(address, *server, api_key=API_KEY, host=host)) as listening:
        yield Engine(address=listening, components=("temporal-api-key",), variables=variables, secrets=(secret,))


def _secret(name: str, content: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {key: base64.b64encode(value).decode() for key, value in content.items()},
    }


@contextmanager
def _in_background(context: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """An asynchronous context, in a thread with a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="temporal-tls", daemon=True)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(context.__aenter__(), loop).result(30)
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
