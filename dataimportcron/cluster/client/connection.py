"""The one way to the API server: requests by resource, plain dicts, our own errors.

`kubernetes.aio` brings what is hard to get right (kubeconfig with its plugins, tokens that rotate, TLS, proxies) and is
used for just that. Its typed APIs are not: they take two seconds and 200 MB to import, and lose fields that they do
not know.
"""

# mypy: allow-untyped-calls
# kubernetes.aio is generated code that annotates only a part of itself.

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from typing import Final
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.rest import RESTResponse

from dataimportcron.cluster.client.answers import failure, failure_in_watch
from dataimportcron.cluster.client.peers import notice_a_dead_peer
from dataimportcron.cluster.client.resources import PODS, Json, ResourceType
from dataimportcron.errors import (
    ApiUnavailableError,
    ExpiredVersionError,
    ForbiddenError,
    NotServedError,
    ObjectNotFoundError,
)

_JSON: Final = "application/json"
_METADATA: Final = f"{_JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
MERGE_PATCH: Final = "application/merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
FIELD_MANAGER: Final = "dataimportcron"

_PAGE: Final = 500
"""Objects per page of a list, as kubectl's."""
_TIMEOUT: Final = 30.0
"""Seconds for a request and its answer."""
_GRACE: Final = 15.0
"""Seconds that a stream may last beyond the time that the server was asked to end it at."""
_DOUBT: Final = 15.0
"""Seconds after an outage in which a refusal is not believed: a server that starts knows no role for a moment."""
_LONGEST_LINE: Final = 64 * 2**20
"""Bytes of one event of a watch; an object has at most about 1.5 MiB in etcd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Objects as they were at one resourceVersion."""

    items: list[Json]
    resource_version: str


class Connection:
    """An API server. Every method may raise `ApiUnavailableError`, `NotAuthenticatedError` and `ForbiddenError`."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._lost = float("-inf")

    @property
    def server(self) -> str:
        """The server's URL."""
        return str(self._api.configuration.host)

    async def close(self) -> None:
        """Close all connections; nothing is asked any more."""
        await self._api.close()

    # -- reading -----------------------------------------------------------------------------------------------------

    async def get(self, resource: ResourceType, name: str, namespace: str = "", *, metadata_only: bool = False) -> Json:
        """Read one object, or of it only apiVersion, kind and metadata.

        Raises:
            ObjectNotFoundError: there surely is none.
            NotServedError: the kind is not known to the server.
        """
        accept = _METADATA if metadata_only else _JSON
        return await self._json(
            f"get {resource.called(namespace, name)}", "GET", resource.path(namespace, name), accept=accept
        )

    async def list(
        self, resource: ResourceType, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> list[Json]:
        """Read all objects of a namespace, or of all."""
        listing = await self.snapshot(resource, namespace, label_selector=label_selector, field_selector=field_selector)
        return listing.items

    async def snapshot(
        self, resource: ResourceType, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        """Read all objects page by page, with the resourceVersion from which a watch can go on.

        Args:
            resource: the kind.
            namespace: "" for all.
            label_selector: as kubectl's `-l`.
            field_selector: as kubectl's `--field-selector`.
        """
        query = _query(labelSelector=label_selector, fieldSelector=field_selector, limit=str(_PAGE))
        items: list[Json] = []
        while True:
            try:
                page = await self._json(f"list {resource.called(namespace)}", "GET", resource.path(namespace), query)
            except ExpiredVersionError:
                if "continue" not in query:
                    raise
                # The pages so far are too old: all of it once more, in one piece.
                query.pop("continue")
                query.pop("limit")
                items.clear()
                continue
            items += page["items"] or ()  # an empty list of Go's may be null
            following = page["metadata"].get("continue")
            if not following:
                break
            query["continue"] = following
        items = [{"apiVersion": resource.api_version, "kind": resource.kind} | item for item in items]
        return Listing(items=items, resource_version=page["metadata"]["resourceVersion"])

    async def watch(  # noqa: PLR0913 -- what, from where on, how long
        self,
        resource: ResourceType,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        timeout: float = 290.0,  # noqa: ASYNC109 -- the server ends the stream, not we
    ) -> AsyncGenerator[tuple[str, Json], None]:
        """Changes after a resourceVersion: (ADDED, MODIFIED, DELETED or BOOKMARK, object), until the server ends it.

        Raises:
            ExpiredVersionError: the server no longer knows what happened since then.
        """
        what = f"watch {resource.called(namespace)}"
        query = _query(
            watch="1",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            timeoutSeconds=str(max(1, round(timeout))),
            labelSelector=label_selector,
            fieldSelector=field_selector,
        )
        stream = self._lines(what, resource.path(namespace), query, accept=_JSON, silence=timeout + _GRACE)
        async with aclosing(stream) as lines:
            async for line in lines:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise failure_in_watch(what, event["object"])
                yield event["type"], event["object"]

    async def resources_of(self, group: str, version: str) -> frozenset[str]:
        """Names of what the server serves of a group, with subresources: datavolumes, datavolumes/status."""
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            found = await self._json(f"discover {group}/{version}", "GET", path)
        except (ObjectNotFoundError, NotServedError):
            return frozenset()
        return frozenset(item["name"] for item in found["resources"])

    async def raw(self, path: str) -> Json:
        """What stands at a path, such as /version."""
        return await self._json(f"get {path}", "GET", path)

    # -- writing -----------------------------------------------------------------------------------------------------

    async def create(self, resource: ResourceType, body: Json, *, dry_run: bool = False) -> Json:
        """Store a new object, or only try to; returns it as the server completed it.

        Raises:
            AlreadyExistsError: one of that name exists.
            InvalidObjectError: the server refuses it, with all faults.
            QuotaExceededError: the namespace has no room for it.
        """
        metadata = body.get("metadata", {})
        namespace = metadata.get("namespace", "")
        what = f"create {resource.called(namespace, metadata.get('name') or metadata.get('generateName', ''))}"
        query = _query(fieldManager=FIELD_MANAGER, dryRun="All" if dry_run else "")
        document = {"apiVersion": resource.api_version, "kind": resource.kind} | body
        return await self._json(what, "POST", resource.path(namespace), query, body=document)

    async def patch(
        self, resource: ResourceType, name: str, namespace: str, patch: Json, *, subresource: str = ""
    ) -> Json:
        """Write a JSON merge patch; `metadata.uid` and `metadata.resourceVersion` in it are preconditions.

        Raises:
            ObjectNotFoundError: it is gone.
            ConflictError: a precondition does not hold.
            InvalidObjectError: the server refuses the outcome.
        """
        what = f"patch {resource.called(namespace, name, subresource)}"
        path, query = resource.path(namespace, name, subresource), _query(fieldManager=FIELD_MANAGER)
        return await self._json(what, "PATCH", path, query, body=patch, content_type=MERGE_PATCH)

    async def apply(
        self,
        resource: ResourceType,
        body: Json,
        *,
        field_manager: str = FIELD_MANAGER,
        force: bool = True,
        subresource: str = "",
    ) -> Json:
        """Server-side apply: make or change the object so that these fields are so, and are ours.

        Raises:
            ConflictError: without `force`, another manager owns a field.
        """
        metadata = body["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        what = f"apply {resource.called(namespace, name, subresource)}"
        path = resource.path(namespace, name, subresource)
        query = _query(fieldManager=field_manager, force="true" if force else "")
        document = {"apiVersion": resource.api_version, "kind": resource.kind} | body
        return await self._json(what, "PATCH", path, query, body=document, content_type=APPLY_PATCH)

    async def delete(  # noqa: PLR0913 -- each precondition has a name
        self,
        resource: ResourceType,
        name: str,
        namespace: str = "",
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: str = "Background",
    ) -> Json | None:
        """Delete an object; it is no error if it is gone. Returns what is left of it while finalizers hold it.

        Args:
            resource: the kind.
            name: of the object.
            namespace: of the object.
            uid: only if it has this one.
            resource_version: only if it has this one.
            propagation: Background, Foreground or Orphan: what becomes of what it owns.

        Raises:
            ConflictError: a precondition does not hold.
        """
        what = f"delete {resource.called(namespace, name)}"
        body: Json = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if preconditions := _query(uid=uid, resourceVersion=resource_version):
            body["preconditions"] = preconditions
        try:
            left = await self._json(what, "DELETE", resource.path(namespace, name), body=body)
        except ObjectNotFoundError:
            return None
        return left if "deletionTimestamp" in left.get("metadata", {}) and left["kind"] == resource.kind else None

    # -- logs --------------------------------------------------------------------------------------------------------

    async def log(self, pod: str, namespace: str, container: str, *, tail: int) -> str:
        """The last lines that a container has printed.

        Args:
            pod: its name.
            namespace: its namespace.
            container: its name.
            tail: how many lines.

        Raises:
            ObjectNotFoundError: there is no such pod.
            InvalidObjectError: the container has not started.
        """
        what = f"read the log of {PODS.called(namespace, pod)}"
        query = _query(container=container, tailLines=str(tail))
        stream = self._lines(what, PODS.path(namespace, pod, "log"), query, accept="*/*", silence=_TIMEOUT)
        async with aclosing(stream) as lines:
            return b"\n".join([line async for line in lines]).decode(errors="replace")

    async def follow_log(
        self, pod: str, namespace: str, container: str, *, silence: float = 300.0
    ) -> AsyncGenerator[str, None]:
        """Lines that a container prints, from the start until it ends.

        Args:
            pod: its name.
            namespace: its namespace.
            container: its name.
            silence: seconds without a line after which the connection counts as lost.
        """
        what = f"follow the log of {PODS.called(namespace, pod)}"
        path, query = PODS.path(namespace, pod, "log"), _query(follow="true", container=container)
        async with aclosing(self._lines(what, path, query, accept="*/*", silence=silence)) as lines:
            async for line in lines:
                yield line.decode(errors="replace")

    # -- requests ----------------------------------------------------------------------------------------------------

    async def _json(  # noqa: PLR0913 -- the parts of a request
        self,
        what: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Json | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
    ) -> Json:
        headers = {"Content-Type": content_type, "Accept": accept}
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        async with self._request(what, method, path, query or {}, headers, body, timeout) as response:
            answer = await response.read()
            self._require(what, response.status, answer, response.headers)
        document: Json = json.loads(answer)
        return document

    async def _lines(
        self, what: str, path: str, query: Mapping[str, str], *, accept: str, silence: float
    ) -> AsyncGenerator[bytes, None]:
        """Lines of an answer that goes on; `silence` is in seconds."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_TIMEOUT, sock_read=silence)
        async with self._request(what, "GET", path, query, {"Accept": accept}, None, timeout) as response:
            if response.status >= HTTPStatus.BAD_REQUEST:
                self._require(what, response.status, await response.read(), response.headers)
            notice_a_dead_peer(response.response)
            rest = b""
            async for chunk in response.response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n") if b"\n" in chunk else (rest + chunk,)
                if len(rest) > _LONGEST_LINE:
                    raise ApiUnavailableError(f"{what}: a line of more than {_LONGEST_LINE} bytes")
                for line in lines:
                    yield line
            if rest:
                yield rest

    @asynccontextmanager
    async def _request(  # noqa: PLR0913, PLR0917 -- the parts of a request
        self,
        what: str,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: dict[str, str],
        body: Json | None,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 -- aiohttp has one per request
    ) -> AsyncIterator[RESTResponse]:
        url = f"{self.server}{path}" + (f"?{urlencode(query)}" if query else "")
        headers |= self._api.default_headers
        try:
            await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            response = await self._api.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=timeout
            )
            try:
                yield response
            finally:
                # Where all was read, the connection is in the pool already, and this does nothing.
                response.response.close()
        except (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            self._lost = monotonic()
            found = str(error) or type(error).__name__
            raise ApiUnavailableError(f"{what}: the API server {self.server} does not answer: {found}") from error

    def _require(self, what: str, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        if status < HTTPStatus.BAD_REQUEST:
            return
        error = failure(what, status, body, headers.get("Retry-After", ""))
        if isinstance(error, ForbiddenError) and monotonic() - self._lost < _DOUBT:
            raise ApiUnavailableError(f"{error.message} (it was away, and may not have read its rules yet)") from error
        raise error


def _query(**parameters: str) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}
