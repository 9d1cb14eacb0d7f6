"""Whether CDI runs on this cluster, and whose the CRDs of its group are.

Two controllers of the same crons would undo each other's work for ever, and CDI's cannot be switched off. CDI is there
when its CR is, or when its controller renews its Lease; both are followed, so that CDI is noticed when it comes later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from dataimportcron.api.types import CDI_GROUP
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import CDIS, LEASES, Json
from dataimportcron.cluster.watching.reflector import Change, Reflector
from dataimportcron.cluster.watching.streams import KindStream
from dataimportcron.errors import NotServedError
from dataimportcron.manifests import parse_time

logger = logging.getLogger(__name__)

CDI_LEASE: Final = "cdi-controller-leader-election-helper"
FRESH: Final = timedelta(seconds=60)
"""A Lease that was renewed since then has a living holder."""
_LOOK: Final = 2.0
"""Seconds between two looks at what was followed: a Lease also goes stale when nothing happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Whether CDI is here; `why` says by what it is known, in a clause, and is "" where it is not here."""

    why: str = ""

    def __bool__(self) -> bool:
        return bool(self.why)


async def detect(connection: Connection, now: Callable[[], datetime]) -> Presence:
    """Find out whether CDI is here.

    That takes some seconds where only a Lease speaks for it, and a minute where its holder has just ended: nobody who
    is uninstalled gives a Lease back, so it counts once it is renewed while we look.

    Args:
        connection: the API server.
        now: a clock; it is compared with the renewal of CDI's Lease, so the two may differ by seconds, not minutes.
    """
    before: list[Json] = []
    while True:
        try:
            found = await connection.list(CDIS)
        except NotServedError:
            found = []
        leases = await connection.list(LEASES, field_selector=f"metadata.name={CDI_LEASE}")
        fresh = [lease for lease in leases if _is_fresh(lease, now())]
        renewed = [lease for lease in fresh if before and lease not in before]
        if found or renewed or not fresh:
            return _presence(found, renewed)
        before = fresh
        await asyncio.sleep(_LOOK)


def is_of_cdi(crd: Json) -> bool:
    """Whether a CRD is one of CDI's operator, which labels what it installs."""
    labels = crd["metadata"].get("labels") or {}
    operator = "operator.cdi.kubevirt.io" in labels or labels.get("app.kubernetes.io/managed-by") == "cdi-operator"
    return bool(crd["spec"]["group"] == CDI_GROUP and operator)


def _is_fresh(lease: Json, now: datetime) -> bool:
    spec = lease.get("spec") or {}
    renewed = parse_time(spec.get("renewTime") or "")
    return bool(spec.get("holderIdentity")) and renewed is not None and now - renewed < FRESH


def _presence(cdis: list[Json], leases: list[Json]) -> Presence:
    if cdis:
        return Presence(why=f"its object CDI {cdis[0]['metadata']['name']} exists")
    if leases:
        metadata = leases[0]["metadata"]
        return Presence(why=f"its controller renews the Lease {metadata['namespace']}/{metadata['name']}")
    return Presence()


class CdiWatch:
    """Follows whether CDI is here.

    Args:
        connection: the API server.
        now: a clock.
        tell: is called with each change, and with the first finding; must not wait.
        watch_timeout: seconds after which the server ends a watch.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        now: Callable[[], datetime],
        tell: Callable[[Presence], None],
        watch_timeout: float = 290.0,
    ) -> None:
        self._now = now
        self._tell = tell
        self._renewed: dict[str, float] = {}
        self._cdis: Reflector[Json] = Reflector(
            "cdis", KindStream(connection=connection, resource=CDIS, timeout=watch_timeout), dict, self._wake
        )
        selector = f"metadata.name={CDI_LEASE}"
        leases = KindStream(connection=connection, resource=LEASES, field_selector=selector, timeout=watch_timeout)
        self._leases: Reflector[Json] = Reflector("CDI's leases", leases, dict, self._renew)
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follow until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._cdis.run())
            group.create_task(self._leases.run())
            group.create_task(self._look())

    async def _look(self) -> None:
        said: Presence | None = None
        await self._leases.wait_synced()
        while True:
            found = _presence(self._cdis.list(), [lease for lease in self._leases.list() if self._is_alive(lease)])
            if found != said:
                said = found
                self._tell(found)
            try:
                await asyncio.wait_for(self._changed.wait(), _LOOK)
            except TimeoutError:
                continue
            finally:
                self._changed.clear()

    def _wake(self, _: Change[Json]) -> None:
        self._changed.set()

    def _renew(self, change: Change[Json]) -> None:
        """A renewal that we see happen is of now, whatever the clocks say; one that we find is dated by its holder."""
        if change.new is not None:
            uid = change.new["metadata"]["uid"]
            if change.old is not None or _is_fresh(change.new, self._now()):
                self._renewed[uid] = monotonic()
        self._changed.set()

    def _is_alive(self, lease: Json) -> bool:
        held = bool((lease.get("spec") or {}).get("holderIdentity"))
        since = self._renewed.get(lease["metadata"]["uid"], float("-inf"))
        return held and monotonic() - since < FRESH.total_seconds()
