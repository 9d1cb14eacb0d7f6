"""What a command asks Temporal: a cron's execution, and where the UI shows it. It loads temporalio: half a second."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote

from temporalio.client import Client, WorkflowHandle, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from dataimportcron import naming
from dataimportcron.errors import TransientError
from dataimportcron.messages import CronState
from worker import logs
from worker.cli.home import CommandHome
from worker.temporal import connect
from workflows.data_import_cron import DataImportCronWorkflow

UI_VARIABLE = "DATAIMPORTCRON_TEMPORAL_UI"
"""Names the UI of one's own Temporal, whose address no client profile has."""

_TIMEOUT = timedelta(seconds=30)
_CLOUD = ".tmprl.cloud"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A connection, and the site whose executions are meant. `ui` is a URL, "" where it is not known."""

    client: Client
    site: str
    ui: str

    def cron(self, namespace: str, name: str) -> WorkflowHandle[DataImportCronWorkflow, str]:
        """The execution of a cron."""
        workflow_id = naming.cron_workflow_id(self.site, namespace, name)
        return self.client.get_workflow_handle_for(DataImportCronWorkflow.run, workflow_id)

    async def state_of(self, namespace: str, name: str) -> CronState:
        """What a cron remembers.

        Raises:
            TransientError: nobody answers for it just now.
        """
        try:
            return await self.cron(namespace, name).query(DataImportCronWorkflow.state, rpc_timeout=_TIMEOUT)
        except (RPCError, WorkflowQueryFailedError) as error:
            raise unanswered(f"The history of {name} could not be read", error) from error

    def link(self, workflow_id: str, run_id: str = "") -> str:
        """Where the UI shows an execution; where there is no UI, its ids."""
        return link(self.ui, self.client.namespace, workflow_id, run_id)


async def open_engine(home: CommandHome) -> Engine:
    """Connect.

    Raises:
        TransientError: Temporal does not answer.
        MissingDependencyError: it is not known where it is.
    """
    endpoint = home.endpoint()
    logs.leave_to_the_command()
    client = await connect(endpoint)
    return Engine(client=client, site=home.site, ui=home.ui or _own_ui(client))


def link(ui: str, namespace: str, workflow_id: str, run_id: str) -> str:
    """Where a UI shows an execution, one run of it or all; without a UI the ids themselves."""
    if not ui:
        return f"{workflow_id} {run_id}".rstrip()
    place = f"{ui}/namespaces/{quote(namespace, safe='')}/workflows/{quote(workflow_id, safe='')}"
    return f"{place}/{run_id}/history" if run_id else place


def unanswered(what: str, error: Exception) -> TransientError:
    """The error for a person when an execution does not answer."""
    unknown = isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND
    cure = "its execution has not started yet; try again in a few seconds"
    return TransientError(
        f"{what}: {getattr(error, 'cause', None) or error}",
        hint=cure if unknown else "is a worker running? `dataimportcron doctor` looks",
    )


def _own_ui(client: Client) -> str:
    """The UI of the user's own Temporal; Cloud's is known."""
    given = os.environ.get(UI_VARIABLE, "").rstrip("/")
    host = client.service_client.config.target_host.rpartition(":")[0]
    return given or ("https://cloud.temporal.io" if host.endswith(_CLOUD) else "")
