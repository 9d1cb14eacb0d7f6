"""Overlays on golden images: how they are made, and that nothing removes the image below them."""

import pytest

from dataimportcron.api.types import DataVolume
from dataimportcron.messages import CleanUp, CleanUpInput, PopulateInput, Step
from tests.activities.conftest import NOW
from tests.support.home import DATA_SOURCE, NAMESPACE


def machine(home, clone="overlay", size="2Mi", **spec):
    """Apply a virtual machine's disk; returns what its steps are given."""
    spec = spec or {"sourceRef": {"kind": "DataSource", "name": DATA_SOURCE}}
    if size:
        spec |= {"storage": {"resources": {"requests": {"storage": size}}}}
    else:
        spec |= {"storage": {}}
    document = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": "vm", "namespace": NAMESPACE, "annotations": {"dataimportcron.io/clone": clone}},
        "spec": spec,
    }
    home.store.apply(document)
    return PopulateInput(namespace=NAMESPACE, name="vm", now=NOW)


async def imported(steps, home, content, **spec):
    home.release(content)
    ref = home.apply(importsToKeep=1, **spec)
    decision = await steps.import_(ref)
    promote, _ = await steps.promote(ref, decision)
    return decision.data_volume, promote


async def make(steps, home, **wanted):
    populate = machine(home, **wanted)
    ready = await steps.run(steps.volume.prepare_data_volume, populate)
    assert ready.step is Step.CLONE
    return await steps.clone(populate, ready)


@pytest.mark.parametrize(("size", "bytes_"), [("2Mi", 2 << 20), ("", 1 << 20)])
async def test_an_overlay_on_what_the_data_source_points_to(steps, home, size, bytes_):
    golden, _ = await imported(steps, home, b"one")
    done = await make(steps, home, size=size)
    assert done.message == "Overlay"
    found = await home.home.volumes.find(NAMESPACE, "vm")
    assert (found.format, found.size) == ("qcow2", bytes_)
    assert home.store.get(DataVolume, NAMESPACE, "vm").status.phase == "Succeeded"
    assert "vm.qcow2" in await home.home.volumes.in_use(NAMESPACE, golden)


async def test_an_image_below_an_overlay_is_kept_until_that_is_gone(steps, home):
    first, _ = await imported(steps, home, b"one")
    await make(steps, home)
    second, promote = await imported(steps, home, b"two")
    overlay = (await home.home.volumes.find(NAMESPACE, "vm")).location
    for _ in range(2):
        pruned = await steps.run(steps.retention.prune_imports, promote)
        assert (pruned.removed, pruned.kept) == ((), (f"{first}: {overlay} has it as its backing file",))
    events = home.store.record(type(home.cron()), NAMESPACE, home.cron().metadata.name).events
    (said,) = [event for event in events if event["reason"] == "InUse"]
    assert said["message"] == f"Import {first} is kept: {overlay} has it as its backing file"
    assert said["count"] == 2
    await home.home.volumes.delete(NAMESPACE, "vm")
    assert (await steps.run(steps.retention.prune_imports, promote)).removed == (first,)
    assert second in home.volumes()


async def test_the_end_of_a_cron_keeps_what_is_in_use(steps, home):
    name, promote = await imported(steps, home, b"one", retentionPolicy="None")
    await make(steps, home)
    home.store.delete(home.cron())
    end = CleanUpInput(cron=promote.cron, clean_up=CleanUp(retention_policy="None", data_source=DATA_SOURCE), now=NOW)
    ended = await steps.run(steps.retention.clean_up, end)
    overlay = (await home.home.volumes.find(NAMESPACE, "vm")).location
    assert ended.kept == (f"DataVolume {name}: {overlay} has it as its backing file",)
    assert ended.removed == (f"DataSource {DATA_SOURCE}",)
    events = home.store.record(DataVolume, NAMESPACE, name).events
    assert [event["message"] for event in events if event["reason"] == "InUse"] == [
        f"Kept when DataImportCron fedora-cron ended: {overlay} has it as its backing file"
    ]
    assert await home.home.volumes.find(NAMESPACE, name) is not None


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"clone": "linked"}, "annotation dataimportcron.io/clone is 'linked', expected 'overlay'"),
        ({"source": {"blank": {}}}, "this one has neither sourceRef nor source.pvc"),
    ],
)
async def test_an_annotation_that_cannot_be_followed_fails(steps, home, wanted, words):
    ready = await steps.run(steps.volume.prepare_data_volume, machine(home, **wanted))
    assert (ready.step, ready.reason) == (Step.FAILED, "InvalidSpec")
    assert words in ready.message
