"""The condition Ready: the DataSource points to a complete import."""

import pytest

from dataimportcron import naming, planning
from dataimportcron.api.conditions import Phase
from dataimportcron.errors import ImageNotFoundError
from dataimportcron.manifests import data_source_of, with_labels
from dataimportcron.messages import Trigger, Verdict
from tests.support.facts import NOW, A, B, a_cron, an_import, condition, facts, failing, resolved, settled
from tests.support.home import DATA_SOURCE, NAME

READY = ("True", "Ready", f"DataSource {DATA_SOURCE} points to import {DATA_SOURCE}-aaaaaaaaaaaa")


def look(cron, **values):
    return condition(planning.plan(facts(cron, **values)).cron, "Ready")


def test_before_the_first_import_it_is_not_and_says_why():
    assert look(a_cron(schedule=""), trigger=Trigger.CHANGE) == ("False", "NoDigest", "No source digest")
    volume = an_import(A, Phase.IMPORT_IN_PROGRESS)
    importing = look(a_cron(), resolved=resolved(A), imports=(volume,), running=volume.metadata.name)
    assert importing == ("False", "ImportProgressing", "Import is progressing")


def test_a_complete_import_makes_it_ready_when_the_data_source_points_to_it():
    volume = an_import(A)
    assert look(a_cron(), resolved=resolved(A), imports=(volume,))[0] == "False"
    cron, data_source = settled(a_cron(), volume)
    assert look(cron, resolved=resolved(A), imports=(volume,), data_source=data_source) == READY


@pytest.mark.parametrize("failure", [ImageNotFoundError("no such tag"), None])
def test_a_failed_poll_or_import_leaves_it_ready_on_what_it_has(failure):
    good, broken = an_import(A), failing(an_import(B))
    cron, data_source = settled(a_cron(), good)
    answer = {"error": failure} if failure else {"resolved": resolved(B), "running": broken.metadata.name}
    assert look(cron, imports=(good, broken), data_source=data_source, **answer) == READY


def test_it_is_not_ready_while_that_import_is_made_anew_or_when_it_points_nowhere():
    volume = an_import(A, Phase.IMPORT_IN_PROGRESS)
    cron, data_source = settled(a_cron(), volume)
    given = {"resolved": resolved(A), "imports": (volume,), "running": volume.metadata.name}
    assert look(cron, data_source=data_source, **given)[0] == "False"
    assert look(cron, data_source=with_labels(data_source_of(cron), {naming.LABEL_CRON: NAME}), **given)[0] == "False"


def test_it_is_not_ready_when_its_volume_is_gone():
    volume = an_import(A)
    cron, data_source = settled(a_cron(), volume)
    lost = frozenset({volume.metadata.name})
    status, reason, _ = look(
        cron, trigger=Trigger.CHANGE, imports=(volume,), data_source=data_source, lost=lost, resolved=resolved(A)
    )
    assert (status, reason) == ("False", "Outdated")


def test_a_data_source_that_a_person_keeps_does_not_matter():
    volume = an_import(A)
    cron, data_source = settled(a_cron(), volume)
    own = with_labels(data_source, {naming.LABEL_CRON: None})
    own = own.model_copy(update={"spec": own.spec.model_copy(update={"source": type(own.spec.source)()})})
    assert look(cron, resolved=resolved(A), imports=(volume,), data_source=own) == READY


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"schedule": "5-1 * * * *"}, "spec.schedule: Illegal cron schedule"),
        ({"schedule": "CRON_TZ=Mars/Olympus 0 0 * * *"}, "Mars/Olympus"),
        ({"managedDataSource": "No Name"}, "spec.managedDataSource: Illegal ManagedDataSource value"),
    ],
)
def test_what_no_admission_could_know_is_said_and_not_polled(spec, words):
    plan = planning.plan(facts(a_cron(**spec)))
    status, reason, message = condition(plan.cron, "Ready")
    assert (status, reason) == ("False", "InvalidSpec")
    assert words in message
    assert condition(plan.cron, "UpToDate") == (status, reason, message)
    assert plan.warning
    decision = plan.decision
    assert (decision.verdict, decision.polled, decision.next_poll) == (Verdict.FAILED, False, None)
    assert plan.cron.status.last_execution_timestamp is None
    again = planning.plan(facts(plan.cron))
    assert not again.warning
    assert again.cron == plan.cron


def test_a_spec_that_becomes_invalid_is_said_although_there_is_an_import():
    volume = an_import(A)
    cron, data_source = settled(a_cron(schedule="0 0 * * 6-1"), volume)
    assert look(cron, imports=(volume,), data_source=data_source)[:2] == ("False", "InvalidSpec")
    assert data_source.spec.source.pvc is not None


def test_fields_of_a_newer_version_are_no_fault():
    cron = a_cron(aNewField={"x": 1})
    assert look(cron, now=NOW)[1] == "NoDigest"
