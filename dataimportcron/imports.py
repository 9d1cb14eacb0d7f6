"""The imports of a namespace, found by whose they are: no look of a cron may go through those of a thousand others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Generic

from dataimportcron import naming
from dataimportcron.api.conditions import Phase
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataImportCron, DataVolume
from dataimportcron.kept import K, is_ready


class Imports(Generic[K]):
    """DataVolumes, or VolumeSnapshots, by the cron that they are labelled for, and the DataSource that they name."""

    def __init__(self, kept: Iterable[K]) -> None:
        self._by_owner: defaultdict[str, list[K]] = defaultdict(list)
        self._by_stem: defaultdict[str, list[K]] = defaultdict(list)
        for item in kept:
            metadata = item.metadata
            self._by_owner[metadata.labels.get(naming.LABEL_CRON, "")].append(item)
            self._by_stem[metadata.name.rpartition("-")[0]].append(item)

    def of(self, cron: DataImportCron) -> list[K]:
        """Those that are labelled for the cron or named as imports for its DataSource, ordered by name."""
        data_source = cron.spec.managed_data_source
        found = {item.metadata.name: item for item in self._by_owner.get(cron.metadata.name, ())}
        for item in self._by_stem.get(data_source, ()):
            if naming.is_import_name(data_source, item.metadata.name):
                found[item.metadata.name] = item
        return [item for _, item in sorted(found.items())]


def find_import(imports: tuple[K, ...], cron: DataImportCron, digest: str, manifest_digest: str) -> K | None:
    """The import of a digest: by what it says that it holds, else by name.

    An index that changed for other platforms only leads to the import of the same manifest (X-11).
    """
    possible = [volume for volume in imports if not _of_another_platform(volume, manifest_digest)]
    for key, value in ((naming.ANNOTATION_DIGEST, digest), (naming.ANNOTATION_MANIFEST_DIGEST, manifest_digest)):
        found = [volume for volume in possible if value and volume.metadata.annotations.get(key) == value]
        if found:
            return max(found, key=lambda volume: (_is_complete(volume), volume.metadata.name))
    name = naming.import_name(cron.spec.managed_data_source, digest)
    return next((volume for volume in possible if volume.metadata.name == name), None)


def _is_complete(item: DataVolume | VolumeSnapshot) -> bool:
    return item.status.phase == Phase.SUCCEEDED if isinstance(item, DataVolume) else is_ready(item)


def _of_another_platform(volume: DataVolume | VolumeSnapshot, manifest_digest: str) -> bool:
    """An index's digest stands for several disks; the manifest's for one."""
    known = volume.metadata.annotations.get(naming.ANNOTATION_MANIFEST_DIGEST, "")
    return bool(known and manifest_digest) and known != manifest_digest
