"""A Kubernetes cluster as the home of a command: one connection for as long as the command runs."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import TypeVar

from dataimportcron.api.types import Resource
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.documents.dialect import Dialect
from dataimportcron.cluster.objects import ClusterObjects
from dataimportcron.cluster.registries.settings import FILE_VARIABLE, read_settings
from worker.cluster import cluster_uid, dialect_of, site_of
from worker.temporal import Endpoint

R = TypeVar("R", bound=Resource)


class ClusterCommandHome:
    """`worker.cli.home.CommandHome` of a cluster; Temporal is where TEMPORAL_ADDRESS or a profile says.

    Mode and site are found out, or are those of the worker's settings where DATAIMPORTCRON_SETTINGS names a copy.

    Args:
        context: of the kubeconfig, or in-cluster.
    """

    ui = ""

    def __init__(self, context: str) -> None:
        self._runner = asyncio.Runner()
        # Closed with the process; without a name it would be closed at once.
        self._open_until_the_end = AsyncExitStack()
        self._connection, self._dialect, self.site = self._runner.run(self._open(context))

    async def _open(self, context: str) -> tuple[Connection, Dialect, str]:
        connection = await self._open_until_the_end.enter_async_context(connected(context=context))
        settings = read_settings(os.environ.get(FILE_VARIABLE, ""))
        dialect, _ = await dialect_of(connection, settings.mode)
        return connection, dialect, settings.site or site_of(await cluster_uid(connection))

    def _objects(self) -> ClusterObjects:
        # New each time: nothing follows the cluster here, so what was read once must not be taken for the present.
        return ClusterObjects(self._connection, self._dialect)

    def endpoint(self) -> Endpoint:
        """See `CommandHome`."""
        return Endpoint(profile=True)

    def get(self, kind: type[R], namespace: str, name: str) -> R:
        """See `CommandHome`."""
        return self._runner.run(self._objects().get(kind, namespace, name))

    def patch(self, before: R, after: R) -> R:
        """See `CommandHome`."""
        return self._runner.run(self._objects().patch(before, after))
