"""Credentials from Secrets: CDI's two keys, or Docker's configuration by host."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

from dataimportcron.errors import InvalidObjectError
from dataimportcron.reference import DOCKER_HUB

_DOCKER_CONFIG = ".dockerconfigjson"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user name and a password; the password is never shown."""

    username: str
    password: str = field(repr=False)


def from_secret(secret: dict[str, bytes], registry: str) -> dict[str, Credentials]:
    """Credentials by registry host. CDI's keys name no host and are meant for `registry` alone.

    Raises:
        InvalidObjectError: the Secret has neither form.
    """
    if _DOCKER_CONFIG in secret:
        return _from_docker_config(secret[_DOCKER_CONFIG])
    if "accessKeyId" in secret and "secretKey" in secret:
        username, password = (secret[key].decode().strip() for key in ("accessKeyId", "secretKey"))
        return {registry: Credentials(username=username, password=password)}
    raise InvalidObjectError(
        f"The Secret has the keys {', '.join(sorted(secret)) or 'none'}",
        hint=f"it needs accessKeyId and secretKey, or {_DOCKER_CONFIG}",
    )


def _from_docker_config(data: bytes) -> dict[str, Credentials]:
    try:
        auths = json.loads(data)["auths"]
        found = {}
        for host, entry in auths.items():
            if "auth" in entry:
                username, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
            else:
                username, password = entry["username"], entry["password"]
            found[_host(host)] = Credentials(username=username, password=password)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # The cause is not chained into the message: it could quote what is secret.
        raise InvalidObjectError(f"{_DOCKER_CONFIG} is no docker configuration: {type(error).__name__}") from None
    return found


def _host(key: str) -> str:
    host = key.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DOCKER_HUB if host in {"index.docker.io", "registry-1.docker.io"} else host
