"""Credentials, and where they are written: Secrets with CDI's two keys or Docker's configuration, by registry.

The keys of Docker's configuration are read as containers-auth.json(5) reads them: a path after the host narrows an
entry to the repositories below it, and the narrowest entry counts. No message of an error quotes a secret.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dataimportcron.errors import InvalidObjectError
from dataimportcron.reference import DOCKER_HUB

HUB_HOST = "registry-1.docker.io"
"""Where docker.io's registry really is."""

DOCKER_CONFIG_KEY = ".dockerconfigjson"
_USERNAME, _PASSWORD = "accessKeyId", "secretKey"
SECRET_KEYS = (_USERNAME, _PASSWORD, DOCKER_CONFIG_KEY)
"""All keys of a Secret that are read."""

_API_PATHS = {"v1", "v2"}
"""Paths after a host that mean its API; they narrow nothing."""
_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user name and a password, or an identity token, which only a token server takes. Only the name is shown."""

    username: str
    password: str = field(repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of Authorization that carries name and password (RFC 7617, in UTF-8)."""
        return f"Basic {base64.b64encode(f'{self.username}:{self.password}'.encode()).decode()}"


def from_secret(secret: Mapping[str, bytes], registry: str) -> dict[str, Credentials]:
    """Credentials by host[:port][/path]. CDI's keys name no host and are meant for `registry` alone.

    Raises:
        InvalidObjectError: the Secret has neither form.
    """
    if DOCKER_CONFIG_KEY in secret:
        try:
            return from_auths(json.loads(secret[DOCKER_CONFIG_KEY])["auths"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # Not chained: the cause could quote what is secret.
            kind = type(error).__name__
        raise InvalidObjectError(f"{DOCKER_CONFIG_KEY} is no docker configuration: {kind}")
    if _USERNAME in secret and _PASSWORD in secret:
        return {registry: Credentials(username=_text(secret, _USERNAME), password=_text(secret, _PASSWORD))}
    raise InvalidObjectError(
        f"The Secret has the keys {', '.join(sorted(secret)) or 'none'}",
        hint=f"it needs {_USERNAME} and {_PASSWORD}, or {DOCKER_CONFIG_KEY}",
    )


def from_auths(auths: Mapping[str, Any]) -> dict[str, Credentials]:
    """Credentials of the member `auths` of Docker's configuration, by host[:port][/path]; empty entries are none.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is none; the error may quote what is secret.
    """
    found: dict[str, Credentials] = {}
    for key, entry in auths.items():
        credentials = _from_entry(entry)
        if credentials is not None:
            found.setdefault(scope_of(key), credentials)
    return found


def to_docker_config(credentials: Mapping[str, Credentials]) -> bytes:
    """Docker's configuration that `from_secret` reads as these credentials."""
    auths = {
        scope: {"identitytoken": one.identity_token}
        if one.identity_token
        else {"username": one.username, "password": one.password}
        for scope, one in credentials.items()
    }
    return json.dumps({"auths": auths}).encode()


def scope_of(key: str) -> str:
    """What a key of Docker's configuration is for: host[:port], with the path if it narrows."""
    address = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    host, _, path = address.partition("/")
    narrows = path and address == key.rstrip("/") and path not in _API_PATHS
    return f"{canonical_host(host)}/{path}" if narrows else canonical_host(host)


def narrowest(entries: Mapping[str, _Entry], host: str, repository: str) -> _Entry | None:
    """The entry for a repository of a host whose key is the longest; None where none matches."""
    scope = f"{host}/{repository}"
    while scope not in entries:
        scope, slash, _ = scope.rpartition("/")
        if not slash:
            return None
    return entries[scope]


def canonical_host(host: str) -> str:
    """Docker Hub has several hosts and one set of credentials."""
    return DOCKER_HUB if host in {"index.docker.io", HUB_HOST} else host


def _from_entry(entry: dict[str, Any]) -> Credentials | None:
    token = str(entry.get("identitytoken") or "")
    if entry.get("auth"):
        username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
        # Docker itself pads passwords with NUL.
        return Credentials(username=username, password=password.rstrip("\0"), identity_token=token)
    if token:
        return Credentials(username="", password="", identity_token=token)
    if not entry:
        return None
    return Credentials(username=str(entry["username"]), password=str(entry["password"]))


def _text(secret: Mapping[str, bytes], key: str) -> str:
    try:
        return secret[key].decode().strip()
    except UnicodeDecodeError:
        # Not chained: the cause quotes the value.
        raise InvalidObjectError(f"The Secret's {key} is not text in UTF-8") from None
