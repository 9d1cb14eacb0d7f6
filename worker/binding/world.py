"""All objects, read once for a round of the binding, and found by what others call them.

A round looks at each of a thousand crons; none of these looks may go through all objects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from dataimportcron import naming
from dataimportcron.api.types import ConfigMap, DataImportCron, DataSource, DataVolume, Resource, Secret

_Place = tuple[str, str]
"""Namespace and name."""


class World:
    """The objects of all namespaces."""

    def __init__(
        self,
        crons: Iterable[DataImportCron],
        data_sources: Iterable[DataSource],
        data_volumes: Iterable[DataVolume],
        dependencies: Iterable[ConfigMap | Secret],
    ) -> None:
        self.crons = {_place(item): item for item in crons}
        self.data_sources = {_place(item): item for item in data_sources}
        self.data_volumes = {_place(item): item for item in data_volumes}
        self._dependencies: defaultdict[_Place, list[ConfigMap | Secret]] = defaultdict(list)
        for dependency in dependencies:
            self._dependencies[_place(dependency)].append(dependency)
        self._by_owner: defaultdict[_Place, list[DataVolume]] = defaultdict(list)
        self._by_data_source: defaultdict[_Place, list[DataVolume]] = defaultdict(list)
        for (namespace, name), volume in self.data_volumes.items():
            if owner := volume.metadata.labels.get(naming.LABEL_CRON):
                self._by_owner[namespace, owner].append(volume)
            if data_source := naming.data_source_of_import(name):
                self._by_data_source[namespace, data_source].append(volume)

    def imports(self, cron: DataImportCron) -> list[DataVolume]:
        """DataVolumes that are labelled for the cron, or named as imports for its DataSource."""
        namespace = cron.metadata.namespace
        found = (
            *self._by_owner[namespace, cron.metadata.name],
            *self._by_data_source[namespace, cron.spec.managed_data_source],
        )
        return [volume for _, volume in sorted({volume.metadata.name: volume for volume in found}.items())]

    def dependencies(self, cron: DataImportCron) -> list[ConfigMap | Secret]:
        """What the cron's registry is asked with."""
        source = cron.spec.template.spec.source
        registry = source.registry if source else None
        names = {registry.secret_ref, registry.cert_config_map} if registry else set()
        return [
            item for name in sorted(filter(None, names)) for item in self._dependencies[cron.metadata.namespace, name]
        ]


def _place(resource: Resource) -> _Place:
    return resource.metadata.namespace, resource.metadata.name
