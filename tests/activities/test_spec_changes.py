"""What a change of a cron's spec does to what is there; the table is in docs/spec-changes.md."""

import pytest

from dataimportcron import naming
from dataimportcron.api.types import DataSource, DataVolume
from dataimportcron.messages import CleanUp, CleanUpInput, Trigger, Verdict
from tests.activities.conftest import NOW
from tests.support.home import DATA_SOURCE, NAMESPACE


def labels(home, kind, name):
    return home.store.get(kind, NAMESPACE, name).metadata.labels


async def imported(steps, home, **spec):
    home.release(b"one")
    ref = home.apply(**spec)
    decision = await steps.import_(ref)
    await steps.promote(ref, decision)
    return ref, decision


async def settle(steps, ref):
    decision = await steps.look(ref, Trigger.CHANGE)
    assert decision.verdict is Verdict.PROMOTE
    promote, _ = await steps.promote(ref, decision)
    assert (await steps.look(ref, Trigger.CHANGE)).verdict is Verdict.WAIT
    return promote


async def test_another_managed_data_source_points_to_the_same_import(steps, home):
    ref, decision = await imported(steps, home)
    home.apply(managedDataSource="renamed")
    await settle(steps, ref)
    assert home.store.get(DataSource, NAMESPACE, "renamed").spec.source.pvc.name == decision.data_volume
    assert home.importer.started == [decision.digest]


async def test_the_data_source_that_is_managed_no_longer_is_its_users_and_stays_ready(steps, home):
    ref, decision = await imported(steps, home, importsToKeep=1)
    home.apply(managedDataSource="renamed", importsToKeep=1)
    await settle(steps, ref)
    old = home.store.get(DataSource, NAMESPACE, DATA_SOURCE)
    assert naming.LABEL_CRON not in old.metadata.labels
    assert naming.LABEL_CLEANUP not in old.metadata.labels
    assert old.spec.source.pvc.name == decision.data_volume
    events = home.store.record(type(home.cron()), NAMESPACE, home.cron().metadata.name).events
    assert "DataSourceReleased" in [event["reason"] for event in events]
    home.release(b"two")
    newer = await steps.import_(ref)
    promote, _ = await steps.promote(ref, newer)
    assert (await steps.run(steps.retention.prune_imports, promote)).removed == ()
    assert home.points_to() == decision.data_volume
    home.store.delete(home.store.get(DataSource, NAMESPACE, DATA_SOURCE))
    assert (await steps.run(steps.retention.prune_imports, promote)).removed == (decision.data_volume,)


async def test_a_users_own_data_source_in_another_namespace_keeps_an_import(steps, home):
    ref, old = await imported(steps, home, importsToKeep=1)
    home.store.apply(
        {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataSource",
            "metadata": {"name": "pinned", "namespace": "elsewhere"},
            "spec": {"source": {"pvc": {"namespace": NAMESPACE, "name": old.data_volume}}},
        }
    )
    home.release(b"two")
    promote, _ = await steps.promote(ref, await steps.import_(ref))
    pruned = await steps.run(steps.retention.prune_imports, promote)
    assert pruned.removed == ()
    assert pruned.kept == (f"{old.data_volume}: DataSource elsewhere/pinned points to it",)
    home.store.delete(home.store.get(DataSource, "elsewhere", "pinned"))
    assert (await steps.look(ref)).verdict is Verdict.PRUNE
    assert (await steps.run(steps.retention.prune_imports, promote)).removed == (old.data_volume,)


async def test_two_data_sources_on_one_volume_both_keep_it(steps, home):
    ref, old = await imported(steps, home, importsToKeep=1)
    for name in ("first", "second"):
        home.store.apply(
            {
                "apiVersion": "cdi.kubevirt.io/v1beta1",
                "kind": "DataSource",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"source": {"pvc": {"namespace": NAMESPACE, "name": old.data_volume}}},
            }
        )
    home.release(b"two")
    promote, _ = await steps.promote(ref, await steps.import_(ref))
    for name in ("first", "second"):
        assert (await steps.run(steps.retention.prune_imports, promote)).removed == ()
        home.store.delete(home.store.get(DataSource, NAMESPACE, name))
    assert (await steps.run(steps.retention.prune_imports, promote)).removed == (old.data_volume,)


async def test_a_retention_policy_is_the_last_one_whatever_older_labels_say(steps, home):
    ref, decision = await imported(steps, home, retentionPolicy="None")
    assert labels(home, DataVolume, decision.data_volume)[naming.LABEL_CLEANUP] == "true"
    home.apply(retentionPolicy="All")
    await settle(steps, ref)
    assert naming.LABEL_CLEANUP not in labels(home, DataVolume, decision.data_volume)
    assert naming.LABEL_CLEANUP not in labels(home, DataSource, DATA_SOURCE)
    home.store.delete(home.cron())
    await steps.run(steps.retention.clean_up, CleanUpInput(cron=ref, clean_up=CleanUp(retention_policy="All"), now=NOW))
    assert list(home.volumes()) == [decision.data_volume]


async def test_retention_none_takes_imports_from_before_it_too(steps, home):
    ref, _ = await imported(steps, home)
    home.release(b"two")
    await steps.promote(ref, await steps.import_(ref))
    home.apply(retentionPolicy="None")
    await settle(steps, ref)
    home.store.delete(home.cron())
    end = CleanUpInput(cron=ref, clean_up=CleanUp(retention_policy="None", data_source=DATA_SOURCE), now=NOW)
    await steps.run(steps.retention.clean_up, end)
    assert home.volumes() == {}
    assert home.store.list(DataSource, NAMESPACE) == []


async def test_labels_of_the_cron_reach_its_data_source_at_once_and_of_the_template_the_next_import(steps, home):
    ref, decision = await imported(steps, home)
    document = {"template.kubevirt.io/architecture": "amd64", "invalid": "x"}
    cron = home.cron()
    home.store.patch(cron, cron.model_copy(update={"metadata": cron.metadata.model_copy(update={"labels": document})}))
    await settle(steps, ref)
    found = labels(home, DataSource, DATA_SOURCE)
    assert found["template.kubevirt.io/architecture"] == "amd64"
    assert "invalid" not in found
    template = home.cron().document()["spec"]["template"]
    home.apply(template=template | {"metadata": {"labels": {"team": "images"}}})
    assert "team" not in labels(home, DataVolume, decision.data_volume)
    home.release(b"two")
    newer = await steps.import_(ref)
    assert labels(home, DataVolume, newer.data_volume)["team"] == "images"


@pytest.mark.parametrize(("size", "made"), [("2Mi", 2 * 2**20)])
async def test_a_size_is_that_of_the_next_import_and_of_a_failed_one_at_once(steps, home, size, made):
    ref, decision = await imported(steps, home)
    template = home.cron().document()["spec"]["template"]
    template["spec"]["storage"]["resources"]["requests"]["storage"] = size
    home.apply(template=template)
    assert (await steps.look(ref, Trigger.CHANGE)).verdict is Verdict.WAIT
    home.release(b"two")
    newer = await steps.import_(ref)
    volume = await home.home.volumes.find(NAMESPACE, newer.data_volume)
    assert volume.size == made
    assert (await home.home.volumes.find(NAMESPACE, decision.data_volume)).size == 2**20
