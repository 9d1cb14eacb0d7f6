"""The contract of `ports.Importer` and `ports.Volumes`, over a real cluster.

The tests are the contract's own. What they do not find in a file here, they find by a pod that mounts the claim.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest

from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.claims.claims import Claims
from dataimportcron.cluster.client.resources import CONFIG_MAPS, DATA_VOLUMES, NAMESPACES
from dataimportcron.cluster.importer import ClusterImporter
from dataimportcron.cluster.jobs.pods import PodSettings
from dataimportcron.cluster.volumes import ClusterVolumes
from dataimportcron.errors import AlreadyExistsError
from dataimportcron.values import ImageSource
from tests.cluster.images import write_image
from tests.cluster.objects import pod, run_pod
from tests.cluster.releases import layer_of, program
from tests.contract import test_source_and_importer as contract

__all__ = ["program"]

NAMESPACE = "golden"

test_import_makes_a_complete_volume = contract.test_import_makes_a_complete_volume
test_import_is_of_the_digest_not_of_the_tag = contract.test_import_is_of_the_digest_not_of_the_tag
test_import_again_is_no_op = contract.test_import_again_is_no_op
test_import_of_what_is_not_there = contract.test_import_of_what_is_not_there
test_a_cancelled_import_has_stopped_and_can_be_run_again = (
    contract.test_a_cancelled_import_has_stopped_and_can_be_run_again
)
test_a_deleted_volume_is_imported_again = contract.test_a_deleted_volume_is_imported_again


class ClusterImages:
    """Images of the cluster's registry, for the importer's Jobs."""

    def __init__(self, cluster, importer_of, folder):
        self.cluster, self._importer_of, self._folder = cluster, importer_of, folder
        self.importer = importer_of(0)

    def publish(self, tag, content):
        archive = self._folder / f"{os.urandom(4).hex()}.tar"
        write_image(archive, f"disks:{tag}", layer_of(**{"disk/disk.img": content}))
        url = f"docker://{self.cluster.registry}/disks:{tag}"
        digest = self.cluster.push(archive, f"disks:{tag}")
        return ImageSource(namespace=NAMESPACE, url=url, cert_config_map="certs"), digest

    @contextmanager
    def stuck(self):
        self.importer = self._importer_of(1000)
        yield
        self.importer = self._importer_of(0)


@pytest.fixture
async def volume(connection, objects, monkeypatch):
    """The one DataVolume that the contract speaks of, as the cluster knows it."""
    with suppress(AlreadyExistsError):
        await connection.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
    metadata = {"name": contract.SPEC.name, "namespace": NAMESPACE}
    spec = {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": str(contract.SPEC.size)}}}}
    made = await objects.create(DataVolume.model_validate({"metadata": metadata, "spec": spec}))
    monkeypatch.setattr(contract, "SPEC", replace(contract.SPEC, uid=made.metadata.uid))
    yield made
    await connection.delete(DATA_VOLUMES, made.metadata.name, NAMESPACE)


@pytest.fixture
async def adapters(cluster, connection, objects, program, volume):
    certs = {"ca.crt": cluster.registry_ca.read_text()}
    await connection.apply(CONFIG_MAPS, {"metadata": {"name": "certs", "namespace": NAMESPACE}, "data": certs})
    # A file system of two mebibytes has no room for a disk of two.
    claims = Claims(connection, owned=True, overheads={"": "15"})
    settings = PodSettings(image=program)
    volumes = ClusterVolumes(connection, objects, claims)
    yield SimpleNamespace(
        volumes=volumes,
        importer_of=lambda rate: ClusterImporter(connection, objects, claims, replace(settings, rate=rate)),
    )
    await volumes.delete(NAMESPACE, volume.metadata.name)
    cluster.kubectl("wait", "--for=delete", "--timeout=180s", f"pvc/{volume.metadata.name}", "-n", NAMESPACE)


@pytest.fixture
def volumes(adapters):
    return adapters.volumes


@pytest.fixture
def images(cluster, adapters, tmp_path, monkeypatch):
    def read(script):
        name = f"read-{os.urandom(3).hex()}"
        printed = run_pod(cluster, pod(cluster, name, NAMESPACE, script, volumes={"/disk": contract.SPEC.name}))
        cluster.delete("pod", name, NAMESPACE)
        return printed

    def content(_volume):
        return bytes.fromhex("".join(read("od -An -v -tx1 /disk/disk.img").split()))

    def status(_volume):
        inode, modified = read("stat -c '%i %Y' /disk/disk.img").split()
        return SimpleNamespace(st_ino=inode, st_mtime_ns=modified)

    monkeypatch.setattr(contract, "content", content)
    monkeypatch.setattr(contract, "status", status)
    return ClusterImages(cluster, adapters.importer_of, tmp_path)
