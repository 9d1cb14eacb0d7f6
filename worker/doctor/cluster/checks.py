"""Every check of the home in a cluster, in the order in which they need one another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from datetime import datetime
from typing import Final

from dataimportcron.api.types import DataImportCron
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.documents.dialect import Dialect
from dataimportcron.cluster.registries.settings import ClusterSettings
from dataimportcron.cluster.watching.detection import detect
from dataimportcron.errors import DataImportCronError, ForbiddenError, KubeconfigError, MissingDependencyError
from dataimportcron.host import clock
from worker import logs
from worker.cluster import BESIDE, IN_CLUSTER, cluster_uid, dialect_of, require_settings, site_of
from worker.doctor import engine, machine
from worker.doctor.cluster import api_server, clones, definitions, deployment, policies, rights, storage
from worker.doctor.cluster.crons import Crons
from worker.doctor.cluster.deployment import Deployed
from worker.doctor.finding import Finding, bad, failed, good, note
from worker.temporal import Endpoint

_AS_WHOM: Final = "ask as somebody who may"
_AGAIN: Final = "ask again; what does not pass is in the API server's log"


async def check(context: str, namespace: str, now: datetime, *, own_temporal: bool) -> AsyncIterator[Finding]:
    """All checks; what needs something that is wrong, or that we may not see, is left out.

    Args:
        context: of the kubeconfig, or in-cluster.
        namespace: the worker's.
        now: the time.
        own_temporal: whether the environment says where Temporal is.
    """
    yield machine.check_program()
    try:
        async with connected(context="" if context == IN_CLUSTER else context) as connection:
            try:
                version = await connection.raw("/version")
            except DataImportCronError as error:
                yield failed("API server", error, "see that it runs and can be reached: kubectl version")
                return
            yield api_server.check_version(connection.server, version)
            async for finding in _Survey(connection, context, namespace, now, own_temporal=own_temporal).findings():
                yield finding
    except KubeconfigError as error:
        yield failed("kubeconfig", error)


class _Survey:
    """The checks of one cluster, which answers."""

    def __init__(
        self, connection: Connection, context: str, namespace: str, now: datetime, *, own_temporal: bool
    ) -> None:
        self._connection = connection
        self._context = context
        self._namespace = namespace
        self._now = now
        self._own_temporal = own_temporal

    async def findings(self) -> AsyncIterator[Finding]:
        for finding in await self._before_the_mode():
            yield finding
        deployed = await self._deployed()
        for finding in (*deployed.findings, *await self._leader()):
            yield finding
        dialect, mode = await self._mode(deployed.settings)
        yield mode
        crons: Sequence[DataImportCron] = ()
        if dialect is not None:
            crons, findings = await self._crons(dialect, deployed)
            for finding in (*await self._of_the_mode(dialect, deployed.settings), *findings):
                yield finding
        for finding in await self._storage(crons, deployed.settings.namespace):
            yield finding
        async for finding in self._temporal(crons, deployed):
            yield finding

    async def _before_the_mode(self) -> list[Finding]:
        nodes = await _look("nodes", api_server.check_nodes(self._connection))
        return [*nodes, *await _look("definitions", definitions.check(self._connection))]

    async def _mode(self, settings: ClusterSettings) -> tuple[Dialect | None, Finding]:
        """How our objects are spelt here, None where that is not known."""
        try:
            if settings.mode and (found := await self._contradicts(settings.mode)):
                return None, bad("mode", found, "take `mode` out of the settings, or set it to what is so")
            dialect, cdi = await dialect_of(self._connection, settings.mode)
            if not dialect.beside:
                await require_settings(self._connection)
        except MissingDependencyError as error:
            return None, failed("mode", error)
        except DataImportCronError as error:
            return None, _unseen("mode", error)
        if cdi:
            return dialect, good("mode", f"beside CDI, for {cdi.why}; crons are of dataimportcron.io")
        return dialect, good("mode", "without CDI; crons, DataSources and DataVolumes of cdi.kubevirt.io are ours")

    async def _contradicts(self, mode: str) -> str:
        """How the cluster is not as the settings say; "" where it is, or where we may not see that."""
        try:
            cdi = await detect(self._connection, clock.now)
        except DataImportCronError:
            return ""
        if bool(cdi) is (mode == BESIDE):
            return ""
        return f"the settings say {mode}, and CDI is {f'here: {cdi.why}' if cdi else 'not here'}"

    async def _of_the_mode(self, dialect: Dialect, settings: ClusterSettings) -> list[Finding]:
        asked = rights.check(self._connection, settings, home=self._namespace, beside=dialect.beside)
        found = await _look("rights", asked)
        if dialect.beside:
            return [*found, *await _look("labels", storage.check_labels(self._connection, settings.namespace))]
        webhooks = await _look("webhooks", api_server.check_webhooks(self._connection))
        return [*found, *webhooks, *await _look("clones", clones.check(self._connection))]

    async def _leader(self) -> list[Finding]:
        return await _look("leader", deployment.check_leader(self._connection, self._namespace, self._now))

    async def _deployed(self) -> Deployed:
        try:
            return await deployment.check(self._connection, self._namespace)
        except DataImportCronError as error:
            return Deployed(findings=(_unseen("worker", error),), settings=ClusterSettings())

    async def _crons(self, dialect: Dialect, deployed: Deployed) -> tuple[list[DataImportCron], list[Finding]]:
        checked = Crons(self._connection, dialect, deployed.settings, self._context)
        try:
            crons, findings = await checked.read()
        except DataImportCronError as error:
            return [], [_unseen("crons", error)]
        reachable = []
        for cron in crons:
            unmet = await checked.check_dependencies(cron)
            findings += [unmet] if unmet else []
            if unmet is None or not unmet.wrong:
                reachable.append(cron)
                findings.append(checked.check(cron, self._now))
        findings += await checked.check_sources(reachable)
        if deployed.image:
            findings += await policies.check(self._connection, crons, await checked.pods(deployed.image))
        return crons, findings

    async def _storage(self, crons: Sequence[DataImportCron], served: str) -> list[Finding]:
        return [
            *await _look("storage classes", storage.check_classes(self._connection, crons)),
            *await _look("claims", storage.check_claims(self._connection, served, self._now)),
        ]

    async def _temporal(self, crons: Sequence[DataImportCron], deployed: Deployed) -> AsyncIterator[Finding]:
        """Temporal as this machine reaches it, which is not always how the worker does."""
        address = deployed.temporal
        if not self._own_temporal:
            theirs = f" (the worker's is {address})" if address else ""
            yield note(
                "Temporal",
                f"TEMPORAL_ADDRESS is not set here{theirs}: localhost:7233 is asked",
                "set it; for a server in the cluster: kubectl port-forward",
            )
        try:
            site = deployed.settings.site or site_of(await cluster_uid(self._connection))
        except DataImportCronError as error:
            yield _unseen("Temporal", error)
            return
        logs.leave_to_the_command()
        home = engine.Home(
            start_temporal=f"see TEMPORAL_ADDRESS; the worker's is {address or 'not known'}",
            start_worker=f"kubectl -n {self._namespace} logs deployment/{deployment.NAME}",
        )
        async for finding in engine.check(Endpoint(profile=True), site, crons, self._now, home=home):
            yield finding


async def _look(what: str, check: Awaitable[Iterable[Finding]]) -> list[Finding]:
    """What a check says, or why it could not look."""
    try:
        return list(await check)
    except DataImportCronError as error:
        return [_unseen(what, error)]


def _unseen(what: str, error: DataImportCronError) -> Finding:
    """What we may not see is not known to be wrong; what does not answer is."""
    if isinstance(error, ForbiddenError):
        return note(what, f"could not look: {error.message}", _AS_WHOM)
    return failed(what, error, _AGAIN)
