"""The connection to Temporal, one for worker, binding and command line, and what a namespace must have."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import temporalio.api.enums.v1 as enums
import temporalio.api.operatorservice.v1 as operator
import temporalio.api.workflowservice.v1 as service
from google.protobuf.duration_pb2 import Duration
from temporalio.client import Client
from temporalio.envconfig import ClientConfigProfile, ClientConnectConfig
from temporalio.service import RPCError, RPCStatusCode

from dataimportcron.errors import MissingDependencyError, PermanentError, TransientError
from dataimportcron.naming import SEARCH_ATTRIBUTES

_DEFAULT_ADDRESS = "localhost:7233"
"""Temporal's own default."""

RETENTION = timedelta(days=90)
"""How long the embedded server keeps closed executions; its own default is a day."""


_PATIENCE = 20.0
"""Seconds for a connection; an address that swallows packets would take minutes."""


class TemporalUnavailableError(TransientError):
    """The Temporal server could not be reached, or refuses us."""

    reason = "EngineUnavailable"


class TemporalSettingsError(PermanentError):
    """The user's own Temporal configuration cannot be used."""

    reason = "TemporalSettings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where Temporal is; `profile` says that the user's own configuration decides (TEMPORAL_* and its TOML file)."""

    address: str = ""
    namespace: str = "default"
    profile: bool = False

    def options(self) -> ClientConnectConfig:
        """Arguments of `Client.connect`; certificates and keys are read here, at each call.

        Raises:
            TemporalSettingsError: the configuration is no good, or names a file that is not there.
        """
        options = ClientConnectConfig(target_host=self.address or _DEFAULT_ADDRESS, namespace=self.namespace)
        if not self.profile:
            return options
        named = os.environ.get("TEMPORAL_CONFIG_FILE")
        try:
            if named and not Path(named).is_file():
                # envconfig takes a file that is not there for an empty one.
                raise FileNotFoundError(errno.ENOENT, "No such file", named)
            return options | ClientConfigProfile.load().to_client_connect_config()
        except OSError as error:
            message = f"The configuration of Temporal names {error.filename}: {error.strerror}"
            raise TemporalSettingsError(
                message, hint="correct TEMPORAL_* or the file of TEMPORAL_CONFIG_FILE"
            ) from error
        except (RuntimeError, ValueError) as error:
            where = f" in {named}" if named else ""
            # The first line alone: those below quote the file, which may hold a key.
            raise TemporalSettingsError(
                f"The configuration of Temporal{where} cannot be used: {_first_line(error)}",
                hint="see https://docs.temporal.io/develop/environment-configuration",
            ) from error


async def connect(endpoint: Endpoint, *, identity: str = "", lazy: bool = False) -> Client:
    """Connect to Temporal.

    Args:
        endpoint: where.
        identity: of this client; "" for the SDK's.
        lazy: connect with the first call instead; a worker cannot use such a client.

    Raises:
        TemporalUnavailableError: nothing answers there, or not as Temporal does.
        TemporalSettingsError: the user's configuration cannot be used.
    """
    options = endpoint.options()
    try:
        async with asyncio.timeout(_PATIENCE):
            return await Client.connect(**options, identity=identity or None, lazy=lazy)
    except ValueError as error:
        raise TemporalSettingsError(
            f"Temporal cannot be at {options.get('target_host')!r}: {error}", hint="check TEMPORAL_ADDRESS"
        ) from error
    except (RuntimeError, RPCError, TimeoutError) as error:
        raise unavailable(endpoint, error) from error


async def probe(client: Client, endpoint: Endpoint) -> None:
    """Ask Temporal for what it tells everybody.

    Raises:
        TemporalUnavailableError: it does not answer.
    """
    try:
        await client.workflow_service.get_system_info(
            service.GetSystemInfoRequest(), timeout=timedelta(seconds=_PATIENCE)
        )
    except (RuntimeError, RPCError) as error:
        raise unavailable(endpoint, error) from error


def unavailable(endpoint: Endpoint, error: BaseException) -> TemporalUnavailableError:
    """An error of the SDK as a sentence with a cure."""
    text = _first_line(error)
    # Rust's words for what goes wrong below gRPC are long; the innermost ones say it.
    causes = {
        "BadSignature": "its certificate is not signed by the CA that was given (BadSignature)",
        "UnknownIssuer": "no CA that is trusted has signed its certificate (UnknownIssuer)",
        "NotValidForName": "its certificate is for another name (NotValidForName)",
        "InvalidContentType": "it does not speak TLS (InvalidContentType)",
        "TimeoutError": f"no answer within {_PATIENCE:.0f} s",
    }
    # Which of these is said depends on who was faster.
    closed = ("close_notify", "BrokenPipe", "ConnectionReset", "operation was canceled", "connection closed")
    causes |= dict.fromkeys(closed, "it closed the connection; perhaps it wants TLS, or another client certificate")
    quoted = re.findall(r'(?:message|error): "([^"]+)"', text)
    cause = next((said for word, said in causes.items() if word in text), quoted[-1] if quoted else text)
    hint = "on a host `dataimportcron up` starts it; elsewhere check TEMPORAL_ADDRESS"
    if endpoint.profile:
        hint = "check TEMPORAL_ADDRESS, TEMPORAL_TLS*, TEMPORAL_API_KEY and the file of TEMPORAL_CONFIG_FILE"
    target = endpoint.options().get("target_host")
    return TemporalUnavailableError(f"Temporal does not answer at {target}: {cause}", hint=hint)


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
        MissingDependencyError: some are not registered, or there is no such namespace; the hint is the command that
            makes it right.
    """
    try:
        listed = await client.operator_service.list_search_attributes(
            operator.ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise MissingDependencyError(
            f"Temporal has no namespace {client.namespace}",
            hint=f"temporal operator namespace create --namespace {client.namespace}, or check TEMPORAL_NAMESPACE",
        ) from error
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
