"""The settings of a cluster's worker, and what CDI's configuration adds."""

from __future__ import annotations

import pytest

from dataimportcron.cluster.registries.cdi_config import CdiConfig, read_cdi_config
from dataimportcron.cluster.registries.settings import IMAGE_VARIABLE, ClusterSettings, read_settings
from dataimportcron.errors import InvalidObjectError, MissingDependencyError
from worker.cluster import pod_settings


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "settings.toml"
        path.write_text(text)
        return str(path)

    return write


def test_every_key_is_optional(file):
    assert read_settings(file("")) == ClusterSettings()


def test_what_is_given_is_taken(file):
    settings = read_settings(
        file("""
namespace = "golden"
insecure_registries = ["registry.example:5000"]
filesystem_overhead = { "" = "0.06", fast = "0" }
[import_pods]
node_selector = { disk = "fast" }
tolerations = [{ key = "vm", operator = "Exists" }]
resources = { limits = { memory = "600M" } }
""")
    )
    assert settings.namespace == "golden"
    assert settings.filesystem_overhead == {"": "0.06", "fast": "0"}
    assert settings.import_pods.node_selector == {"disk": "fast"}
    assert settings.import_pods.tolerations == ({"key": "vm", "operator": "Exists"},)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("poll_jiter = 1", "poll_jiter"),
        ("poll_jitter = -1", "poll_jitter"),
        ("poll_jitter = '1'", "poll_jitter"),
        ("concurrent_lookups = 0", "concurrent_lookups"),
        ("insecure_registries = ['http://x/y']", "insecure_registries.0"),
        ("filesystem_overhead = { fast = '2' }", "filesystem_overhead.fast"),
        ("[import_pods]\nnodeSelector = {}", "import_pods.nodeSelector"),
        ("x = = y", "settings.toml"),
    ],
)
def test_what_is_not_ours_is_named(file, text, words):
    with pytest.raises(InvalidObjectError, match=words):
        read_settings(file(text))


def test_a_named_file_must_be_there(tmp_path):
    with pytest.raises(MissingDependencyError, match="no settings file"):
        read_settings(str(tmp_path / "absent"))


def test_cdis_configuration_is_read_as_its_operator_writes_it():
    config = {
        "spec": {"insecureRegistries": ["fakeregistry:5000"], "filesystemOverhead": {"global": "0.1"}},
        "status": {
            "filesystemOverhead": {"global": "0.06", "storageClass": {"local": "0.055"}},
            "defaultPodResourceRequirements": {"limits": {"cpu": "750m", "memory": "600M"}},
            "importProxy": {"HTTPProxy": "http://p:1", "HTTPSProxy": "", "noProxy": "x", "trustedCAProxy": "ca"},
            "imagePullSecrets": [{"name": "pull"}],
            "preallocation": True,
        },
    }
    assert read_cdi_config(config) == CdiConfig(
        insecure_registries=frozenset({"fakeregistry:5000"}),
        proxies=(("HTTP_PROXY", "http://p:1"), ("NO_PROXY", "x")),
        trusted_ca="ca",
        overheads={"": "0.06", "local": "0.055"},
        resources={"limits": {"cpu": "750m", "memory": "600M"}},
        preallocation=True,
        image_pull_secrets=("pull",),
    )


@pytest.mark.parametrize("config", [{}, {"spec": None, "status": None}, {"spec": {"insecureRegistries": "x"}}])
def test_a_configuration_that_says_nothing_changes_nothing(config):
    assert read_cdi_config(config) == CdiConfig()


def test_import_pods_have_the_proxies_of_the_worker(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv(IMAGE_VARIABLE, "registry.example/dataimportcron@sha256:0")
    assert pod_settings(ClusterSettings()).environment == {}
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", ".svc")
    assert pod_settings(ClusterSettings()).environment == {
        "HTTPS_PROXY": "http://proxy.example:3128",
        "NO_PROXY": ".svc",
    }
