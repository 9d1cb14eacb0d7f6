"""All objects, read once for a round of the binding, and found by what others call them.

A round looks at each of a thousand crons; none of these looks may go through all objects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import ConfigMap, DataImportCron, DataSource, DataVolume, Resource, Secret
from dataimportcron.imports import Imports
from dataimportcron.ports import Objects, Volumes
from dataimportcron.values import ClaimState, Placement

_Place = tuple[str, str]
"""Namespace and name."""


class World:
    """The objects of all namespaces."""

    def __init__(  # noqa: PLR0913 -- one per kind
        self,
        crons: Iterable[DataImportCron],
        data_sources: Iterable[DataSource],
        data_volumes: Iterable[DataVolume],
        dependencies: Iterable[ConfigMap | Secret],
        *,
        snapshots: Iterable[VolumeSnapshot] = (),
        placements: Mapping[_Place, Placement] | None = None,
        claims: Mapping[_Place, ClaimState] | None = None,
    ) -> None:
        self.crons = {_place(item): item for item in crons}
        self.data_sources = {_place(item): item for item in data_sources}
        self.data_volumes = {_place(item): item for item in data_volumes}
        self.claims = claims
        """None where only DataVolumes stand for volumes."""
        self._dependencies: defaultdict[_Place, list[ConfigMap | Secret]] = defaultdict(list)
        for dependency in dependencies:
            self._dependencies[_place(dependency)].append(dependency)
        volumes: defaultdict[str, list[DataVolume]] = defaultdict(list)
        for (namespace, _), volume in self.data_volumes.items():
            volumes[namespace].append(volume)
        self._imports = {namespace: Imports(found) for namespace, found in volumes.items()}
        self.snapshots = {_place(item): item for item in snapshots}
        kept: defaultdict[str, list[VolumeSnapshot]] = defaultdict(list)
        for (namespace, _), snapshot in self.snapshots.items():
            kept[namespace].append(snapshot)
        self._kept = {namespace: Imports(found) for namespace, found in kept.items()}
        self.placements = placements or {}
        self.others: Sequence[Resource] = [
            *self.data_sources.values(),
            *self.data_volumes.values(),
            *chain.from_iterable(self._dependencies.values()),
            *self.snapshots.values(),
        ]
        """All but the crons, in an order of their own."""

    def imports(self, cron: DataImportCron) -> list[DataVolume]:
        """DataVolumes that are labelled for the cron, or named as imports for its DataSource."""
        found = self._imports.get(cron.metadata.namespace)
        return found.of(cron) if found is not None else []

    def kept(self, cron: DataImportCron) -> list[VolumeSnapshot]:
        """VolumeSnapshots of that kind."""
        found = self._kept.get(cron.metadata.namespace)
        return found.of(cron) if found is not None else []

    def placement(self, cron: DataImportCron) -> Placement | None:
        """Where the cron's imports go, and what they are kept as."""
        return self.placements.get(_place(cron))

    def dependencies(self, cron: DataImportCron) -> list[ConfigMap | Secret]:
        """What the cron's registry is asked with."""
        source = cron.spec.template.spec.source
        registry = source.registry if source else None
        names = {registry.secret_ref, registry.cert_config_map} if registry else set()
        return [
            item for name in sorted(filter(None, names)) for item in self._dependencies[cron.metadata.namespace, name]
        ]


async def read(objects: Objects, volumes: Volumes) -> World:
    """The objects as they are now."""
    crons = await objects.list(DataImportCron)
    placements = {_place(it): await volumes.placement(it.spec.template.spec) for it in crons}
    return World(
        crons=crons,
        data_sources=await objects.list(DataSource),
        data_volumes=await objects.list(DataVolume),
        dependencies=[*await objects.list(ConfigMap), *await objects.list(Secret)],
        snapshots=await objects.list(VolumeSnapshot),
        placements={place: placement for place, placement in placements.items() if placement},
        claims=await volumes.claims(),
    )


def _place(resource: Resource) -> _Place:
    return resource.metadata.namespace, resource.metadata.name
