"""The overlay for one namespace: Roles only, beside CDI, told what it may not find out."""

from contextlib import ExitStack

import pytest
import yaml

from demo.cluster.__main__ import registry_client
from demo.cluster.beside import playing_cdi
from demo.cluster.installation import BESIDE, NAMESPACE, Installation, condition, temporal
from demo.push import Image, disk_layer, push
from deploy.image.build import CHECKOUT, build, cache
from tests.cluster import rights
from tests.cluster.installed import WORKER, cron, leave_nothing
from tests.cluster.rights import Right

SITE = "one-namespace"
TOLD = f'namespace = "{NAMESPACE}"\nmode = "beside"\nsite = "{SITE}"\n'
MAY_NOT_KNOW = {
    Right("storage.k8s.io", "storageclasses", "list"),
    Right("snapshot.storage.k8s.io", "volumesnapshotclasses", "list"),
    Right("cdi.kubevirt.io", "storageprofiles", "get"),
    Right("cdi.kubevirt.io", "cdiconfigs", "get"),
}
"""Asked for, and done without: the cluster chooses the class, and CDI's configuration is not obeyed."""


@pytest.fixture
def place(cluster, tmp_path, monkeypatch):
    with ExitStack() as stack:
        stack.enter_context(temporal(cluster, tmp_path))
        stack.enter_context(playing_cdi(cluster))
        made = Installation(cluster, tmp_path, BESIDE, overlay="namespaced")
        stack.callback(leave_nothing, made)
        made.install(build(CHECKOUT, cache()), TOLD)
        # The commands are told the same as the worker.
        monkeypatch.setenv("DATAIMPORTCRON_SETTINGS", str(tmp_path / "overlay" / "settings.toml"))
        yield made


def test_one_namespace_is_served_with_roles_alone(place, cluster, namespace, tmp_path):
    since = len((cluster.folder / "audit.log").read_text().splitlines())
    (tmp_path / "disk.img").write_bytes(b"golden" * 100_000)
    with registry_client(cluster) as http:
        digest = push(http, "one/disk", "latest", Image(layers=(disk_layer(tmp_path / "disk.img", tmp_path),)))
    cluster.apply(*(cron(place, where, "quay.io/one/disk") for where in (NAMESPACE, namespace)))
    cluster.wait("condition=Ready", f"{BESIDE.crons}/golden", "-n", NAMESPACE, seconds=240)
    place.eventually_points_to(NAMESPACE, "golden", f"golden-{digest.removeprefix('sha256:')[:12]}", 120)
    assert "UpToDate" in place.dataimportcron("poll", "golden", "-n", NAMESPACE).stdout
    assert condition(place.cron(namespace, "golden"), "Ready") == ("", "")

    manifests = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(tmp_path / "overlay"))))
    done = rights.audited(cluster.folder / "audit.log", WORKER, since)
    assert done.allowed <= rights.granted(manifests, "dataimportcron")
    assert done.refused <= MAY_NOT_KNOW
