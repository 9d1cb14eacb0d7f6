"""What a DataVolume needs next: its place first, its source as it was chosen, and words where it cannot go on."""

import asyncio
from types import SimpleNamespace

import pytest

from dataimportcron import naming
from dataimportcron.api.types import DataSource, DataVolume
from dataimportcron.errors import InvalidObjectError
from dataimportcron.manifests import with_labels
from dataimportcron.messages import PopulateInput, Step
from dataimportcron.values import CloneSource, Reservation, Transfer
from tests.activities.conftest import NOW
from tests.support.home import DATA_SOURCE, NAMESPACE

WAITS = Reservation(reason="WaitForFirstConsumer", message="PVC clone Pending", phase="WaitForFirstConsumer")


def apply(home, name="clone", **spec):
    home.store.apply(
        {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataVolume",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"storage": {"resources": {"requests": {"storage": "2Mi"}}}} | spec,
        }
    )


def of_data_source():
    return {"sourceRef": {"kind": "DataSource", "name": DATA_SOURCE}}


def volume(home, name="clone"):
    return home.store.get(DataVolume, NAMESPACE, name)


def reasons(home, name="clone"):
    return [(it["type"], it["reason"]) for it in home.store.record(DataVolume, NAMESPACE, name).events]


@pytest.fixture
def prepare(steps):
    async def look(name="clone"):
        return await steps.run(steps.volume.prepare_data_volume, PopulateInput(namespace=NAMESPACE, name=name, now=NOW))

    return look


@pytest.fixture
def place(home, monkeypatch):
    """What the home says of the places of clones, of which a host has none."""
    place = SimpleNamespace(answer=WAITS, asked=[])

    async def reserve(_volume, source=None):
        if source is None:
            return Reservation()
        place.asked.append(source)
        return place.answer

    monkeypatch.setattr(home.home.volumes, "reserve", reserve)
    return place


async def imported(home, steps, content=b"one"):
    home.release(content)
    ref = home.apply()
    decision = await steps.import_(ref)
    await steps.promote(ref, decision)
    return decision.data_volume


async def test_k10_a_clone_stays_with_the_source_that_was_chosen_when_its_place_was_taken(home, steps, prepare, place):
    first = await imported(home, steps)
    apply(home, **of_data_source())
    ready = await prepare()
    chosen = f"{NAMESPACE}/{first}"
    assert (ready.step, ready.source, volume(home).status.phase) == (Step.WAIT, chosen, "WaitForFirstConsumer")
    assert place.asked == [CloneSource(namespace=NAMESPACE, name=first)]
    assert reasons(home) == [("Normal", "WaitForFirstConsumer")]
    second = await imported(home, steps, b"two")
    assert home.store.get(DataSource, NAMESPACE, DATA_SOURCE).spec.source.pvc.name == second != first
    place.answer = Reservation()
    ready = await prepare()
    assert (ready.step, ready.source) == (Step.CLONE, chosen)
    assert reasons(home)[1:] == [("Normal", "CloneScheduled")]


async def test_k10_a_source_that_has_gone_is_chosen_anew(home, steps, prepare, place):
    first = await imported(home, steps)
    apply(home, **of_data_source())
    await prepare()
    second = await imported(home, steps, b"two")
    home.store.delete(volume(home, first))
    await home.home.volumes.delete(NAMESPACE, first)
    assert (await prepare()).source == f"{NAMESPACE}/{second}"
    assert place.asked[-1].name == second


async def test_what_no_retry_can_help_is_said_and_ends(home, prepare, monkeypatch):
    apply(home, source={"blank": {}})

    async def refuse(_volume, _source=None):
        raise InvalidObjectError("DataVolume clone: resources.requests.storage is 0, expected a size")

    monkeypatch.setattr(home.home.volumes, "reserve", refuse)
    ready = await prepare()
    assert (ready.step, ready.reason) == (Step.FAILED, "InvalidSpec")
    assert "expected a size" in ready.message


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ({"source": {"s3": {"url": "https://s3.example/disk"}}}, "source s3"),
        ({"source": {"upload": {}}}, "source upload"),
        ({"source": {"pvc": {"namespace": "a", "name": "b"}}, "contentType": "archive"}, "contentType archive"),
        ({"source": {"blank": {}}, "checkpoints": [{"previous": "", "current": "1"}]}, "a multi-stage import"),
    ],
)
async def test_what_cdi_serves_waits_for_it(home, prepare, spec, what):
    apply(home, **spec)
    ready = await prepare()
    assert (ready.step, ready.reason) == (Step.WAIT, "UnsupportedSource")
    assert f"DataVolume clone: {what}" in ready.message
    assert reasons(home) == [("Warning", "UnsupportedSource")]


async def test_k20_a_clone_has_the_labels_of_what_it_is_cloned_from(home, steps, prepare):
    source = volume(home, await imported(home, steps))
    preference = naming.MACHINE_LABELS[2]
    home.store.patch(source, with_labels(source, {preference: "fedora", "app": "x"}))
    apply(home, **of_data_source())
    await prepare()
    assert volume(home).metadata.labels == {preference: "fedora"}


async def test_k18_phases_and_events_of_a_clone(home, steps, prepare, monkeypatch):
    monkeypatch.setattr("activities.population._REPORT_INTERVAL", 0.01)
    source = await imported(home, steps)
    apply(home, **of_data_source())
    ready = await prepare()
    now, ends = [Transfer(phase="Starting")], asyncio.Event()

    async def clone(_source, _volume, report):
        while not ends.is_set():
            report(now[-1])
            await asyncio.sleep(0.01)
        return Transfer(phase="Complete")

    monkeypatch.setattr(home.home.cloner, "run", clone)
    populate = PopulateInput(namespace=NAMESPACE, name="clone", now=NOW, uid=ready.uid, source=ready.source)
    task = asyncio.create_task(steps.run(steps.population.clone_data_volume, populate))
    phases = {
        "Starting": "CloneInProgress",
        "CSIClone": "CSICloneInProgress",
        "Snapshot": "SnapshotForSmartCloneInProgress",
        "SnapshotClone": "CloneFromSnapshotSourceInProgress",
        "HostClone": "CloneInProgress",
        "Rebind": "RebindInProgress",
    }
    async with asyncio.timeout(20):
        for said, phase in phases.items():
            now.append(Transfer(phase=said))
            while reasons(home)[-1] != ("Normal", phase):  # noqa: ASYNC110 -- the store tells nobody
                await asyncio.sleep(0.01)
            assert volume(home).status.phase == phase
    ends.set()
    await task
    assert reasons(home)[-1] == ("Normal", "CloneSucceeded")
    last = home.store.record(DataVolume, NAMESPACE, "clone").events[-1]["message"]
    assert last == f"Successfully cloned from {NAMESPACE}/{source} into {NAMESPACE}/clone"
    assert "cdi.kubevirt.io/cloneType" not in volume(home).metadata.annotations


@pytest.mark.parametrize("made", [("CSIClone", "csi-clone"), ("SnapshotClone", "snapshot"), ("HostClone", "copy")])
async def test_k18_how_a_clone_was_made_is_on_it(home, steps, prepare, monkeypatch, made):
    done, said = made
    await imported(home, steps)
    apply(home, **of_data_source())
    ready = await prepare()

    async def clone(*_):
        return Transfer(phase=done)

    monkeypatch.setattr(home.home.cloner, "run", clone)
    populate = PopulateInput(namespace=NAMESPACE, name="clone", now=NOW, uid=ready.uid, source=ready.source)
    await steps.run(steps.population.clone_data_volume, populate)
    assert volume(home).metadata.annotations["cdi.kubevirt.io/cloneType"] == said
