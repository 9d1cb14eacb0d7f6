"""The node, seen from inside: process 1 of namespaces that are the cluster's alone.

    python -m tests.cluster.node FOLDER

It mounts what belongs to the namespaces, starts everything, says so on its standard output, and restarts what ends.
With it the kernel ends all others, and takes mounts, links and rules away.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import yaml

from tests.cluster import images
from tests.cluster.binaries import PARTS, binaries
from tests.cluster.certificates import Authority
from tests.cluster.control_plane import ControlPlane
from tests.cluster.node_files import (
    ADDRESSES,
    BRIDGE,
    NODE,
    REGISTRY,
    RUNTIME,
    trust,
    write_containerd,
    write_dns,
    write_kubelet,
    write_proxy,
    write_registry,
)
from tests.cluster.processes import Processes

UPLINK: Final = "uplink"
"""The node's end of the link to the machine."""
PRIVATE: Final = ("/run", "/var/lib", "/var/log")
"""Where the node's programs write whatever they are told."""
DRIVERS: Final = {"csi.test": True, "kubevirt.io.hostpath-provisioner": False}
"""CSI drivers, and whether they clone and snapshot."""

_CGROUPS: Final = Path("/sys/fs/cgroup")
_SYSCTLS: Final = {
    "kernel/keys/root_maxbytes": "25000000",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
}
"""What the kubelet wants of a machine that is its own."""


def isolate() -> None:
    """Mount what shows the namespaces instead of the machine, and what may be written."""
    _mount("--make-rshared", "/")  # with the namespace's mounts alone: the kubelet's reach its pods
    _mount("-t", "proc", "proc", "/proc")
    _mount("-t", "sysfs", "sysfs", "/sys")
    _mount_cgroups()
    for folder in PRIVATE:
        _mount("-t", "tmpfs", "tmpfs", folder)
    # A sysctl that has its value already is not written: these are the whole machine's.
    for name, value in _SYSCTLS.items():
        stand_in = Path("/run/sysctl") / name.replace("/", ".")
        stand_in.parent.mkdir(exist_ok=True)
        stand_in.write_text(value)
        _mount("--bind", str(stand_in), f"/proc/sys/{name}")


def _mount_cgroups() -> None:
    """The machine's hierarchies, each from the cluster's group on."""
    hierarchies = [line.split(":")[1] for line in Path("/proc/self/cgroup").read_text().splitlines()]
    if hierarchies == [""]:
        _mount("-t", "cgroup2", "cgroup2", str(_CGROUPS))
        # Version 2 gives its controllers to groups below one that has no process.
        leaf = _CGROUPS / "node"
        leaf.mkdir()
        (leaf / "cgroup.procs").write_text("0")
        controllers = (_CGROUPS / "cgroup.controllers").read_text().split()
        (_CGROUPS / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in controllers))
        return
    _mount("-t", "tmpfs", "tmpfs", str(_CGROUPS))
    for controllers in hierarchies:
        folder = _CGROUPS / (controllers.removeprefix("name=") or "unified")
        folder.mkdir()
        if not controllers:
            _mount("-t", "cgroup2", "cgroup2", str(folder))
        else:
            options = f"none,{controllers}" if controllers.startswith("name=") else controllers
            _mount("-t", "cgroup", "-o", options, "cgroup", str(folder))


def join_network() -> None:
    """Make the pods' bridge, and put the link to the machine into it; there is no route beyond."""
    deadline = time.monotonic() + 20
    while not Path(f"/sys/class/net/{UPLINK}").exists():
        if time.monotonic() > deadline:
            sys.exit(f"no link named {UPLINK} has come")
        time.sleep(0.01)
    _ip("link", "set", "lo", "up")
    # A fixed hardware address, or it changes with each pod and connections hang.
    _ip("link", "add", BRIDGE, "address", "02:00:00:00:00:01", "type", "bridge")
    _ip("addr", "add", f"{ADDRESSES.api}/24", "dev", BRIDGE)
    _ip("link", "set", UPLINK, "master", BRIDGE, "up")
    _ip("link", "set", BRIDGE, "up")
    # Services have no interface; a route is what lets their packets reach the rules that send them on.
    _ip("route", "add", ADDRESSES.services, "dev", BRIDGE)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


class Node:
    """Starts the cluster on this node.

    Attributes:
        folder: the cluster's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes = Processes(folder / "logs", [binaries(part) for part in PARTS])
        self._plane = ControlPlane(folder, ADDRESSES, self._processes)

    def start(self) -> None:
        """Start all, until pods with volumes can run.

        Raises:
            TransientError: a part ends, or it takes too long.
        """
        self._start_runtime()
        self._plane.start()
        self._start_kubelet()
        self._plane.define(*yaml.safe_load_all((binaries("node") / "snapshot-crds.yaml").read_text()))
        self._plane.kubectl("apply", "-f", str(Path(__file__).with_name("starting_objects.yaml")))
        self._start_storage()
        self._wait_ready()

    def stay(self) -> None:
        """Reap orphans and restart what ends, for ever."""
        while True:
            pid, _ = os.waitpid(-1, 0)
            name = self._processes.name_of(pid)
            if name is not None:
                time.sleep(0.5)
                self._processes.restart(name)

    def _start_runtime(self) -> None:
        authority = Authority(self.folder / "registry-pki", "registry")
        server = authority.server("registry", ADDRESSES.api, "localhost")
        # Alone in its folder: clients take one with a key in it for a client's certificate.
        ca = self.folder / "registry-ca" / "ca.crt"
        ca.parent.mkdir()
        shutil.copy(authority.certificate, ca)
        self._processes.start("registry", ["docker-registry", "serve", str(write_registry(self.folder, server))])
        trust(self.folder / "certs.d", REGISTRY, ca)
        trust(self.folder / "certs.d", REGISTRY, ca, mirror_of="quay.io")
        self._processes.start("containerd", ["containerd", "--config", str(write_containerd(self.folder))])

    def _start_kubelet(self) -> None:
        pause = self.folder / "pause.tar"
        images.pause(pause)
        self._processes.wait_until("containerd takes the pause image", lambda: self._imports(pause))
        issue = self._plane.authority
        server = issue.server("kubelet-server", NODE, ADDRESSES.api)
        kubeconfig = issue.kubeconfig(self._plane.url, f"system:node:{NODE}", "system:nodes", name="kubelet")
        self._processes.start("kubelet", [
            "kubelet",
            f"--config={write_kubelet(self.folder, issue.certificate, server)}",
            f"--hostname-override={NODE}",
            f"--kubeconfig={kubeconfig}",
            f"--node-ip={ADDRESSES.api}",
            f"--root-dir={self._kubelet_folder}",
        ])  # fmt: skip
        kubeconfig = issue.kubeconfig(self._plane.url, "system:kube-proxy", name="kube-proxy")
        self._processes.start("kube-proxy", ["kube-proxy", f"--config={write_proxy(self.folder, kubeconfig)}"])
        self._processes.start("coredns", ["coredns", "-conf", str(write_dns(self.folder, self._plane.kubeconfig))])

    def _imports(self, archive: Path) -> bool:
        command = [str(binaries("node") / "ctr"), "-a", RUNTIME.removeprefix("unix://"), "-n", "k8s.io"]
        command += ["images", "import", str(archive)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def _start_storage(self) -> None:
        quick = [f"--kubeconfig={self._plane.kubeconfig}", "--kube-api-qps=50", "--kube-api-burst=100"]
        quick += ["--retry-interval-start=200ms"]
        self._processes.start("snapshot-controller", ["snapshot-controller", *quick])
        for driver, copies in DRIVERS.items():
            self._processes.start(f"csidriver-{driver}", [
                "csidriver",
                f"--copies={str(copies).lower()}",
                f"--kubelet={self._kubelet_folder}",
                f"--name={driver}",
                f"--node={NODE}",
                f"--root={self.folder / 'volumes' / driver}",
            ])  # fmt: skip
            socket = f"--csi-address={self._kubelet_folder / 'plugins' / driver / 'csi.sock'}"
            self._processes.start(f"csi-provisioner-{driver}", ["csi-provisioner", socket, *quick, "--timeout=60s"])
            if copies:
                self._processes.start("csi-snapshotter", ["csi-snapshotter", socket, *quick, "--timeout=60s"])

    def _wait_ready(self) -> None:
        self._processes.wait_until(
            "the node is Ready", lambda: self._plane.answers("wait", "--for=condition=Ready", f"node/{NODE}")
        )
        self._processes.wait_until("the CSI drivers are registered", self._has_drivers)

    def _has_drivers(self) -> bool:
        registered = self._plane.get("csinode", NODE)["spec"].get("drivers") or []
        return {driver["name"] for driver in registered} == set(DRIVERS)

    @property
    def _kubelet_folder(self) -> Path:
        return self.folder / "kubelet"


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def main() -> None:
    """Be the node."""
    isolate()
    sys.stdout.write("isolated\n")
    sys.stdout.flush()
    join_network()
    node = Node(Path(sys.argv[1]))
    node.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    node.stay()


if __name__ == "__main__":
    main()
