"""What follows from a failing import, from an end that is only seen, and from changes of the spec."""

from dataclasses import replace

import pytest

from dataimportcron import naming, planning
from dataimportcron.api.conditions import Phase
from dataimportcron.api.meta import Condition
from dataimportcron.errors import ImageNotFoundError
from dataimportcron.manifests import (
    claimed,
    pointed_to,
    with_current_import,
    with_labels,
    with_status,
)
from dataimportcron.messages import Ended, Outcome, Trigger, Verdict
from tests.support.facts import A, B, a_cron, an_import, condition, facts, failing, settled
from tests.support.home import DATA_SOURCE


def test_a_failing_import_makes_no_progress_and_says_why():
    cron = with_current_import(a_cron(schedule="", annotations={naming.ANNOTATION_DESIRED_DIGEST: A}), name_of(A), A)
    failing_now = failing(an_import(A))
    plan = planning.plan(facts(cron, imports=(failing_now,), running=failing_now.metadata.name))
    assert condition(plan.cron, "Progressing") == ("False", "ImportFailed", "it broke")
    assert condition(plan.cron, "UpToDate") == ("False", "ImportFailed", "it broke")
    assert plan.warning
    again = planning.plan(facts(plan.cron, imports=(failing_now,), running=failing_now.metadata.name))
    assert not again.warning, "the same words are one event"
    others = with_status(
        failing_now, conditions=[Condition(type="Running", status="False", reason="Error", message="x")]
    )
    assert planning.plan(facts(plan.cron, imports=(others,), running=name_of(A))).warning
    healed = an_import(A, Phase.IMPORT_IN_PROGRESS)
    plan = planning.plan(facts(plan.cron, imports=(healed,), running=healed.metadata.name))
    assert condition(plan.cron, "Progressing")[:2] == ("True", "ImportProgressing")
    assert condition(plan.cron, "UpToDate")[:2] == ("False", "ImportProgressing")


def name_of(digest):
    return naming.import_name(DATA_SOURCE, digest)


@pytest.mark.parametrize(
    ("phase", "outcome"),
    [(Phase.IMPORT_IN_PROGRESS, None), (Phase.SUCCEEDED, Outcome.SUCCEEDED), (Phase.FAILED, Outcome.FAILED)],
)
def test_the_end_of_the_running_import_is_seen_on_its_data_volume(phase, outcome):
    cron = a_cron({naming.ANNOTATION_DESIRED_DIGEST: A})
    running = an_import(A, phase) if phase != Phase.FAILED else failing(an_import(A), phase)
    seen = (an_import(B, Phase.PENDING), running)
    plan = planning.plan(facts(cron, trigger=Trigger.CHANGE, imports=seen, running=running.metadata.name))
    assert (plan.decision.ended.outcome if plan.decision.ended else None) is outcome


def test_an_import_that_failed_for_good_warns_once_although_there_is_an_older_one():
    good, broken = an_import(A), failing(an_import(B), Phase.FAILED)
    cron, data_source = settled(a_cron({naming.ANNOTATION_DESIRED_DIGEST: B}), good)
    given = facts(cron, trigger=Trigger.CHANGE, imports=(good, broken), data_source=data_source)
    first = planning.plan(given)
    assert first.warning
    assert not planning.plan(replace(given, cron=first.cron)).warning


def test_a_failed_poll_sees_the_end_of_the_running_import_too():
    running = an_import(A)
    plan = planning.plan(facts(a_cron(), imports=(running,), running=name_of(A), error=ImageNotFoundError("gone")))
    assert plan.decision.ended == Ended(outcome=Outcome.SUCCEEDED)


def test_a_failed_poll_leaves_the_progress_of_the_running_import_in_sight():
    imports = (an_import(A), an_import(B, Phase.IMPORT_IN_PROGRESS))
    plan = planning.plan(facts(a_cron(), imports=imports, running=name_of(B), error=ImageNotFoundError("gone")))
    assert condition(plan.cron, "Progressing")[:2] == ("True", "ImportProgressing")


def test_an_import_of_another_name_that_is_not_made_yet_is_stopped_first():
    cron = a_cron({naming.ANNOTATION_DESIRED_DIGEST: A})
    plan = planning.plan(facts(cron, trigger=Trigger.CHANGE, running="old-name-aaaaaaaaaaaa"))
    assert (plan.decision.verdict, plan.decision.replaces) == (Verdict.IMPORT, "old-name-aaaaaaaaaaaa")
    own = planning.plan(facts(cron, trigger=Trigger.CHANGE, running=name_of(A)))
    assert (own.decision.verdict, own.decision.replaces) == (Verdict.IMPORT, ""), "it is not in its own way"


def test_another_managed_data_source_takes_the_imports_that_are_there():
    volume = an_import(A)
    cron, _ = settled(a_cron({naming.ANNOTATION_DESIRED_DIGEST: A}, managedDataSource="renamed"), volume)
    plan = planning.plan(facts(cron, trigger=Trigger.CHANGE, imports=(volume,)))
    assert (plan.decision.verdict, plan.decision.data_volume) == (Verdict.PROMOTE, volume.metadata.name)


def test_labels_flow_when_something_changed_and_never_at_a_quiet_tick():
    volume = an_import(A)
    cron, source = settled(a_cron({naming.ANNOTATION_DESIRED_DIGEST: A}), volume)
    cron = with_labels(cron, {"template.kubevirt.io/architecture": "amd64"})
    given = facts(cron, imports=(volume,), data_source=source)
    assert planning.plan(replace(given, trigger=Trigger.TICK)).decision.verdict is Verdict.WAIT
    assert planning.plan(replace(given, trigger=Trigger.CHANGE)).decision.verdict is Verdict.PROMOTE
    flown = replace(given, trigger=Trigger.CHANGE, data_source=pointed_to(source, cron, volume))
    assert planning.plan(flown).decision.verdict is Verdict.WAIT
    unlabelled = replace(flown, imports=(with_labels(volume, {naming.LABEL_CRON: None}),))
    assert planning.plan(unlabelled).decision.verdict is Verdict.PROMOTE


@pytest.mark.parametrize(("before", "after"), [("None", "All"), ("All", "None")])
def test_the_label_of_the_retention_policy_follows_the_policy(before, after):
    volume = an_import(A, cron=a_cron(retentionPolicy=before))
    cron, source = settled(a_cron({naming.ANNOTATION_DESIRED_DIGEST: A}, retentionPolicy=before), volume)
    changed = cron.model_copy(update={"spec": cron.spec.model_copy(update={"retention_policy": after})})
    plan = planning.plan(facts(changed, trigger=Trigger.CHANGE, imports=(volume,), data_source=source))
    assert plan.decision.verdict is Verdict.PROMOTE
    labels = claimed(volume, changed).metadata.labels
    assert (naming.LABEL_CLEANUP in labels) is (after == "None")
