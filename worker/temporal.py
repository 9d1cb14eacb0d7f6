"""The connection to Temporal, one for worker, binding and command line, and what a namespace must have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import temporalio.api.enums.v1 as enums
import temporalio.api.operatorservice.v1 as operator
import temporalio.api.workflowservice.v1 as service
from google.protobuf.duration_pb2 import Duration
from temporalio.client import Client
from temporalio.envconfig import ClientConfigProfile
from temporalio.service import RPCError

from dataimportcron.errors import MissingDependencyError, TransientError
from dataimportcron.naming import SEARCH_ATTRIBUTES

RETENTION = timedelta(days=90)
"""How long the embedded server keeps closed executions; its own default is a day."""


class TemporalUnavailableError(TransientError):
    """The Temporal server could not be reached."""

    reason = "EngineUnavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where Temporal is; `profile` says that the user's own configuration decides (TEMPORAL_* and its TOML file)."""

    address: str = ""
    namespace: str = "default"
    profile: bool = False


async def connect(endpoint: Endpoint, *, identity: str = "") -> Client:
    """Connect to Temporal.

    Raises:
        TemporalUnavailableError: nothing answers there, or not as Temporal does.
    """
    options: dict[str, object] = {"target_host": endpoint.address, "namespace": endpoint.namespace}
    if endpoint.profile:
        options |= dict(ClientConfigProfile.load().to_client_connect_config())
    if identity:
        options["identity"] = identity
    try:
        return await Client.connect(**options)  # type: ignore[arg-type]  # the profile's keys are connect's own
    except (RuntimeError, RPCError) as error:
        raise TemporalUnavailableError(
            f"Temporal does not answer at {options.get('target_host')}: {_first_line(error)}",
            hint="on a host `dataimportcron up` starts it; elsewhere check TEMPORAL_ADDRESS",
        ) from error


async def keep_history(client: Client) -> None:
    """Let the embedded server keep closed executions for RETENTION; it applies to those that close from now on."""
    described = await client.workflow_service.describe_namespace(
        service.DescribeNamespaceRequest(namespace=client.namespace)
    )
    if described.config.workflow_execution_retention_ttl.ToTimedelta() >= RETENTION:
        return
    request = service.UpdateNamespaceRequest(namespace=client.namespace)
    ttl = Duration()
    ttl.FromTimedelta(RETENTION)
    request.config.workflow_execution_retention_ttl.CopyFrom(ttl)
    await client.workflow_service.update_namespace(request)


async def require_search_attributes(client: Client) -> None:
    """Check the namespace before anything is started: an unknown search attribute would block a workflow for ever.

    Raises:
        MissingDependencyError: some are not registered; the hint is the command that registers them.
    """
    listed = await client.operator_service.list_search_attributes(
        operator.ListSearchAttributesRequest(namespace=client.namespace)
    )
    keyword = enums.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    missing = [name for name in SEARCH_ATTRIBUTES if listed.custom_attributes.get(name) != keyword]
    if missing:
        raise MissingDependencyError(
            f"Temporal namespace {client.namespace} lacks the search attributes {', '.join(missing)}",
            hint=f"temporal operator search-attribute create --namespace {client.namespace} "
            + " ".join(f"--name {name} --type Keyword" for name in missing),
        )


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
