"""DataSources have no executions: the status of one follows from its spec and from what that names."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from dataimportcron.api.conditions import Phase
from dataimportcron.errors import ConflictError, ObjectNotFoundError
from dataimportcron.manifests import source_of
from dataimportcron.ports import Objects, Volumes
from dataimportcron.projection import data_source_projection
from dataimportcron.values import SourceKind
from worker.binding.fingerprint import are_same
from worker.binding.world import World

logger = logging.getLogger(__name__)


class DataSourceProjector:
    """Writes their statuses, and the labels that flow to them.

    Args:
        objects: the home's.
        volumes: the home's.
        now: a clock.
    """

    def __init__(self, objects: Objects, volumes: Volumes, *, now: Callable[[], datetime]) -> None:
        self._objects = objects
        self._volumes = volumes
        self._now = now
        self._projected: dict[str, list[object]] = {}
        self._lost: set[str] = set()

    @property
    def misses_volumes(self) -> bool:
        """Whether a volume is gone, whose return nobody would tell."""
        return bool(self._lost)

    async def project(self, world: World, *, everything: bool) -> None:
        """Write what is not as it follows from the world.

        Args:
            world: as it is now.
            everything: also what nobody has told to have changed.
        """
        if everything:
            self._projected.clear()
        await self._look_for_volumes(world, everything=everything)
        volumes = {place: it for place, it in world.data_volumes.items() if it.metadata.uid not in self._lost}
        for data_source in world.data_sources.values():
            namespace, pointer = data_source.metadata.namespace, data_source.spec.source.data_source
            source = source_of(data_source)
            place = (source.namespace, source.name) if source is not None else None
            is_claim = source is not None and source.kind is SourceKind.PVC
            volume = volumes.get(place) if place and is_claim else None
            claim = (world.claims or {}).get(place) if place and is_claim else None
            snapshot = world.snapshots.get(place) if place and not is_claim else None
            target = world.data_sources.get((pointer.namespace or namespace, pointer.name)) if pointer else None
            facts: list[object] = [data_source, volume, snapshot, claim, target]
            if are_same(self._projected.get(data_source.metadata.uid, []), facts):
                continue
            after = data_source_projection(
                data_source, self._now(), volume=volume, snapshot=snapshot, claim=claim, target=target
            )
            if after == data_source:
                self._projected[data_source.metadata.uid] = facts
                continue
            try:
                await self._objects.patch(data_source, after)
            except (ConflictError, ObjectNotFoundError):
                logger.info("DataSource %s/%s changed meanwhile", namespace, data_source.metadata.name)

    async def _look_for_volumes(self, world: World, *, everything: bool) -> None:
        """Notice the removal of a volume that a DataSource names, and its return.

        A DataVolume says Succeeded for good; a person who removes its file tells nobody, so files are looked for now
        and then. A claim is seen to go.
        """
        sources = (source_of(data_source) for data_source in world.data_sources.values())
        named = {(it.namespace, it.name) for it in sources if it is not None and it.kind is SourceKind.PVC}
        lost = set()
        for volume in world.data_volumes.values():
            metadata = volume.metadata
            place = metadata.namespace, metadata.name
            if volume.status.phase != Phase.SUCCEEDED or place not in named:
                continue
            known = metadata.uid in self._lost
            missing = world.claims is not None and place not in world.claims
            looks = everything or known or missing
            if looks and await self._volumes.find(metadata.namespace, metadata.name) is None:
                lost.add(metadata.uid)
                if not known:
                    logger.warning("the volume of DataVolume %s/%s is gone", metadata.namespace, metadata.name)
        self._lost = lost
