"""Registry clients that are kept: connections stand and tokens are good until nobody needs them any more."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dataimportcron.oci.limits import Limits
from dataimportcron.oci.registry import Access, Registry

_KEPT = 32
"""Clients that are kept beside those in use, the last used ones."""


@dataclass(slots=True)
class _Shared:
    """A client, how many use it now, and whether it shall be closed by the last of them."""

    registry: Registry
    users: int = 0
    dropped: bool = False


class Clients:
    """One client for each access. For several threads at once."""

    def __init__(self) -> None:
        self._shared: OrderedDict[Access, _Shared] = OrderedDict()
        self._limits = Limits()
        self._lock = threading.Lock()

    @contextmanager
    def use(self, access: Access) -> Iterator[Registry]:
        """The client for an access, for the length of the context."""
        with self._lock:
            if access not in self._shared:
                self._shared[access] = _Shared(Registry(access, limits=self._limits))
            mine = self._shared[access]
            self._shared.move_to_end(access)
            mine.users += 1
            while len(self._shared) > _KEPT:
                self._drop(next(iter(self._shared)))
        try:
            yield mine.registry
        finally:
            with self._lock:
                mine.users -= 1
                last = mine.dropped and not mine.users
            if last:
                mine.registry.close()

    def close(self) -> None:
        """Close all that are not in use; those in use close when they are not any more."""
        with self._lock:
            for access in list(self._shared):
                self._drop(access)

    def _drop(self, access: Access) -> None:
        shared = self._shared.pop(access)
        shared.dropped = True
        if not shared.users:
            shared.registry.close()
