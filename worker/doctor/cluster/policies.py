"""Whether the cluster's policies let in what an import is made of: tried with a dry run, in each namespace of crons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dataimportcron.api.types import DataImportCron
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import JOBS, PODS, Json, ResourceType
from dataimportcron.cluster.jobs.attempt_job import Attempt, import_job
from dataimportcron.cluster.jobs.pods import PodSettings
from dataimportcron.errors import DataImportCronError, ForbiddenError, PermanentError, QuotaExceededError
from dataimportcron.polling import source_of
from worker.doctor.finding import Finding, bad, failed, good, note

_NO_CLAIM: Final = "00000000-0000-0000-0000-000000000000"


async def check(connection: Connection, crons: Sequence[DataImportCron], pods: PodSettings) -> list[Finding]:
    """Try the Job of one cron of each namespace; nothing is stored.

    Args:
        connection: whoever asks must be allowed to create Jobs and pods.
        crons: that are served.
        pods: how import pods are made.
    """
    first = {cron.metadata.namespace: cron for cron in reversed(crons)}
    return [await _check(connection, namespace, first[namespace], pods) for namespace in sorted(first)]


async def _check(connection: Connection, namespace: str, cron: DataImportCron, pods: PodSettings) -> Finding:
    what, job = f"policies of {namespace}", _job(cron, pods)
    template = job["spec"]["template"]
    metadata = {**template["metadata"], "name": "import-dry-run", "namespace": namespace}
    tried: tuple[tuple[ResourceType, Json], ...] = (JOBS, job), (PODS, {"metadata": metadata, "spec": template["spec"]})
    for resource, document in tried:
        try:
            await connection.create(resource, document, dry_run=True)
        except ForbiddenError as error:
            if "cannot create resource" in error.message:
                return note(what, f"could not try an import's {resource.kind}: {error.message}", "ask as an admin")
            return _refused(what, resource, error)
        except (PermanentError, QuotaExceededError) as error:
            return _refused(what, resource, error)
        except DataImportCronError as error:
            return failed(what, error)
    return good(what, "an import's Job and its pod are let in")


def _refused(what: str, resource: ResourceType, error: DataImportCronError) -> Finding:
    cure = error.hint or "let it in: by the namespace's Pod Security labels, or by an exception of what refuses it"
    return bad(what, f"an import's {resource.kind} is refused: {error.message}", cure)


def _job(cron: DataImportCron, pods: PodSettings) -> Json:
    source, template = source_of(cron), cron.spec.template.spec
    attempt = Attempt(
        namespace=cron.metadata.namespace,
        claim="dry-run",
        claim_uid=_NO_CLAIM,
        number=0,
        url=source.url if source else "",
        size=1,
        node_pull=source is not None and source.pull_method == "node",
        priority_class=template.priority_class_name or "",
        service_account=template.service_account_name or "",
    )
    return import_job(attempt, pods)
