"""Clones by a real CSI driver and by pods: every way, both volume modes, both namespaces, and what a crash leaves."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.claims import Claims
from dataimportcron.cluster.clone_plans import LABEL_CLONE
from dataimportcron.cluster.cloner import ClusterCloner
from dataimportcron.cluster.kubeconfig import connected
from dataimportcron.cluster.pods import PodSettings
from dataimportcron.cluster.records import COMPLETE, Record
from dataimportcron.cluster.resources import JOBS, PVCS, VOLUME_SNAPSHOTS
from dataimportcron.cluster.volumes import ClusterVolumes
from dataimportcron.host.objects import HostObjects
from dataimportcron.host.state import StateFolder
from dataimportcron.host.store import Store
from dataimportcron.manifests import volume_spec
from dataimportcron.ports import CloneSource
from tests.cluster.objects import claim, pod, run_pod
from tests.cluster.releases import program

__all__ = ["program"]

MIB = 1 << 20
GOLDEN = "golden-clones"
WRITE = """
head -c 4194304 /dev/urandom > /tmp/disk && truncate -s 64M /tmp/disk && printf 'the end' | dd of=/tmp/disk bs=1 seek=67108857 conv=notrunc 2>/dev/null
cp /tmp/disk /files/disk.img; dd if=/tmp/disk of=/dev/device bs=1M 2>/dev/null; sync; sha256sum < /tmp/disk
"""


@pytest.fixture(scope="module")
def golden(cluster):
    """A disk of 64 MiB in a file system and on a device; its sha256."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": GOLDEN, "labels": labels}},
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "clones", "annotations": {"cdi.kubevirt.io/clone-strategy": "csi-clone"}},
            "provisioner": "csi.test",
            "allowVolumeExpansion": True,
        },
        *(
            document | {"metadata": document["metadata"] | {"annotations": {COMPLETE: record()}}}
            for document in (
                claim("files", GOLDEN, "csi", size="96Mi"),
                claim("device", GOLDEN, "csi", block=True),
            )
        ),
    )
    mounts = {"/files": "files", "/dev/device": "device"}
    printed = run_pod(cluster, pod(cluster, "write", GOLDEN, WRITE, volumes=mounts))
    yield printed.split()[0]
    cluster.kubectl("delete", "namespace", GOLDEN, "--wait=false")
    cluster.kubectl("delete", "storageclass", "clones")


def record():
    return Record(uid="somebody-elses", size=64 * MIB).to_json()


class Home:
    """The adapters over the cluster."""

    def __init__(self, cluster, connection, objects, settings):
        self.cluster, self.connection, self.objects, self.settings = cluster, connection, objects, settings
        self.claims = Claims(connection, owned=True, overheads={"": "0.5"})
        self.volumes = ClusterVolumes(connection, objects, self.claims)
        self.said = []

    def cloner(self, **options):
        return ClusterCloner(self.connection, self.objects, self.claims, self.settings, **options)

    async def volume(self, namespace=GOLDEN, size="64Mi", **storage):
        resources = {"resources": {"requests": {"storage": size}}} if size else {}
        made = DataVolume.model_validate(
            {
                "metadata": {"name": f"vm-{uuid4().hex[:8]}", "namespace": namespace},
                "spec": {"storage": {**resources, **storage}},
            }
        )
        return volume_spec(await self.objects.create(made))

    async def clone(self, source, spec):
        return await self.cloner().run(CloneSource(namespace=GOLDEN, name=source), spec, self.said.append)

    def sums(self, *specs, namespace=GOLDEN):
        """Size and sha256 of the first 64 MiB of each volume, and how many bytes behind those are no zeros."""
        paths = {}
        for spec in specs:
            block = self.cluster.get("pvc", spec.name, "-n", namespace)["spec"]["volumeMode"] == "Block"
            paths[f"/dev/{spec.name}" if block else f"/{spec.name}"] = spec.name
        script = "".join(
            f"d={path}; [ -d $d ] && d=$d/disk.img; wc -c < $d; head -c 67108864 $d | sha256sum | cut -d' ' -f1;"
            "tail -c +67108865 $d | tr -d '\\0' | wc -c;"
            for path in paths
        )
        name = f"read-{uuid4().hex[:8]}"
        words = run_pod(self.cluster, pod(self.cluster, name, namespace, script, volumes=paths)).split()
        return [(int(words[at]), words[at + 1], int(words[at + 2])) for at in range(0, len(words), 3)]

    async def left(self):
        """What is left of clones: temporary claims and snapshots that are not going, and Jobs."""
        found = []
        for resource, selector in ((PVCS, LABEL_CLONE), (VOLUME_SNAPSHOTS, LABEL_CLONE), (JOBS, "")):
            for thing in await self.connection.list(resource, label_selector=selector):
                own = thing["metadata"]
                if "deletionTimestamp" not in own:
                    found.append(f"{own['namespace']}/{own['name']}")
        return found


@pytest.fixture
async def home(cluster, program, golden, tmp_path):
    state = StateFolder(tmp_path / "state")
    state.prepare()
    async with connected(kubeconfig=str(cluster.kubeconfig)) as connection:
        yield Home(cluster, connection, HostObjects(Store(state)), PodSettings(image=program))


BLOCK = {"volumeMode": "Block", "accessModes": ["ReadWriteOnce"]}
FILES = {"volumeMode": "Filesystem", "accessModes": ["ReadWriteOnce"]}


async def test_every_way_in_one_namespace(home, golden):
    wanted = [
        ("files", "64Mi", {"storageClassName": "csi", **FILES}, "SnapshotClone"),
        ("files", "80Mi", {"storageClassName": "csi", **FILES}, "HostClone"),
        ("files", "64Mi", {"storageClassName": "csi-wait", **FILES}, "SnapshotClone"),
        ("files", "64Mi", {"storageClassName": "clones", **FILES}, "CSIClone"),
        ("files", "80Mi", {"storageClassName": "clones", **FILES}, "CSIClone"),
        ("files", "64Mi", {"storageClassName": "no-clone", **FILES}, "HostClone"),
        ("files", "80Mi", {"storageClassName": "clones", **BLOCK}, "HostClone"),
        ("device", "64Mi", {"storageClassName": "clones", **FILES}, "HostClone"),
        ("device", "64Mi", {"storageClassName": "csi", **BLOCK}, "SnapshotClone"),
        ("device", "80Mi", {"storageClassName": "clones", **BLOCK}, "CSIClone"),
        ("device", "64Mi", {"storageClassName": "hostpath-provisioner", **BLOCK}, "HostClone"),
    ]
    specs = [await home.volume(size=size, **storage) for _, size, storage, _ in wanted]
    done = await asyncio.gather(*(home.clone(source, spec) for (source, *_), spec in zip(wanted, specs, strict=True)))
    assert [it.phase for it in done] == [phase for *_, phase in wanted]
    assert home.sums(*specs) == [(spec.size, golden, 0) for spec in specs]
    found = [await home.volumes.find(GOLDEN, spec.name) for spec in specs]
    assert [it.size for it in found] == [spec.size for spec in specs]
    assert {(it.done, it.total) for it in done} == {(64 * MIB, 64 * MIB)}
    assert await home.left() == []
