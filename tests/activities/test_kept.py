"""Imports that are kept as snapshots: taken, waited for, pointed to, and removed (S-04 to S-10, X-05)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataimportcron import naming
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.errors import ObjectNotFoundError
from dataimportcron.manifests import with_annotations
from dataimportcron.messages import CleanUp, CleanUpInput, DropInput, PromoteInput, Trigger, Verdict
from dataimportcron.values import Placement, SourceKind
from tests.activities.conftest import NOW
from tests.support.home import DATA_SOURCE, NAMESPACE
from tests.support.snapshots import readied, snapshotting


@pytest.fixture
def storage(home, monkeypatch):
    return snapshotting(home, monkeypatch)


class Kept:
    """One cron, and what there is of its imports."""

    def __init__(self, steps, home, storage, **spec):
        self.steps, self.home, self.storage, self.objects = steps, home, storage, home.home.objects
        self.ref = home.apply(**spec)
        self.decision = None

    async def import_(self, content=b"one"):
        self.home.release(content)
        self.decision = await self.steps.import_(self.ref)
        return self.decision.data_volume

    async def promote(self):
        return (await self.steps.promote(self.ref, self.decision))[1]

    async def find(self, kind):
        try:
            return await self.objects.get(kind, NAMESPACE, self.decision.data_volume)
        except ObjectNotFoundError:
            return None

    async def ready(self):
        """The driver's part."""
        return await self.objects.patch(*readied(await self.find(VolumeSnapshot)))

    async def bury(self):
        """The binding's part: what is deleted has no volume any more."""
        for gone in self.home.store.deletions():
            await self.storage.delete(gone.metadata.namespace, gone.metadata.name)
            self.home.store.forget(gone.metadata.uid)

    async def points_to(self):
        source = (await self.objects.get(DataSource, NAMESPACE, DATA_SOURCE)).spec.source
        return source.pvc.name if source.pvc else "", source.snapshot.name if source.snapshot else ""

    async def as_snapshot(self, content=b"one"):
        name = await self.import_(content)
        await self.promote()
        await self.ready()
        await self.promote()
        return name

    async def cron(self):
        return await self.objects.get(DataImportCron, NAMESPACE, self.ref.name)


@pytest.fixture
def kept(storage, steps, home):
    return Kept(steps, home, storage)


async def test_the_data_source_moves_when_the_snapshot_is_ready_and_then_the_volume_goes(kept):
    name = await kept.import_()
    volume = await kept.find(DataVolume)
    assert volume.metadata.annotations[naming.ANNOTATION_PLACED_IN] == "fast"
    assert await kept.promote() == f"nothing yet: VolumeSnapshot {name} is being taken"
    snapshot = await kept.find(VolumeSnapshot)
    assert snapshot.metadata.annotations[naming.ANNOTATION_PLACED_IN] == "fast"
    assert await kept.points_to() == ("", "")
    assert await kept.promote() == f"nothing yet: VolumeSnapshot {name} is not ready"
    assert (await kept.steps.look(kept.ref, Trigger.CHANGE)).verdict is Verdict.WAIT

    await kept.ready()
    assert (await kept.steps.look(kept.ref, Trigger.CHANGE)).verdict is Verdict.PROMOTE
    await kept.promote()
    assert await kept.points_to() == ("", name)
    assert await kept.find(DataVolume) is None
    cron = await kept.cron()
    assert (cron.status.source_format, cron.status.last_imported_pvc.name) == ("snapshot", name)
    advised = (await kept.find(VolumeSnapshot)).metadata.annotations[naming.ANNOTATION_ADVISED_RESTORE_SIZE]
    assert advised == "2Gi"
    ready = (await kept.objects.get(DataSource, NAMESPACE, DATA_SOURCE)).status
    assert (ready.source.snapshot.name, ready.conditions[0].status) == (name, "True")
    assert (await kept.steps.look(kept.ref)).reason == "UpToDate"


async def test_a_promotion_again_and_a_late_one_take_no_second_snapshot(kept):
    await kept.as_snapshot()
    before = await kept.find(VolumeSnapshot)
    old = kept.decision
    await kept.promote()
    assert (await kept.find(VolumeSnapshot)).metadata.uid == before.metadata.uid
    await kept.as_snapshot(b"two")
    newer = await kept.points_to()
    assert (await kept.steps.promote(kept.ref, old))[1].startswith("nothing: the current import is")
    assert await kept.points_to() == newer


async def test_a_volume_that_is_cloned_stays_until_that_is_done(kept):
    name = await kept.import_()
    await kept.promote()
    await kept.ready()
    kept.storage.users[SourceKind.PVC, name] = "pod vms/clone uses it"
    await kept.promote()
    assert await kept.points_to() == ("", name)
    assert await kept.find(DataVolume) is not None
    kept.storage.users.clear()
    assert (await kept.steps.look(kept.ref)).verdict is Verdict.PROMOTE
    await kept.promote()
    assert await kept.find(DataVolume) is None


async def test_back_to_volumes_the_image_is_imported_again_and_the_snapshot_goes_last(kept):
    name = await kept.as_snapshot()
    await kept.bury()
    kept.storage.placed = Placement(storage_class="fast")
    assert await kept.import_() == name
    assert await kept.points_to() == ("", name), "it serves until the volume is there"
    await kept.promote()
    assert await kept.points_to() == (name, "")
    assert await kept.find(VolumeSnapshot) is None
    assert (await kept.cron()).status.source_format == "pvc"


async def test_a_snapshot_of_another_class_is_taken_anew(kept):
    name = await kept.import_()
    await kept.promote()
    first = (await kept.ready()).metadata.uid
    kept.storage.placed = Placement(storage_class="fast", form=SourceKind.SNAPSHOT, snapshot_class="other")
    assert "is of another class" in await kept.promote()
    assert await kept.promote() == f"nothing yet: VolumeSnapshot {name} is being taken"
    second = await kept.find(VolumeSnapshot)
    assert (second.spec.volume_snapshot_class_name, second.metadata.uid != first) == ("other", True)


async def test_a_volume_of_an_earlier_class_is_never_snapshotted(kept, monkeypatch):
    await kept.import_()
    volume = await kept.find(DataVolume)
    await kept.objects.patch(volume, with_annotations(volume, {naming.ANNOTATION_PLACED_IN: None}))
    find = kept.storage.find

    async def of_slow(namespace, name):
        found = await find(namespace, name)
        return found and type(found)(
            namespace=namespace, name=name, size=found.size, location=found.location, storage_class="slow"
        )

    monkeypatch.setattr(kept.storage, "find", of_slow, raising=False)
    assert "is of storage class slow, not fast" in await kept.promote()
    assert await kept.find(VolumeSnapshot) is None
    decision = await kept.steps.look(kept.ref)
    assert (decision.verdict, decision.anew) == (Verdict.IMPORT, True)


@pytest.mark.parametrize("form", list(SourceKind))
async def test_an_import_makes_place_for_one_of_another_class(kept, form):
    if form is SourceKind.PVC:
        kept.storage.placed = Placement(storage_class="fast")
        name = await kept.import_()
        await kept.promote()
    else:
        name = await kept.as_snapshot()
    await kept.bury()
    kept.storage.placed = replace(kept.storage.placed, storage_class="slow")
    kept.storage.users[form, name] = "pod vms/clone uses it"
    assert (await kept.steps.look(kept.ref)).verdict is Verdict.WAIT
    kept.storage.users.clear()
    decision = await kept.steps.look(kept.ref)
    assert (decision.verdict, decision.replaces) == (Verdict.IMPORT, name)
    drop = DropInput(cron=kept.ref, data_volume=name, complete=decision.anew)
    await kept.steps.run(kept.steps.retention.drop_import, drop)
    assert (await kept.find(DataVolume), await kept.find(VolumeSnapshot)) == (None, None)
    await kept.bury()
    assert await kept.import_() == name
    assert (await kept.find(DataVolume)).metadata.annotations[naming.ANNOTATION_PLACED_IN] == "slow"


async def test_old_snapshots_are_pruned_unless_something_is_restored_from_them(storage, steps, home):
    kept = Kept(steps, home, storage, importsToKeep=1)
    old = await kept.as_snapshot(b"one")
    new = await kept.as_snapshot(b"two")
    promote = PromoteInput(cron=kept.ref, data_volume=new, digest=kept.decision.digest, now=NOW)
    storage.users[SourceKind.SNAPSHOT, old] = "PersistentVolumeClaim vms/a is being restored from it"
    pruned = await steps.run(steps.retention.prune_imports, promote)
    assert pruned.kept == (f"{old}: PersistentVolumeClaim vms/a is being restored from it",)
    storage.users.clear()
    assert (await steps.run(steps.retention.prune_imports, promote)).removed == (old,)
    assert [it.metadata.name for it in await kept.objects.list(VolumeSnapshot, NAMESPACE)] == [new]


@pytest.mark.parametrize(("policy", "left"), [("All", 1), ("None", 0)])
async def test_snapshots_go_with_their_cron_by_its_policy(storage, steps, home, policy, left):
    kept = Kept(steps, home, storage, retentionPolicy=policy)
    await kept.as_snapshot()
    await kept.objects.delete(await kept.cron())
    end = CleanUpInput(cron=kept.ref, clean_up=CleanUp(retention_policy=policy, data_source=DATA_SOURCE), now=NOW)
    await steps.run(steps.retention.clean_up, end)
    assert len(await kept.objects.list(VolumeSnapshot, NAMESPACE)) == left
