"""The crons of a cluster: those that fail, what they name and is not there, and what registries say of their images."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from dataimportcron.api.types import DataImportCron
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.documents.dialect import Dialect
from dataimportcron.cluster.jobs.image_streams import ImageStreams
from dataimportcron.cluster.jobs.node_pull import NodeDigest
from dataimportcron.cluster.jobs.pods import PodSettings
from dataimportcron.cluster.objects import ClusterObjects
from dataimportcron.cluster.registries.access import ClusterAccess
from dataimportcron.cluster.registries.cdi_config import CdiConfigs, effective
from dataimportcron.cluster.registries.settings import ClusterSettings
from dataimportcron.cluster.source import ClusterSource
from dataimportcron.errors import DataImportCronError, ForbiddenError
from dataimportcron.polling import source_of
from dataimportcron.reference import Reference
from worker.cluster import pods_of
from worker.doctor.finding import Finding, bad, failed, note
from worker.doctor.objects import ask_registries, title


class Crons:
    """The crons that the worker serves.

    Args:
        connection: the API server.
        dialect: how our objects are spelt there.
        settings: the worker's.
    """

    def __init__(self, connection: Connection, dialect: Dialect, settings: ClusterSettings) -> None:
        self._connection = connection
        self._dialect = dialect
        # The folder of mirrors is in the worker's pods, not here.
        self._settings = settings.model_copy(update={"certs_dir": ""})
        self._cdi = CdiConfigs(connection)
        self._access = ClusterAccess(ClusterObjects(connection, dialect), self._settings, self._cdi)

    async def read(self) -> tuple[list[DataImportCron], list[Finding]]:
        """All crons, and a finding for each that is none to our models."""
        crons, findings = [], []
        resource = self._dialect.resource(DataImportCron)
        for document in await self._connection.list(resource, self._settings.namespace):
            try:
                crons.append(DataImportCron.model_validate(self._dialect.exchanged(document)))
            except ValidationError as error:
                name = f"{document['metadata']['namespace']}/{document['metadata']['name']}"
                faults = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
                findings.append(bad(f"cron {name}", f"cannot be read: {'; '.join(faults)}", "correct these fields"))
        return crons, findings

    async def check_dependencies(self, cron: DataImportCron) -> Finding | None:
        """What the cron's source refers to, read as a poll does: None where all of it is there.

        Where it is a claim or an ImageStream, only polls look.
        """
        source = source_of(cron)
        if source is None or not source.url.startswith("docker://"):
            return None
        try:
            await self._access.registry_access(source, Reference.parse(source.url))
        except ForbiddenError as error:
            return note(title(cron), f"could not look at what its source names: {error.message}")
        except DataImportCronError as error:
            return failed(title(cron), error)
        return None

    async def check_sources(self, crons: Sequence[DataImportCron]) -> list[Finding]:
        """Ask the registries from here; what nodes pull is left to them."""
        nodes = NodeDigest(self._connection, PodSettings(image=""))
        source = ClusterSource(self._access, self._settings, nodes=nodes, image_streams=ImageStreams(self._connection))
        images = [image for cron in crons if (image := source_of(cron)) and image.pull_method == "pod" and image.url]
        cure = "it was asked from here: if the worker's polls fail too, its cron says so"
        return await ask_registries(source, images, from_elsewhere=cure)

    async def pods(self, image: str) -> PodSettings:
        """How import pods of that image are made."""
        return effective(pods_of(self._settings, image), await self._cdi.current())
