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
from dataimportcron.cluster.jobs.attempt_job import LABEL_VOLUME
from dataimportcron.cluster.jobs.node_pull import NodeDigest
from dataimportcron.cluster.jobs.pods import PodSettings
from dataimportcron.cluster.volumes import ClusterVolumes
from dataimportcron.errors import ImageNotFoundError, ImporterDiedError, InvalidImageError, TargetNotWritableError
from dataimportcron.manifests import volume_spec
from dataimportcron.values import ImageSource
from tests.cluster.images import write_image
from tests.cluster.objects import IMPORTER, claim, disks, pod, run_pod
from tests.cluster.releases import layer_of, program

__all__ = ["program"]

MIB = 1 << 20
SLOW = 1 << 19
"""Bytes per second: the disk takes some fifteen seconds."""


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

    async def volume(self, name="fedora-1", *, preallocation=False, **storage):
        made = DataVolume.model_validate(
            {
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {
                    "source": {"registry": {"url": self.image.url}},
                    "storage": {"resources": {"requests": {"storage": "64Mi"}}, **storage},
                    **({"preallocation": True} if preallocation else {}),
                },
            }
        )
        return volume_spec(await self.objects.create(made))

    async def until(self, look, seconds=180):
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
        said = []
        task = asyncio.create_task(importer.run(image, digest, spec, said.append))

        async def look():
            return task.done() or any(it.done for it in said)

        await self.until(look)
        return task

    async def importer_pods(self, volume="fedora-1"):
        claim = await self.claims.find(self.namespace, volume)
        selector = f"{LABEL_VOLUME}={claim['metadata']['uid']}"
        return await self.connection.list(PODS, self.namespace, label_selector=selector)

    def read(self, script, path="/disk", name="fedora-1"):
        """What a script prints that has the volume."""
        mounting = pod(self.cluster, f"read-{os.urandom(3).hex()}", self.namespace, script, volumes={path: name})
        return run_pod(self.cluster, mounting)

    def disks(self, *names):
        return disks(self.cluster, self.namespace, names, len(DISK))

    def is_whole(self, name="fedora-1"):
        [disk] = self.disks(name)
        return is_whole(disk)


def is_whole(disk):
    """Whether it is the image's, in a volume of 64 MiB, for QEMU."""
    whole = (64 * MIB, hashlib.sha256(DISK).hexdigest(), 0, (IMPORTER, IMPORTER))
    return (disk.size, disk.digest, disk.more, disk.owner) == whole


@pytest.fixture
async def home(cluster, connection, objects, namespace, program):
    certs = {"metadata": {"name": "certs", "namespace": namespace}, "data": {"ca.crt": cluster.registry_ca.read_text()}}
    await connection.create(CONFIG_MAPS, certs)
    return Home(connection, namespace, objects, cluster, PodSettings(image=program))


async def test_imports_into_files_and_a_device(home, release):
    modes = {"volumeMode": "Block", "accessModes": ["ReadWriteOnce"]}
    places = {name: {"storageClassName": name} for name in ("csi", "csi-wait", "hostpath-provisioner")}
    places |= {"device": {"storageClassName": "csi", **modes}, "no-holes": {"storageClassName": "csi"}}
    specs = {name: await home.volume(name, preallocation=name == "no-holes", **place) for name, place in places.items()}
    importer = home.importer()
    done = await asyncio.gather(*(importer.run(home.image, release, it, home.said.append) for it in specs.values()))
    assert all(it.done == it.total > 4 * MIB for it in done)
    found = dict(zip(specs, home.disks(*specs), strict=True))
    assert [name for name, disk in found.items() if not is_whole(disk)] == []
    assert found["csi"].blocks * 512 < 8 * MIB
    assert found["no-holes"].blocks * 512 >= 64 * MIB
    volume = await home.volumes.find(home.namespace, "csi")
    assert (volume.size, volume.digest) == (64 * MIB, release)
    claim = await home.claims.find(home.namespace, "csi")
    assert claim["metadata"]["labels"]["instancetype.kubevirt.io/default-preference"] == "fedora"
    again = await importer.run(home.image, release, specs["device"], home.said.append)
    assert (again.phase, again.done) == ("Complete", 0)


async def test_a_node_pulls_the_image_for_an_image_volume_and_for_a_container_of_its_own(home, release, monkeypatch):
    image = replace(home.image, pull_method="node", cert_config_map="")
    importers = {"volume": home.importer(), "container": home.importer()}

    async def none():
        return False

    monkeypatch.setattr(importers["container"], "_image_volumes", none)
    specs = [await home.volume(name) for name in importers]
    runs = zip(importers.values(), specs, strict=True)
    await asyncio.gather(*(importer.run(image, release, spec, home.said.append) for importer, spec in runs))
    assert all(map(is_whole, home.disks(*importers)))
    assert (await home.volumes.find(home.namespace, "volume")).digest == release
    claims = [await home.claims.find(home.namespace, name) for name in importers]
    labels = [it["metadata"]["labels"].get("instancetype.kubevirt.io/default-preference") for it in claims]
    assert labels == ["fedora", "fedora"]


async def digest_of_a_node(home, release):
    node = NodeDigest(home.connection, home.settings)
    assert (await node.resolve(home.image)).digest == release

    async def tidy():
        return not await home.connection.list(PODS, home.namespace, label_selector="dataimportcron.io/lookup")

    await home.until(tidy)
    absent = replace(home.image, url=home.image.url.replace(":40", ":absent"))
    with pytest.raises(ImageNotFoundError, match=r"failed to pull image .*:absent"):
        await node.resolve(absent)


async def image_of_two_files(home, digest):
    image = replace(home.image, url=f"docker://{home.cluster.registry}/two:1", pull_method="node")
    with pytest.raises(InvalidImageError, match="Invalid container image: /disk holds a, b"):
        await home.importer().run(image, digest, await home.volume("two"), home.said.append)


async def image_that_no_node_can_pull(home):
    image = replace(home.image, pull_method="node")
    spec = await home.volume("absent")
    task = asyncio.create_task(home.importer().run(image, f"sha256:{'0' * 64}", spec, home.said.append))
    told = await home.told("ImagePullFailed")
    assert told.message.startswith(f"failed to pull image {home.cluster.registry}/fedora@sha256:000")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert await home.importer_pods("absent") == []


async def cancelled(home, release, spec):
    task = await home.started(home.importer(rate=SLOW), home.image, release, spec)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert await home.importer_pods(spec.name) == []
    assert await home.volumes.find(home.namespace, spec.name) is None


async def killed(home, release, spec):
    task = await home.started(home.importer(rate=SLOW), home.image, release, spec)
    [running] = await home.importer_pods(spec.name)
    await home.connection.delete(PODS, running["metadata"]["name"], home.namespace)
    with pytest.raises(ImporterDiedError, match="was deleted while it ran"):
        await task


async def left_to_the_next(home, release, spec):
    importer = home.importer(rate=2 * SLOW)  # who follows it waits for its end
    importer._filling._hands_over = lambda: True
    task = await home.started(importer, home.image, release, spec)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    [running] = await home.importer_pods(spec.name)
    assert running["metadata"]["name"].startswith("import-")


async def test_an_import_that_is_interrupted_is_run_again_or_followed(home, release):
    ways = {"cancelled": cancelled, "killed": killed, "left": left_to_the_next}

    async def attempts(name):
        spec = await home.volume(name)
        await ways[name](home, release, spec)
        await home.importer().run(home.image, release, spec, home.said.append)
        return attempt_of(await home.connection.get(PVCS, name, home.namespace))

    _, killed_ones, left_ones = await asyncio.gather(*map(attempts, ways))
    assert (killed_ones, left_ones) == (2, 1)
    assert all(map(is_whole, home.disks(*ways)))


async def config_map_that_comes_late(home, release):
    image, spec = replace(home.image, cert_config_map="later"), await home.volume("late")
    task = asyncio.create_task(home.importer().run(image, release, spec, home.said.append))
    assert 'configmap "later" not found' in (await home.told("FailedMount")).message
    certs = {"ca.crt": home.cluster.registry_ca.read_text()}
    await home.connection.create(
        CONFIG_MAPS, {"metadata": {"name": "later", "namespace": home.namespace}, "data": certs}
    )
    async with asyncio.timeout(180):  # the kubelet looks again when it likes
        await task
    assert home.is_whole("late")


async def volume_that_is_roots(home, release):
    name = f"roots-{home.namespace}"
    home.cluster.on_node("mkdir", "-p", f"/run/{name}")
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
    home.cluster.apply(volume)
    spec = await home.volume("roots", storageClassName=name)
    with pytest.raises(TargetNotWritableError, match="fsGroup, which NFS and hostPath ignore"):
        await home.importer().run(home.image, release, spec, home.said.append)
    home.cluster.kubectl("delete", "pv", name, "--wait=false")


async def test_what_holds_an_import_up_or_lets_it_fail_is_said(home, release, tmp_path):
    write_image(tmp_path / "two.tar", "two:1", layer_of(**{"disk/a": b"a", "disk/b": b"b"}))
    two = home.cluster.push(tmp_path / "two.tar", "two:1")
    await asyncio.gather(
        digest_of_a_node(home, release),
        image_of_two_files(home, two),
        image_that_no_node_can_pull(home),
        config_map_that_comes_late(home, release),
        volume_that_is_roots(home, release),
    )


async def test_a_volume_in_use(home):
    home.cluster.apply(claim("fedora-1", home.namespace, "csi"))
    assert await home.volumes.in_use(home.namespace, "fedora-1") == ""
    home.cluster.apply(pod(home.cluster, "vm", home.namespace, "sleep 600", volumes={"/disk": "fedora-1"}))
    assert await home.volumes.in_use(home.namespace, "fedora-1") == (
        f"pod {home.namespace}/vm using PersistentVolumeClaim fedora-1"
    )
