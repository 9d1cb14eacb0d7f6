"""Follows all claims, not only ours: a DataSource may name any, a clone may wait for any, and any may be in our way.

Of each only what matters is kept, less than a kilobyte, and only a change of that is told. A virtual machine's disk
changes seldom, so ten thousand of them are one list at the start and little after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from sys import intern
from typing import Final

from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import PVCS, Json
from dataimportcron.cluster.documents.records import annotations_of, is_bound, is_lost, is_whole, owner_of
from dataimportcron.cluster.watching.reflector import Change, Reflector
from dataimportcron.cluster.watching.streams import KindStream
from dataimportcron.manifests import flowing
from dataimportcron.values import ClaimState

SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
"""On a claim that waits for its first consumer: the node that the scheduler has chosen for that."""

_Found = tuple[tuple[str, str], ClaimState]


class ClaimWatch:
    """A copy of what matters of them, which follows the API server while it runs.

    Args:
        connection: to the API server.
        namespace: the only one that is served, "" for all.
        watch_timeout: seconds after which the server ends a watch.
    """

    def __init__(self, connection: Connection, *, namespace: str = "", watch_timeout: float = 290.0) -> None:
        self._found: dict[tuple[str, str], ClaimState] = {}
        self._listeners: list[Callable[[], None]] = []
        stream = KindStream(connection=connection, resource=PVCS, namespace=namespace, timeout=watch_timeout)
        self._reflector: Reflector[_Found] = Reflector("claims", stream, _seen, self._tell)

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` at each change that matters; it must not wait. Returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def run(self) -> None:
        """Follow until cancelled."""
        await self._reflector.run()

    async def all(self) -> Mapping[tuple[str, str], ClaimState]:
        """Those that there are, once all have been read; it goes on to change, and is not to be changed."""
        await self._reflector.wait_synced()
        return self._found

    def _tell(self, change: Change[_Found]) -> None:
        if change.new is not None:
            place, state = change.new
            self._found[place] = state
        elif change.old is not None:
            del self._found[change.old[0]]
        if change.old != change.new:
            for listener in list(self._listeners):
                listener()


def state_of(claim: Json) -> ClaimState:
    """What matters of a claim to those who clone it, or wait for it."""
    metadata = claim["metadata"]
    return ClaimState(
        uid=metadata["uid"],
        owner=owner_of(claim),
        labels=flowing(metadata.get("labels") or {}),
        whole=is_whole(claim),
        state=_progress_of(claim),
    )


def _seen(claim: Json) -> _Found:
    metadata = claim["metadata"]
    return (intern(metadata["namespace"]), metadata["name"]), state_of(claim)


def _progress_of(claim: Json) -> str:
    if claim["metadata"].get("deletionTimestamp"):
        return "Terminating"
    if is_lost(claim):
        return "Lost"
    if is_bound(claim):
        return "Bound"
    return "Scheduled" if SELECTED_NODE in annotations_of(claim) else ""
