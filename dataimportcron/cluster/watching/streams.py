"""A kind's objects over a connection, as a reflector follows them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from dataimportcron.cluster.client.connection import Connection, Listing
from dataimportcron.cluster.client.resources import Json, ResourceType


@dataclass(frozen=True, slots=True, kw_only=True)
class KindStream:
    """`reflector.Stream` of one kind.

    Attributes:
        connection: the API server.
        resource: the kind.
        namespace: "" for all.
        label_selector: as kubectl's `-l`.
        field_selector: as kubectl's `--field-selector`.
        timeout: seconds after which the server ends a watch, which then goes on.
    """

    connection: Connection
    resource: ResourceType
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    timeout: float = 290.0

    async def snapshot(self) -> Listing:
        """See `Stream`."""
        return await self.connection.snapshot(
            self.resource,
            self.namespace,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
        )

    def watch(self, resource_version: str) -> AsyncGenerator[tuple[str, Json], None]:
        """See `Stream`."""
        return self.connection.watch(
            self.resource,
            self.namespace,
            resource_version=resource_version,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            timeout=self.timeout,
        )
