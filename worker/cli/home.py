"""The home that a command is about: this host's state folder, or a Kubernetes cluster.

Commands that ask Temporal of a cron, or mark it, work in both. For everything else in a cluster there is kubectl.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Protocol, TypeVar

from dataimportcron.api.types import Resource
from worker.cli.common import endpoint_for, open_state

if TYPE_CHECKING:
    from dataimportcron.host.state.folder import StateFolder
    from worker.temporal import Endpoint

R = TypeVar("R", bound=Resource)


class CommandHome(Protocol):
    """What such a command needs of a home."""

    @property
    def site(self) -> str:
        """Whose executions are meant."""
        ...

    @property
    def ui(self) -> str:
        """URL of the embedded Temporal's UI, "" where Temporal is the user's own."""
        ...

    def endpoint(self) -> Endpoint:
        """Where Temporal is.

        Raises:
            MissingDependencyError: it is not known.
        """
        ...

    def get(self, kind: type[R], namespace: str, name: str) -> R:
        """Read one object.

        Raises:
            ObjectNotFoundError: there is none.
        """
        ...

    def patch(self, before: R, after: R) -> R:
        """Write what differs.

        Raises:
            ConflictError: somebody has written meanwhile.
        """
        ...


class HostCommandHome:
    """The state folder of `dataimportcron up`."""

    def __init__(self, state: StateFolder) -> None:
        from dataimportcron.host.state.store import Store  # noqa: PLC0415 -- keeps --help quick

        self._state = state
        self._store = Store(state)

    @property
    def site(self) -> str:
        """See `CommandHome`."""
        return self._state.identity().site

    @property
    def ui(self) -> str:
        """See `CommandHome`."""
        from dataimportcron.host.dev_server import endpoint_of  # noqa: PLC0415 -- keeps --help quick

        embedded = None if self.endpoint().profile else endpoint_of(self._state)
        return embedded.ui if embedded else ""

    def endpoint(self) -> Endpoint:
        """See `CommandHome`."""
        return endpoint_for(self._state)

    def get(self, kind: type[R], namespace: str, name: str) -> R:
        """See `CommandHome`."""
        return self._store.get(kind, namespace, name)

    def patch(self, before: R, after: R) -> R:
        """See `CommandHome`."""
        return self._store.patch(before, after)


def open_home(arguments: argparse.Namespace) -> CommandHome:
    """The cluster of `--context`, else the host.

    Raises:
        StateError: there is no state folder.
        KubeconfigError: nothing says how that cluster is reached.
        MissingDependencyError: the cluster has no definitions of our kinds.
    """
    if arguments.context:
        from worker.cli.cluster import ClusterCommandHome  # noqa: PLC0415 -- Kubernetes' client takes a second to import

        return ClusterCommandHome(arguments.context)
    return HostCommandHome(open_state(arguments))
