"""How the client introduces itself: WWW-Authenticate challenges, Bearer tokens, Basic.

Credentials go to the registry that they are for and to the token realm that it names, over https wherever the registry
itself speaks https, and nowhere else. Source: RFC 9110 section 11, and the distribution project's specifications of
tokens and of OAuth2.
"""

from __future__ import annotations

import re
import threading
from contextlib import closing
from dataclasses import dataclass
from time import monotonic
from urllib.parse import urlsplit

import httpx

from dataimportcron.errors import DataImportCronError, NotARegistryError, TooManyRequestsError, UnauthorizedError
from dataimportcron.oci.bodies import bounded
from dataimportcron.oci.connections import Connections
from dataimportcron.oci.credentials import Credentials
from dataimportcron.oci.failures import failure_of_status, failure_of_transport
from dataimportcron.oci.limits import Limits
from dataimportcron.oci.manifest import parse_document

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 -- RFC 9110's grammar of a word
_PARAMETER = re.compile(rf'[\s,]*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?=,|$)')
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?=[\s,]|$)")
_LONGEST_ANSWER = 256 << 10
"""Bytes of a token server's answer."""
_DEFAULT_LIFE = 60.0
"""Seconds that a token lives when its server does not say."""
_CLIENT = "dataimportcron"
"""Who asks, in OAuth2's words."""
_MARGIN = 10.0
"""Seconds before its end at which a token is taken for expired."""

_Key = tuple[str, str, str, Credentials | None]
"""What a token is for: realm, service, scope, and who asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One challenge; scheme and parameter names are in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(headers: list[str]) -> list[Challenge]:
    """All challenges of all WWW-Authenticate headers; a header is read up to what is no challenge."""
    found = []
    for header in headers:
        at = 0
        while match := _SCHEME.match(header, at):
            at = match.end()
            parameters = {}
            while parameter := _PARAMETER.match(header, at):
                quoted = parameter[2]
                value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else parameter[3]
                parameters[parameter[1].lower()] = value
                at = parameter.end()
            found.append(Challenge(scheme=match[1].lower(), parameters=parameters))
    return found


class Authorizer:
    """Answers challenges, and remembers tokens until they expire. For several threads at once.

    Args:
        limits: what token servers have asked for.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._tokens: dict[_Key, tuple[str, float]] = {}
        self._locks: dict[_Key, threading.Lock] = {}

    def answer(  # noqa: PLR0913 -- all that makes an answer
        self,
        connections: Connections,
        challenges: list[Challenge],
        *,
        origin: str,
        repository: str,
        credentials: Credentials | None,
        refused: str | None = None,
    ) -> str | None:
        """The value of Authorization that answers a challenge; None if none can be answered.

        Args:
            connections: to ask the token server.
            challenges: what the registry wants.
            origin: the registry's base URL.
            repository: what is pulled.
            credentials: for this registry.
            refused: the value that has just been refused; it is not given again.

        Raises:
            DataImportCronError: the token server cannot be asked, or gives no token.
        """
        for challenge in challenges:
            if challenge.scheme == "bearer" and "realm" in challenge.parameters:
                return self._bearer(connections, challenge, origin, repository, credentials, refused)
        if credentials is None or all(challenge.scheme != "basic" for challenge in challenges):
            return None
        if credentials.identity_token and not credentials.password:
            return None
        return credentials.basic if credentials.basic != refused else None

    def _bearer(  # noqa: PLR0913, PLR0917 -- as `answer`
        self,
        connections: Connections,
        challenge: Challenge,
        origin: str,
        repository: str,
        credentials: Credentials | None,
        refused: str | None,
    ) -> str:
        realm = challenge.parameters["realm"]
        service = challenge.parameters.get("service", "")
        scope = challenge.parameters.get("scope") or f"repository:{repository}:pull"
        key = (realm, service, scope, credentials)
        # Threads that need the same token wait for the one that fetches it.
        with self._locks.setdefault(key, threading.Lock()):
            known, expires = self._tokens.get(key, ("", 0.0))
            if known != refused and monotonic() < expires:
                return known
            if urlsplit(realm).scheme != "https" and urlsplit(origin).scheme == "https":
                raise UnauthorizedError(
                    f"The registry {urlsplit(origin).netloc} sends us to the token server {realm}, which is not https",
                    hint="nothing is sent in the clear for a registry that speaks https; correct its configuration",
                )
            host = urlsplit(realm).netloc
            self._limits.check(host)
            try:
                token, life = _fetch(connections, realm, {"service": service, "scope": scope}, credentials)
            except TooManyRequestsError as error:
                self._limits.note(host, error)
                raise
            self._tokens[key] = (f"Bearer {token}", monotonic() + life - min(_MARGIN, life / 2))
            return f"Bearer {token}"


def _fetch(
    connections: Connections, realm: str, parameters: dict[str, str], credentials: Credentials | None
) -> tuple[str, float]:
    """A token and its life in seconds."""
    server = f"the token server {urlsplit(realm).netloc or realm}"
    try:
        given = {key: value for key, value in parameters.items() if value}
        with closing(_ask(connections, httpx.URL(realm), given, credentials)) as response:
            body = bounded(response, _LONGEST_ANSWER, server)
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise failure_of_transport(error, "a token", server) from error
    if response.status_code != httpx.codes.OK:
        raise _refusal(response, server, parameters["scope"], credentials)
    document = parse_document(body, f"The answer of {server}")
    token = document.get("token") or document.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise NotARegistryError(f"{server} gave no token")
    life = document.get("expires_in")
    return token, float(life) if isinstance(life, int | float) and 0 < life < 1 << 31 else _DEFAULT_LIFE


def _ask(
    connections: Connections, realm: httpx.URL, parameters: dict[str, str], credentials: Credentials | None
) -> httpx.Response:
    """Ask for a token: by GET with name and password, by OAuth2's POST with an identity token."""
    if credentials is not None and credentials.identity_token:
        form = {"grant_type": "refresh_token", "client_id": _CLIENT, "refresh_token": credentials.identity_token}
        return connections.send("POST", realm, {}, form=parameters | form, follow=False)
    headers = {"Authorization": credentials.basic} if credentials else {}
    return connections.send("GET", realm.copy_merge_params(parameters), headers, follow=False)


def _refusal(response: httpx.Response, server: str, scope: str, credentials: Credentials | None) -> DataImportCronError:
    status = response.status_code
    if status in {httpx.codes.BAD_REQUEST, httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        who = "with the given credentials" if credentials else "without credentials"
        return UnauthorizedError(
            f"{server} gives no token for {scope} {who} (status {status})",
            hint="check the name, and the credentials in secretRef or of docker login"
            if credentials
            else "name a Secret in secretRef",
        )
    return failure_of_status(response, f"{server} answers with status {status}")
