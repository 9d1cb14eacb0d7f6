"""Pods and claims as tests make them, and what becomes of them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tests.cluster.full import Cluster

IMPORTER = 107
"""uid and gid of QEMU in KubeVirt's pods, hence of whoever writes disks for them."""


def claim(
    name: str, namespace: str, storage_class: str, *, block: bool = False, size: str = "64Mi", **spec: Any
) -> dict[str, Any]:
    """A PersistentVolumeClaim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "volumeMode": "Block" if block else "Filesystem",
            "resources": {"requests": {"storage": size}},
        }
        | spec,
    }


def pod(
    cluster: Cluster, name: str, namespace: str, script: str, *, volumes: Mapping[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """A pod as Pod Security `restricted` wants it, that runs a shell script in busybox once.

    Args:
        cluster: whose registry has busybox.
        name: of it.
        namespace: of it.
        script: ends at the first command that fails.
        volumes: claims by the path where the script finds them; below /dev as devices.
        spec: what else its spec says.
    """
    paths = volumes or {}
    devices = [path for path in paths if path.startswith("/dev/")]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": IMPORTER,
                "runAsGroup": IMPORTER,
                "fsGroup": IMPORTER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumes": [
                {"name": used, "persistentVolumeClaim": {"claimName": used}} for used in sorted(set(paths.values()))
            ],
            "containers": [
                {
                    "name": "script",
                    "image": f"{cluster.registry}/busybox:1",
                    "command": ["sh", "-ec", script],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": paths[path], "mountPath": path} for path in paths if path not in devices],
                    "volumeDevices": [{"name": paths[path], "devicePath": path} for path in devices],
                }
            ],
        }
        | spec,
    }


def run_pod(cluster: Cluster, document: dict[str, Any], *, seconds: float = 180) -> str:
    """Run a pod to its end; returns what it has printed.

    Raises:
        AssertionError: it does not succeed in time; with its words and status.
    """
    cluster.apply(document)
    name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
    deadline = time.monotonic() + seconds
    while True:
        status = cluster.get("pod", name, "-n", namespace)["status"]
        ended = status["phase"] in {"Succeeded", "Failed"}
        if ended or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    printed = cluster.log(name, namespace) if ended else ""
    assert status["phase"] == "Succeeded", f"{printed}\n{json.dumps(status, indent=1)}"
    return printed


@dataclass(frozen=True, slots=True)
class Disk:
    """What a volume holds.

    Attributes:
        size: of the disk's file, or of the device, in bytes.
        digest: sha256 of its first bytes.
        more: how many bytes behind those are no zeros.
        owner: uid and gid of the file or device.
        blocks: that the file takes, of 512 bytes.
    """

    size: int
    digest: str
    more: int
    owner: tuple[int, int]
    blocks: int


def disks(cluster: Cluster, namespace: str, names: Sequence[str], length: int) -> list[Disk]:
    """Read volumes by one pod, as KubeVirt would.

    Args:
        cluster: where they are.
        namespace: of their claims.
        names: of their claims.
        length: bytes of which the digest is.

    Raises:
        AssertionError: they cannot be read.
    """
    claims = {
        it["metadata"]["name"]: it["spec"].get("volumeMode") for it in cluster.get("pvc", "-n", namespace)["items"]
    }
    paths = {f"/dev/{name}" if claims.get(name) == "Block" else f"/{name}": name for name in names}
    script = "".join(
        f"d={path}; [ -d $d ] && d=$d/disk.img; wc -c < $d; head -c {length} $d | sha256sum | cut -d' ' -f1;"
        f"tail -c +{length + 1} $d | tr -d '\\0' | wc -c; stat -c '%u %g %b' $d;"
        for path in paths
    )
    words = run_pod(cluster, pod(cluster, f"read-{uuid4().hex[:8]}", namespace, script, volumes=paths)).split()
    fields = len(words) // len(paths)
    return [
        Disk(int(size), digest, int(more), (int(uid), int(gid)), int(blocks))
        for size, digest, more, uid, gid, blocks in (words[at : at + fields] for at in range(0, len(words), fields))
    ]
