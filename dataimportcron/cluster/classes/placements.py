"""Where imports go, and what they are kept as there: answered from what follows the API server, at each look."""

from __future__ import annotations

import asyncio
from typing import Final

from dataimportcron.api.types import DataVolumeSpec
from dataimportcron.cluster.classes.profiles import snapshot_class_of_imports, source_format
from dataimportcron.cluster.classes.storage import StorageFacts, class_of
from dataimportcron.cluster.classes.storage_watch import StorageWatch
from dataimportcron.errors import ApiUnavailableError
from dataimportcron.values import Placement, SourceKind

_FIRST_READ: Final = 30.0
"""Seconds that the first read of all is waited for."""


class Placements:
    """Placements by the storage class that is asked for; each is the same object until something changes.

    Args:
        storage: what is followed.
    """

    def __init__(self, storage: StorageWatch) -> None:
        self._storage = storage
        self._known: dict[str | None, Placement] = {}
        storage.listen(self._known.clear)

    async def of(self, spec: DataVolumeSpec) -> Placement:
        """The placement of an import with this spec."""
        wanted = spec.storage or spec.pvc
        asked = wanted.storage_class_name if wanted else None
        if asked not in self._known:
            try:
                await asyncio.wait_for(self._storage.wait_read(), _FIRST_READ)
            except TimeoutError as error:
                raise ApiUnavailableError(f"Storage classes cannot be listed: {self._storage.problem()}") from error
            self._known[asked] = placement_of(asked, self._storage.facts())
        return self._known[asked]


def placement_of(asked: str | None, facts: StorageFacts) -> Placement:
    """Where an import goes that asks for a class, "" for none of the classes, None for the default one.

    Where no snapshot class suits, an import stays a volume, whatever is asked for.
    """
    storage_class = class_of({} if asked is None else {"storageClassName": asked}, facts.classes)
    snapshots = snapshot_class_of_imports(storage_class, facts)
    if not snapshots or source_format(storage_class, facts) != SourceKind.SNAPSHOT:
        return Placement(storage_class=storage_class)
    return Placement(storage_class=storage_class, form=SourceKind.SNAPSHOT, snapshot_class=snapshots)
