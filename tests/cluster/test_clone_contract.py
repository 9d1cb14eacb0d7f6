"""The contract of `ports.Volumes` and `ports.Cloner`, over a real cluster.

The tests are the contract's own. A volume there is a file that they read and write; here a pod does that. The objects
that they do not speak of, DataVolumes, are made when a volume is.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import os
from contextlib import suppress
from dataclasses import replace

import pytest

from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.claims.claims import Claims
from dataimportcron.cluster.client.resources import DATA_VOLUMES, NAMESPACES, PVCS
from dataimportcron.cluster.cloner import ClusterCloner
from dataimportcron.cluster.jobs.pods import PodSettings
from dataimportcron.cluster.volumes import ClusterVolumes
from dataimportcron.errors import AlreadyExistsError, ObjectNotFoundError
from tests.cluster.objects import pod, run_pod
from tests.cluster.releases import program
from tests.contract import test_volumes_and_cloner as contract

__all__ = ["program"]

NAMESPACE = "golden"
MIB = contract.MIB

test_no_volume = contract.test_no_volume
test_blank_is_zeros_of_the_size_asked_for = contract.test_blank_is_zeros_of_the_size_asked_for
test_a_complete_blank_volume_is_left_alone = contract.test_a_complete_blank_volume_is_left_alone
test_clone_again_is_no_op = contract.test_clone_again_is_no_op
test_clone_into_less = contract.test_clone_into_less
test_clone_of_nothing = contract.test_clone_of_nothing
test_reports_come_in_the_callers_loop = contract.test_reports_come_in_the_callers_loop


async def test_clone_has_the_bytes_then_zeros(volumes, cloner, source):
    """Of one size, which no claim has; `test_clones` has others, by every way."""
    await contract.test_clone_has_the_bytes_then_zeros(volumes, cloner, source, 4 * MIB + 1)


class OfObjects:
    """The cloner, for specs of DataVolumes that nobody has made."""

    def __init__(self, cloner, objects):
        self._cloner, self._objects = cloner, objects

    async def _spec(self, wanted):
        try:
            made = await self._objects.get(DataVolume, NAMESPACE, wanted.name)
        except ObjectNotFoundError:
            resources = {"requests": {"storage": str(wanted.size)} if wanted.size else {}}
            storage = {"resources": resources, "volumeMode": "Filesystem", "accessModes": ["ReadWriteOnce"]}
            document = {
                "metadata": {"name": wanted.name, "namespace": NAMESPACE},
                "spec": {"source": {"blank": {}}, "storage": storage},
            }
            made = await self._objects.create(DataVolume.model_validate(document))
        return replace(wanted, uid=made.metadata.uid)

    async def run(self, source, wanted, report):
        return await self._cloner.run(source, await self._spec(wanted), report)

    async def blank(self, wanted):
        await self._cloner.blank(await self._spec(wanted))


@pytest.fixture
async def claims(connection):
    with suppress(AlreadyExistsError):
        await connection.create(NAMESPACES, {"metadata": {"name": NAMESPACE}})
    # A file system of a few mebibytes has no room for a disk of as many.
    yield Claims(connection, owned=True, overheads={"": "15"})
    # The next test has volumes of the same names: none of these may be left to be taken for one of them. Only the
    # source is for all: whoever needs it makes it where it is missing.
    async with asyncio.timeout(180):
        for resource in (DATA_VOLUMES, PVCS):
            while left := await _all_but_the_source(connection, resource):
                for own in (it for it in left if "deletionTimestamp" not in it):
                    await connection.delete(resource, own["name"], NAMESPACE)
                await asyncio.sleep(0.1)


async def _all_but_the_source(connection, resource):
    found = (it["metadata"] for it in await connection.list(resource, NAMESPACE))
    return [it for it in found if it["name"] != "source" or "deletionTimestamp" in it]


@pytest.fixture(scope="module", autouse=True)
def _remove_the_source(cluster):
    yield
    cluster.kubectl("delete", "datavolume,pvc", "source", "-n", NAMESPACE, "--ignore-not-found")


@pytest.fixture
def volumes(connection, objects, claims):
    return ClusterVolumes(connection, objects, claims)


@pytest.fixture
def cloner(connection, objects, claims, program):
    return OfObjects(ClusterCloner(connection, objects, claims, PodSettings(image=program)), objects)


@pytest.fixture(autouse=True)
def by_pods(cluster, monkeypatch):
    """How the contract's tests read and write volumes; returns what runs a script that has one."""

    def run(volume, script):
        name = f"use-{os.urandom(3).hex()}"
        printed = run_pod(cluster, pod(cluster, name, NAMESPACE, script, volumes={"/disk": volume.name}))
        cluster.delete("pod", name, NAMESPACE)
        return printed

    def content(volume):
        return gzip.decompress(base64.b64decode(run(volume, "gzip -c /disk/disk.img | base64")))

    def overwrite(volume, data, at=0):
        octal = "".join(f"\\0{byte:03o}" for byte in data)
        run(volume, f"printf '%b' '{octal}' | dd of=/disk/disk.img bs=1 seek={at} conv=notrunc")

    monkeypatch.setattr(contract, "content", content)
    monkeypatch.setattr(contract, "overwrite", overwrite)
    return run


@pytest.fixture
async def source(volumes, cloner, by_pods):
    """The contract's: a volume with data at both ends and a hole between; the tests here leave it as it is."""
    volume = await volumes.find(NAMESPACE, "source")
    if volume is not None:
        return volume
    await cloner.blank(contract.spec("source"))
    volume = await volumes.find(NAMESPACE, "source")
    write = "dd of=/disk/disk.img bs=1 conv=notrunc"
    by_pods(volume, f"head -c 100001 /dev/urandom | {write}; printf 'tail!' | {write} seek={4 * MIB - 5}; sync")
    return volume
