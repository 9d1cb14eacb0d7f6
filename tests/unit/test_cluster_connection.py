"""What an API server that was away says when it is back."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler

import pytest
import yaml

from dataimportcron.cluster.client import connection as module
from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.client.resources import PODS
from dataimportcron.errors import ApiUnavailableError, ForbiddenError
from tests.support.loopback import serve

REFUSAL = {
    "kind": "Status",
    "status": "Failure",
    "reason": "Forbidden",
    "message": 'pods is forbidden: User "worker" cannot list resource "pods"',
    "code": 403,
}


@pytest.fixture
def server(tmp_path):
    """Its kubeconfig, and what makes it refuse requests, where it cuts connections at first."""
    back = threading.Event()

    class Starting(BaseHTTPRequestHandler):
        def do_GET(self):
            if back.is_set():
                body = json.dumps(REFUSAL).encode()
                self.send_response(403)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_):
            """Nothing."""

    with serve(Starting) as host:
        context = {"name": "test", "context": {"cluster": "test", "user": "test"}}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": f"http://{host}"}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [context],
            "current-context": "test",
        }
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(document))
        yield str(path), back.set


async def test_a_refusal_just_after_an_outage_is_not_believed(server, monkeypatch):
    kubeconfig, come_back = server
    now = 1000.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    async with connected(kubeconfig=kubeconfig) as connection:
        with pytest.raises(ApiUnavailableError, match="does not answer"):
            await connection.list(PODS)
        come_back()
        now += 5
        with pytest.raises(ApiUnavailableError, match=r"cannot list resource .* may not have read its rules yet"):
            await connection.list(PODS)
        now += 15
        with pytest.raises(ForbiddenError):
            await connection.list(PODS)
