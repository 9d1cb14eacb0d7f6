"""A cron whose imports are kept as snapshots, as its executions and the binding go on with it."""

from __future__ import annotations

import pytest

from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataSource
from dataimportcron.errors import ObjectNotFoundError
from dataimportcron.values import Placement
from tests.support.home import DATA_SOURCE, NAMESPACE
from tests.support.snapshots import readied, snapshotting
from tests.support.temporal import eventually
from workflows.data_import_cron import DataImportCronWorkflow


@pytest.fixture
def storage(home, monkeypatch):
    return snapshotting(home, monkeypatch)


def snapshots(home):
    return home.store.list(VolumeSnapshot, NAMESPACE)


def points_to_snapshot(home):
    try:
        snapshot = home.store.get(DataSource, NAMESPACE, DATA_SOURCE).spec.source.snapshot
    except ObjectNotFoundError:
        return ""
    return snapshot.name if snapshot else ""


async def become_ready(home):
    """The driver's part."""
    await eventually(lambda: snapshots(home))
    [snapshot] = snapshots(home)
    await home.home.objects.patch(*readied(snapshot))


async def test_a_snapshot_is_taken_and_used_and_the_volume_goes(storage, bound, home):
    home.release(b"one")
    async with bound() as cron:
        home.apply()
        await eventually(lambda: snapshots(home))
        await eventually(lambda: home.condition("UpToDate")[2] == "Snapshot of imported data is progressing")
        assert points_to_snapshot(home) == ""
        await become_ready(home)
        [name] = home.volumes()
        await eventually(lambda: points_to_snapshot(home) == name)
        await eventually(lambda: home.volumes() == {})
        await eventually(lambda: home.condition("UpToDate")[:2] == ("True", "UpToDate"))
        assert home.cron().status.source_format == "snapshot"

        # It is deleted by hand, and made anew (S-09).
        await home.home.objects.delete(snapshots(home)[0])
        await eventually(lambda: home.volumes().get(name) == "Succeeded")
        await become_ready(home)
        await eventually(lambda: home.volumes() == {} and points_to_snapshot(home) == name)
        await eventually(lambda: home.condition("UpToDate")[:2] == ("True", "UpToDate"))

        # The class wants volumes now (S-08).
        storage.placed = Placement(storage_class="fast")
        await cron.handle.signal(DataImportCronWorkflow.poll, "the class has changed")
        await eventually(lambda: home.points_to() == name and snapshots(home) == [])

        # Another class (S-04): the same digest goes there.
        storage.placed = Placement(storage_class="slow")
        await cron.handle.signal(DataImportCronWorkflow.poll, "there is another class")

        async def imported_again():
            return [record.outcome for record in (await cron.state()).history] == ["Succeeded"] * 4

        await eventually(imported_again)
        await eventually(lambda: home.volumes() == {name: "Succeeded"} and home.points_to() == name)
        await eventually(lambda: home.condition("UpToDate")[0] == "True")
