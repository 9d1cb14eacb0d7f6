"""Clones that are asked for before their source is there, or while it moves (X-05 to X-07), and restarts (X-16)."""

import pytest

from dataimportcron.api.types import DataVolume
from dataimportcron.naming import import_name
from tests.support.home import DATA_SOURCE, NAMESPACE
from tests.support.temporal import eventually


def a_clone(name="clone", namespace="vms"):
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "sourceRef": {"kind": "DataSource", "name": DATA_SOURCE, "namespace": NAMESPACE},
            "storage": {"resources": {"requests": {"storage": "1Mi"}}},
        },
    }


async def content_of(home, name="clone", namespace="vms"):
    volume = await home.home.volumes.find(namespace, name)
    with open(volume.location, "rb") as file:  # noqa: ASYNC230, PTH123 -- a mebibyte
        return file.read().rstrip(b"\0")


def phase(home, name="clone"):
    return home.store.get(DataVolume, "vms", name).status.phase


async def test_x07_a_clone_in_another_namespace_that_was_there_before_its_source_recovers(bound, home):
    async with bound():
        home.store.apply(a_clone())
        await eventually(lambda: phase(home) == "Pending")
        home.release(b"one")
        home.apply()
        await eventually(lambda: phase(home) == "Succeeded", 40)
        assert await content_of(home) == b"one"


async def test_x06_a_data_source_that_moves_before_the_clone_begins_is_what_is_cloned(bound, home):
    home.release(b"one")
    async with bound() as cron:
        home.apply()
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
        newer = home.release(b"two")
        await cron.handle.signal("poll", "test")
        await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, newer))
        home.store.apply(a_clone())
        await eventually(lambda: phase(home) == "Succeeded", 40)
        assert await content_of(home) == b"two"


@pytest.mark.parametrize("moment", ["in mid-import", "when it is complete", "when it is promoted"])
async def test_x16_a_restart_in_any_phase_is_one_import_per_digest(bound, home, moment):
    digest = home.release(b"one")
    name = import_name(DATA_SOURCE, digest)
    if moment != "when it is promoted":
        home.importer.gate.clear()
    async with bound():
        home.apply()
        if moment == "when it is promoted":
            await eventually(lambda: home.points_to() == name)
        else:
            await eventually(lambda: home.importer.running == 1)
        if moment == "when it is complete":
            home.importer.gate.set()
            await eventually(lambda: home.volumes()[name] == "Succeeded")
    home.importer.gate.set()
    async with bound():
        await eventually(lambda: home.points_to() == name, 60)
        await eventually(lambda: home.condition("UpToDate")[0] == "True", 60)
        assert home.volumes() == {name: "Succeeded"}
        assert set(home.importer.started) == {digest}
