import pytest

from dataimportcron.api.crds import BESIDE, SETTINGS, STANDALONE
from tests.cluster.fixtures import control_plane
from tests.support.admission import as_list

__all__ = ["control_plane"]


@pytest.fixture(scope="session")
def api(control_plane):
    """A control plane that serves the kinds of both groups."""
    definitions = [*SETTINGS, *STANDALONE, *BESIDE]
    control_plane.kubectl("apply", "--server-side", "-f", "-", document=as_list(it.document() for it in definitions))
    names = [f"crd/{definition.name}" for definition in definitions]
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
    for namespace in ("golden-images", "openshift-virtualization-os-images"):
        control_plane.kubectl("create", "namespace", namespace)
    return control_plane
