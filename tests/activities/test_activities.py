"""Each activity on a real store: what it writes, what it refuses, and that a second call changes nothing."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from dataimportcron import naming, projection
from dataimportcron.api.types import DataSource, DataVolume
from dataimportcron.errors import NoSpaceError, RegistryUnavailableError, TooManyRequestsError
from dataimportcron.manifests import data_source_of, with_annotations
from dataimportcron.messages import (
    CleanUp,
    CleanUpInput,
    DropInput,
    ObjectRef,
    PopulateInput,
    Step,
    Trigger,
    Verdict,
)
from dataimportcron.values import Transfer
from tests.activities.conftest import NOW, Steps
from tests.support.home import DATA_SOURCE, NAME, NAMESPACE, cron_document


async def test_a_look_at_an_object_that_is_gone(steps):
    ref = ObjectRef(namespace=NAMESPACE, name=NAME, uid="nobody")
    assert (await steps.look(ref)).verdict is Verdict.GONE


async def test_a_look_at_another_life_of_the_object(steps, home):
    ref = home.apply()
    other = ObjectRef(namespace=ref.namespace, name=ref.name, uid="another")
    assert (await steps.look(other)).verdict is Verdict.GONE
    assert home.source.lookups == 0


async def test_the_first_look_makes_the_data_source(steps, home):
    home.release(b"one")
    await steps.look(home.apply())
    data_source = home.store.get(DataSource, NAMESPACE, DATA_SOURCE)
    assert data_source.spec.source.pvc is None
    assert data_source.metadata.labels[naming.LABEL_CRON] == NAME


async def test_a_repeated_look_writes_nothing(steps, home):
    home.release(b"one")
    ref = home.apply()
    decision = await steps.import_(ref)
    await steps.promote(ref, decision)
    await steps.look(ref)
    before = home.cron().metadata.resource_version
    await steps.look(ref)
    assert home.cron().metadata.resource_version == before


async def test_a_transient_failure_is_returned_first_and_raised_on_a_retry(steps, home):
    home.source.failure = TooManyRequestsError("slow down", retry_after=70)
    ref = home.apply()
    decision = await steps.look(ref)
    assert (decision.verdict, decision.transient, decision.retry_after) == (Verdict.FAILED, True, 70.0)
    with pytest.raises(ApplicationError) as raised:
        await steps.look(ref, retry=True)
    assert raised.value.type == "TooManyRequests"
    assert raised.value.next_retry_delay.total_seconds() == 70
    assert not raised.value.non_retryable


async def test_a_forced_poll_wants_an_answer_of_now(steps, home):
    home.release(b"content")
    ref = home.apply()
    await steps.look(ref)
    await steps.look(ref, Trigger.POLL)
    cron = home.cron()
    await home.home.objects.patch(cron, with_annotations(cron, {naming.ANNOTATION_POLL_REQUESTED: "now"}))
    await steps.look(ref, Trigger.CHANGE)
    assert home.source.fresh == [False, True, True]


async def test_an_import_reports_and_succeeds(steps, home):
    home.release(b"content")
    decision = await steps.import_(home.apply())
    volume = home.store.get(DataVolume, NAMESPACE, decision.data_volume)
    assert (volume.status.phase, volume.status.progress) == ("Succeeded", "100.0%")
    conditions = {c.type: c.status for c in volume.status.conditions}
    assert conditions == {"Bound": "True", "Ready": "True", "Running": "False"}
    found = await home.home.volumes.find(NAMESPACE, decision.data_volume)
    assert found.digest == decision.digest


async def test_a_storage_class_without_a_folder_is_said(steps, home):
    home.release(b"content")
    template = home_template("hostpath-provisioner")
    decision = await steps.import_(home.apply(template=template))
    events = home.store.record(DataVolume, NAMESPACE, decision.data_volume).events
    (said,) = [event["message"] for event in events if event["reason"] == "StorageClassNotMapped"]
    assert said.startswith("Storage class hostpath-provisioner has no folder in settings.toml; the default ")


def home_template(storage_class):
    template = cron_document()["spec"]["template"]
    template["spec"]["storage"]["storageClassName"] = storage_class
    return template


async def test_a_repeated_import_is_a_no_op(steps, home):
    home.release(b"content")
    ref = home.apply()
    decision = await steps.import_(ref)
    ready = await steps.run(steps.volume.prepare_data_volume, steps.populate(ref, decision))
    assert ready.step is Step.DONE
    await steps.run(steps.population.import_data_volume, steps.populate(ref, decision))
    assert len(home.importer.started) == 1


FAILURES = {"RegistryUnavailable": ("ImagePullFailed", "failed to pull image: reset"), "NoSpace": ("Error", "full")}


@pytest.mark.parametrize("failure", [RegistryUnavailableError("reset"), NoSpaceError("full")])
async def test_a_failing_import_says_so_at_once(steps, home, failure):
    home.release(b"content")
    home.importer.failure = failure
    ref = home.apply()
    decision = await steps.look(ref)
    populate = steps.populate(ref, decision)
    await steps.run(steps.volume.prepare_data_volume, populate)
    for attempt in (1, 2):
        with pytest.raises(ApplicationError) as raised:
            await steps.run(steps.population.import_data_volume, populate)
        assert (raised.value.type, raised.value.non_retryable) == (failure.reason, False)
        status = home.store.get(DataVolume, NAMESPACE, decision.data_volume).status
        assert (status.phase, status.restart_count) == ("ImportInProgress", attempt)
        running = next(c for c in status.conditions if c.type == "Running")
        assert (running.status, running.reason, running.message) == ("False", *FAILURES[failure.reason])
    record = home.store.record(DataVolume, NAMESPACE, decision.data_volume)
    assert [(e["reason"], e["count"]) for e in record.events if e["type"] == "Warning"] == [(failure.reason, 2)]


async def test_a_stale_promotion_changes_nothing(steps, home):
    home.release(b"one")
    ref = home.apply()
    old = await steps.import_(ref)
    await steps.promote(ref, old)
    home.release(b"two")
    new = await steps.import_(ref)
    await steps.promote(ref, new)
    _, said = await steps.promote(ref, old)
    assert said == f"nothing: the current import is {new.data_volume} now"
    assert home.points_to() == new.data_volume


async def test_promotion_before_the_import_is_whole_changes_nothing(steps, home):
    home.release(b"one")
    ref = home.apply()
    decision = await steps.look(ref)
    await steps.run(steps.volume.prepare_data_volume, steps.populate(ref, decision))
    _, said = await steps.promote(ref, decision)
    assert said == f"nothing: import {decision.data_volume} is not there, or not complete"
    assert home.points_to() == ""


async def test_the_users_own_data_source_is_left_alone(steps, home):
    home.release(b"one")
    ref = home.apply()
    own = data_source_of(home.cron())
    home.store.create(own.model_copy(update={"metadata": own.metadata.model_copy(update={"labels": {}})}))
    decision = await steps.import_(ref)
    await steps.promote(ref, decision)
    assert home.points_to() == ""
    assert home.cron().status.last_imported_pvc.name == decision.data_volume


async def three_imports(steps, home):
    ref = home.apply(importsToKeep=1)
    decisions = []
    for content in (b"one", b"two"):
        home.release(content)
        decisions.append(await steps.import_(ref))
        promote, _ = await steps.promote(ref, decisions[-1])
    return ref, decisions, promote


async def test_retention_removes_the_oldest(steps, home):
    _, (old, new), promote = await three_imports(steps, home)
    pruned = await steps.run(steps.retention.prune_imports, promote)
    assert pruned.removed == (old.data_volume,)
    assert list(home.volumes()) == [new.data_volume]
    assert (await steps.run(steps.retention.prune_imports, promote)).removed == ()


async def test_x05_what_a_clone_reads_is_kept_and_said(steps, home):
    _, (old, _), promote = await three_imports(steps, home)
    clone = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": "clone", "namespace": "elsewhere"},
        "spec": {
            "source": {"pvc": {"namespace": NAMESPACE, "name": old.data_volume}},
            "storage": {"resources": {"requests": {"storage": "1Mi"}}},
        },
    }
    home.store.apply(clone)
    queued = PopulateInput(namespace="elsewhere", name="clone", now=NOW)
    ready = await steps.run(steps.volume.prepare_data_volume, queued)
    assert (ready.step, ready.source) == (Step.CLONE, f"{NAMESPACE}/{old.data_volume}")
    pruned = await steps.run(steps.retention.prune_imports, promote)
    assert pruned.removed == ()
    assert "elsewhere/clone is to be cloned from it" in pruned.kept[0]
    await steps.clone(queued, ready)
    assert (await steps.run(steps.retention.prune_imports, promote)).removed == (old.data_volume,)


async def test_an_open_volume_is_kept_and_said(steps, home):
    _, (old, _), promote = await three_imports(steps, home)
    found = await home.home.volumes.find(NAMESPACE, old.data_volume)
    with open(found.location, "rb"):  # noqa: ASYNC230, PTH123 -- it is held open on purpose
        pruned = await steps.run(steps.retention.prune_imports, promote)
    assert pruned.removed == ()
    assert found.location in pruned.kept[0]


async def test_a_complete_import_is_never_dropped(steps, home):
    ref, (old, _), _ = await three_imports(steps, home)
    drop = DropInput(cron=ref, data_volume=old.data_volume)
    assert not await steps.run(steps.retention.drop_import, drop)
    assert old.data_volume in home.volumes()


@pytest.mark.parametrize(("policy", "left"), [("All", 2), ("None", 0)])
async def test_r01_r02_the_end_of_a_cron(steps, home, policy, left):
    ref = home.apply(retentionPolicy=policy)
    for content in (b"one", b"two"):
        home.release(content)
        await steps.promote(ref, await steps.import_(ref))
    end = CleanUpInput(cron=ref, clean_up=CleanUp(retention_policy=policy, data_source=DATA_SOURCE), now=NOW)
    assert (await steps.run(steps.retention.clean_up, end)).object_exists
    assert len(home.volumes()) == 2
    home.store.delete(home.cron())
    ended = await steps.run(steps.retention.clean_up, end)
    assert not ended.object_exists
    assert len(home.volumes()) == left
    assert len(home.store.list(DataSource, NAMESPACE)) == (1 if left else 0)


async def test_k05_a_clone_waits_for_its_source(steps, home):
    document = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": "ref", "namespace": NAMESPACE},
        "spec": {
            "sourceRef": {"kind": "DataSource", "name": DATA_SOURCE},
            "storage": {"resources": {"requests": {"storage": "2Mi"}}},
        },
    }
    home.store.apply(document)
    wait = PopulateInput(namespace=NAMESPACE, name="ref", now=NOW)
    ready = await steps.run(steps.volume.prepare_data_volume, wait)
    assert (ready.step, ready.reason) == (Step.WAIT, "CloneWithoutSource")
    status = home.store.get(DataVolume, NAMESPACE, "ref").status
    assert {c.type: c.status for c in status.conditions} == {"Bound": "False", "Ready": "False", "Running": "False"}
    version = home.store.get(DataVolume, NAMESPACE, "ref").metadata.resource_version
    await steps.run(steps.volume.prepare_data_volume, wait)
    assert home.store.get(DataVolume, NAMESPACE, "ref").metadata.resource_version == version
    home.release(b"source")
    ref = home.apply()
    await steps.promote(ref, await steps.import_(ref))
    ready = await steps.run(steps.volume.prepare_data_volume, wait)
    assert ready.step is Step.CLONE
    await steps.clone(wait, ready)
    found = await home.home.volumes.find(NAMESPACE, "ref")
    assert found.size == 2 << 20


async def test_a_source_that_is_not_served_says_who_serves_it(steps, home):
    document = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {
            "source": {"http": {"url": "http://x/y"}},
            "storage": {"resources": {"requests": {"storage": "1Gi"}}},
        },
    }
    home.store.apply(document)
    ready = await steps.run(steps.volume.prepare_data_volume, PopulateInput(namespace=NAMESPACE, name="web", now=NOW))
    assert (ready.step, ready.reason) == (Step.WAIT, "UnsupportedSource")
    assert "http is not served here; KubeVirt CDI serves it, if you install that" in ready.message
    status = home.store.get(DataVolume, NAMESPACE, "web").status
    assert status.phase == "Pending"
    assert {(c.status, c.reason) for c in status.conditions} == {("False", "UnsupportedSource")}


async def test_dm04_two_crons_and_one_data_source(steps, home):
    home.release(b"one")
    ref = home.apply()
    await steps.look(ref)
    other = home.cron().document() | {"metadata": {"name": "other", "namespace": NAMESPACE}}
    other.pop("status")
    resource, _ = home.store.apply(other)
    decision = await steps.look(ObjectRef(namespace=NAMESPACE, name="other", uid=resource.metadata.uid))
    assert decision.reason == "ErrDataSourceAlreadyManaged"
    assert decision.message == f"DataSource {DATA_SOURCE} is already managed by DataImportCron {NAME}"


async def test_i12_the_imports_of_a_cron_that_is_gone_are_adopted_and_a_living_ones_are_not(steps, home):
    home.release(b"one")
    ref = home.apply()
    first = await steps.import_(ref)
    await steps.promote(ref, first)
    other = home.cron().document() | {"metadata": {"name": "other", "namespace": NAMESPACE}}
    other.pop("status")
    other["spec"]["managedDataSource"] = f"{DATA_SOURCE}-39"
    resource, _ = home.store.apply(other)
    second = ObjectRef(namespace=NAMESPACE, name="other", uid=resource.metadata.uid)
    theirs = await steps.look(second)
    assert (theirs.verdict, theirs.data_volume) == (Verdict.IMPORT, first.data_volume.replace("fedora-", "fedora-39-"))
    home.store.delete(home.cron())
    again = home.apply()
    adopted = await steps.look(again)
    assert (adopted.verdict, adopted.data_volume) == (Verdict.PROMOTE, first.data_volume)


async def test_the_external_poller_contract(steps, home):
    digest = home.release(b"one")
    ref = home.apply(schedule="")
    assert (await steps.look(ref, Trigger.CHANGE)).reason == "NoDigest"
    before = home.cron()
    home.store.patch(before, with_annotations(before, {naming.ANNOTATION_DESIRED_DIGEST: digest}))
    decision = await steps.look(ref, Trigger.CHANGE)
    assert (decision.verdict, decision.digest, home.source.lookups) == (Verdict.IMPORT, digest, 0)


async def test_other_crons_are_not_read_without_a_reason(steps, home, monkeypatch):
    home.release(b"one")
    ref = home.apply()
    decision = await steps.import_(ref)
    listed, real = [], home.home.objects.list

    async def counting(kind, namespace=None):
        listed.append(kind)
        return await real(kind, namespace)

    monkeypatch.setattr(home.home.objects, "list", counting)
    assert (await steps.look(ref)).data_volume == decision.data_volume
    assert listed == [DataVolume]


async def test_p07_each_attempt_of_a_retried_poll_is_a_poll(home):
    home.source.failure = RegistryUnavailableError("quay.io cannot be reached")
    environment = ActivityEnvironment()
    ref, later = home.apply(), NOW + timedelta(minutes=7)
    look = Steps(home, environment.run).look
    await look(ref)
    assert home.cron().status.last_execution_timestamp == NOW
    environment.info = replace(environment.info, attempt=2, current_attempt_scheduled_time=later)
    with pytest.raises(ApplicationError):
        await look(ref, retry=True)
    assert home.cron().status.last_execution_timestamp == later


async def test_the_end_of_a_cron_takes_along_what_is_not_complete(steps, home):
    home.release(b"one")
    ref = home.apply(retentionPolicy="All")
    first = await steps.import_(ref)
    await steps.promote(ref, first)
    home.release(b"two")
    second = await steps.look(ref)
    await steps.run(steps.volume.prepare_data_volume, steps.populate(ref, second))
    home.store.delete(home.cron())
    end = CleanUpInput(cron=ref, clean_up=CleanUp(retention_policy="All", data_source=DATA_SOURCE), now=NOW)
    ended = await steps.run(steps.retention.clean_up, end)
    assert ended.removed == (f"DataVolume {second.data_volume}",)
    assert home.volumes() == {first.data_volume: "Succeeded"}
    assert home.points_to() == first.data_volume


async def test_an_import_that_waits_says_for_what(steps, home, monkeypatch):
    monkeypatch.setattr("activities.population._REPORT_INTERVAL", 0.01)
    home.release(b"content")
    ref = home.apply()
    decision = await steps.look(ref)
    populate = steps.populate(ref, decision)
    waits, goes_on = Transfer(phase="Waiting", waits_for="Unschedulable", message="no node"), asyncio.Event()

    async def wait(_image, _digest, _volume, report):
        report(waits)
        await goes_on.wait()
        return Transfer(phase="Complete")

    monkeypatch.setattr(home.importer, "run", wait)
    await steps.run(steps.volume.prepare_data_volume, populate)
    task = asyncio.create_task(steps.run(steps.population.import_data_volume, populate))

    def volume():
        return home.store.get(DataVolume, NAMESPACE, decision.data_volume)

    def running():
        return next((c for c in volume().status.conditions if c.type == "Running"), None)

    def warnings():
        events = home.store.record(DataVolume, NAMESPACE, decision.data_volume).events
        return [(it["type"], it["message"]) for it in events if it["reason"] == "Unschedulable"]

    async with asyncio.timeout(20):
        while not warnings():  # noqa: ASYNC110 -- the store tells nobody; the event comes last
            await asyncio.sleep(0.01)
    said = running()
    assert (volume().status.phase, said.status, said.message) == ("ImportScheduled", "False", "no node")
    progress = projection.progressing(volume())
    assert (progress.status, progress.reason) == ("False", "ImportScheduled")
    assert progress.message == "Import is scheduled: no node"
    goes_on.set()
    await task
    assert volume().status.phase == "Succeeded"
    assert warnings() == [("Warning", "no node")]
