"""The fixtures with a Kubernetes in them; the conftest of a folder imports those that its tests use."""

from collections.abc import Iterator

import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.control_plane import control_plane as run_control_plane


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane without nodes; a test that disturbs it runs its own by `run_control_plane`."""
    with run_control_plane(tmp_path_factory.mktemp("control-plane")) as running:
        yield running
