"""The configuration of the node's programs, and why each setting that is not a default is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.control_plane import Addresses
from tests.cluster.images import PAUSE

BRIDGE: Final = "pods0"
HOST: Final = "198.18.0.254"
"""The machine that runs the cluster, as pods and node see it."""
NODE: Final = "node1"
PLUGINS: Final = Path("/usr/lib/cni")
"""Debian's containernetworking-plugins."""
ADDRESSES: Final = Addresses(api="198.18.0.1", port=6443, etcd=(2379, 2380))
"""Of the range for benchmarks of network gear: no network uses it."""
REGISTRY: Final = f"{ADDRESSES.api}:5000"
RUNTIME: Final = "unix:///run/containerd/containerd.sock"


def write_containerd(folder: Path) -> Path:
    """Containerd's configuration and the network's; returns the former."""
    network = folder / "cni"
    network.mkdir()
    (network / "10-pods.conflist").write_text(json.dumps(_network()))
    path = folder / "containerd.toml"
    path.write_text(f"""
version = 3
root = "{folder / "containerd"}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
address = "{RUNTIME.removeprefix("unix://")}"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
pinned_images.sandbox = "{PAUSE}"
registry.config_path = "{folder / "certs.d"}"

[plugins."io.containerd.cri.v1.runtime"]
disable_apparmor = true
disable_hugetlb_controller = true
# A machine without CAP_SYS_RESOURCE cannot lower what it has been given.
restrict_oom_score_adj = true
# Without it no pod but root's can open a block volume: the documented requirement of CDI.
device_ownership_from_security_context = true
cni.bin_dirs = ["{PLUGINS}"]
cni.conf_dir = "{network}"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
options.BinaryName = "{shutil.which("runc")}"
options.SystemdCgroup = false
""")
    return path


def _network() -> dict[str, Any]:
    # No default route: pods reach each other, the node, services and the machine, and nothing else.
    address_range = {
        "subnet": ADDRESSES.pods,
        "rangeStart": "198.18.0.10",
        "rangeEnd": "198.18.0.250",
        "gateway": ADDRESSES.api,
    }
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {"type": "host-local", "ranges": [[address_range]], "routes": [{"dst": ADDRESSES.services}]},
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": False}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, portmap]}


def trust(certs: Path, registry: str, ca: Path, *, mirror_of: str = "") -> None:
    """Make containerd trust a registry, or ask it first for what another one has.

    Args:
        certs: its folder `certs.d`, which it reads at each pull.
        registry: host and port.
        ca: PEM file.
        mirror_of: host of the other one.
    """
    folder = certs / (mirror_of or registry)
    folder.mkdir(parents=True, exist_ok=True)
    hosts = f'server = "https://{mirror_of or registry}"\n[host."https://{registry}"]\n'
    (folder / "hosts.toml").write_text(f'{hosts}capabilities = ["pull", "resolve"]\nca = "{ca}"\n')


def write_kubelet(folder: Path, authority: Path, server: tuple[Path, Path]) -> Path:
    """The kubelet's configuration; returns its path."""
    (folder / "resolv.conf").touch()
    return _write(folder / "kubelet.yaml", {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESSES.api,
        "authentication": {"x509": {"clientCAFile": str(authority)}, "anonymous": {"enabled": False}},
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "clusterDNS": [ADDRESSES.api],
        "clusterDomain": "cluster.local",
        "resolvConf": str(folder / "resolv.conf"),
        "containerRuntimeEndpoint": RUNTIME,
        "enforceNodeAllocatable": [],
        # The disk is the machine's: it is full when the machine says so.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "failSwapOn": False,
        "healthzBindAddress": "127.0.0.1",
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        "podLogsDir": "/var/log/pods",
        "serializeImagePulls": False,
        "syncFrequency": "10s",
        "tlsCertFile": str(server[0]),
        "tlsPrivateKeyFile": str(server[1]),
    })  # fmt: skip


def write_proxy(folder: Path, kubeconfig: Path) -> Path:
    """kube-proxy's configuration; returns its path."""
    return _write(folder / "kube-proxy.yaml", {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": ADDRESSES.pods,
        # The machine's own limits are left alone.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "hostnameOverride": NODE,
        "mode": "iptables",
        "nodePortAddresses": [f"{ADDRESSES.api}/32"],
    })  # fmt: skip


def write_dns(folder: Path, kubeconfig: Path) -> Path:
    """CoreDNS's configuration, which knows the cluster and nothing else; returns its path."""
    path = folder / "Corefile"
    path.write_text(f"""
cluster.local:53 in-addr.arpa:53 {{
    bind {ADDRESSES.api}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 1
    }}
}}
.:53 {{
    bind {ADDRESSES.api}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
""")
    return path


def write_registry(folder: Path, server: tuple[Path, Path]) -> Path:
    """docker-registry's configuration; returns its path."""
    return _write(folder / "registry.yml", {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}, "delete": {"enabled": True}},
        "http": {
            "addr": REGISTRY,
            "secret": "not-used-by-one-instance",
            "tls": {"certificate": str(server[0]), "key": str(server[1])},
        },
    })  # fmt: skip


def _write(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(document))
    return path
