"""Where the API server is, and who we are there: a kubeconfig, or the service account of the pod we run in."""

# mypy: allow-untyped-calls
# kubernetes.aio is generated code that annotates only a part of itself.

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Final

import yaml
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from dataimportcron.cluster.client.connection import Connection
from dataimportcron.errors import KubeconfigError

IN_CLUSTER: Final = "in-cluster"
"""Stands for a context: the service account of the pod that this process runs in."""
_REFRESH: Final = 60.0
"""Seconds after which the credentials of a kubeconfig are read anew: token files and plugins renew theirs."""


@asynccontextmanager
async def connected(*, kubeconfig: str = "", context: str = "") -> AsyncIterator[Connection]:
    """A connection to a cluster, closed at the end.

    Args:
        kubeconfig: its path; "" for the pod's service account where there is one, else $KUBECONFIG or ~/.kube/config.
        context: of the kubeconfig; "" for its current one. With one given, the pod's service account is not used, but
            for `IN_CLUSTER`.

    Raises:
        KubeconfigError: there is none, or it cannot be used.
    """
    context = "" if context == IN_CLUSTER else context
    settings = Configuration(connection_pool_maxsize=0)  # no limit: watches and logs hold theirs for long
    try:
        if not kubeconfig and not context and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=settings)
        else:
            await _load(_path(kubeconfig), context, settings)
    except (config.ConfigException, yaml.YAMLError, OSError, KeyError, TypeError, ValueError) as error:
        where = kubeconfig or os.environ.get("KUBECONFIG") or "the kubeconfig"
        raise KubeconfigError(f"{where}: {error}", hint="kubectl config view shows what is in it") from error
    api = ApiClient(settings)
    api.user_agent = "dataimportcron"
    connection = Connection(api)
    try:
        yield connection
    finally:
        await connection.close()


def _path(kubeconfig: str) -> str:
    path = kubeconfig or os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    if not any(Path(part).is_file() for part in path.split(os.pathsep)):
        raise KubeconfigError(
            f"There is no kubeconfig at {path}", hint="set KUBECONFIG to where it is; in a pod none is needed"
        )
    return path


async def _load(path: str, context: str, settings: Configuration) -> None:
    loader = await config.load_kube_config(path, context or None, settings, persist_config=False)
    settings.refresh_api_key_hook = _refresher(loader.load_and_set)  # type: ignore[assignment]  # declared as None only


def _refresher(
    load: Callable[[Configuration], Awaitable[None]],
) -> Callable[[Configuration], Awaitable[None]]:
    lock, read = asyncio.Lock(), monotonic()

    async def refresh(settings: Configuration) -> None:
        nonlocal read
        async with lock:
            if monotonic() - read > _REFRESH:
                await load(settings)
                read = monotonic()

    return refresh
