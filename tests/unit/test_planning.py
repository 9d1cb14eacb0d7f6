"""The policy, case by case; names of cases are those of CDI's behaviour where there is one."""

from datetime import timedelta

import pytest

from dataimportcron import naming, planning, polling
from dataimportcron.api.conditions import Phase
from dataimportcron.api.types import NamespacedName
from dataimportcron.errors import ImageNotFoundError, RegistryUnavailableError, TooManyRequestsError
from dataimportcron.manifests import (
    data_source_of,
    import_of,
    pointed_to,
    with_annotations,
    with_current_import,
    with_status,
)
from dataimportcron.messages import CleanUp, Trigger, Verdict
from tests.support.facts import NOW, A, B, a_cron, an_import, condition, facts, failing, resolved, settled
from tests.support.home import DATA_SOURCE, NAME, cron_document


def test_i01_before_a_digest():
    plan = planning.plan(facts(a_cron(schedule=""), trigger=Trigger.CHANGE))
    assert plan.decision.verdict is Verdict.WAIT
    assert condition(plan.cron, "Progressing") == ("False", "NoImport", "No current import")
    assert condition(plan.cron, "UpToDate") == ("False", "NoDigest", "No source digest")
    assert plan.cron.status.last_execution_timestamp is None, "nobody was asked"


def test_a02_a_source_that_the_cron_may_not_read():
    said = "User system:serviceaccount:golden-images:default has insufficient permissions"
    plan = planning.plan(facts(a_cron(), resolved=resolved(A), refusal=said))
    assert (plan.decision.verdict, plan.decision.reason, plan.decision.message) == (
        Verdict.FAILED,
        "NotAuthorized",
        said,
    )
    assert condition(plan.cron, "Progressing") == ("False", "NotAuthorized", "Not authorized to create DataVolume")
    assert condition(plan.cron, "UpToDate") == ("False", "NotAuthorized", said)
    assert plan.cron.status.current_imports == []
    assert plan.warning


def test_i02_a_digest_appears():
    plan = planning.plan(facts(a_cron(), resolved=resolved(A)))
    name = naming.import_name(DATA_SOURCE, A)
    assert (plan.decision.verdict, plan.decision.data_volume) == (Verdict.IMPORT, name)
    assert plan.cron.status.document()["currentImports"] == [{"DataVolumeName": name, "Digest": A}]
    assert condition(plan.cron, "UpToDate") == ("False", "Outdated", "Source digest updated since last import")
    assert plan.cron.metadata.annotations[naming.ANNOTATION_DESIRED_DIGEST] == A
    assert plan.cron.status.last_execution_timestamp == NOW
    assert plan.decision.polled
    assert not plan.warning
    assert plan.decision.clean_up == CleanUp(retention_policy="All", data_source=DATA_SOURCE)
    keeps = planning.plan(facts(a_cron(retentionPolicy="None"), resolved=resolved(A)))
    assert keeps.decision.clean_up == CleanUp(retention_policy="None", data_source=DATA_SOURCE)


def test_an_import_is_named_by_what_was_asked_for_not_by_what_an_index_leads_to():
    plan = planning.plan(facts(a_cron(), resolved=resolved(A, B)))
    assert (plan.decision.data_volume, plan.decision.manifest_digest) == (naming.import_name(DATA_SOURCE, A), B)


@pytest.mark.parametrize(
    ("phase", "progressing"),
    [
        (Phase.IMPORT_SCHEDULED, ("False", "ImportScheduled", "Import is scheduled")),
        (Phase.IMPORT_IN_PROGRESS, ("True", "ImportProgressing", "Import is progressing")),
        (Phase.PENDING, ("False", "Pending", "Import DataVolume phase Pending")),
    ],
)
def test_i03_i04_the_import_runs(phase, progressing):
    volume = an_import(A, phase)
    plan = planning.plan(facts(a_cron(), resolved=resolved(A), imports=(volume,), running=volume.metadata.name))
    assert plan.decision.verdict is Verdict.WAIT
    assert condition(plan.cron, "Progressing") == progressing
    assert condition(plan.cron, "UpToDate") == ("False", "ImportProgressing", "Import is progressing")


def test_i05_a_complete_import_is_promoted_and_then_rests():
    volume = an_import(A)
    plan = planning.plan(facts(a_cron(), resolved=resolved(A), imports=(volume,)))
    decision = plan.decision
    assert (decision.verdict, decision.reason) == (Verdict.PROMOTE, "ImportSucceeded")
    assert decision.message == f"Import {volume.metadata.name} is complete"
    assert condition(plan.cron, "UpToDate")[:2] == ("False", "ImportProgressing")
    cron, data_source = settled(plan.cron, volume)
    plan = planning.plan(facts(cron, resolved=resolved(A), imports=(volume,), data_source=data_source))
    assert plan.decision.verdict is Verdict.WAIT
    assert condition(plan.cron, "UpToDate") == ("True", "UpToDate", "Latest import is up to date")


@pytest.mark.parametrize(
    "behind",
    [
        {"last_imported_pvc": None},
        {"last_imported_pvc": NamespacedName(name="another")},
        {"source_format": "snapshot"},
        {"current_imports": []},
    ],
)
def test_an_import_is_promoted_until_the_whole_status_says_so(behind):
    volume = an_import(A)
    cron, data_source = settled(a_cron(), volume)
    plan = planning.plan(
        facts(with_status(cron, **behind), resolved=resolved(A), imports=(volume,), data_source=data_source)
    )
    assert plan.decision.verdict is Verdict.PROMOTE


def test_a_quiet_poll_changes_the_time_of_the_poll_and_nothing_else():
    volume = an_import(A)
    cron, data_source = settled(a_cron(), volume)
    first = planning.plan(facts(cron, resolved=resolved(A), imports=(volume,), data_source=data_source)).cron
    later = facts(first, resolved=resolved(A), imports=(volume,), data_source=data_source, now=NOW + timedelta(days=7))
    second = planning.plan(later).cron
    before, after = first.document(), second.document()
    assert before["status"].pop("lastExecutionTimestamp") != after["status"].pop("lastExecutionTimestamp")
    assert before == after


def test_i08_a_new_digest_keeps_the_old_import_in_use():
    volume = an_import(A)
    cron, data_source = settled(a_cron(), volume)
    plan = planning.plan(facts(cron, resolved=resolved(B), imports=(volume,), data_source=data_source))
    assert (plan.decision.verdict, plan.decision.digest, plan.decision.replaces) == (Verdict.IMPORT, B, "")
    assert plan.cron.status.last_imported_pvc.name == volume.metadata.name


def test_i09_a_known_digest_is_switched_to_without_an_import():
    a, b = an_import(A), an_import(B)
    cron, data_source = settled(a_cron(), b)
    plan = planning.plan(facts(cron, resolved=resolved(A), imports=(a, b), data_source=data_source))
    assert (plan.decision.verdict, plan.decision.data_volume) == (Verdict.PROMOTE, a.metadata.name)


def test_i10_a_failing_import_gives_way_to_another_digest():
    volume = failing(an_import(A))
    plan = planning.plan(facts(a_cron(), resolved=resolved(B), imports=(volume,), running=volume.metadata.name))
    assert (plan.decision.verdict, plan.decision.replaces) == (Verdict.IMPORT, volume.metadata.name)


def test_i10_a_current_import_that_has_failed_gives_way_too():
    volume = failing(an_import(A), Phase.FAILED)
    cron = with_current_import(a_cron(), volume.metadata.name, A)
    plan = planning.plan(facts(cron, resolved=resolved(B), imports=(volume,)))
    assert (plan.decision.verdict, plan.decision.replaces) == (Verdict.IMPORT, volume.metadata.name)


def test_i10_the_same_digest_goes_on_failing_and_says_so():
    volume = failing(an_import(A))
    plan = planning.plan(facts(a_cron(), resolved=resolved(A), imports=(volume,), running=volume.metadata.name))
    assert plan.decision.verdict is Verdict.WAIT
    assert condition(plan.cron, "UpToDate") == ("False", "ImportFailed", "it broke")


@pytest.mark.parametrize(("trigger", "verdict"), [(Trigger.CHANGE, Verdict.WAIT), (Trigger.TICK, Verdict.IMPORT)])
def test_an_import_that_failed_for_good_waits_for_a_poll(trigger, verdict):
    volume = failing(an_import(A), Phase.FAILED)
    cron = with_current_import(a_cron({naming.ANNOTATION_DESIRED_DIGEST: A}), volume.metadata.name, A)
    plan = planning.plan(facts(cron, imports=(volume,), trigger=trigger))
    assert (plan.decision.verdict, plan.decision.replaces) == (verdict, "")


@pytest.mark.parametrize(
    ("trigger", "schedule", "current", "verdict"),
    [
        (Trigger.TICK, "30 1 * * 1", True, Verdict.IMPORT),
        (Trigger.CHANGE, "30 1 * * 1", True, Verdict.WAIT),
        (Trigger.CHANGE, "30 1 * * 1", False, Verdict.IMPORT),
        (Trigger.CHANGE, "", True, Verdict.IMPORT),
    ],
)
def test_a_volume_that_is_gone_waits_for_a_poll_if_one_comes(trigger, schedule, current, verdict):
    volume = an_import(A)
    name = volume.metadata.name
    cron = a_cron({naming.ANNOTATION_DESIRED_DIGEST: A}, schedule=schedule)
    cron = with_current_import(cron, name, A) if current else cron
    plan = planning.plan(facts(cron, imports=(volume,), trigger=trigger, lost=frozenset({name})))
    said = f"The volume of import {name} is gone"
    waits = verdict is Verdict.WAIT
    assert (plan.decision.verdict, plan.decision.replaces) == (verdict, "" if waits else name)
    assert plan.decision.message == (f"{said}; it is imported again at the next poll" if waits else said)


def test_i13_a_newer_digest_waits_for_a_running_import():
    volume = an_import(A, Phase.IMPORT_IN_PROGRESS)
    plan = planning.plan(facts(a_cron(), resolved=resolved(B), imports=(volume,), running=volume.metadata.name))
    assert (plan.decision.verdict, plan.decision.message) == (
        Verdict.WAIT,
        f"Import {volume.metadata.name} goes first",
    )
    assert condition(plan.cron, "UpToDate")[:2] == ("False", "Outdated")
    assert condition(plan.cron, "Progressing")[0] == "True"


def test_an_unfinished_import_that_nobody_runs_is_adopted():
    volume = an_import(A, Phase.IMPORT_IN_PROGRESS)
    plan = planning.plan(facts(a_cron(), resolved=resolved(A), imports=(volume,)))
    assert (plan.decision.verdict, plan.decision.data_volume) == (Verdict.IMPORT, volume.metadata.name)


def test_x01_a_failed_poll_is_said_and_loses_nothing():
    volume = an_import(A)
    cron, data_source = settled(a_cron({naming.ANNOTATION_DESIRED_DIGEST: A}), volume)
    error = ImageNotFoundError("no such tag", hint="check it")
    plan = planning.plan(facts(cron, error=error, imports=(volume,), data_source=data_source))
    assert (plan.decision.verdict, plan.decision.transient) == (Verdict.FAILED, False)
    assert condition(plan.cron, "UpToDate") == ("False", "ImageNotFound", "no such tag (check it)")
    assert plan.cron.status.last_imported_pvc == cron.status.last_imported_pvc
    assert plan.warning
    assert planning.plan(facts(plan.cron, error=error)).warning, "each poll that fails is an event"


def test_a_transient_failure_asks_for_a_retry():
    plan = planning.plan(facts(a_cron(), error=TooManyRequestsError("slow", retry_after=30)))
    assert (plan.decision.transient, plan.decision.retry_after) == (True, 30.0)
    down = planning.plan(facts(a_cron(), error=RegistryUnavailableError("down"))).decision
    assert (down.transient, down.retry_after, down.data_volume) == (True, 0.0, "")


def test_x11_an_index_that_changed_for_others_imports_nothing():
    volume = an_import(A)
    cron, data_source = settled(a_cron(), volume)
    plan = planning.plan(facts(cron, resolved=resolved(B, A), imports=(volume,), data_source=data_source))
    assert (plan.decision.verdict, plan.decision.data_volume) == (Verdict.PROMOTE, volume.metadata.name)
    assert plan.cron.status.document()["currentImports"] == [{"DataVolumeName": volume.metadata.name, "Digest": B}]


@pytest.mark.parametrize("trigger", [Trigger.CHANGE, Trigger.TICK])
def test_dm02_a_moved_data_source_is_moved_back(trigger):
    a, b = an_import(A), an_import(B)
    cron, _ = settled(a_cron({naming.ANNOTATION_DESIRED_DIGEST: B, naming.ANNOTATION_SOURCE: "x"}), b)
    plan = planning.plan(
        facts(cron, trigger=trigger, imports=(a, b), data_source=pointed_to(data_source_of(cron), cron, a))
    )
    assert (plan.decision.verdict, plan.decision.data_volume) == (Verdict.PROMOTE, b.metadata.name)
    assert not plan.decision.polled


@pytest.mark.parametrize("trigger", [Trigger.CHANGE, Trigger.TICK])
def test_dm03_an_unlabelled_data_source_is_left_alone(trigger):
    volume = an_import(A)
    cron, data_source = settled(a_cron(), volume)
    bare = data_source.model_copy(update={"metadata": data_source.metadata.model_copy(update={"labels": {}})})
    other = bare.model_copy(update={"spec": data_source_of(cron).spec})
    plan = planning.plan(facts(cron, trigger=trigger, resolved=resolved(A), imports=(volume,), data_source=other))
    assert plan.decision.verdict is Verdict.WAIT


def test_dm04_a_rival_is_named():
    plan = planning.plan(facts(a_cron(), rival="other"))
    words = f"DataSource {DATA_SOURCE} is already managed by DataImportCron other"
    assert (plan.decision.reason, plan.decision.message) == ("ErrDataSourceAlreadyManaged", words)


def test_a_cron_that_is_being_moved_is_left_alone():
    cron = with_annotations(a_cron(), {naming.ANNOTATION_MOVING: "true"})
    plan = planning.plan(facts(cron, trigger=Trigger.POLL, resolved=resolved(A), rival="other"))
    assert (plan.decision.verdict, plan.decision.reason, plan.decision.next_poll) == (Verdict.WAIT, "Moving", None)
    assert "dataimportcron migrate" in plan.decision.message
    assert plan.cron is cron


@pytest.mark.parametrize(
    ("annotations", "spec", "trigger", "due"),
    [
        ({}, {}, Trigger.CHANGE, True),
        ({}, {}, Trigger.TICK, True),
        ({naming.ANNOTATION_DESIRED_DIGEST: A, naming.ANNOTATION_SOURCE: "SOURCE"}, {}, Trigger.TICK, True),
        ({naming.ANNOTATION_SOURCE: "SOURCE"}, {}, Trigger.CHANGE, True),
        ({}, {"schedule": ""}, Trigger.CHANGE, False),
        ({}, {"schedule": ""}, Trigger.POLL, True),
        ({naming.ANNOTATION_DESIRED_DIGEST: A}, {}, Trigger.CHANGE, True),
        ({naming.ANNOTATION_DESIRED_DIGEST: A, naming.ANNOTATION_SOURCE: "SOURCE"}, {}, Trigger.CHANGE, False),
        ({naming.ANNOTATION_DESIRED_DIGEST: A, naming.ANNOTATION_SOURCE: "another"}, {}, Trigger.CHANGE, True),
        ({naming.ANNOTATION_SUSPEND: "true"}, {}, Trigger.TICK, False),
        ({naming.ANNOTATION_SUSPEND: "true"}, {}, Trigger.CHANGE, False),
        ({naming.ANNOTATION_SUSPEND: "true"}, {}, Trigger.POLL, True),
        ({naming.ANNOTATION_SUSPEND: "true", naming.ANNOTATION_POLL_REQUESTED: "1"}, {}, Trigger.CHANGE, True),
        ({naming.ANNOTATION_SUSPEND: "false"}, {}, Trigger.TICK, True),
        ({naming.ANNOTATION_POLL_REQUESTED: "1"}, {"schedule": ""}, Trigger.CHANGE, True),
        (
            {naming.ANNOTATION_POLL_REQUESTED: "1", naming.ANNOTATION_POLL_SEEN: "1"},
            {"schedule": ""},
            Trigger.CHANGE,
            False,
        ),
        ({naming.ANNOTATION_NEXT_CRON_TIME: "2026-11-23T11:00:00Z"}, {"schedule": ""}, Trigger.CHANGE, True),
        ({naming.ANNOTATION_NEXT_CRON_TIME: "2026-11-23T12:00:00Z"}, {"schedule": ""}, Trigger.CHANGE, True),
        ({naming.ANNOTATION_NEXT_CRON_TIME: "2026-11-23T13:00:00Z"}, {"schedule": ""}, Trigger.CHANGE, False),
    ],
)
def test_when_the_registry_is_asked(annotations, spec, trigger, due):
    cron = a_cron(**spec)
    known = {key: polling.source_key(cron) if value == "SOURCE" else value for key, value in annotations.items()}
    assert polling.poll_due(with_annotations(cron, known), trigger, NOW) is due


@pytest.mark.parametrize(("schedule", "window"), [("30 1 * * 1", 10), ("* * * * *", 6), ("0 0 31 2 *", 0)])
def test_x14_equal_schedules_poll_at_different_moments(schedule, window):
    crons = [a_cron(schedule=schedule) for _ in range(50)]
    named = [
        c.model_copy(update={"metadata": c.metadata.model_copy(update={"name": f"c{i}"})}) for i, c in enumerate(crons)
    ]
    polls = [polling.next_poll_of(cron, NOW + timedelta(seconds=30), timedelta(seconds=10)) for cron in named]
    ticks = [polling.next_poll_of(cron, NOW + timedelta(seconds=30), timedelta()) for cron in named]
    assert polls == [polling.next_poll_of(cron, NOW + timedelta(seconds=30), timedelta(seconds=10)) for cron in named]
    if window:
        late = [poll - tick for poll, tick in zip(polls, ticks, strict=True)]
        assert len(set(ticks)) == 1
        assert len(set(late)) == 50
        assert all(timedelta() <= delay < timedelta(seconds=window) for delay in late)
    else:
        assert set(polls) == {None}


def test_a_look_between_a_tick_and_its_late_poll_keeps_the_poll():
    cron, window = a_cron(), timedelta(seconds=10)
    poll = polling.next_poll_of(cron, NOW, window)
    tick = polling.next_poll_of(cron, NOW, timedelta())
    assert poll > tick
    assert polling.next_poll_of(cron, tick, window) == poll
    assert polling.next_poll_of(cron, poll - timedelta(microseconds=1), window) == poll
    assert polling.next_poll_of(cron, poll, window) == poll + timedelta(days=7)


@pytest.mark.parametrize("answer", [{"resolved": resolved(A)}, {"error": ImageNotFoundError("gone")}])
def test_p10_requests_are_consumed(answer):
    cron = a_cron({naming.ANNOTATION_NEXT_CRON_TIME: "2026-01-01T00:00:00Z", naming.ANNOTATION_POLL_REQUESTED: "7"})
    plan = planning.plan(facts(cron, **answer))
    assert naming.ANNOTATION_NEXT_CRON_TIME not in plan.cron.metadata.annotations
    assert not polling.poll_requested(plan.cron, NOW)
    assert plan.cron.status.last_execution_timestamp == NOW


@pytest.mark.parametrize("digest", ["sha256:short", "md5:" + "a" * 32, ""])
def test_nm02_digests_that_name_nothing(digest):
    with pytest.raises(Exception, match="Digest"):
        naming.import_name(DATA_SOURCE, digest)


def test_nm02_a_digest_by_hand_that_names_nothing_is_said():
    cron = a_cron({naming.ANNOTATION_DESIRED_DIGEST: "md5:123"}, schedule="")
    plan = planning.plan(facts(cron, trigger=Trigger.CHANGE))
    assert plan.decision.verdict is Verdict.FAILED
    status, reason, message = condition(plan.cron, "UpToDate")
    assert (status, reason) == ("False", "InvalidReference")
    assert message.startswith("Digest has no supported prefix: 'md5:123'")


def test_nm01_names():
    assert naming.import_name("test-datasource", "sha256:68b44fc891f3" + "0" * 52) == "test-datasource-68b44fc891f3"
    assert naming.import_name("DS", "uid:1234abcd-ef01-2345") == "DS-1234abcd-ef0"


def test_nm05_an_import_is_made_from_the_template():
    volume = an_import(A)
    assert volume.spec.source.registry.url == f"docker://quay.io/kubevirt/fedora@{A}"
    assert volume.metadata.labels[naming.LABEL_CRON] == NAME
    assert volume.metadata.annotations[naming.ANNOTATION_BIND_IMMEDIATE] == "true"
    assert naming.LABEL_CLEANUP not in volume.metadata.labels
    assert an_import(A, cron=a_cron(retentionPolicy="None")).metadata.labels[naming.LABEL_CLEANUP] == "true"


def test_g07_a_lower_imports_to_keep_prunes_at_the_next_look():
    a, b = an_import(A), an_import(B, at=NOW + timedelta(hours=1))
    cron, data_source = settled(a_cron(importsToKeep=1), b)
    plan = planning.plan(facts(cron, resolved=resolved(B), imports=(a, b), data_source=data_source))
    assert plan.decision.verdict is Verdict.PRUNE
    assert condition(plan.cron, "UpToDate")[:2] == ("True", "UpToDate")


def test_another_architecture_of_the_same_index_is_another_disk():
    amd64 = an_import(A)
    cron, data_source = settled(a_cron(), amd64)
    plan = planning.plan(facts(cron, resolved=resolved(A, B), imports=(amd64,), data_source=data_source))
    assert plan.decision.verdict is Verdict.IMPORT
    assert plan.decision.data_volume == naming.import_name(DATA_SOURCE, B)
    arm64 = import_of(cron, plan.decision.data_volume, A, B, NOW)
    done = with_status(arm64, phase=str(Phase.SUCCEEDED))
    seen = facts(plan.cron, trigger=Trigger.CHANGE, imports=(amd64, done), data_source=data_source)
    assert planning.plan(seen).decision.data_volume == plan.decision.data_volume


@pytest.mark.parametrize("trigger", [Trigger.CHANGE, Trigger.POLL])
def test_a_corrected_template_replaces_a_failed_import(trigger):
    failed = failing(an_import(A), Phase.FAILED)
    template = cron_document()["spec"]["template"]
    template["spec"]["storage"]["resources"]["requests"]["storage"] = "100Mi"
    known = {naming.ANNOTATION_DESIRED_DIGEST: A, naming.ANNOTATION_SOURCE: polling.source_key(a_cron())}
    plan = planning.plan(facts(a_cron(known, template=template), trigger=trigger, imports=(failed,)))
    name = failed.metadata.name
    assert (plan.decision.verdict, plan.decision.replaces, plan.decision.data_volume) == (Verdict.IMPORT, name, name)
    assert plan.decision.message == f"The template has changed since import {name} failed"
    assert [entry.data_volume_name for entry in plan.cron.status.current_imports] == [name]
    running = an_import(A, Phase.IMPORT_IN_PROGRESS)
    given = facts(a_cron(known, template=template), trigger=trigger, imports=(running,), running=name)
    assert planning.plan(given).decision.verdict is Verdict.WAIT, "one that makes progress is left to it"


def test_a_failed_poll_is_not_forgotten_by_a_change():
    volume = an_import(A)
    cron, data_source = settled(a_cron(), volume)
    good = planning.plan(facts(cron, resolved=resolved(A), imports=(volume,), data_source=data_source)).cron
    assert not polling.poll_due(good, Trigger.CHANGE, NOW)
    failed = planning.plan(facts(good, error=ImageNotFoundError("gone"), imports=(volume,), data_source=data_source))
    assert polling.poll_due(failed.cron, Trigger.CHANGE, NOW)
