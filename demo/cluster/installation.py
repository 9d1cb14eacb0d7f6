"""The product on a cluster as the demonstration and the tests drive it: installed by kustomize, used by kubectl.

Temporal is the user's own here: its development server runs on the machine, where pods reach it by the machine's
address. What is checked is read from the API server.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from dataimportcron.errors import TransientError
from dataimportcron.host import dev_server
from dataimportcron.host.state.folder import StateFolder
from demo.cluster.forwarding import forwarding
from demo.host import Disappointed, wait_for
from deploy.image.build import CHECKOUT, Image
from tests.cluster.full import Cluster
from tests.cluster.processes import die_with_parent

NAMESPACE: Final = "dataimportcron"
PORT: Final = 7233
"""Temporal's own."""
REPOSITORY: Final = "dataimportcron"
_WORKERS: Final = "app.kubernetes.io/component=worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """How the product is there.

    Attributes:
        name: of the overlay, and of the folder of definitions.
        group: of its crons.
    """

    name: str
    group: str

    @property
    def crons(self) -> str:
        """The resource, as kubectl takes it."""
        return f"dataimportcrons.{self.group}"


_CRDS: Final = CHECKOUT / "deploy" / "crds"
STANDALONE: Final = Mode(name="standalone", group="cdi.kubevirt.io")
BESIDE: Final = Mode(name="beside", group="dataimportcron.io")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Temporal as the workers are told of it.

    Attributes:
        address: where pods reach it.
        components: of deploy/components that say how.
        variables: more of its own ones, as NAME=VALUE.
        secrets: what the components need, in the workers' namespace.
    """

    address: str
    components: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    secrets: tuple[Mapping[str, Any], ...] = ()


class Installation:
    """The product on a cluster.

    Args:
        cluster: that runs.
        work: a folder for what is made here.
        mode: standalone, or beside CDI.
        overlay: of deploy/overlays; "" for that of the mode's name.
        engine: Temporal; None for the one that `temporal` runs.

    Attributes:
        temporal: where this machine reaches Temporal.
    """

    def __init__(
        self, cluster: Cluster, work: Path, mode: Mode, *, overlay: str = "", engine: Engine | None = None
    ) -> None:
        self.cluster = cluster
        self.work = work
        self.mode = mode
        self.temporal = f"{cluster.host}:{PORT}"
        self._base = overlay or mode.name
        self._engine = engine or Engine(address=self.temporal)

    # -- installing --------------------------------------------------------------------------------------------------

    def install(self, image: Image, settings: str = "") -> None:
        """Push the image, and apply definitions and manifests; wait until both workers serve.

        Args:
            image: of `make image`.
            settings: text of the worker's settings.
        """
        digest = self.cluster.push(image.path, f"{REPOSITORY}:{image.about.version}")
        self.define()
        self.cluster.apply(_namespace(NAMESPACE), *self._engine.secrets)
        self.cluster.kubectl("apply", "-k", str(self._overlay(digest, settings)))
        self.wait_ready()

    def define(self) -> None:
        """Apply the definitions of the mode, in the order of docs/operations.md."""
        if self.mode is STANDALONE:
            define_cdis(self.cluster)
        else:
            self.cluster.kubectl("apply", "--server-side", "-f", str(_CRDS / "beside"))
            self.cluster.wait("condition=Established", "crd", self.mode.crons)

    def wait_ready(self) -> None:
        """Wait until the workers serve.

        Raises:
            Disappointed: they do not, with the end of their logs.
        """
        try:
            self.kubectl("rollout", "status", "deployment/dataimportcron", "--timeout=240s")
        except TransientError as error:
            raise Disappointed(f"{error}\n{self.logs()}") from error

    def uninstall(self) -> None:
        """Remove what `install` has applied, but for the definitions."""
        self.cluster.kubectl("delete", "-k", str(self.work / "overlay"), "--ignore-not-found")
        self.cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")

    def _overlay(self, digest: str, settings: str) -> Path:
        """An administrator's own overlay: image, Temporal, settings."""
        folder = self.work / "overlay"
        folder.mkdir(exist_ok=True)
        (folder / "settings.toml").write_text(f'certs_dir = "/etc/dataimportcron-certs"\npoll_jitter = 0\n{settings}')
        registry, ca = self.cluster.registry, self.cluster.registry_ca.read_text()
        hosts = f'server = "https://{registry}"\n\n[host."https://{registry}"]\ncapabilities = ["pull", "resolve"]\n'
        (folder / "hosts.toml").write_text(f'{hosts}ca = "ca.crt"\n')
        (folder / "ca.crt").write_text(ca)
        deploy = os.path.relpath(CHECKOUT / "deploy", folder)  # kustomize takes no absolute paths
        image = f"{registry}/{REPOSITORY}"
        overlay = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": NAMESPACE,
            "resources": [f"{deploy}/overlays/{self._base}"],
            "components": [f"{deploy}/components/{name}" for name in self._engine.components],
            "configMapGenerator": [
                {"name": "dataimportcron-settings", "behavior": "merge", "files": ["settings.toml"]},
                {"name": "dataimportcron-certs", "files": ["hosts.toml", "ca.crt"]},
                {
                    "name": "dataimportcron-temporal",
                    "behavior": "merge",
                    "literals": [f"TEMPORAL_ADDRESS={self._engine.address}", *self._engine.variables],
                },
            ],
            "images": [{"name": "localhost/dataimportcron", "newName": image, "digest": digest}],
            "patches": [{"target": {"kind": "Deployment"}, "patch": yaml.safe_dump(_of_workers(registry))}],
            "replacements": [
                {
                    "source": {
                        "kind": "Deployment",
                        "name": "dataimportcron",
                        "fieldPath": "spec.template.spec.containers.[name=worker].image",
                    },
                    "targets": [
                        {
                            "select": {"kind": "Deployment", "name": "dataimportcron"},
                            "fieldPaths": [
                                "spec.template.spec.containers.[name=worker].env.[name=DATAIMPORTCRON_IMAGE].value"
                            ],
                        }
                    ],
                }
            ],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay, sort_keys=False))
        return folder

    # -- using -------------------------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, document: Any = None) -> str:  # noqa: ANN401 -- as `Access` takes it
        """Run kubectl in the product's namespace."""
        return self.cluster.kubectl("-n", NAMESPACE, *arguments, document=document)

    def logs(self, tail: int = 60) -> str:
        """The ends of the workers' logs."""
        return self.kubectl("logs", "-l", _WORKERS, f"--tail={tail}", "--prefix", "--ignore-errors")

    def workers(self) -> list[dict[str, Any]]:
        """The workers' pods that are not being deleted."""
        pods = self.cluster.get("pods", "-l", _WORKERS, "-n", NAMESPACE)["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def evict(self, pod: str) -> None:
        """Ask for the eviction of a worker's pod, as who drains a node does.

        Raises:
            TransientError: it is refused, with the API server's words.
        """
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
        metadata = {"name": pod, "namespace": NAMESPACE}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        self.kubectl("create", "--raw", path, "-f", "-", document=eviction)

    def dataimportcron(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of our own commands against the cluster, as on an administrator's machine.

        Raises:
            Disappointed: it fails, and `check` is set.
        """
        done = subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            env=os.environ
            | {
                "KUBECONFIG": str(self.cluster.kubeconfig),
                "DATAIMPORTCRON_CONTEXT": _context(self.cluster.kubeconfig),
                "TEMPORAL_ADDRESS": self.temporal,
                "NO_PROXY": self.cluster.host,
                "PYTHONPATH": str(CHECKOUT),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        if check and done.returncode:
            raise Disappointed(
                f"dataimportcron {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def signal(self, workflow_id: str, name: str) -> None:
        """Send a signal by Temporal's own command line."""
        command = [str(dev_server.program()), "workflow", "signal", "--workflow-id", workflow_id, "--name", name]
        subprocess.run(
            [*command, "--address", self.temporal], check=True, capture_output=True, env=_without_proxy(), timeout=60
        )

    @property
    def site(self) -> str:
        """Of the cluster, in its executions' ids."""
        return str(self.cluster.get("namespace", "kube-system")["metadata"]["uid"])[:8]

    # -- looking -----------------------------------------------------------------------------------------------------

    def cron(self, namespace: str, name: str) -> dict[str, Any]:
        """A DataImportCron."""
        found: dict[str, Any] = self.cluster.get(self.mode.crons, name, "-n", namespace)
        return found

    def points_to(self, namespace: str, name: str) -> str:
        """The claim that a ready DataSource points to, "" while it is not ready."""
        try:
            found = self.cluster.get("datasource", name, "-n", namespace)
        except TransientError:
            return ""
        ready = condition(found, "Ready")
        return str((found["spec"]["source"].get("pvc") or {}).get("name", "")) if ready[0] == "True" else ""

    def claims(self, namespace: str) -> list[str]:
        """Names of the claims that are not being deleted."""
        items = self.cluster.get("pvc", "-n", namespace)["items"]
        return [item["metadata"]["name"] for item in items if "deletionTimestamp" not in item["metadata"]]

    def digest_of_disk(self, namespace: str, claim: str, size: int) -> str:
        """The sha256 of the first `size` bytes of a disk, read by a pod as KubeVirt would: as user 107."""
        pod = _reader(namespace, claim, size, f"{self.cluster.registry}/busybox:1")
        name = pod["metadata"]["name"]
        self.cluster.apply(pod)
        try:
            self.cluster.wait("jsonpath={.status.phase}=Succeeded", f"pod/{name}", "-n", namespace, seconds=120)
            return self.cluster.log(name, namespace).split()[0]
        finally:
            self.cluster.kubectl("delete", "pod", name, "-n", namespace, "--now")

    def eventually_points_to(self, namespace: str, name: str, claim: str, seconds: float) -> None:
        """Wait until a DataSource is ready and points to a claim.

        Raises:
            Disappointed: it does not, with what stands in the cron's namespace and the workers' logs.
        """
        try:
            wait_for(f"DataSource {name} points to {claim}", seconds, lambda: self.points_to(namespace, name) == claim)
        except Disappointed as error:
            seen = self.cluster.kubectl("get", f"{self.mode.crons},datasource,pvc,jobs,pods", "-n", namespace)
            raise Disappointed(f"{error}\n{seen}\n{self.logs()}") from error


def define_cdis(cluster: Cluster) -> None:
    """Apply the definitions of CDI's group, and the object that KubeVirt waits for."""
    cluster.kubectl("apply", "--server-side", "-f", str(_CRDS / "settings"))
    cluster.wait("condition=Established", "crd", "cdiconfigs.cdi.kubevirt.io")
    cluster.kubectl("apply", "--server-side", "-f", str(_CRDS / "settings" / "object"))
    cluster.kubectl("apply", "--server-side", "-f", str(_CRDS / "standalone"))
    cluster.wait("condition=Established", "crd", STANDALONE.crons)


def condition(found: dict[str, Any], kind: str) -> tuple[str, str]:
    """Status and reason of a condition; empty where there is none."""
    conditions = (found.get("status") or {}).get("conditions") or ()
    return next(((c["status"], c.get("reason", "")) for c in conditions if c["type"] == kind), ("", ""))


@contextmanager
def temporal(cluster: Cluster, folder: Path) -> Iterator[str]:
    """Temporal's development server, reached by pods at the machine's address; yields the URL of its UI."""
    state = StateFolder(folder / "temporal")
    state.prepare()
    endpoint = dev_server.choose_endpoint(state)
    with (folder / "temporal.log").open("ab") as log:
        server = subprocess.Popen(
            dev_server.command(state, endpoint),
            stdout=log,
            stderr=log,
            env=_without_proxy(),
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 -- one system call, before any thread of ours
        )
    try:
        dev_server.wait_ready(endpoint)
        with forwarding(cluster.host, PORT, endpoint.port):
            yield endpoint.ui
    finally:
        server.terminate()
        server.wait(20)


def _without_proxy() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")} | {
        "TEMPORAL_VERSION_CHECK_DISABLED": "1"
    }


def _context(kubeconfig: Path) -> str:
    return str(yaml.safe_load(kubeconfig.read_text())["current-context"])


def _namespace(name: str) -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _of_workers(registry: str) -> dict[str, Any]:
    """Mounts the mirror of quay.io, and the registry's own entry, where the settings say; and probes more often."""
    places = ("quay.io", registry)
    items = [{"key": key, "path": f"{place}/{key}"} for place in places for key in ("hosts.toml", "ca.crt")]
    volume = {"name": "certs", "configMap": {"name": "dataimportcron-certs", "items": items}}
    container = {
        "name": "worker",
        "volumeMounts": [{"name": "certs", "mountPath": "/etc/dataimportcron-certs"}],
        # Who looks on, or waits for a test, sees a worker serve as soon as it does.
        "startupProbe": {"periodSeconds": 1, "failureThreshold": 90},
        "readinessProbe": {"periodSeconds": 1},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "dataimportcron"},
        "spec": {"template": {"spec": {"containers": [container], "volumes": [volume]}}},
    }


def _reader(namespace: str, claim: str, size: int, image: str) -> dict[str, Any]:
    disk = {"name": "disk", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"read-{claim}"[:63], "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 107,
                "runAsGroup": 107,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "reader",
                    "image": image,
                    "command": ["sh", "-c", f"head -c {size} /disk/disk.img | sha256sum"],
                    "volumeMounts": [{"name": "disk", "mountPath": "/disk"}],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
            "volumes": [disk],
        },
    }
