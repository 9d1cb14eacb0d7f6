"""The port `Events` as core/v1 Events, which `kubectl describe` and `kubectl events` show."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final

from dataimportcron.api.types import Resource
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import EVENTS, Json
from dataimportcron.cluster.documents.dialect import Dialect
from dataimportcron.errors import AlreadyExistsError, ConflictError, DataImportCronError, ObjectNotFoundError

logger = logging.getLogger(__name__)

COMPONENT: Final = "dataimportcron"
_TRIES: Final = 5
"""Writers that count the same event at once."""
_LONGEST_NAME: Final = 253


class ClusterEvents:
    """`ports.Events`. An event that cannot be written is logged: nothing fails for want of one.

    Args:
        connection: the API server.
        dialect: how our objects are spelt there.
        now: a clock.
    """

    def __init__(self, connection: Connection, dialect: Dialect, *, now: Callable[[], datetime]) -> None:
        self._connection = connection
        self._dialect = dialect
        self._now = now

    async def emit(self, regarding: Resource, event_type: str, reason: str, message: str) -> None:
        """See the port."""
        level = logging.WARNING if event_type == "Warning" else logging.INFO
        metadata = regarding.metadata
        logger.log(level, "%s %s/%s: %s: %s", regarding.kind, metadata.namespace, metadata.name, reason, message)
        try:
            await self._write(self._event(regarding, event_type, reason, message))
        except DataImportCronError as error:
            logger.warning("this event of %s %s/%s is only here: %s", regarding.kind, *_place(regarding), error)

    def _event(self, regarding: Resource, event_type: str, reason: str, message: str) -> Json:
        resource, metadata = self._dialect.resource(type(regarding)), regarding.metadata
        moment = f"{self._now():%Y-%m-%dT%H:%M:%SZ}"
        # The same words about the same object have the same name, whoever says them.
        words = f"{metadata.uid}\n{event_type}\n{reason}\n{message}"
        suffix = f".{hashlib.sha256(words.encode()).hexdigest()[:16]}"
        return {
            "metadata": {
                "name": metadata.name[: _LONGEST_NAME - len(suffix)] + suffix,
                "namespace": metadata.namespace,
            },
            "involvedObject": {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "namespace": metadata.namespace,
                "name": metadata.name,
                "uid": metadata.uid,
            },
            "type": event_type,
            "reason": reason,
            "message": message,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }

    async def _write(self, event: Json) -> None:
        metadata = event["metadata"]
        for _ in range(_TRIES):
            try:
                await self._connection.create(EVENTS, event)
            except AlreadyExistsError:
                logger.debug("said before: %s", metadata["name"])
            else:
                return
            try:
                known = await self._connection.get(EVENTS, metadata["name"], metadata["namespace"])
                patch = {
                    "metadata": {"resourceVersion": known["metadata"]["resourceVersion"]},
                    "count": int(known.get("count") or 1) + 1,
                    "lastTimestamp": event["lastTimestamp"],
                }
                await self._connection.patch(EVENTS, metadata["name"], metadata["namespace"], patch)
            except (ConflictError, ObjectNotFoundError):
                continue  # somebody else has counted, or it has just expired
            return


def _place(resource: Resource) -> tuple[str, str]:
    return resource.metadata.namespace, resource.metadata.name
