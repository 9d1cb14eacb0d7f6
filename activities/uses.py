"""Who needs a volume or a snapshot that retention would remove: whoever uses it, and whoever would clone it and may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dataimportcron import naming
from dataimportcron.api.conditions import ENDED
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataSource, DataVolume, Resource
from dataimportcron.errors import DataImportCronError
from dataimportcron.manifests import clone_source
from dataimportcron.ports import Authorizer, Objects, Volumes
from dataimportcron.values import CloneSource, SourceKind


class Uses:
    """Asks who needs what imports are kept as."""

    def __init__(self, objects: Objects, volumes: Volumes, authorizer: Authorizer) -> None:
        self._objects = objects
        self._volumes = volumes
        self._authorizer = authorizer

    async def of(self, item: DataVolume | VolumeSnapshot) -> str:
        """Who needs the volume of a DataVolume, or a snapshot, in one sentence; "" when surely nobody does."""
        source = _source_of(item)
        claim = await self._claim(
            source, wanting(source, await self._objects.list(DataVolume)), "is to be cloned from it"
        )
        return claim or await self._volumes.in_use(source.namespace, source.name, source.kind)

    async def from_elsewhere(self, item: DataVolume | VolumeSnapshot) -> str:
        """Which DataSource of another namespace points to it, in one sentence; "" where none does that may."""
        source = _source_of(item)
        return await self._claim(source, pointing(source, await self._objects.list(DataSource)), "points to it")

    async def _claim(self, source: CloneSource, users: Iterable[Resource], what: str) -> str:
        """Which of its users keeps a source, and by `what`; "" where it may be cloned for none of them."""
        for user in users:
            said = f"{user.kind} {user.metadata.namespace}/{user.metadata.name} {what}"
            try:
                if not await self._authorizer.refusal(user, source):
                    return said
            except DataImportCronError as error:
                return f"{said}, and nobody can say now whether it may be: {error}"
        return ""


def wanting(source: CloneSource, volumes: Iterable[DataVolume]) -> Iterator[DataVolume]:
    """The unfinished DataVolumes that are to be cloned from a source, by their own words or by our choice (X-05).

    Both are written by whoever has made them: what counts is whether he may.
    """
    for volume in volumes:
        said, own = volume.spec.source, volume.metadata
        named = said is not None and clone_source(said.pvc, said.snapshot, own.namespace) == source
        chosen = own.annotations.get(naming.ANNOTATION_CLONE_SOURCE) == str(source)
        if (named or chosen) and volume.status.phase not in ENDED:
            yield volume


def pointing(source: CloneSource, data_sources: Iterable[DataSource]) -> Iterator[DataSource]:
    """The DataSources of other namespaces that point to a source; those beside it `pruning` has seen already."""
    for item in data_sources:
        said, namespace = item.spec.source, item.metadata.namespace
        if namespace != source.namespace and clone_source(said.pvc, said.snapshot, namespace) == source:
            yield item


def _source_of(item: DataVolume | VolumeSnapshot) -> CloneSource:
    kind = SourceKind.PVC if isinstance(item, DataVolume) else SourceKind.SNAPSHOT
    return CloneSource(namespace=item.metadata.namespace, name=item.metadata.name, kind=kind)
