"""The composition root: the only place that knows which adapters stand behind the ports."""

from __future__ import annotations

import asyncio
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client

from dataimportcron.host import clock
from dataimportcron.host.access import HostAccess
from dataimportcron.host.authorizer import HostAuthorizer
from dataimportcron.host.cloner import HostCloner
from dataimportcron.host.files import try_lock
from dataimportcron.host.importer import HostImporter
from dataimportcron.host.objects import HostEvents, HostObjects, HostWatch
from dataimportcron.host.source import HostSource
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.store import Store
from dataimportcron.host.volumes import HostVolumes
from dataimportcron.ports import Authorizer, Cloner, Events, Importer, Objects, Source, Volumes
from worker.binding.bind import Binding
from worker.binding.executions import Executions
from worker.binding.feed import Deletion, News

logger = logging.getLogger(__name__)

_STANDBY = 1.0
"""Seconds between two tries to become the leader."""
_SCAN = 1.0
"""Seconds between two scans of the objects."""


@dataclass(slots=True, kw_only=True)
class Home(ABC):
    """What the worker needs of a home: its ports, its settings, and who binds objects to executions."""

    objects: Objects
    source: Source
    volumes: Volumes
    importer: Importer
    cloner: Cloner
    authorizer: Authorizer
    events: Events
    concurrent_imports: int
    poll_jitter: timedelta

    @abstractmethod
    async def bind(self, client: Client, *, site: str, machine: str) -> None:
        """Bind objects to executions for as long as this process leads."""

    @abstractmethod
    async def read_files(self) -> None:
        """Take in what people do to files while there is nothing yet to bind the objects to, until cancelled."""


@dataclass(slots=True, kw_only=True)
class HostHome(Home):
    """The home on one host."""

    state: StateFolder
    store: Store

    async def bind(self, client: Client, *, site: str, machine: str) -> None:
        """See `Home`."""
        async with self._leading():
            logger.info("this worker leads")
            await Binding(
                executions=Executions(client, site=site, machine=machine),
                objects=self.objects,
                volumes=self.volumes,
                events=self.events,
                feed=HostFeed(self.store, self.state),
                now=clock.now,
            ).run()

    async def read_files(self) -> None:
        """See `Home`."""
        async with self._leading():
            feed = HostFeed(self.store, self.state)
            while True:
                await feed.next()

    @asynccontextmanager
    async def _leading(self) -> AsyncIterator[None]:
        """The leader holds a lock that dies with it; the others stand by."""
        lock = try_lock(self.state.run / "leader.lock")
        while lock is None:
            await asyncio.sleep(_STANDBY)
            lock = try_lock(self.state.run / "leader.lock")
        try:
            yield
        finally:
            os.close(lock)


class HostFeed:
    """The binding's feed over the host's store."""

    def __init__(self, store: Store, state: StateFolder) -> None:
        self._store = store
        self._watch = HostWatch(store, state.manifest_folders)

    async def next(self) -> News:
        """See `Feed`."""
        await asyncio.sleep(_SCAN)
        changed, gone = await asyncio.to_thread(self._watch.look)
        return News(changed=changed, deletions=tuple(Deletion(last=resource) for resource in gone))

    async def buried(self, deletion: Deletion) -> None:
        """See `Feed`."""
        await asyncio.to_thread(self._store.forget, deletion.last.metadata.uid)


def host_home(state: StateFolder) -> HostHome:
    """All adapters of the home on one host."""
    store, settings = Store(state), state.settings()
    volumes = HostVolumes(state)
    access = HostAccess(store, state)
    return HostHome(
        objects=HostObjects(store),
        source=HostSource(access, state),
        volumes=volumes,
        importer=HostImporter(access, volumes, state),
        cloner=HostCloner(volumes),
        authorizer=HostAuthorizer(),
        events=HostEvents(store),
        concurrent_imports=settings.concurrent_imports,
        poll_jitter=timedelta(seconds=settings.poll_jitter),
        state=state,
        store=store,
    )
