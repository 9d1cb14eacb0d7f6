"""Credentials from Secrets: CDI's two keys, or Docker's configuration by host.

No message of an error quotes a Secret's content.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

from dataimportcron.errors import InvalidObjectError
from dataimportcron.reference import DOCKER_HUB

HUB_HOST = "registry-1.docker.io"
"""Where docker.io's registry really is."""

_DOCKER_CONFIG = ".dockerconfigjson"
_USERNAME, _PASSWORD = "accessKeyId", "secretKey"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user name and a password; the password is never shown."""

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of Authorization that carries them (RFC 7617, in UTF-8)."""
        return f"Basic {base64.b64encode(f'{self.username}:{self.password}'.encode()).decode()}"


def from_secret(secret: dict[str, bytes], registry: str) -> dict[str, Credentials]:
    """Credentials by registry host. CDI's keys name no host and are meant for `registry` alone.

    Raises:
        InvalidObjectError: the Secret has neither form.
    """
    if _DOCKER_CONFIG in secret:
        return _from_docker_config(secret[_DOCKER_CONFIG])
    if _USERNAME in secret and _PASSWORD in secret:
        return {registry: Credentials(username=_text(secret, _USERNAME), password=_text(secret, _PASSWORD))}
    raise InvalidObjectError(
        f"The Secret has the keys {', '.join(sorted(secret)) or 'none'}",
        hint=f"it needs {_USERNAME} and {_PASSWORD}, or {_DOCKER_CONFIG}",
    )


def canonical_host(host: str) -> str:
    """Docker Hub has several hosts and one set of credentials."""
    return DOCKER_HUB if host in {"index.docker.io", HUB_HOST} else host


def _text(secret: dict[str, bytes], key: str) -> str:
    try:
        return secret[key].decode().strip()
    except UnicodeDecodeError:
        # Not chained: the cause quotes the value.
        raise InvalidObjectError(f"The Secret's {key} is not text in UTF-8") from None


def _from_docker_config(data: bytes) -> dict[str, Credentials]:
    found: dict[str, Credentials] = {}
    try:
        entries = [(_address(key), entry) for key, entry in json.loads(data)["auths"].items()]
        # A key may have a path, which narrows it; the host's own entry, the shortest, outranks it.
        for address, entry in sorted(entries, key=lambda item: len(item[0])):
            if entry.get("auth"):
                username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
            else:
                username, password = str(entry["username"]), str(entry["password"])
            host = canonical_host(address.partition("/")[0])
            found.setdefault(host, Credentials(username=username, password=password))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # Not chained: the cause could quote what is secret.
        raise InvalidObjectError(f"{_DOCKER_CONFIG} is no docker configuration: {type(error).__name__}") from None
    return found


def _address(key: str) -> str:
    return key.removeprefix("https://").removeprefix("http://").rstrip("/")
