"""What the story goes on with where CDI is not: DataVolumes that clone the newest image, each looked into."""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from demo.boot import boot
from demo.cluster.installation import Installation, condition
from demo.images import boot_line
from demo.telling import Telling
from deploy.image.build import CHECKOUT
from tests.cluster.access import USER
from tests.cluster.objects import pod

NAMESPACE, DATA_SOURCE = "golden-images", "fedora"
_THEIRS: Final = "machines"
"""A namespace of people who have no golden images of their own."""
_MAY_CLONE: Final = "cdi.kubevirt.io:clone-sourcer"
_PATIENCE: Final = 240


@dataclass(slots=True)
class Clones(Telling):
    """Clones of one image.

    Attributes:
        place: where it happens.
        work: folder for what is looked into.
        version: that the image says of itself when it boots.
        size: of its disk, in bytes.
        digest: of these bytes, sha256.
    """

    place: Installation
    work: Path
    version: str
    size: int
    digest: str

    def tell(self) -> int:
        """All of it; returns how many checks were true."""
        self.in_the_same_namespace()
        self.in_another_namespace()
        self.from_a_snapshot()
        return self.checks

    def evidence(self) -> str:
        """The ends of the workers' logs, and what stands in both namespaces."""
        seen = [self.place.cluster.kubectl("get", "datavolume,pvc,pods", "-n", it) for it in (NAMESPACE, _THEIRS)]
        return "\n".join([*seen, self.place.logs()])

    def in_the_same_namespace(self) -> None:
        """The documentation's second YAML, and a machine that boots from what it makes."""
        document = yaml.safe_load((CHECKOUT / "deploy" / "samples" / "fedora-ref.yaml").read_text())
        self.place.cluster.apply(document)
        self._used(NAMESPACE, "fedora-ref")
        self._succeeds(NAMESPACE, "fedora-ref")
        disk = self._taken_out(NAMESPACE, "fedora-ref")
        self.check("the clone boots", boot_line(self.version) in boot(disk, timeout=120))
        disk.unlink()
        self.say(f'clone: fedora-ref equals the newest import, and boots: "{boot_line(self.version)}"')

    def in_another_namespace(self) -> None:
        """As a user who may not, and then may."""
        cluster = self.place.cluster
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _THEIRS, "labels": labels}})
        cluster.apply(_binding(_THEIRS, "edit"))
        reference = {"kind": "DataSource", "name": DATA_SOURCE, "namespace": NAMESPACE}
        wanted = _data_volume(_THEIRS, "machine", "hostpath-provisioner", sourceRef=reference)
        cluster.kubectl("create", "-f", "-", document=wanted, user=True)
        self.eventually(
            "the clone is refused, and says so", 90, lambda: self._running(_THEIRS, "machine")[1] == "NotAuthorized"
        )
        self.check("no volume is there", self._phase(_THEIRS, "machine") == "Pending")
        told = cluster.kubectl(
            "get",
            "datavolume",
            "machine",
            "-n",
            _THEIRS,
            "-o",
            "jsonpath={.status.conditions[?(@.type=='Running')].message}",
        )
        self.check("the words name who and where", USER in told and NAMESPACE in told)
        self.say(f"a clone in another namespace, by a user who may not: {told}")
        cluster.apply(_binding(NAMESPACE, _MAY_CLONE))
        self._used(_THEIRS, "machine")
        self._succeeds(_THEIRS, "machine")
        self.check("nothing else is left of it", self._names_in(NAMESPACE, "clone-") == [])
        self.say("the right is given, and the clone is there, with the same bytes")

    def from_a_snapshot(self) -> None:
        """A DataSource may point to a snapshot, whoever has taken it."""
        cluster = self.place.cluster
        reference = {"kind": "DataSource", "name": DATA_SOURCE}
        cluster.apply(_data_volume(NAMESPACE, "fedora-csi", "csi", sourceRef=reference))
        self._succeeds(NAMESPACE, "fedora-csi")
        self.say("into another storage class: fedora-csi has the same bytes")
        cluster.apply(
            {
                "apiVersion": "snapshot.storage.k8s.io/v1",
                "kind": "VolumeSnapshot",
                "metadata": {"name": "frozen", "namespace": NAMESPACE},
                "spec": {"volumeSnapshotClassName": "csi", "source": {"persistentVolumeClaimName": "fedora-csi"}},
            },
            {
                "apiVersion": "cdi.kubevirt.io/v1beta1",
                "kind": "DataSource",
                "metadata": {"name": "frozen", "namespace": NAMESPACE},
                "spec": {"source": {"snapshot": {"name": "frozen", "namespace": NAMESPACE}}},
            },
        )
        self.eventually(
            "the DataSource is ready",
            120,
            lambda: condition(self._get("datasource", NAMESPACE, "frozen"), "Ready")[0] == "True",
        )
        reference = {"kind": "DataSource", "name": "frozen"}
        cluster.apply(_data_volume(NAMESPACE, "thawed", "csi", sourceRef=reference))
        self._succeeds(NAMESPACE, "thawed")
        self.say("from a snapshot: thawed has the same bytes")

    def _used(self, namespace: str, name: str) -> None:
        """Mount a claim, as KubeVirt's first pod of a machine does: its class waits for that, to choose the node."""
        waiting = {"WaitForFirstConsumer", "PendingPopulation"}
        self.eventually(
            f"{namespace}/{name} waits for a consumer", _PATIENCE, lambda: self._phase(namespace, name) in waiting
        )
        self.place.cluster.apply(
            pod(self.place.cluster, f"first-consumer-of-{name}", namespace, "true", volumes={"/disk": name})
        )

    # -- looking -----------------------------------------------------------------------------------------------------

    def _succeeds(self, namespace: str, name: str) -> None:
        self.eventually(
            f"{namespace}/{name} has succeeded", _PATIENCE, lambda: self._phase(namespace, name) == "Succeeded"
        )
        found = self.place.digest_of_disk(namespace, name, self.size)
        self.check(f"{namespace}/{name} has the image's bytes", found == self.digest)

    def _get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.place.cluster.get(kind, name, "-n", namespace)
        return found

    def _phase(self, namespace: str, name: str) -> str:
        return str((self._get("datavolume", namespace, name).get("status") or {}).get("phase", ""))

    def _running(self, namespace: str, name: str) -> tuple[str, str]:
        return condition(self._get("datavolume", namespace, name), "Running")

    def _names_in(self, namespace: str, prefix: str) -> list[str]:
        return [name for name in self.place.claims(namespace) if name.startswith(prefix)]

    def _taken_out(self, namespace: str, claim: str) -> Path:
        """The disk in a claim, as far as the image goes, as a file on this machine."""
        cluster, name = self.place.cluster, f"look-into-{claim}"
        cluster.apply(pod(cluster, name, namespace, "sleep 600", volumes={"/disk": claim}))
        try:
            cluster.wait("condition=Ready", f"pod/{name}", "-n", namespace)
            packed = f"head -c {self.size} /disk/disk.img | gzip -1 | base64"
            found = cluster.kubectl("exec", name, "-n", namespace, "--", "sh", "-c", packed)
        finally:
            cluster.kubectl("delete", "pod", name, "-n", namespace, "--now")
        disk = self.work / f"{claim}.raw"
        disk.write_bytes(gzip.decompress(base64.b64decode(found)))
        return disk


def _data_volume(namespace: str, name: str, storage_class: str, **spec: object) -> dict[str, Any]:
    storage = {"resources": {"requests": {"storage": "5Gi"}}, "storageClassName": storage_class}
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"storage": storage, **spec},
    }


def _binding(namespace: str, role: str) -> dict[str, Any]:
    """Gives the user a role in a namespace."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": role.rpartition(":")[2], "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
    }
