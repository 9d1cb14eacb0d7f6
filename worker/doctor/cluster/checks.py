"""Every check of the home in a cluster, in the order in which they need one another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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
from worker.cli.common import own_temporal
from worker.cluster import BESIDE, cluster_uid, dialect_of, require_settings, site_of
from worker.doctor import engine, machine
from worker.doctor.cluster import api_server, clones, definitions, deployment, policies, rights, storage
from worker.doctor.cluster.crons import Crons
from worker.doctor.cluster.deployment import Deployed
from worker.doctor.finding import Finding, bad, failed, good, note
from worker.doctor.objects import check_cron
from worker.temporal import Endpoint

_AS_WHOM: Final = "ask as somebody who may"
_AGAIN: Final = "ask again; what does not pass is in the API server's log"


async def check(context: str, namespace: str, now: datetime) -> AsyncIterator[Finding]:
    """All checks; what needs something that is wrong, or that we may not see, is left out.

    Args:
        context: of the kubeconfig, or in-cluster.
        namespace: the worker's.
        now: the time.
    """
    yield machine.check_program()
    try:
        async with connected(context=context) as connection:
            try:
                version = await connection.raw("/version")
            except DataImportCronError as error:
                yield failed("API server", error, "see that it runs and can be reached: kubectl version")
                return
            yield api_server.check_version(connection.server, version)
            async for finding in _Survey(connection, context, namespace, now).findings():
                yield finding
    except KubeconfigError as error:
        yield failed("kubeconfig", error)


@dataclass(frozen=True, slots=True)
class _Survey:
    """The checks of one cluster, which answers."""

    connection: Connection
    context: str
    namespace: str
    now: datetime

    async def findings(self) -> AsyncIterator[Finding]:
        for what, look in (("nodes", api_server.check_nodes), ("definitions", definitions.check)):
            for finding in await _look(what, look(self.connection)):
                yield finding
        deployed = await self._deployed()
        leader = deployment.check_leader(self.connection, self.namespace, self.now)
        for finding in (*deployed.findings, *await _look("leader", leader)):
            yield finding
        dialect, mode = await self._mode(deployed.settings)
        yield mode
        crons: Sequence[DataImportCron] = ()
        if dialect is not None:
            crons, findings = await self._crons(dialect, deployed)
            for finding in (*await self._of_the_mode(dialect, deployed.settings), *findings):
                yield finding
        claims = storage.check_claims(self.connection, deployed.settings.namespace, self.now)
        for what, asked in (("storage classes", storage.check_classes(self.connection, crons)), ("claims", claims)):
            for finding in await _look(what, asked):
                yield finding
        async for finding in self._temporal(crons, deployed):
            yield finding

    async def _mode(self, settings: ClusterSettings) -> tuple[Dialect | None, Finding]:
        """How our objects are spelt here, None where that is not known."""
        try:
            if settings.mode and (found := await self._contradicts(settings.mode)):
                return None, bad("mode", found, "take `mode` out of the settings, or set it to what is so")
            dialect, cdi = await dialect_of(self.connection, settings.mode)
            if not dialect.beside:
                await require_settings(self.connection)
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
            cdi = await detect(self.connection, clock.now)
        except DataImportCronError:
            return ""
        if bool(cdi) is (mode == BESIDE):
            return ""
        return f"the settings say {mode}, and CDI is {f'here: {cdi.why}' if cdi else 'not here'}"

    async def _of_the_mode(self, dialect: Dialect, settings: ClusterSettings) -> list[Finding]:
        asked = rights.check(self.connection, settings, home=self.namespace, beside=dialect.beside)
        found = await _look("rights", asked)
        if dialect.beside:
            return [*found, *await _look("labels", storage.check_labels(self.connection, settings.namespace))]
        webhooks = await _look("webhooks", api_server.check_webhooks(self.connection))
        return [*found, *webhooks, *await _look("clones", clones.check(self.connection))]

    async def _deployed(self) -> Deployed:
        try:
            return await deployment.check(self.connection, self.namespace)
        except DataImportCronError as error:
            return Deployed(findings=(_unseen("worker", error),), settings=ClusterSettings())

    async def _crons(self, dialect: Dialect, deployed: Deployed) -> tuple[list[DataImportCron], list[Finding]]:
        checked = Crons(self.connection, dialect, deployed.settings)
        window = timedelta(seconds=deployed.settings.poll_jitter)
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
                findings.append(check_cron(cron, window, self.now, context=self.context))
        findings += await checked.check_sources(reachable)
        if deployed.image:
            findings += await policies.check(self.connection, crons, await checked.pods(deployed.image))
        return crons, findings

    async def _temporal(self, crons: Sequence[DataImportCron], deployed: Deployed) -> AsyncIterator[Finding]:
        """Temporal as this machine reaches it, which is not always how the worker does."""
        address = deployed.temporal
        if not own_temporal():
            theirs = f" (the worker's is {address})" if address else ""
            yield note(
                "Temporal",
                f"TEMPORAL_ADDRESS is not set here{theirs}: localhost:7233 is asked",
                "set it; for a server in the cluster: kubectl port-forward",
            )
        try:
            site = deployed.settings.site or site_of(await cluster_uid(self.connection))
        except DataImportCronError as error:
            yield _unseen("Temporal", error)
            return
        logs.leave_to_the_command()
        logs_of_worker = f"kubectl -n {self.namespace} logs deployment/{deployment.NAME}"
        asked = engine.check(Endpoint(profile=True), site, crons, self.now, start_worker=logs_of_worker)
        async for finding in asked:
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
