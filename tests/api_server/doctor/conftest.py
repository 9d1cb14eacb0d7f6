"""A cluster with the worker installed and nothing of it running, and `doctor` on it."""

import json
from datetime import UTC, datetime

import pytest
import yaml

from deploy.image.build import CHECKOUT
from tests.cluster.control_plane import control_plane as run_control_plane
from tests.support.home import cron_document
from tests.support.temporal import eventually
from worker.doctor.cluster.checks import check
from worker.doctor.finding import Level

CONTEXT, WORKER, GOLDEN = "test", "dataimportcron", "golden-images"
DEPLOY = CHECKOUT / "deploy"
CRON = f"cron {GOLDEN}/fedora-cron"


def now():
    return datetime.now(UTC)  # noqa: TID251 -- the tests' clock


@pytest.fixture(scope="session")
def plane(tmp_path_factory):
    """A cluster with the worker installed as the sample says; nothing of it runs, for there is no node."""
    with run_control_plane(tmp_path_factory.mktemp("doctor")) as running:
        running.kubectl("apply", "-f", str(DEPLOY / "namespace.yaml"))
        running.kubectl("create", "namespace", GOLDEN)
        for folder in ("settings", "standalone", "beside"):
            define(running, folder)
        running.kubectl("apply", "--server-side", "-k", str(DEPLOY / "overlays/standalone"))
        yield running


def define(plane, folder):
    """Apply the definitions of a folder, and wait until they are served."""
    plane.define(*(yaml.safe_load(path.read_text()) for path in (DEPLOY / "crds" / folder).glob("*.yaml")))


@pytest.fixture(autouse=True)
def _environment(plane, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    for name in ("TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE", "DATAIMPORTCRON_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:9")


async def all_findings(at=None):
    return [one async for one in check(CONTEXT, WORKER, at or now())]


async def of(what, at=None):
    """The findings of that name."""
    return [finding for finding in await all_findings(at) if finding.what == what]


async def only(what, at=None):
    [finding] = await of(what, at)
    return finding


async def healed(what, at=None):
    """Wait until nothing of that name is wrong; some of the server's own copies follow a moment later."""

    async def sound():
        return not [finding for finding in await of(what, at) if finding.level is not Level.OK]

    await eventually(sound)


@pytest.fixture
def cron(plane):
    """Makes crons, and removes them at the end."""

    def make(status=None, *, kind="cdi.kubevirt.io", source=None, storage=None, kept=2):
        document = cron_document(importsToKeep=kept) | {"apiVersion": f"{kind}/v1beta1"}
        spec = document["spec"]["template"]["spec"]
        spec["source"]["registry"] |= {"url": "docker://127.0.0.1:9/fedora:latest"} | (source or {})
        spec["storage"] |= storage or {}
        plane.apply(document)
        if status:
            patch = json.dumps({"status": status})
            where = (f"dataimportcrons.{kind}", "fedora-cron", "-n", GOLDEN)
            plane.kubectl("patch", *where, "--type=merge", "--subresource=status", "-p", patch)

    yield make
    for kind in ("cdi.kubevirt.io", "dataimportcron.io"):
        plane.kubectl("delete", "--all", f"dataimportcrons.{kind}", "-n", GOLDEN)


@pytest.fixture
def _beside(plane):
    """CDI comes."""
    plane.apply({"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "CDI", "metadata": {"name": "cdi"}, "spec": {}})
    yield
    plane.kubectl("delete", "cdi", "cdi")


def lease(plane, name, namespace, renewed, holder="worker-1"):
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": f"{renewed:%Y-%m-%dT%H:%M:%S.%fZ}"}
    kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    plane.apply(kind | {"metadata": {"name": name, "namespace": namespace}, "spec": spec})
