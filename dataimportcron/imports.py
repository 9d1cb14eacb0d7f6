"""The imports of a namespace, found by whose they are: no look of a cron may go through those of a thousand others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from dataimportcron import naming
from dataimportcron.api.types import DataImportCron, DataVolume


class Imports:
    """DataVolumes by the cron that they are labelled for, and by the DataSource that they are named for."""

    def __init__(self, volumes: Iterable[DataVolume]) -> None:
        self._by_owner: defaultdict[str, list[DataVolume]] = defaultdict(list)
        self._by_stem: defaultdict[str, list[DataVolume]] = defaultdict(list)
        for volume in volumes:
            metadata = volume.metadata
            self._by_owner[metadata.labels.get(naming.LABEL_CRON, "")].append(volume)
            self._by_stem[metadata.name.rpartition("-")[0]].append(volume)

    def of(self, cron: DataImportCron) -> list[DataVolume]:
        """Those that are labelled for the cron or named as imports for its DataSource, ordered by name."""
        data_source = cron.spec.managed_data_source
        found = {volume.metadata.name: volume for volume in self._by_owner.get(cron.metadata.name, ())}
        for volume in self._by_stem.get(data_source, ()):
            if naming.is_import_name(data_source, volume.metadata.name):
                found[volume.metadata.name] = volume
        return [volume for _, volume in sorted(found.items())]
