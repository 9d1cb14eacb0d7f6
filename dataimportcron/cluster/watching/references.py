"""The Secrets and ConfigMaps that crons name, by version: a corrected one is a reason to look again.

They are asked for one by one, without what is in them. To watch them would need the right to list them, and who may
list Secrets may read them all.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from dataimportcron.api.types import ConfigMap, DataImportCron, Resource, Secret
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import CONFIG_MAPS, SECRETS, Json, ResourceType
from dataimportcron.cluster.watching.reflector import Change
from dataimportcron.errors import DataImportCronError, ObjectNotFoundError

logger = logging.getLogger(__name__)

_PERIOD: Final = 10.0
"""Seconds between two looks."""
_KEPT: Final = ("name", "namespace", "uid", "resourceVersion")

REFERRED: Final[dict[type[Resource], ResourceType]] = {ConfigMap: CONFIG_MAPS, Secret: SECRETS}

_Place = tuple[type[Resource], str, str]
"""Kind, namespace and name."""


class References:
    """What is known of them.

    Args:
        connection: the API server.
        crons: those that are known now.
        tell: is called with each change, and must not wait.
    """

    def __init__(
        self,
        connection: Connection,
        crons: Callable[[], Iterable[DataImportCron]],
        tell: Callable[[Change[Resource]], None],
    ) -> None:
        self._connection = connection
        self._crons = crons
        self._tell = tell
        self._known: dict[_Place, Resource] = {}
        self._complained: set[_Place] = set()

    def list(self, kind: type[Resource], namespace: str | None) -> list[Resource]:
        """Those of a kind that are there, of one namespace or of all, by namespace and name."""
        return [
            found
            for place, found in sorted(self._known.items(), key=lambda item: item[0][1:])
            if place[0] is kind and namespace in {None, place[1]}
        ]

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_PERIOD)

    async def look(self) -> None:
        """Look once at all that are named now."""
        named = {place for cron in self._crons() for place in _named_by(cron)}
        for place in [known for known in self._known if known not in named]:
            self._know(place, None)
        for place in named:
            kind, namespace, name = place
            try:
                found = await self._connection.get(REFERRED[kind], name, namespace, metadata_only=True)
            except ObjectNotFoundError:
                self._know(place, None)
            except DataImportCronError as error:
                if place not in self._complained:
                    logger.warning("whether %s %s/%s changes is not seen: %s", kind.__name__, namespace, name, error)
                self._complained.add(place)
            else:
                self._complained.discard(place)
                self._know(place, _version_of(kind, found))

    def _know(self, place: _Place, now: Resource | None) -> None:
        before = self._known.pop(place, None)
        if now is not None:
            self._known[place] = now
        if now != before:
            self._tell(Change(old=before, new=now))


def _named_by(cron: DataImportCron) -> Iterator[_Place]:
    source, namespace = cron.spec.template.spec.source, cron.metadata.namespace
    registry = source.registry if source else None
    if registry is not None and registry.secret_ref:
        yield Secret, namespace, registry.secret_ref
    if registry is not None and registry.cert_config_map:
        yield ConfigMap, namespace, registry.cert_config_map


def _version_of(kind: type[Resource], document: Json) -> Resource:
    """Which version there is, and no more: an annotation may hold a copy of what is secret."""
    metadata: dict[str, Any] = {key: document["metadata"][key] for key in _KEPT if key in document["metadata"]}
    return kind.model_validate({"metadata": metadata})
