"""Real registries, locked in several ways, and one that does as it is told."""

import httpx
import pytest

from tests.support.fault_registry import fault_registry
from tests.support.stocked import HTPASSWD, ROBOT, Bearer, stocked
from tests.support.token_server import token_server


@pytest.fixture(autouse=True)
def _direct(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def secure(tmp_path_factory):
    """With TLS, open to everybody."""
    with stocked(tmp_path_factory.mktemp("secure")) as found:
        yield found


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """Without TLS, open to everybody."""
    with stocked(tmp_path_factory.mktemp("plain"), tls=False) as found:
        yield found


@pytest.fixture(scope="session")
def basic(tmp_path_factory):
    """With TLS and Basic authentication."""
    folder = tmp_path_factory.mktemp("basic")
    (folder / "htpasswd").write_text(HTPASSWD)
    auth = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    with stocked(folder, registry_auth=auth, auth=httpx.BasicAuth(ROBOT.username, ROBOT.password)) as found:
        yield found


@pytest.fixture(scope="session")
def tokens(tmp_path_factory):
    """A token server."""
    with token_server(tmp_path_factory.mktemp("tokens"), {ROBOT.username: ROBOT.password}) as running:
        yield running


@pytest.fixture(scope="session")
def guarded(tmp_path_factory, tokens):
    """With TLS and tokens; everything needs a user."""
    folder = tmp_path_factory.mktemp("guarded")
    auth = Bearer(tokens, "private/disk")
    with stocked(folder, repository="private/disk", registry_auth=tokens.registry_auth, auth=auth) as found:
        yield found


@pytest.fixture
def faults():
    """Over plain http, which it must be allowed."""
    with fault_registry() as running:
        yield running


@pytest.fixture
def secure_faults(tmp_path):
    """Over https."""
    with fault_registry(tmp_path / "certificates") as running:
        yield running
