"""A Kubernetes control plane without nodes: etcd, API server, controller manager, scheduler, as processes on loopback.

It needs neither root nor a container runtime, starts in seconds, and several run side by side. The cluster with a node
runs the same programs with the same arguments.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.cluster import rights
from tests.cluster.access import USER, Access
from tests.cluster.binaries import binaries
from tests.cluster.certificates import Authority, make_signing_pair
from tests.cluster.processes import Processes

API_SERVER: Final = "kube-apiserver"
LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a control plane listens.

    Attributes:
        api: the API server's address.
        port: its port.
        etcd: etcd's two ports, on loopback.
        services: the range of the services' addresses.
        pods: that of the pods'.
    """

    api: str
    port: int
    etcd: tuple[int, int]
    services: str = "198.19.0.0/24"
    pods: str = "198.18.0.0/24"

    @property
    def url(self) -> str:
        """Of the API server."""
        return f"https://{self.api}:{self.port}"


class ControlPlane(Access):
    """A control plane that runs.

    Attributes:
        processes: to stop and restart its parts.
        authority: which all its certificates are of.
    """

    def __init__(self, folder: Path, addresses: Addresses, processes: Processes) -> None:
        super().__init__(folder, addresses.url)
        self.addresses = addresses
        self.processes = processes
        self.authority = Authority(folder / "pki")
        self._signing = make_signing_pair(self.authority.folder)
        self.authority.kubeconfig(self.url, "admin", "system:masters")
        self.authority.kubeconfig(self.url, USER)

    def start(self) -> None:
        """Start, until objects can be made.

        Raises:
            TransientError: a part ends, or it takes too long.
        """
        self.processes.start("etcd", self._etcd())
        self.processes.start(API_SERVER, self._api_server())
        self.wait_ready()
        self.processes.start("kube-controller-manager", self._controller_manager())
        self.processes.start("kube-scheduler", self._scheduler())
        # A namespace is usable when the controller manager has given it its service account.
        self._wait_for("/api/v1/namespaces/default/serviceaccounts/default", "the default service account")

    def wait_ready(self) -> None:
        """Wait until the API server says that it is."""
        self._wait_for("/readyz", "the API server is ready")

    def _wait_for(self, path: str, what: str) -> None:
        """Wait until there is something at a path."""

        def is_there() -> bool:
            with suppress(httpx.TransportError):
                return self.http.get(path, timeout=2).is_success
            return False

        self.processes.wait_until(what, is_there)

    def _etcd(self) -> list[str]:
        client, peer = (f"http://{LOOPBACK}:{port}" for port in self.addresses.etcd)
        return [
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _api_server(self) -> list[str]:
        issue, addresses = self.authority, self.addresses
        first = f"{addresses.services.rpartition('.')[0]}.1"
        within = "kubernetes.default.svc"
        certificate, key = issue.server(
            API_SERVER, "localhost", "kubernetes", "kubernetes.default", within, f"{within}.cluster.local",
            addresses.api, first,
        )  # fmt: skip
        kubelet_certificate, kubelet_key = issue.client("kubelet-client", "kubelet-client", "system:masters")
        public, private = self._signing
        return [
            API_SERVER,
            f"--etcd-servers=http://{LOOPBACK}:{addresses.etcd[0]}",
            f"--bind-address={addresses.api}",
            f"--advertise-address={addresses.api}",
            f"--secure-port={addresses.port}",
            # The kubernetes service may not lead to loopback; without a node nobody asks for it.
            f"--endpoint-reconciler-type={'none' if addresses.api == LOOPBACK else 'lease'}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--client-ca-file={issue.certificate}",
            f"--tls-cert-file={certificate}",
            f"--tls-private-key-file={key}",
            f"--kubelet-certificate-authority={issue.certificate}",
            f"--kubelet-client-certificate={kubelet_certificate}",
            f"--kubelet-client-key={kubelet_key}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer=https://{within}",
            f"--service-account-key-file={public}",
            f"--service-account-signing-key-file={private}",
            f"--service-cluster-ip-range={addresses.services}",
            f"--audit-policy-file={self._audit_policy()}",
            f"--audit-log-path={self.audit_log}",
        ]

    @property
    def audit_log(self) -> Path:
        """What service accounts have asked for, see `rights`."""
        return self.folder / "audit.log"

    def _audit_policy(self) -> Path:
        path = self.folder / "audit-policy.json"
        path.write_text(json.dumps(rights.POLICY))
        return path

    def _controller_manager(self) -> list[str]:
        issue = self.authority
        kubeconfig = issue.kubeconfig(self.url, "system:kube-controller-manager", name="controller-manager")
        return [
            "kube-controller-manager",
            f"--kubeconfig={kubeconfig}",
            "--secure-port=0",
            "--leader-elect=false",
            # Each of its controllers asks for a token first, which at twenty a second takes longer than all the rest.
            "--kube-api-qps=500",
            "--kube-api-burst=500",
            "--use-service-account-credentials",
            f"--service-account-private-key-file={self._signing[1]}",
            f"--root-ca-file={issue.certificate}",
            f"--cluster-signing-cert-file={issue.certificate}",
            f"--cluster-signing-key-file={issue.key}",
            f"--cluster-cidr={self.addresses.pods}",
            f"--service-cluster-ip-range={self.addresses.services}",
        ]

    def _scheduler(self) -> list[str]:
        kubeconfig = self.authority.kubeconfig(self.url, "system:kube-scheduler", name="scheduler")
        return ["kube-scheduler", f"--kubeconfig={kubeconfig}", "--secure-port=0", "--leader-elect=false"]


@contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    """Run a control plane on free ports of loopback, until the end of the context.

    Args:
        folder: an empty one; its etcd is gone at the end, logs and kubeconfigs stay.

    Raises:
        MissingDependencyError: its programs must be built, and there is no Go.
        TransientError: it does not start.
    """
    api, *etcd = _free_ports(3)
    processes = Processes(folder / "logs", [binaries("control-plane")])
    try:
        running = ControlPlane(folder, Addresses(api=LOOPBACK, port=api, etcd=(etcd[0], etcd[1])), processes)
        with closing(running):
            running.start()
            yield running
    finally:
        processes.kill_all()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
