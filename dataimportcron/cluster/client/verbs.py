"""What is often asked of a connection: what may not be there, and a write to just what was read, or its end."""

from __future__ import annotations

from contextlib import suppress

from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import Json, ResourceType
from dataimportcron.errors import ConflictError, ForbiddenError, NotServedError, ObjectNotFoundError


async def find(connection: Connection, resource: ResourceType, name: str, namespace: str = "") -> Json | None:
    """One object, None if there is none."""
    try:
        return await connection.get(resource, name, namespace)
    except ObjectNotFoundError:
        return None


async def find_visible(connection: Connection, resource: ResourceType, name: str) -> Json | None:
    """One object of the cluster itself, None also where it has no such kind, or where we may not look.

    An install for some namespaces may not.
    """
    try:
        return await find(connection, resource, name)
    except (NotServedError, ForbiddenError):
        return None


async def list_visible(connection: Connection, resource: ResourceType) -> list[Json]:
    """All objects of a kind of the cluster itself, none where `find_visible` would find none."""
    try:
        return await connection.list(resource)
    except (NotServedError, ForbiddenError):
        return []


async def list_served(
    connection: Connection, resource: ResourceType, namespace: str = "", *, label_selector: str = ""
) -> list[Json]:
    """Objects of a kind that not every cluster has."""
    try:
        return await connection.list(resource, namespace, label_selector=label_selector)
    except NotServedError:
        return []


async def patch_as_read(
    connection: Connection, resource: ResourceType, read: Json, patch: Json, *, subresource: str = ""
) -> Json:
    """Write a merge patch to an object, if that is still as it was read.

    Raises:
        ObjectNotFoundError: it is gone.
        ConflictError: it is another one, or has changed.
    """
    own = read["metadata"]
    bound = {"uid": own["uid"], "resourceVersion": own["resourceVersion"]}
    body = patch | {"metadata": {**patch.get("metadata", {}), **bound}}
    return await connection.patch(resource, own["name"], own.get("namespace", ""), body, subresource=subresource)


async def remove(
    connection: Connection, resource: ResourceType, thing: Json, *, propagation: str = "Background"
) -> None:
    """Delete just this object; it is no error if it is gone, or if another one of its name lives now."""
    own = thing["metadata"]
    with suppress(ConflictError):
        await connection.delete(resource, own["name"], own["namespace"], uid=own["uid"], propagation=propagation)
