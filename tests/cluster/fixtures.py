"""The fixtures with a Kubernetes in them; the conftest of a folder imports those that its tests use."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.control_plane import control_plane as run_control_plane
from tests.cluster.full import Cluster, is_up
from tests.cluster.full import cluster as run_cluster
from tests.cluster.images import busybox
from tests.cluster.traces import assert_no_new_traces, traces


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane without nodes; a test that disturbs it runs its own by `run_control_plane`."""
    with run_control_plane(tmp_path_factory.mktemp("control-plane")) as running:
        yield running


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster with a node, and a busybox in its registry as `busybox:1`."""
    before = None if is_up() else traces()
    with run_cluster() as running:
        archive = running.folder / "busybox.tar"
        busybox(archive)
        running.push(archive, "busybox:1")
        yield running
    if before is not None:
        assert_no_new_traces(before)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own, with Pod Security `restricted` enforced."""
    name = f"test-{uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    yield name
    cluster.delete("namespace", name)
