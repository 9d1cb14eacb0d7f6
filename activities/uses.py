"""Who needs a volume or a snapshot that retention would remove: whoever uses it, and whoever will clone it and may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dataimportcron import naming
from dataimportcron.api.conditions import ENDED
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataVolume
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
        kind = SourceKind.PVC if isinstance(item, DataVolume) else SourceKind.SNAPSHOT
        source = CloneSource(namespace=item.metadata.namespace, name=item.metadata.name, kind=kind)
        for volume in wanting(source, await self._objects.list(DataVolume)):
            if why := await self._claim_of(volume, source):
                return why
        return await self._volumes.in_use(source.namespace, source.name, kind)

    async def _claim_of(self, volume: DataVolume, source: CloneSource) -> str:
        """Why a DataVolume keeps what it wants, in one sentence; "" where whoever has made it may not have that."""
        said = f"DataVolume {volume.metadata.namespace}/{volume.metadata.name} is to be cloned from it"
        try:
            refusal = await self._authorizer.refusal(volume, source)
        except DataImportCronError as error:
            return f"{said}, and nobody can say now whether it may be: {error}"
        return "" if refusal else said


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
