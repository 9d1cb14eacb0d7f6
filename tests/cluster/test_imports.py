"""Imports into claims of a real cluster: bytes, owners, devices, nodes that pull, pods that die."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import suppress
from dataclasses import replace

import pytest

from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.claims.claims import Claims
from dataimportcron.cluster.client.resources import CONFIG_MAPS, PODS, PVCS
from dataimportcron.cluster.documents.records import attempt_of
from dataimportcron.cluster.importer import ClusterImporter
from dataimportcron.cluster.jobs.node_pull import NodeDigest
from dataimportcron.cluster.jobs.pods import LABEL_VOLUME, PodSettings
from dataimportcron.cluster.volumes import ClusterVolumes
from dataimportcron.errors import ImageNotFoundError, ImporterDiedError, InvalidImageError, TargetNotWritableError
from dataimportcron.manifests import volume_spec
from dataimportcron.values import ImageSource
from tests.cluster.images import write_image
from tests.cluster.objects import IMPORTER, pod, run_pod
from tests.cluster.releases import layer_of, program

__all__ = ["program"]

MIB = 1 << 20
SLOW = 1 << 20
"""Bytes per second: the disk takes some seconds."""


DISK = os.urandom(4 * MIB) + bytes(4 * MIB) + b"the end"


@pytest.fixture(scope="session")
def release(cluster, tmp_path_factory):
    """A container disk: its repository, tag and digest."""
    archive = tmp_path_factory.mktemp("release") / "disk.tar"
    environment = ["INSTANCETYPE_KUBEVIRT_IO_DEFAULT_PREFERENCE=fedora"]
    write_image(archive, "fedora:40", layer_of(**{"disk/fedora.img": DISK}), Env=environment)
    return cluster.push(archive, "fedora:40")


class Home:
    """The adapters over a namespace of the cluster."""

    def __init__(self, connection, namespace, objects, cluster, settings):
        self.connection, self.namespace, self.objects, self.settings = connection, namespace, objects, settings
        self.cluster = cluster
        # File systems of this size need more for themselves than those of real disks.
        self.claims = Claims(connection, owned=True, overheads={"": "0.5"})
        self.volumes = ClusterVolumes(connection, objects, self.claims)
        self.image = ImageSource(
            namespace=namespace, url=f"docker://{cluster.registry}/fedora:40", cert_config_map="certs"
        )
        self.said = []

    def importer(self, **settings):
        return ClusterImporter(self.connection, self.objects, self.claims, replace(self.settings, **settings))

    async def volume(self, name="fedora-1", **storage):
        made = DataVolume.model_validate(
            {
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {
                    "source": {"registry": {"url": self.image.url}},
                    "storage": {"resources": {"requests": {"storage": "64Mi"}}, **storage},
                },
            }
        )
        return volume_spec(await self.objects.create(made))

    async def until(self, look, seconds=60):
        async with asyncio.timeout(seconds):
            while not (found := await look()):  # noqa: ASYNC110 -- the API server is asked, it does not tell
                await asyncio.sleep(0.1)
        return found

    async def told(self, reason):
        async def look():
            return next((it for it in reversed(self.said) if it.waits_for == reason), None)

        return await self.until(look)

    async def started(self, importer, image, digest, spec):
        """An import of which some bytes have been written."""
        task = asyncio.create_task(importer.run(image, digest, spec, self.said.append))

        async def look():
            return task.done() or any(it.done for it in self.said)

        await self.until(look)
        return task

    async def importer_pods(self):
        return await self.connection.list(PODS, self.namespace, label_selector=LABEL_VOLUME)

    def read(self, script, path="/disk", name="fedora-1"):
        """What a script prints that has the volume."""
        mounting = pod(self.cluster, f"read-{os.urandom(3).hex()}", self.namespace, script, volumes={path: name})
        return run_pod(self.cluster, mounting)

    def is_whole(self, name="fedora-1"):
        size = self.read("wc -c < /disk/disk.img; head -c 8388615 /disk/disk.img | sha256sum", name=name)
        return size.split()[:2] == [str(64 * MIB), hashlib.sha256(DISK).hexdigest()]


@pytest.fixture
async def home(cluster, connection, objects, namespace, program):
    certs = {"metadata": {"name": "certs", "namespace": namespace}, "data": {"ca.crt": cluster.registry_ca.read_text()}}
    await connection.create(CONFIG_MAPS, certs)
    return Home(connection, namespace, objects, cluster, PodSettings(image=program))


@pytest.mark.parametrize("storage_class", ["csi", "csi-wait", "hostpath-provisioner"])
async def test_an_import_into_files(home, release, storage_class):
    spec = await home.volume(storageClassName=storage_class)
    done = await home.importer().run(home.image, release, spec, home.said.append)
    assert done.done == done.total > 4 * MIB
    assert [it for it in home.said if it.waits_for] == []
    found = await home.volumes.find(home.namespace, "fedora-1")
    assert (found.size, found.digest) == (64 * MIB, release)
    assert home.is_whole()
    owner = home.read("ls -ln /disk/disk.img | tr -s ' '").split()
    assert owner[2:4] == [str(IMPORTER), str(IMPORTER)]
    claim = await home.claims.find(home.namespace, "fedora-1")
    assert claim["metadata"]["labels"]["instancetype.kubevirt.io/default-preference"] == "fedora"


async def test_an_import_into_a_device(home, release):
    spec = await home.volume(storageClassName="csi", volumeMode="Block", accessModes=["ReadWriteOnce"])
    await home.importer().run(home.image, release, spec, home.said.append)
    printed = home.read(
        "head -c 8388615 /dev/disk | sha256sum; wc -c < /dev/disk; tail -c +8388616 /dev/disk | tr -d '\\0' | wc -c",
        path="/dev/disk",
    ).split()
    assert (printed[0], printed[2], printed[3]) == (hashlib.sha256(DISK).hexdigest(), str(64 * MIB), "0")
    again = await home.importer().run(home.image, release, spec, home.said.append)
    assert (again.phase, again.done) == ("Complete", 0)


async def test_a_disk_without_holes(home, release):
    state = await home.objects.create(
        DataVolume.model_validate(
            {
                "metadata": {"name": "fedora-1", "namespace": home.namespace},
                "spec": {
                    "source": {"registry": {"url": home.image.url}},
                    "storage": {"resources": {"requests": {"storage": "64Mi"}}},
                    "preallocation": True,
                },
            }
        )
    )
    await home.importer().run(home.image, release, volume_spec(state), home.said.append)
    blocks = int(home.read("stat -c %b /disk/disk.img"))
    assert blocks * 512 >= 64 * MIB
    assert home.is_whole()


@pytest.mark.parametrize("image_volumes", [True, False], ids=["image volume", "own container"])
async def test_a_node_pulls_the_image(home, release, image_volumes, monkeypatch):
    importer = home.importer()
    if not image_volumes:

        async def none():
            return False

        monkeypatch.setattr(importer, "_image_volumes", none)
    image = replace(home.image, pull_method="node", cert_config_map="")
    await importer.run(image, release, await home.volume(), home.said.append)
    assert (await home.volumes.find(home.namespace, "fedora-1")).digest == release
    assert home.is_whole()
    claim = await home.claims.find(home.namespace, "fedora-1")
    label = claim["metadata"]["labels"].get("instancetype.kubevirt.io/default-preference")
    assert label == (None if image_volumes else "fedora")


async def test_the_digest_that_a_node_pulls(home, release):
    node = NodeDigest(home.connection, home.settings)
    assert (await node.resolve(home.image)).digest == release

    async def tidy():
        return not await home.connection.list(PODS, home.namespace, label_selector="dataimportcron.io/lookup")

    await home.until(tidy)
    absent = replace(home.image, url=home.image.url.replace(":40", ":absent"))
    with pytest.raises(ImageNotFoundError, match=r"failed to pull image .*:absent"):
        await node.resolve(absent)


async def test_an_image_of_a_node_that_holds_two_files(home, cluster, tmp_path):
    write_image(tmp_path / "two.tar", "two:1", layer_of(**{"disk/a": b"a", "disk/b": b"b"}))
    digest = cluster.push(tmp_path / "two.tar", "two:1")
    image = replace(home.image, url=f"docker://{cluster.registry}/two:1", pull_method="node")
    with pytest.raises(InvalidImageError, match="Invalid container image: /disk holds a, b"):
        await home.importer().run(image, digest, await home.volume(), home.said.append)


async def test_an_image_that_no_node_can_pull(home):
    image = replace(home.image, pull_method="node")
    spec = await home.volume()
    task = asyncio.create_task(home.importer().run(image, f"sha256:{'0' * 64}", spec, home.said.append))
    told = await home.told("ImagePullFailed")
    assert told.message.startswith(f"failed to pull image {home.cluster.registry}/fedora@sha256:000")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert await home.importer_pods() == []


async def test_a_cancelled_import_has_stopped_and_can_be_run_again(home, release):
    spec = await home.volume()
    task = await home.started(home.importer(rate=SLOW), home.image, release, spec)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert await home.importer_pods() == []
    assert await home.volumes.find(home.namespace, "fedora-1") is None
    await home.importer().run(home.image, release, spec, home.said.append)
    assert home.is_whole()


async def test_a_pod_that_is_killed_in_its_middle(home, release):
    spec = await home.volume()
    task = await home.started(home.importer(rate=SLOW), home.image, release, spec)
    [running] = await home.importer_pods()
    home.cluster.kubectl("delete", "pod", running["metadata"]["name"], "-n", home.namespace, "--now", "--wait=false")
    with pytest.raises(ImporterDiedError, match="was deleted while it ran"):
        await task
    await home.importer().run(home.image, release, spec, home.said.append)
    claim = await home.connection.get(PVCS, "fedora-1", home.namespace)
    assert attempt_of(claim) == 2
    assert home.is_whole()


async def test_a_worker_that_ends_leaves_the_import_to_the_next(home, release):
    spec = await home.volume()
    importer = home.importer(rate=SLOW)
    importer._filling._hands_over = lambda: True
    task = await home.started(importer, home.image, release, spec)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    [running] = await home.importer_pods()
    await home.importer().run(home.image, release, spec, home.said.append)
    claim = await home.connection.get(PVCS, "fedora-1", home.namespace)
    assert attempt_of(claim) == 1
    assert running["metadata"]["name"].startswith("import-")
    assert home.is_whole()


async def test_a_missing_config_map_is_said_and_then_is_there(home, release):
    image, spec = replace(home.image, cert_config_map="later"), await home.volume()
    task = asyncio.create_task(home.importer().run(image, release, spec, home.said.append))
    assert 'configmap "later" not found' in (await home.told("FailedMount")).message
    certs = {"ca.crt": home.cluster.registry_ca.read_text()}
    await home.connection.create(
        CONFIG_MAPS, {"metadata": {"name": "later", "namespace": home.namespace}, "data": certs}
    )
    async with asyncio.timeout(180):  # the kubelet looks again when it likes
        await task
    assert home.is_whole()


async def test_a_volume_that_is_roots_names_the_usual_causes(home, release, cluster):
    name = f"roots-{home.namespace}"
    cluster.on_node("mkdir", "-p", f"/run/{name}")
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": name,
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": f"/run/{name}", "type": "Directory"},
        },
    }
    cluster.apply(volume)
    spec = await home.volume(storageClassName=name)
    with pytest.raises(TargetNotWritableError, match="fsGroup, which NFS and hostPath ignore"):
        await home.importer().run(home.image, release, spec, home.said.append)
    cluster.kubectl("delete", "pv", name, "--wait=false")


async def test_a_volume_in_use(home, release):
    await home.importer().run(home.image, release, await home.volume(), home.said.append)
    assert await home.volumes.in_use(home.namespace, "fedora-1") == ""
    home.cluster.apply(pod(home.cluster, "vm", home.namespace, "sleep 600", volumes={"/disk": "fedora-1"}))
    assert await home.volumes.in_use(home.namespace, "fedora-1") == (
        f"pod {home.namespace}/vm using PersistentVolumeClaim fedora-1"
    )
