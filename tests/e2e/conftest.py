import pytest

from demo.host import host
from demo.registry import client, registry
from demo.story import trust


@pytest.fixture
def running_registry(tmp_path):
    with registry(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def http(running_registry):
    with client(running_registry) as opened:
        yield opened


@pytest.fixture
def home(tmp_path, running_registry):
    with host(tmp_path / "state") as prepared:
        prepared.mirror("quay.io", running_registry)
        trust(prepared, running_registry.ca, tmp_path)
        yield prepared
