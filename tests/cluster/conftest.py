import pytest

from dataimportcron.api.crds import SETTINGS, STANDALONE
from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.documents.dialect import standalone
from dataimportcron.cluster.objects import ClusterObjects
from tests.cluster.fixtures import cluster, namespace
from tests.support.running import all_closed, running

__all__ = ["cluster", "namespace"]


@pytest.fixture(scope="module")
def _defined(cluster):
    cluster.define(*(it.document() for it in (*SETTINGS, *STANDALONE)))


@pytest.fixture
async def connection(cluster):
    async with connected(kubeconfig=str(cluster.kubeconfig)) as made:
        yield made
    await all_closed()


@pytest.fixture
async def objects(_defined, connection):
    """DataVolumes are the cluster's, or its garbage collector would delete the claims that they own."""
    made = ClusterObjects(connection, standalone(await connection.resources_of("cdi.kubevirt.io", "v1beta1")))
    async with running(made.run()):
        yield made


def pytest_collection_modifyitems(items):
    """Tests with a cluster of their own come first: there is one at a time."""
    items.sort(key=lambda item: "cluster" in item.fixturenames)
