"""A token server as the distribution project specifies it: real signed tokens that a real docker-registry accepts."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.loopback import serve

SERVICE = "registry of the tests"
ISSUER = "token server of the tests"


@dataclass(slots=True)
class TokenServer:
    """The running server.

    Attributes:
        users: passwords by name; each may do all in every repository, anybody may pull below `public/`.
        life: seconds that a token says it lives.
        certificates: folder of its CA (`ca.crt`) and its key.
        realm: URL to ask.
        requests: scope and Authorization of all that came.
    """

    users: dict[str, str]
    certificates: Path
    life: int = 300
    realm: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)

    @property
    def registry_auth(self) -> dict[str, Any]:
        """The member `auth` of docker-registry's configuration that trusts this server."""
        bundle = str(self.certificates / "ca.crt")
        return {"token": {"realm": self.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": bundle}}

    def allows(self, authorization: str) -> bool:
        """Whether these are a user's credentials."""
        known = {base64.b64encode(f"{name}:{word}".encode()).decode() for name, word in self.users.items()}
        return authorization.removeprefix("Basic ") in known

    def token(self, scopes: list[str], *, known: bool) -> str:
        """A signed token for what may be done."""
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":", 2)
            allowed = [what for what in actions.split(",") if known or (name.startswith("public/") and what == "pull")]
            access.append({"type": kind, "name": name, "actions": allowed})
        certificate = x509.load_pem_x509_certificate((self.certificates / "server.crt").read_bytes())
        now = int(time.time())
        return jwt.encode(
            {"iss": ISSUER, "sub": "somebody", "aud": SERVICE, "iat": now, "nbf": now - 10, "exp": now + 300}
            | {"jti": str(now), "access": access},
            (self.certificates / "server.key").read_bytes(),
            algorithm="ES256",
            headers={"x5c": [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()]},
        )


@contextmanager
def token_server(certificates: Path, users: dict[str, str], *, life: int = 300) -> Iterator[TokenServer]:
    """Run one over https, with certificates made in a folder."""
    state = TokenServer(users=users, certificates=certificates, life=life)
    with serve(_handler(state), certificates) as host:
        state.realm = f"https://{host}/token?tenant=tests"
        yield state


def _handler(state: TokenServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            query = parse_qs(urlsplit(self.path).query)
            scopes, authorization = query.get("scope", []), self.headers.get("Authorization", "")
            state.requests.append((" ".join(scopes), authorization))
            if query.get("service") != [SERVICE] or query.get("tenant") != ["tests"]:
                self._send(400, {})
            elif authorization and not state.allows(authorization):
                self._send(401, {"details": "incorrect username or password"})
            else:
                token = state.token(scopes, known=bool(authorization))
                self._send(200, {"token": token, "expires_in": state.life})

        def _send(self, status, content):
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nothing: a failing test prints what it needs."""

    return Handler
