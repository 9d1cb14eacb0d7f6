"""How the client introduces itself: WWW-Authenticate challenges, Bearer tokens, Basic.

Source: RFC 9110 section 11, and the distribution project's token specification. Credentials go to the registry that
they are for and to the token realm that it names over https, and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from time import monotonic
from urllib.parse import urlsplit

import httpx

from dataimportcron.errors import NotARegistryError, RegistryUnavailableError, UnauthorizedError
from dataimportcron.oci.credentials import Credentials
from dataimportcron.oci.manifest import parse_document

_PARAMETER = re.compile(r'\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')
_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9-]*)(?:\s+|$)")
_LONGEST_TOKEN = 64 << 10
_DEFAULT_LIFE = 60.0
"""Seconds that a token lives when its server does not say."""
_MARGIN = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One challenge; scheme and parameter names are in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(headers: list[str]) -> list[Challenge]:
    """All challenges of all WWW-Authenticate headers; what is no challenge is passed over."""
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
    """Answers challenges, and remembers tokens until they expire."""

    def __init__(self) -> None:
        self._tokens: dict[tuple[str, str, str], tuple[str, float]] = {}

    def answer(
        self,
        client: httpx.Client,
        challenges: list[Challenge],
        *,
        origin: str,
        repository: str,
        credentials: Credentials | None,
    ) -> str | None:
        """The value of Authorization that answers a challenge; None if none can be answered.

        Args:
            client: to ask the token server.
            challenges: what the registry wants.
            origin: the registry's base URL.
            repository: what is pulled.
            credentials: for this registry.
        """
        for challenge in challenges:
            if challenge.scheme == "bearer" and "realm" in challenge.parameters:
                return f"Bearer {self._token(client, challenge, origin, repository, credentials)}"
        if credentials is not None and any(challenge.scheme == "basic" for challenge in challenges):
            return httpx.BasicAuth(credentials.username, credentials.password)._auth_header  # noqa: SLF001 -- its only form
        return None

    def _token(
        self, client: httpx.Client, challenge: Challenge, origin: str, repository: str, credentials: Credentials | None
    ) -> str:
        realm = challenge.parameters["realm"]
        service = challenge.parameters.get("service", "")
        scope = challenge.parameters.get("scope") or f"repository:{repository}:pull"
        key = (realm, service, scope)
        token, expires = self._tokens.get(key, ("", 0.0))
        if monotonic() < expires:
            return token
        if urlsplit(realm).scheme != "https" and urlsplit(origin).scheme == "https":
            raise UnauthorizedError(
                f"Registry {origin} sends us to the token server {realm}, which is not https",
                hint="credentials are never sent in the clear for an https registry",
            )
        document = _ask(client, realm, {"service": service, "scope": scope}, credentials)
        given = document.get("token") or document.get("access_token")
        if not isinstance(given, str) or not given:
            raise NotARegistryError(f"The token server {realm} gave no token")
        life = document.get("expires_in")
        seconds = float(life) if isinstance(life, int | float) and life > 0 else _DEFAULT_LIFE
        self._tokens[key] = (given, monotonic() + seconds - min(_MARGIN, seconds / 2))
        return given


def _ask(
    client: httpx.Client, realm: str, parameters: dict[str, str], credentials: Credentials | None
) -> dict[str, object]:
    auth = httpx.BasicAuth(credentials.username, credentials.password) if credentials else None
    given = {key: value for key, value in parameters.items() if value}
    try:
        with client.stream("GET", realm, params=given, auth=auth, follow_redirects=False) as response:
            body = b""
            for part in response.iter_raw(16 << 10):
                body += part
                if len(body) > _LONGEST_TOKEN:
                    raise NotARegistryError(f"The token server {realm} sent more than {_LONGEST_TOKEN} bytes")
    except httpx.TransportError as error:
        raise RegistryUnavailableError(f"The token server {realm} does not answer: {error}") from error
    if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        what = "refuses these credentials" if credentials else "wants credentials"
        raise UnauthorizedError(
            f"The token server {realm} {what} (status {response.status_code})", hint="check secretRef's Secret"
        )
    if response.status_code != httpx.codes.OK:
        raise RegistryUnavailableError(f"The token server {realm} answers with status {response.status_code}")
    return parse_document(body, f"The answer of the token server {realm}")
