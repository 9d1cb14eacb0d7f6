import pytest

from dataimportcron.api.crds import BESIDE, SETTINGS, STANDALONE
from tests.cluster.fixtures import control_plane

__all__ = ["control_plane"]


@pytest.fixture(scope="session")
def api(control_plane):
    """A control plane that serves the kinds of both groups."""
    control_plane.define(*(it.document() for it in (*SETTINGS, *STANDALONE, *BESIDE)))
    for namespace in ("golden-images", "openshift-virtualization-os-images"):
        control_plane.kubectl("create", "namespace", namespace)
    return control_plane
