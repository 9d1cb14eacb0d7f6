"""What a registry is read with: Secret and ConfigMap, as values and as files that nobody else reads."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler

import pytest

from dataimportcron.api.types import KINDS
from dataimportcron.errors import InvalidObjectError, MissingDependencyError
from dataimportcron.host.access import HostAccess
from dataimportcron.host.source import HostSource
from dataimportcron.reference import Reference
from dataimportcron.values import ImageSource
from tests.support.loopback import serve

NAMESPACE = "golden"
REFERENCE = Reference.parse("registry.example/disks:latest")


@pytest.fixture
def access(store, state):
    return HostAccess(store, state)


def image(**fields):
    return ImageSource(namespace=NAMESPACE, url="docker://registry.example/disks:latest", **fields)


def apply(store, kind, name, **members):
    """Stored by the back door: what an API server would have refused must do no harm either."""
    metadata = {"name": name, "namespace": NAMESPACE}
    store.create(KINDS[kind].model_validate({"metadata": metadata, **members}))


def encoded(text):
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def secret(store):
    apply(store, "Secret", "pull", data={"accessKeyId": encoded("me")}, stringData={"secretKey": "pa55"})


@pytest.mark.usefixtures("secret")
def test_what_is_missing_is_named(access):
    with pytest.raises(MissingDependencyError, match="Secret golden/absent, named by secretRef, does not exist"):
        access.dependencies(image(secret="absent"))
    with pytest.raises(MissingDependencyError, match="ConfigMap golden/absent, named by certConfigMap"):
        access.dependencies(image(secret="pull", cert_config_map="absent"))


async def test_a_poll_names_what_is_missing(access, state):
    with pytest.raises(MissingDependencyError, match="ConfigMap golden/absent"):
        await HostSource(access, state).resolve(image(cert_config_map="absent"))


async def test_only_registries_and_archives_are_polled(access, state):
    with pytest.raises(InvalidObjectError, match=r"https://x/y cannot be polled"):
        await HostSource(access, state).resolve(ImageSource(namespace=NAMESPACE, url="https://x/y"))


@pytest.mark.usefixtures("secret")
def test_credentials_of_a_secret(access):
    found = access.registry_access(image(secret="pull"), REFERENCE).credentials["registry.example"]
    assert (found.username, found.password) == ("me", "pa55")


@pytest.mark.usefixtures("secret")
def test_nothing_shows_a_password(access):
    assert "pa55" not in repr(access.dependencies(image(secret="pull")))
    assert "pa55" not in repr(access.registry_access(image(secret="pull"), REFERENCE))


def test_only_certificates_of_a_config_map(access, store):
    data = {"ca.crt": "PEM1", "README": "no certificate"}
    apply(store, "ConfigMap", "certs", data=data, binaryData={"b.pem": encoded("PEM2")})
    assert access.dependencies(image(cert_config_map="certs")).certificates == {"ca.crt": b"PEM1", "b.pem": b"PEM2"}


def test_a_value_that_is_not_base64(access, store):
    apply(store, "Secret", "pull", data={"accessKeyId": "not base64!"})
    with pytest.raises(InvalidObjectError, match="Secret golden/pull: the value of accessKeyId is not base64"):
        access.dependencies(image(secret="pull"))


@pytest.mark.usefixtures("secret")
def test_the_importer_gets_private_files_for_as_long_as_it_runs(access, store):
    config = json.dumps({"auths": {}})
    apply(store, "ConfigMap", "certs", data={"ca.crt": "PEM", ".dockerconfigjson": config})
    with access.folder(image(secret="pull", cert_config_map="certs")) as (options, folder):
        named = dict(zip(options[::2], options[1::2], strict=True))
        assert sorted(named) == ["--cert-dir", "--secret-dir"]
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        assert sorted(files) == ["cert-dir/ca.crt", "secret-dir/accessKeyId", "secret-dir/secretKey"]
        assert files["secret-dir/secretKey"].read_text() == "pa55"
        assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o600}
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


@pytest.mark.usefixtures("secret")
def test_what_a_killed_worker_left_is_removed_and_what_is_in_use_stays(access, state):
    with access.folder(image(secret="pull")) as (_, mine):
        left = state.run / "import-left"
        (left / "secret-dir").mkdir(parents=True)
        (left / "secret-dir" / "secretKey").write_text("pa55")
        with access.folder(image(secret="pull")) as (_, other):
            assert not left.exists()
            assert mine != other
            assert (mine / "secret-dir" / "secretKey").exists()
    assert list(state.run.glob("import-*")) == []


@pytest.mark.parametrize("key", ["../../escaped.crt", "a/b.crt", "a\0b.crt"])
def test_a_key_never_leaves_the_folder(access, store, state, key):
    apply(store, "ConfigMap", "certs", data={key: "PEM"})
    with pytest.raises(InvalidObjectError, match="is no key of a Secret or ConfigMap"):
        access.folder(image(cert_config_map="certs")).__enter__()
    assert list(state.path.rglob("*escaped*")) == []


def test_settings_reach_the_importer(access, state, tmp_path):
    (state.path / "certs.d").mkdir()
    settings = f'certs_dirs = ["{tmp_path}"]\ninsecure_registries = ["localhost:5000"]\n'
    (state.path / "settings.toml").write_text(settings)
    expected = ["--mirrors", str(state.path / "certs.d"), "--mirrors", str(tmp_path)]
    with access.folder(image()) as (options, folder):
        assert options == [
            "--secret-dir",
            str(folder / "secret-dir"),
            *expected,
            "--insecure-registry",
            "localhost:5000",
        ]


class OneManifest(BaseHTTPRequestHandler):
    """A registry that knows one manifest, and counts who connects."""

    protocol_version = "HTTP/1.1"
    connections = 0

    def setup(self):
        type(self).connections += 1
        super().setup()

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Docker-Content-Digest", f"sha256:{'a' * 64}")
        self.send_header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        self.send_header("Content-Length", "2")
        self.end_headers()

    def log_message(self, *_):
        """Not to the terminal."""


async def test_lookups_share_a_connection(access, state):
    source = HostSource(access, state)
    with serve(OneManifest) as where:
        folder = state.path / "certs.d" / "_default"
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(f'server = "http://{where}"\n')
        for _ in range(5):
            assert (await source.resolve(image())).digest == f"sha256:{'a' * 64}"
        source.close()
    assert OneManifest.connections == 1
