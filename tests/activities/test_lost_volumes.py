"""A volume whose file a person has removed, although its DataVolume says Succeeded."""

from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError

from dataimportcron.api.types import DataVolume
from dataimportcron.manifests import volume_spec
from dataimportcron.messages import DropInput, PopulateInput, Step, Trigger, Verdict
from dataimportcron.values import CloneSource
from tests.activities.conftest import NOW
from tests.support.home import DATA_SOURCE, NAMESPACE


async def imported(steps, home, **spec):
    """A cron with a promoted import."""
    home.release(b"one")
    ref = home.apply(**spec)
    decision = await steps.import_(ref)
    await steps.promote(ref, decision)
    return ref, decision


async def file_of(home, name):
    return Path((await home.home.volumes.find(NAMESPACE, name)).location)


def a_clone(home, **storage):
    """Apply a clone of the golden image; returns what its steps are given."""
    document = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": "clone", "namespace": NAMESPACE},
        "spec": {"sourceRef": {"kind": "DataSource", "name": DATA_SOURCE}, "storage": storage},
    }
    home.store.apply(document)
    return PopulateInput(namespace=NAMESPACE, name="clone", now=NOW)


async def test_a_poll_imports_it_again(steps, home):
    ref, first = await imported(steps, home)
    (await file_of(home, first.data_volume)).unlink()
    again = await steps.look(ref)
    assert (again.verdict, again.reason, again.message) == (
        Verdict.IMPORT, "Outdated", f"The volume of import {first.data_volume} is gone",
    )  # fmt: skip
    assert (again.data_volume, again.replaces) == (first.data_volume, first.data_volume)
    assert home.condition("UpToDate")[:2] == ("False", "Outdated")
    assert await steps.run(steps.retention.drop_import, DropInput(cron=ref, data_volume=again.replaces))
    assert home.volumes() == {}


async def test_a_change_only_says_so(steps, home):
    ref, first = await imported(steps, home)
    file = await file_of(home, first.data_volume)
    away = file.rename(file.with_name("away"))
    said = f"The volume of import {first.data_volume} is gone; it is imported again at the next poll"
    decision = await steps.look(ref, Trigger.CHANGE)
    assert (decision.verdict, decision.message, decision.replaces) == (Verdict.WAIT, said, "")
    assert home.condition("UpToDate") == ("False", "Outdated", said)
    away.rename(file)
    await steps.look(ref, Trigger.CHANGE)
    assert home.condition("UpToDate")[:2] == ("True", "UpToDate")


async def test_without_a_schedule_there_is_no_poll_to_wait_for(steps, home):
    home.release(b"one")
    ref = home.apply(schedule="")
    first = await steps.look(ref, Trigger.POLL)
    await steps.run(steps.volume.prepare_data_volume, steps.populate(ref, first))
    await steps.run(steps.population.import_data_volume, steps.populate(ref, first))
    await steps.promote(ref, first)
    (await file_of(home, first.data_volume)).unlink()
    assert (await steps.look(ref, Trigger.CHANGE)).verdict is Verdict.IMPORT


@pytest.mark.parametrize("storage", [{}, {"resources": {"requests": {"storage": "2Mi"}}}])
async def test_a_clone_waits(steps, home, storage):
    _, first = await imported(steps, home)
    (await file_of(home, first.data_volume)).unlink()
    clone = a_clone(home, **storage)
    ready = await steps.run(steps.volume.prepare_data_volume, clone)
    said = f"The source pvc {first.data_volume} doesn't exist"
    assert (ready.step, ready.reason, ready.message) == (Step.WAIT, "CloneWithoutSource", said)
    status = home.store.get(DataVolume, NAMESPACE, "clone").status
    running = next(c for c in status.conditions if c.type == "Running")
    assert (status.phase, running.status, running.reason, running.message) == ("Pending", "False", ready.reason, said)


@pytest.mark.parametrize("storage", [{}, {"resources": {"requests": {"storage": "2Mi"}}}])
@pytest.mark.parametrize("what", ["file", "object"])
async def test_a_source_that_goes_while_its_clone_is_queued_is_said_as_such(steps, home, storage, what):
    _, first = await imported(steps, home)
    clone = a_clone(home, **storage)
    ready = await steps.run(steps.volume.prepare_data_volume, clone)
    assert ready.step is Step.CLONE
    if what == "object":
        home.store.delete(home.store.get(DataVolume, NAMESPACE, first.data_volume))
    await home.home.volumes.delete(NAMESPACE, first.data_volume)
    with pytest.raises(ApplicationError) as raised:
        await steps.clone(clone, ready)
    assert (raised.value.type, raised.value.non_retryable) == ("CloneWithoutSource", True)


async def test_a_clone_that_is_whole_is_told_so_although_its_source_has_gone_since(steps, home):
    _, first = await imported(steps, home)
    clone = a_clone(home)
    ready = await steps.run(steps.volume.prepare_data_volume, clone)
    unfinished = home.store.get(DataVolume, NAMESPACE, "clone")
    source = CloneSource.parse(ready.source)
    # The worker is killed here: the volume is whole, and nobody has written so.
    await home.home.cloner.run(source, replace(volume_spec(unfinished), size=1 << 20), lambda _: None)
    home.store.delete(home.store.get(DataVolume, NAMESPACE, first.data_volume))
    await home.home.volumes.delete(NAMESPACE, first.data_volume)
    again = await steps.run(steps.volume.prepare_data_volume, clone)
    assert again.step is Step.DONE
    assert home.store.get(DataVolume, NAMESPACE, "clone").status.phase == "Succeeded"
