"""The home in a Kubernetes cluster: which adapters stand behind the ports there, and how its worker serves."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

from temporalio.client import Client

from dataimportcron.api.crds import SETTINGS
from dataimportcron.api.types import CDI_GROUP, OWN_GROUP, VERSION
from dataimportcron.cluster.authorizer import ClusterAuthorizer
from dataimportcron.cluster.claims.claim_watch import ClaimWatch
from dataimportcron.cluster.claims.claims import Claims
from dataimportcron.cluster.classes.placements import Placements
from dataimportcron.cluster.classes.profile_keeper import ProfileKeeper
from dataimportcron.cluster.classes.storage_watch import StorageWatch
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.kubeconfig import IN_CLUSTER, connected
from dataimportcron.cluster.client.resources import NAMESPACES
from dataimportcron.cluster.cloner import ClusterCloner
from dataimportcron.cluster.clones.temporaries import Temporaries
from dataimportcron.cluster.documents.dialect import Dialect, beside, standalone
from dataimportcron.cluster.events import ClusterEvents
from dataimportcron.cluster.importer import ClusterImporter
from dataimportcron.cluster.jobs.image_streams import ImageStreams
from dataimportcron.cluster.jobs.node_pull import NodeDigest
from dataimportcron.cluster.jobs.pods import DEFAULT_RESOURCES, PodSettings
from dataimportcron.cluster.lease import LeaseElection
from dataimportcron.cluster.objects import ClusterObjects
from dataimportcron.cluster.registries.access import ClusterAccess
from dataimportcron.cluster.registries.settings import FILE_VARIABLE, IMAGE_VARIABLE, ClusterSettings, read_settings
from dataimportcron.cluster.source import ClusterSource
from dataimportcron.cluster.volumes import ClusterVolumes
from dataimportcron.cluster.watch import ClusterWatch
from dataimportcron.cluster.watching.detection import CdiWatch, Presence, detect
from dataimportcron.errors import ApiUnavailableError, MissingDependencyError
from dataimportcron.host import clock
from dataimportcron.oci.proxies import variables
from worker.binding.bind import Binding
from worker.binding.executions import Executions
from worker.binding.feed import Deletion, News
from worker.build import Home
from worker.engine import await_engine, saying_outages
from worker.health import Health, answering
from worker.run import serve, stop_on_signals
from worker.temporal import Endpoint

logger = logging.getLogger(__name__)

BESIDE: Final = "beside"
_NAMESPACE_VARIABLE: Final = "POD_NAMESPACE"
_NAME: Final = "dataimportcron"
"""Of the Lease, and of the namespace where nothing else is said."""
_SITE: Final = 8
"""Characters of the cluster's uid."""
_RETRY: Final = 5.0
"""Seconds between two tries to begin."""


@dataclass(slots=True, kw_only=True)
class ClusterHome(Home):
    """The home in a cluster."""

    followed: ClusterObjects
    claims: ClaimWatch | None
    """None beside CDI, whose clones and DataSources are its own."""
    election: LeaseElection
    site: str
    """Of the cluster, in a Temporal namespace that others may share."""
    cluster: str
    """The uid of the namespace kube-system, which stands for the cluster's; the site, where the settings name one."""
    profiles: ProfileKeeper | None
    """None where StorageProfiles are CDI's, or not this worker's to write."""

    async def bind(self, client: Client, *, site: str, machine: str) -> None:
        """See `Home`."""

        async def work() -> None:
            feed = ClusterFeed(self.followed, self.election)
            binding = Binding(
                executions=Executions(client, site=site, machine=machine),
                objects=self.objects,
                volumes=self.volumes,
                events=self.events,
                feed=feed,
                now=clock.now,
                projects=self.claims is not None,
            )
            try:
                await asyncio.gather(binding.run(), *([self.profiles.run()] if self.profiles else []))
            finally:
                feed.close()

        await self.election.lead(work)

    async def read_files(self) -> None:
        """See `Home`; a cluster has none."""
        await asyncio.Event().wait()


class ClusterFeed:
    """The binding's feed over what follows the API server."""

    def __init__(self, objects: ClusterObjects, election: LeaseElection) -> None:
        self._watch = ClusterWatch(objects, is_leading=lambda: election.is_leading)

    async def next(self) -> News:
        """See `Feed`."""
        changed, gone = await self._watch.look()
        return News(changed=changed, deletions=tuple(Deletion(last=resource) for resource in gone))

    async def buried(self, deletion: Deletion) -> None:
        """See `Feed`."""
        self._watch.forget(deletion.last.metadata.uid)

    def close(self) -> None:
        """Hear no more."""
        self._watch.close()


async def dialect_of(connection: Connection, mode: str = "") -> tuple[Dialect, Presence]:
    """How our objects are spelt on a cluster, and whether CDI is there.

    Args:
        connection: to the API server.
        mode: of the settings; "" to find out.

    Raises:
        MissingDependencyError: the definitions of our kinds are not installed.
    """
    if mode:
        cdi = Presence(why="the settings say so" if mode == BESIDE else "")
    else:
        cdi = await detect(connection, clock.now)
    group = OWN_GROUP if cdi else CDI_GROUP
    served = await connection.resources_of(group, VERSION)
    wanted = ("dataimportcrons",) if cdi else ("dataimportcrons", "datasources", "datavolumes")
    missing = [f"{name}.{group}" for name in wanted if name not in served]
    if missing:
        where = "beside CDI" if cdi else "without CDI"
        raise MissingDependencyError(
            f"This cluster, {where}, does not know {', '.join(missing)}",
            hint="kubectl apply --server-side -f deploy/crds/beside"
            if cdi
            else "kubectl apply --server-side -f deploy/crds/settings, then deploy/crds/standalone",
        )
    return (beside(served) if cdi else standalone(served)), cdi


async def require_settings(connection: Connection) -> None:
    """See that CDI's settings have definitions before anything is served without CDI.

    KubeVirt's virt-controller, now or when it comes, starts no machine where it finds DataVolumes and not these.

    Raises:
        MissingDependencyError: one of them has none.
    """
    served = await connection.resources_of(CDI_GROUP, VERSION)
    missing = [definition.name for definition in SETTINGS if definition.plural not in served]
    if missing:
        raise MissingDependencyError(
            f"This cluster does not know {', '.join(missing)}, for which KubeVirt waits where there are DataVolumes",
            hint="kubectl apply --server-side -f deploy/crds/settings",
        )


async def cluster_uid(connection: Connection) -> str:
    """What tells a cluster from all others."""
    return str((await connection.get(NAMESPACES, "kube-system"))["metadata"]["uid"])


def site_of(cluster: str) -> str:
    """The site of the cluster with that uid, where the settings name none."""
    return cluster[:_SITE]


def pod_settings(settings: ClusterSettings) -> PodSettings:
    """How import pods are made.

    Raises:
        MissingDependencyError: nobody says which image they run.
    """
    image = os.environ.get(IMAGE_VARIABLE, "")
    if not image:
        raise MissingDependencyError(
            f"{IMAGE_VARIABLE} does not name the image of import pods", hint="deploy/base sets it to the worker's own"
        )
    return replace(pods_of(settings, image), environment=variables(os.environ))


def pods_of(settings: ClusterSettings, image: str) -> PodSettings:
    """How import pods of that image are made."""
    pods = settings.import_pods
    return PodSettings(
        image=image,
        image_pull_policy=pods.image_pull_policy,
        image_pull_secrets=pods.image_pull_secrets,
        node_selector=pods.node_selector,
        tolerations=pods.tolerations,
        affinity=pods.affinity,
        annotations=pods.annotations,
        architecture=settings.architecture,
        rate=settings.import_rate,
        insecure_registries=settings.insecure_registries,
        mirrors=_mirrors(settings.certs_dir),
        resources=pods.resources or DEFAULT_RESOURCES,
    )


def _mirrors(folder: str) -> dict[str, str]:
    """The files of containerd's `certs.d`, by their paths in it; a ConfigMap's own hidden folders are passed over."""
    files = Path(folder).glob("[!.]*/*") if folder else ()
    return {f"{file.parent.name}/{file.name}": file.read_text("utf-8") for file in files if file.is_file()}


@asynccontextmanager
async def cluster_home(
    connection: Connection, settings: ClusterSettings, stop: asyncio.Event, health: Health
) -> AsyncIterator[ClusterHome]:
    """All adapters of the home in a cluster, which follow it meanwhile.

    Args:
        connection: to the API server.
        settings: the worker's.
        stop: is set when this process ends; imports are then left to the next.
        health: is told where nothing may be written any more.
    """
    dialect, cdi = await dialect_of(connection, settings.mode)
    if not dialect.beside:
        await require_settings(connection)
    pods, cluster = pod_settings(settings), settings.site or await cluster_uid(connection)
    claims = Claims(connection, owned=not dialect.beside, overheads=settings.filesystem_overhead)
    objects = ClusterObjects(connection, dialect, namespace=settings.namespace, claim=claims.planned)
    election = LeaseElection(
        connection,
        namespace=os.environ.get(_NAMESPACE_VARIABLE) or _NAME,
        name=_NAME,
        identity=f"{socket.gethostname()}-{uuid4()}",
        now=clock.now,
    )
    storage = None if settings.namespace else StorageWatch(connection, config=not dialect.beside)
    profiles = None
    if storage is not None and not dialect.beside:
        profiles = ProfileKeeper(
            connection,
            storage,
            overheads=settings.filesystem_overhead,
            resources=pods.resources,
            now=clock.now,
            may_write=lambda: election.is_leading and not objects.refusal,
        )
    followed = None if dialect.beside else ClaimWatch(connection, namespace=settings.namespace)
    access = ClusterAccess(objects, settings, claims.cdi)
    home = ClusterHome(
        objects=objects,
        source=ClusterSource(
            access, settings, nodes=NodeDigest(connection, pods), image_streams=ImageStreams(connection)
        ),
        volumes=ClusterVolumes(connection, objects, claims, Placements(storage) if storage else None, followed),
        importer=ClusterImporter(connection, objects, claims, pods, hands_over=stop.is_set),
        cloner=ClusterCloner(connection, objects, claims, pods, hands_over=stop.is_set),
        authorizer=ClusterAuthorizer(connection, objects, beside=dialect.beside),
        events=ClusterEvents(connection, dialect, now=clock.now),
        concurrent_imports=settings.concurrent_imports,
        poll_jitter=timedelta(seconds=settings.poll_jitter),
        followed=objects,
        claims=followed,
        election=election,
        profiles=profiles,
        site=settings.site or site_of(cluster),
        cluster=cluster,
    )
    temporaries = Temporaries(connection)
    objects.listen(temporaries.hear)
    following = [objects.run(), temporaries.keep_swept(settings.namespace, may_write=lambda: not objects.refusal)]
    for watch in (storage, followed):
        if watch is not None:
            watch.listen(objects.wake)
            following.append(watch.run())
    if not settings.mode:
        tell = partial(_cdi_changed, objects, health, bool(cdi))
        following.append(CdiWatch(connection, now=clock.now, tell=tell).run())
    tasks = [asyncio.create_task(it) for it in following]
    try:
        logger.info("serving cluster %s, %s", cluster, f"beside CDI: {cdi.why}" if cdi else "without CDI")
        yield home
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _cdi_changed(objects: ClusterObjects, health: Health, was_there: bool, found: Presence) -> None:
    """Write nothing more once CDI has come to the cluster, or has left it."""
    if bool(found) is was_there:
        objects.refusal = ""
        return
    came = f"KubeVirt CDI has come to this cluster: {found.why}" if found else "KubeVirt CDI has left this cluster"
    objects.refusal = f"{came}; nothing is written until the worker is started again"
    health.waits_for = objects.refusal
    logger.error("%s", objects.refusal)


async def serve_cluster(context: str) -> None:
    """Serve a cluster until SIGTERM or Ctrl-C.

    Args:
        context: as `connected` takes it.
    """
    stop, health = stop_on_signals(), Health()
    settings = read_settings(os.environ.get(FILE_VARIABLE, ""))
    pod_settings(settings)  # what is wrong there is wrong for good
    probed = answering(health) if context == IN_CLUSTER else nullcontext()
    async with probed, connected(context=context) as connection:
        said = ""
        while not stop.is_set():
            try:
                await _serve(connection, settings, stop, health)
            except (ApiUnavailableError, MissingDependencyError) as error:
                health.waits_for = error.message
                if str(error) != said:
                    logger.warning("waiting: %s", error)
                said = str(error)
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _RETRY)
            else:
                return


async def _serve(connection: Connection, settings: ClusterSettings, stop: asyncio.Event, health: Health) -> None:
    def wait_for(what: str) -> None:
        health.waits_for = what

    endpoint = Endpoint(profile=True)
    async with cluster_home(connection, settings, stop, health) as home, saying_outages(home, endpoint):
        client = await await_engine(endpoint, stop, tell=wait_for)
        if client is None:
            return
        await home.followed.wait_synced()
        target = client.service_client.config.target_host
        logger.info("serving site %s by Temporal at %s, namespace %s", home.site, target, client.namespace)
        health.waits_for = ""
        await serve(client, home, site=home.site, machine=home.cluster, stop=stop)
