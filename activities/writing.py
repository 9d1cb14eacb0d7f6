"""Writing an object that others write too: read, change, write with the resourceVersion that was read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dataimportcron.api.types import Resource
from dataimportcron.errors import ConflictError
from dataimportcron.ports import Objects

R = TypeVar("R", bound=Resource)

_ATTEMPTS = 5


async def update(objects: Objects, kind: type[R], namespace: str, name: str, change: Callable[[R], R]) -> R:
    """Apply `change` to the object as it is now; a conflict reads it again, so no update of others is lost (X-12).

    Raises:
        ObjectNotFoundError: there is no such object.
        ConflictError: others kept writing; the activity's retry goes on.
    """
    for attempt in range(_ATTEMPTS):
        before = await objects.get(kind, namespace, name)
        try:
            return await objects.patch(before, change(before))
        except ConflictError:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError  # pragma: no cover -- the loop returns or raises
