"""The credentials of this machine's user: the files of podman, skopeo and docker, and their credential helpers.

Read in this order, as containers-auth.json(5) says; the first that knows a registry decides:

    $REGISTRY_AUTH_FILE                                    alone, where it is set
    $XDG_RUNTIME_DIR/containers/auth.json                  what podman login and skopeo login write
    $XDG_CONFIG_HOME or ~/.config, /containers/auth.json
    $DOCKER_CONFIG or ~/.docker, /config.json              what docker login writes

In a file, `credHelpers` goes before `auths`, and `credsStore` is asked last. A helper is the program
docker-credential-NAME, which gets the registry on its standard input and answers with JSON. Its answer is kept for a
minute, so that crons that poll together do not start it each.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from dataimportcron.errors import (
    DataImportCronError,
    InvalidObjectError,
    MissingDependencyError,
    RegistryUnavailableError,
    UnauthorizedError,
)
from dataimportcron.oci.credentials import Credentials, from_auths, narrowest, scope_of
from dataimportcron.reference import DOCKER_HUB

logger = logging.getLogger(__name__)

_HUB_KEY = "https://index.docker.io/v1/"
"""What helpers know Docker Hub by."""
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_PATIENCE = 30.0
"""Seconds for a helper's answer."""
_LARGEST = 1 << 20
"""Bytes of a configuration or of a helper's answer."""
_KEPT, _KEPT_FAILURE = 60.0, 5.0
"""Seconds for which a helper's answer, and its failure, is used again."""
_NOT_FOUND = "credentials not found"
"""How a helper says that it has none."""
_LONGEST_WORDS = 200
_IDENTITY = "<token>"
"""The user name that a helper gives with an identity token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerConfig:
    """One file.

    Attributes:
        path: of the file, for messages.
        credentials: written in it, by host[:port][/path].
        helpers: name of the helper, by the same.
        store: name of the helper for all other registries, "" for none.
    """

    path: Path
    credentials: dict[str, Credentials] = field(repr=False)
    helpers: dict[str, str]
    store: str

    def find(self, host: str, repository: str) -> Credentials | None:
        """Credentials for a repository of a host, None where the file has none.

        Raises:
            MissingDependencyError: the helper that it names is not installed.
            UnauthorizedError: the helper fails.
            RegistryUnavailableError: the helper does not answer in time.
        """
        helper = narrowest(self.helpers, host, repository)
        if helper:
            return self._ask(helper, host)
        found = narrowest(self.credentials, host, repository)
        return self._ask(self.store, host) if found is None and self.store else found

    def _ask(self, name: str, host: str) -> Credentials | None:
        return _helpers.ask(name, _HUB_KEY if host == DOCKER_HUB else host, self.path)


def find_credentials(hosts: Iterable[str], repository: str, file: Path | None = None) -> dict[str, Credentials]:
    """The user's credentials for a repository, by host[:port].

    Args:
        hosts: that may be asked: the registry and its mirrors.
        repository: that is read.
        file: the only one that is read; None for the user's own.

    Raises:
        MissingDependencyError: a file that is named, or a helper, is not there.
        InvalidObjectError: a file is no docker configuration.
        UnauthorizedError: a helper fails.
        RegistryUnavailableError: a helper does not answer in time.
    """
    configs = _configs(file)
    found = {}
    for host in dict.fromkeys(hosts):
        for config in configs:
            credentials = config.find(host, repository)
            if credentials is not None:
                found[host] = credentials
                break
    return found


def _configs(file: Path | None) -> list[DockerConfig]:
    named = os.environ.get("REGISTRY_AUTH_FILE")
    if file is None and named:
        file = Path(named)
    places = _places(os.environ) if file is None else [file]
    texts = [(path, _read(path, needed=file is not None)) for path in places]
    return [_parse(path, text) for path, text in texts if text.strip()]


def _places(environment: Mapping[str, str]) -> list[Path]:
    """Where a user's files may be."""
    try:
        home = Path.home()
    except RuntimeError:
        home = None
    places = []
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        places.append(Path(runtime) / "containers/auth.json")
    if config := environment.get("XDG_CONFIG_HOME") or (home and home / ".config"):
        places.append(Path(config) / "containers/auth.json")
    if docker := environment.get("DOCKER_CONFIG") or (home and home / ".docker"):
        places.append(Path(docker) / "config.json")
    return places


def _read(path: Path, *, needed: bool) -> bytes:
    """The file's bytes; none where it need not be there and is not."""
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        if needed:
            raise MissingDependencyError(
                f"{path}, which is to hold the registries' credentials, cannot be read: {error.strerror}",
                hint="correct registry_auth_file in settings.toml, or REGISTRY_AUTH_FILE",
            ) from error
        if isinstance(error, PermissionError):
            _warn(path)
        return b""
    except OSError as error:
        raise MissingDependencyError(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > _LARGEST:
        raise InvalidObjectError(f"{path} has more than {_LARGEST} bytes, which no docker configuration has")
    return data


@cache
def _warn(path: Path) -> None:
    """Once per place: a service often may not look into its user's home."""
    logger.warning("%s may not be read; credentials in it are not used", path)


@lru_cache(maxsize=16)
def _parse(path: Path, text: bytes) -> DockerConfig:
    try:
        document: dict[str, Any] = json.loads(text)
        helpers = {scope_of(key): str(name) for key, name in (document.get("credHelpers") or {}).items()}
        credentials = from_auths(document.get("auths") or {})
        return DockerConfig(
            path=path, credentials=credentials, helpers=helpers, store=str(document.get("credsStore") or "")
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        # Not chained: the cause could quote what is secret.
        kind = type(error).__name__
    raise InvalidObjectError(f"{path} is no docker configuration: {kind}", hint="see containers-auth.json(5)")


class _Helpers:
    """Credential helpers, each asked by one thread at a time; what came of it is kept for a while."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._kept: dict[tuple[str, str], tuple[float, Credentials | DataImportCronError | None]] = {}

    def ask(self, name: str, server: str, path: Path) -> Credentials | None:
        """See `DockerConfig.find`."""
        key = (name, server)
        with self._locks.setdefault(key, threading.Lock()):
            until, answer = self._kept.get(key, (0.0, None))
            if time.monotonic() >= until:
                try:
                    answer, life = _answer(name, server, path), _KEPT
                except DataImportCronError as error:
                    answer, life = error, _KEPT_FAILURE
                self._kept[key] = (time.monotonic() + life, answer)
        if isinstance(answer, DataImportCronError):
            raise answer
        return answer

    def forget(self) -> None:
        """Ask all of them anew."""
        self._kept.clear()


_helpers = _Helpers()


def _answer(name: str, server: str, path: Path) -> Credentials | None:
    program = f"docker-credential-{name}"
    if not _HELPER.fullmatch(name):
        raise InvalidObjectError(f"{path} names the credential helper {name[:100]!r}, which is no program's name")
    code, output = _run(program, server, path)
    who = f"The credential helper {program}, named by {path},"
    if code:
        words = output.decode("utf-8", "replace").strip()
        if _NOT_FOUND in words:
            return None
        # By the protocol an error is in plain words; what looks like an answer is not repeated.
        shown = "" if "{" in words else "".join(x if x.isprintable() else " " for x in words[:_LONGEST_WORDS])
        raise UnauthorizedError(f"{who} fails for {server} (status {code}): {shown or 'it does not say why'}")
    try:
        document = json.loads(output)
        username, secret = document["Username"], document["Secret"]
    except (ValueError, LookupError, TypeError, RecursionError):
        username = secret = None
    if not isinstance(username, str) or not isinstance(secret, str):
        # Not chained and nothing of it quoted: it may hold the secret.
        raise UnauthorizedError(f"{who} gives no Username and Secret for {server}", hint=f"try it: {program} get")
    if username == _IDENTITY:
        return Credentials(username="", password="", identity_token=secret)
    return Credentials(username=username, password=secret)


def _run(program: str, server: str, path: Path) -> tuple[int, bytes]:
    """Status and output of a helper, which gets a process group of its own so that all of it can be ended."""
    try:
        process = subprocess.Popen(
            [program, "get"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        raise MissingDependencyError(
            f"The credential helper {program}, named by {path}, cannot be run: {error.strerror}",
            hint="install it into the PATH, or remove it from the file",
        ) from error
    expired = threading.Event()
    timer = threading.Timer(_PATIENCE, _expire, (process, expired))
    timer.start()
    try:
        output = _talk(process, server)
        # Not reaped yet: until then the number of its process group is nobody else's.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    finally:
        timer.cancel()
        timer.join()
        _end(process)
        process.wait()
    if expired.is_set():
        raise RegistryUnavailableError(
            f"The credential helper {program} gives no credentials for {server} in {_PATIENCE:.0f} s",
            hint=f"try it: {program} get",
        )
    return process.returncode, output


def _talk(process: subprocess.Popen[bytes], server: str) -> bytes:
    """Its whole output; of one that does not end, the beginning."""
    if process.stdin is None or process.stdout is None:  # pragma: no cover -- they were asked for
        raise AssertionError
    with process.stdout, suppress(BrokenPipeError):
        with process.stdin, suppress(BrokenPipeError):
            process.stdin.write(server.encode())
        output = process.stdout.read(_LARGEST + 1)
        if len(output) > _LARGEST:
            _end(process)
        return output[:_LARGEST]
    return b""


def _expire(process: subprocess.Popen[bytes], expired: threading.Event) -> None:
    expired.set()
    _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the helper and its children, or what is left of them."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
