"""What kubectl's `get`, `apply --server-side` and `delete --wait=false` ask the API server for, without kubectl.

A start of kubectl costs a quarter of a second of CPU, and tests that wait for something look ten times a second.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from ssl import create_default_context
from typing import Any, Final

import httpx

from dataimportcron.errors import TransientError

_DISCOVERY: Final = "application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList"
_OPTIONS: Final = {"-n": "namespace", "-l": "labelSelector"}
_FIELDS: Final = "--field-selector="
_BUSY_TRIES: Final = 20
"""A server whose kinds have just been defined says when to ask again, and kubectl does so too."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind that is served, and where."""

    folder: str
    plural: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        place = f"{self.folder}/namespaces/{namespace}" if self.namespaced and namespace else self.folder
        return f"{place}/{self.plural}/{name}".rstrip("/")


class Rest:
    """Requests of a cluster admin to an API server.

    Args:
        url: the API server.
        pki: folder with its authority's certificate, and the admin's certificate and key.
    """

    def __init__(self, url: str, pki: Path) -> None:
        self._url = url
        self._pki = pki
        self._named: dict[str, _Kind] = {}
        self._of_kind: dict[tuple[str, str], _Kind] = {}

    @cached_property
    def http(self) -> httpx.Client:
        """The client, for whoever has requests of another sort."""
        trust = create_default_context(cafile=self._pki / "ca.crt")
        trust.load_cert_chain(self._pki / "admin.crt", self._pki / "admin.key")
        return httpx.Client(base_url=self._url, verify=trust, trust_env=False, timeout=30)

    def close(self) -> None:
        """End its connections."""
        if "http" in vars(self):
            self.http.close()

    def get(self, *arguments: str, timeout: float = 30) -> Any:
        """What `kubectl get` finds with these arguments: an object, or a list's document.

        Args:
            arguments: `KIND [NAME] [-n NAMESPACE | -A] [-l SELECTOR] [--field-selector=SELECTOR]`, or `--raw PATH`.
            timeout: in seconds.

        Raises:
            TransientError: it fails, with the API server's words.
            ValueError: arguments that kubectl may know.
        """
        if arguments[0] == "--raw":
            return self._ask("GET", arguments[1], timeout=timeout).text
        names, asked = _parsed(arguments)
        kind = self._find(names[0])
        namespace = asked.pop("namespace", "default" if "-A" not in arguments else "")
        path = kind.path(namespace, *names[1:])
        return self._ask("GET", path, params=asked, timeout=timeout).json()

    def apply(self, document: Mapping[str, Any]) -> None:
        """Apply an object, whoever else has fields in it.

        Raises:
            TransientError: it fails, with the API server's words.
        """
        own, version = document["metadata"], document["apiVersion"]
        path = self._find_kind(version, document["kind"]).path(own.get("namespace", "default"), own["name"])
        asked = {"fieldManager": "kubectl", "force": "true", "fieldValidation": "Strict"}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        self._ask("PATCH", path, params=asked, headers=headers, content=json.dumps(document))

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Begin to delete an object.

        Raises:
            TransientError: it fails, with the API server's words.
        """
        self._ask("DELETE", self._find(kind).path(namespace, name))

    def log(self, pod: str, namespace: str) -> str:
        """What a pod has printed so far, "" before it runs."""
        with suppress(TransientError):
            return self._ask("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}/log").text
        return ""

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        for _ in range(_BUSY_TRIES):
            try:
                answer = self.http.request(method, path, **request)
            except httpx.TransportError as error:
                raise TransientError(f"{method} {path}: {error!r}") from error
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
            time.sleep(float(answer.headers.get("Retry-After", 1)))
        if answer.is_error:
            raise TransientError(f"{method} {path}: {_words(answer)}")
        return answer

    def _find(self, name: str) -> _Kind:
        """A kind by what kubectl calls it; one that is not known may have been defined since."""
        if name not in self._named:
            self._discover()
        if name not in self._named:
            raise TransientError(f"the server doesn't have a resource type {name!r}")
        return self._named[name]

    def _find_kind(self, version: str, kind: str) -> _Kind:
        if (version, kind) not in self._of_kind:
            self._discover()
        if (version, kind) not in self._of_kind:
            raise TransientError(f"no matches for kind {kind!r} in version {version!r}")
        return self._of_kind[version, kind]

    def _discover(self) -> None:
        self._named.clear()
        self._of_kind.clear()
        for root in ("/api", "/apis"):
            for group in self._ask("GET", root, headers={"Accept": _DISCOVERY}).json()["items"]:
                name = group["metadata"].get("name", "")
                for served in group["versions"]:
                    self._take(root, name, served)

    def _take(self, root: str, group: str, served: Mapping[str, Any]) -> None:
        """Of two groups that have a word for a kind the first has it, as with kubectl."""
        version = f"{group}/{served['version']}" if group else served["version"]
        for one in served["resources"]:
            if "responseKind" not in one:
                continue
            kind = _Kind(f"{root}/{version}", one["resource"], one["scope"] == "Namespaced")
            self._of_kind[version, one["responseKind"]["kind"]] = kind
            for word in (one["resource"], one.get("singularResource"), *one.get("shortNames", ())):
                if word:
                    self._named.setdefault(word, kind)
                    self._named.setdefault(f"{word}.{group}", kind)


def _parsed(arguments: tuple[str, ...]) -> tuple[list[str], dict[str, str]]:
    """A kind and perhaps a name; and what else is asked for."""
    names: list[str] = []
    asked: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word in _OPTIONS:
            asked[_OPTIONS[word]] = rest.pop(0)
        elif word.startswith(_FIELDS):
            asked["fieldSelector"] = word.removeprefix(_FIELDS)
        elif word != "-A":
            names.append(word)
    if not 1 <= len(names) <= 2 or any(set(name) & set(",/= ") or name.startswith("-") for name in names):
        raise ValueError(arguments)
    return names, asked


def _words(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.text}"
