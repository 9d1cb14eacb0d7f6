"""All objects, read once for a round of the binding, and found by what others call them.

A round looks at each of a thousand crons; none of these looks may go through all objects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from dataimportcron.api.types import ConfigMap, DataImportCron, DataSource, DataVolume, Resource, Secret
from dataimportcron.imports import Imports

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
        volumes: defaultdict[str, list[DataVolume]] = defaultdict(list)
        for (namespace, _), volume in self.data_volumes.items():
            volumes[namespace].append(volume)
        self._imports = {namespace: Imports(found) for namespace, found in volumes.items()}

    def imports(self, cron: DataImportCron) -> list[DataVolume]:
        """DataVolumes that are labelled for the cron, or named as imports for its DataSource."""
        found = self._imports.get(cron.metadata.namespace)
        return found.of(cron) if found is not None else []

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
