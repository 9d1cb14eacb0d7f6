"""A cluster as it is deployed, for all tests of this folder: the worker's service account, users with certificates."""

import asyncio
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.api_server.authorisation.stand import in_force, install, stand, worker_kubeconfig
from tests.cluster.control_plane import control_plane as run_control_plane


@pytest.fixture(scope="session")
def plane(tmp_path_factory):
    """A control plane of its own: its policy writes on all DataVolumes."""
    with run_control_plane(tmp_path_factory.mktemp("authorisation")) as running:
        install(running)
        yield running


@pytest.fixture(scope="session")
def kubeconfigs(plane):
    people = [plane.authority.kubeconfig(plane.url, name) for name in ("alice", "bob")]
    return [plane.kubeconfig, worker_kubeconfig(plane), *people]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(plane, kubeconfigs):
    async with AsyncExitStack() as stack:
        yield await stand(stack, plane, kubeconfigs)
    await asyncio.sleep(0.25)  # TLS connections end after they are closed, says aiohttp


@pytest_asyncio.fixture(loop_scope="session")
async def at(shared):
    await in_force(shared)
    yield shared
    await shared.clear()
