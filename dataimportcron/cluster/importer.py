"""The port `Importer`: a Job fills the claim of a DataVolume from an image, and what it holds is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.claims.claims import Claims, require_own
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import NODES, Json
from dataimportcron.cluster.documents.records import is_made, labels_from, record_after
from dataimportcron.cluster.jobs.attempt_job import Attempt
from dataimportcron.cluster.jobs.filling import Filling, attempt_for
from dataimportcron.cluster.jobs.image_streams import ImageStreams
from dataimportcron.cluster.jobs.node_pull import has_image_volumes
from dataimportcron.cluster.jobs.pods import PodSettings
from dataimportcron.cluster.jobs.waiting import Waiting
from dataimportcron.cluster.registries.cdi_config import effective, preallocates
from dataimportcron.errors import ConflictError, ForbiddenError, InvalidObjectError
from dataimportcron.importer.report import Result
from dataimportcron.manifests import with_labels
from dataimportcron.ports import Objects
from dataimportcron.reference import Reference
from dataimportcron.values import ImageSource, Transfer, VolumeSpec

_WRITES = 5
_PREALLOCATED = "cdi.kubevirt.io/storage.preallocation"
"""On a claim: KubeVirt discards no blocks of a disk that shall have no holes."""


class ClusterImporter:
    """`ports.Importer`.

    Args:
        connection: to the API server.
        objects: the DataVolumes.
        claims: of them.
        settings: of the pods.
        hands_over: asked when an import is cancelled: whether only this process ends. Then the Job is left for the
            next one to follow; else it is deleted.
    """

    def __init__(
        self,
        connection: Connection,
        objects: Objects,
        claims: Claims,
        settings: PodSettings,
        *,
        hands_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._connection = connection
        self._objects = objects
        self._claims = claims
        self._settings = settings
        self._filling = Filling(connection, hands_over=hands_over)
        self._streams = ImageStreams(connection)

    async def run(
        self, image: ImageSource, digest: str, volume: VolumeSpec, report: Callable[[Transfer], None]
    ) -> Transfer:
        """See the port."""
        wanted = await self._objects.get(DataVolume, volume.namespace, volume.name)
        waiting = Waiting(report)
        claim = await self._claims.ensure(wanted, waiting.tell)
        if is_made(claim, volume, digest):
            await self._filling.tidy(claim)
            return Transfer(phase="Complete")
        require_own(claim, volume.uid)
        result = await self._filling.run(claim, lambda: self._plan(image, digest, wanted, claim), report)
        # What is written is recorded even if a cancellation comes now.
        await asyncio.shield(self._record(claim, volume, wanted, result, digest))
        return Transfer(phase="Complete", done=result.bytes_read, total=result.bytes_read, written=result.bytes_written)

    async def _plan(
        self, image: ImageSource, digest: str, wanted: DataVolume, claim: Json
    ) -> tuple[Attempt, PodSettings]:
        """What the Job is to do, from the DataVolume and the settings of today."""
        config = await self._claims.cdi.current()
        url = image.url
        if image.image_stream and not url:
            url = f"docker://{(await self._streams.resolve(image)).image}"
        elif url.startswith("docker://"):
            url = f"docker://{Reference.parse(url).with_digest(digest)}" if digest else url
        elif not url.startswith("oci-archive:"):
            raise InvalidObjectError(f"{url} is not read in a cluster", hint="write docker://…")
        node_pull = image.pull_method == "node"
        plan = replace(
            attempt_for(claim, wanted, await self._claims.size_of(wanted, claim)),
            url=url,
            digest="" if url.startswith("docker://") else digest,
            node_pull=node_pull,
            image_volume=node_pull and await self._image_volumes(),
            architecture=image.architecture,
            preallocate=preallocates(wanted.document(), config),
            secret=image.secret,
            cert_config_map=image.cert_config_map,
        )
        return plan, effective(self._settings, config)

    async def _image_volumes(self) -> bool:
        """Whether all nodes mount images; where we may not look, they are taken not to."""
        try:
            return has_image_volumes(await self._connection.list(NODES))
        except ForbiddenError:
            return False

    async def _record(self, claim: Json, volume: VolumeSpec, wanted: DataVolume, result: Result, digest: str) -> None:
        """Say that the claim is complete, with the labels that its image asks for (L-05, L-06), and tidy up."""
        labels = await self._label(wanted, labels_from(result.env))
        record = record_after(result, volume.uid, await self._claims.size_of(wanted, claim), digest)
        dense = self._claims.owned and preallocates(wanted.document(), await self._claims.cdi.current())
        await self._filling.note(claim, record, labels=labels, annotations={_PREALLOCATED: "true"} if dense else {})
        await self._filling.tidy(claim)

    async def _label(self, wanted: DataVolume, asked: dict[str, str]) -> dict[str, str]:
        """Give a DataVolume the labels that it has not; returns those. They flow on to its DataSource (D-10)."""
        for _ in range(_WRITES):
            volume = await self._objects.get(DataVolume, wanted.metadata.namespace, wanted.metadata.name)
            labels = {key: value for key, value in asked.items() if key not in volume.metadata.labels}
            try:
                await self._objects.patch(volume, with_labels(volume, labels))
            except ConflictError:
                continue
            return asked | {key: volume.metadata.labels[key] for key in asked.keys() - labels.keys()}
        raise ConflictError(f"DataVolume {wanted.metadata.namespace}/{wanted.metadata.name} is written by others")
