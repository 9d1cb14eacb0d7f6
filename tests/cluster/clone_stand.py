"""Where clones are tried: golden disks, the adapters over the cluster, and a worker that can be killed at any write."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from dataimportcron import naming
from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.claims.claims import Claims
from dataimportcron.cluster.client.resources import JOBS, PVCS, VOLUME_SNAPSHOTS
from dataimportcron.cluster.cloner import ClusterCloner
from dataimportcron.cluster.documents.records import COMPLETE, LABEL_CLONE, Record
from dataimportcron.cluster.jobs.pods import PodSettings
from dataimportcron.cluster.volumes import ClusterVolumes
from dataimportcron.manifests import volume_spec
from dataimportcron.values import CloneSource
from tests.cluster.objects import claim, disks, pod, run_pod

MIB = 1 << 20
SIZE = 16 * MIB
"""Of the golden disks."""
GOLDEN = "golden-clones"
OVERHEADS = {"": "0.5"}
"""File systems of this size need more for themselves than those of real disks."""
WRITE = f"""
head -c {4 * MIB} /dev/urandom > /tmp/disk; truncate -s {SIZE - 7} /tmp/disk; printf 'the end' >> /tmp/disk
cp /tmp/disk /files/disk.img; dd if=/tmp/disk of=/dev/device bs=1M 2>/dev/null; sync; sha256sum < /tmp/disk
"""


@pytest.fixture(scope="module")
def golden(cluster):
    """A disk of 16 MiB in a file system and on a device; its sha256."""
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
                claim("files", GOLDEN, "csi", size="24Mi"),
                claim("device", GOLDEN, "csi", block=True, size="16Mi"),
            )
        ),
    )
    mounts = {"/files": "files", "/dev/device": "device"}
    printed = run_pod(cluster, pod(cluster, "write", GOLDEN, WRITE, volumes=mounts))
    yield printed.split()[0]
    cluster.kubectl("delete", "namespace", GOLDEN, "--wait=false")
    cluster.kubectl("delete", "storageclass", "clones")


def record():
    return Record(uid="somebody-elses", size=SIZE).to_json()


class Home:
    """The adapters over the cluster."""

    def __init__(self, cluster, connection, objects, settings):
        self.cluster, self.connection, self.objects, self.settings = cluster, connection, objects, settings
        self.volumes = ClusterVolumes(connection, objects, Claims(connection, owned=True, overheads=OVERHEADS))
        self.said = []

    def cloner(self, connection=None, **options):
        connection = connection or self.connection
        claims = Claims(connection, owned=True, overheads=OVERHEADS)
        return ClusterCloner(connection, self.objects, claims, self.settings, **options)

    async def volume(self, namespace=GOLDEN, size="16Mi", source="files", *, waits=False, **storage):
        resources = {"resources": {"requests": {"storage": size}}} if size else {}
        made = DataVolume.model_validate(
            {
                "metadata": {
                    "name": f"vm-{uuid4().hex[:8]}",
                    "namespace": namespace,
                    "annotations": {} if waits else {naming.ANNOTATION_BIND_IMMEDIATE: "true"},
                },
                "spec": {
                    "source": {"pvc": {"namespace": GOLDEN, "name": source}} if source else {"blank": {}},
                    "storage": {**resources, **storage},
                },
            }
        )
        return volume_spec(await self.objects.create(made))

    async def clone(self, source, spec):
        return await self.cloner().run(CloneSource(namespace=GOLDEN, name=source), spec, self.said.append)

    async def until(self, look, seconds=180):
        async with asyncio.timeout(seconds):
            while not (found := await look()):  # noqa: ASYNC110 -- the API server is asked, it does not tell
                await asyncio.sleep(0.1)
        return found

    def sums(self, *specs, namespace=GOLDEN):
        """Size and sha256 of the first 16 MiB of each volume, and how many bytes behind those are no zeros."""
        found = disks(self.cluster, namespace, [spec.name for spec in specs], SIZE)
        return [(it.size, it.digest, it.more) for it in found]

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
def home(cluster, connection, objects, program, golden):
    assert golden
    return Home(cluster, connection, objects, PodSettings(image=program))


BLOCK = {"volumeMode": "Block", "accessModes": ["ReadWriteOnce"]}
FILES = {"volumeMode": "Filesystem", "accessModes": ["ReadWriteOnce"]}


class Killed(BaseException):
    """The worker has ended, without another word."""


class Mortal:
    """A connection of a worker that is killed when it has written for the n-th time.

    It dies before the API server's answer comes: what was written stands, and nobody has read that it does.
    """

    def __init__(self, connection, last=0):
        self._connection, self._last, self.writes = connection, last, []

    def __getattr__(self, name):
        method = getattr(self._connection, name)
        if name not in {"create", "patch", "apply", "delete"}:
            return method

        async def write(resource, *arguments, **options):
            if self._last and len(self.writes) >= self._last:
                raise Killed
            done = await method(resource, *arguments, **options)
            self.writes.append(f"{name} {resource}")
            if len(self.writes) == self._last:
                raise Killed
            return done

        return write
