"""Steps between CDI and us, done on a cluster of dictionaries, and interrupted after each of them."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest

from dataimportcron import naming
from dataimportcron.cluster.client.resources import DATA_IMPORT_CRONS, DATA_SOURCES, DATA_VOLUMES, PVCS
from dataimportcron.cluster.documents.plain_volumes import ANNOTATION_PHASE
from dataimportcron.cluster.migration.steps import ANNOTATION_MIGRATED, OWN_CRONS, Action, Facts, to_cdi, to_us
from dataimportcron.errors import AlreadyExistsError, InUseError, InvalidObjectError
from tests.support.facts import A, B

LABEL = "dataimportcron.io/data-import-cron"
OLD, NEW = (f"fedora-{digest[7:19]}" for digest in (A, B))
SPEC = {
    "template": {"spec": {"source": {"registry": {"url": "docker://quay.io/a/fedora:latest"}}}},
    "schedule": "30 1 * * 1",
    "managedDataSource": "fedora",
}


def an_object(name, *, labels=None, annotations=None, uid="", **members):
    metadata = {"name": name, "namespace": "images", "uid": uid or f"uid-{name}", "resourceVersion": "1"}
    return {"metadata": metadata | {"labels": labels or {}, "annotations": annotations or {}}} | members


def theirs(**spec):
    status = {
        "currentImports": [{"DataVolumeName": NEW, "Digest": B}],
        "conditions": [{"type": "Progressing", "status": "False"}],
    }
    annotations = {
        naming.ANNOTATION_DESIRED_DIGEST: B,
        "cdi.kubevirt.io/storage.import.lastCronTime": "2026-11-01T00:00:00Z",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "team": "images",
    }
    return an_object("fedora", annotations=annotations, labels={"mine": "1"}, spec=SPEC | spec, status=status)


def before():
    cdis = {naming.LABEL_CRON: "fedora"}
    volume = {"source": {"registry": {"url": f"docker://quay.io/a/fedora@{A}"}}}
    return Facts(
        namespace="images",
        name="fedora",
        theirs=theirs(),
        data_source=an_object("fedora", labels=cdis, spec={"source": {"pvc": {"name": NEW}}}),
        volumes=(an_object(OLD, labels=cdis, spec=volume, status={"phase": "Succeeded"}),),
        claims=(
            an_object(OLD, labels=cdis, annotations={naming.ANNOTATION_LAST_USE_TIME: "2026-10-01T00:00:00Z"}),
            an_object(NEW, labels=cdis),
            an_object("somebodys"),
        ),
    )


def merged(target, patch):
    """RFC 7386."""
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key) or {}, value) if isinstance(value, dict) else value
    return result


def done(facts, step):
    """The cluster after a step; the claims' two steps do what the adapter of plain volumes does."""
    named = {PVCS: "claims", DATA_VOLUMES: "volumes", DATA_SOURCES: "data_source"}
    named |= {DATA_IMPORT_CRONS: "theirs", OWN_CRONS: "ours"}
    place = named[step.resource]
    if step.action is Action.CREATE:
        return replace(facts, **{place: merged(an_object(step.name), step.body)})
    if place in {"claims", "volumes"}:
        others = tuple(it for it in getattr(facts, place) if it["metadata"]["name"] != step.name)
        (target,) = (it for it in getattr(facts, place) if it["metadata"]["name"] == step.name)
    else:
        others, target = (), getattr(facts, place)
    assert step.uid == target["metadata"]["uid"]
    patch = step.body
    if step.action is Action.ADOPT:
        ours = {naming.LABEL_CRON: None, LABEL: step.body["metadata"]["labels"][naming.LABEL_CRON]}
        said = step.body["metadata"]["annotations"] | {ANNOTATION_PHASE: step.body["status"]["phase"]}
        patch = {"metadata": {"labels": ours, "annotations": said}}
    left = () if step.action in {Action.DELETE, Action.ORPHAN} else (merged(target, patch),)
    if place in {"claims", "volumes"}:
        return replace(facts, **{place: tuple(sorted((*others, *left), key=lambda it: it["metadata"]["name"]))})
    return replace(facts, **{place: left[0] if left else None})


def carried_out(facts, plan):
    """The cluster when no step is left, each asked for anew; and what was done."""
    steps = []
    while left := plan(facts):
        steps.append(left[0])
        facts = done(facts, left[0])
        assert len(steps) < 20
    return facts, steps


def labels(target):
    return target["metadata"]["labels"]


def test_all_is_ours_and_no_volume_is_touched():
    after, steps = carried_out(before(), to_us)
    assert after.theirs is None
    assert after.volumes == ()
    assert after.ours["spec"] == SPEC
    assert labels(after.ours) == {"mine": "1"}
    annotations = dict(after.ours["metadata"]["annotations"])
    assert json.loads(annotations.pop(ANNOTATION_MIGRATED))["imports"] == {OLD: A, NEW: B}
    assert annotations == {"team": "images", naming.ANNOTATION_DESIRED_DIGEST: B}
    claims = {it["metadata"]["name"]: it for it in after.claims}
    assert [labels(claims[name]) for name in (OLD, NEW, "somebodys")] == [{LABEL: "fedora"}, {LABEL: "fedora"}, {}]
    assert claims[OLD]["metadata"]["annotations"] == {
        naming.ANNOTATION_DIGEST: A, naming.ANNOTATION_LAST_USE_TIME: "2026-10-01T00:00:00Z",
        ANNOTATION_PHASE: "Succeeded",
    }  # fmt: skip
    assert labels(after.data_source) == {LABEL: "fedora"}
    assert not [it for it in steps if it.resource == PVCS and it.action in {Action.DELETE, Action.ORPHAN}]


def test_the_order_keeps_cdi_from_undoing_it():
    steps = to_us(before())
    told = [(step.action, str(step.resource), step.name) for step in steps]
    assert told == [
        (Action.CREATE, "dataimportcrons.dataimportcron.io", "fedora"),
        (Action.DELETE, "dataimportcrons.cdi.kubevirt.io", "fedora"),
        (Action.ORPHAN, "datavolumes.cdi.kubevirt.io", OLD),
        (Action.ADOPT, "persistentvolumeclaims", OLD),
        (Action.ADOPT, "persistentvolumeclaims", NEW),
        (Action.PATCH, "datasources.cdi.kubevirt.io", "fedora"),
        (Action.PATCH, "dataimportcrons.dataimportcron.io", "fedora"),
    ]
    assert steps[0].body["metadata"]["annotations"][naming.ANNOTATION_SUSPEND] == "true"
    assert steps[1].resource_version == "1"
    assert all(step.why for step in steps)


def test_a_dry_run_tells_what_is_done():
    told = [(step.action, step.resource, step.name) for step in to_us(before())]
    _, steps = carried_out(before(), to_us)
    assert [(step.action, step.resource, step.name) for step in steps] == told


@pytest.mark.parametrize("kills", range(7))
def test_a_run_that_was_killed_goes_on(kills):
    facts = before()
    for _ in range(kills):
        facts = done(facts, to_us(facts)[0])
    assert carried_out(facts, to_us)[0] == carried_out(before(), to_us)[0]


@pytest.mark.parametrize("kills", range(8))
def test_the_way_back_from_anywhere_gives_cdi_its_cron(kills):
    facts = before()
    for _ in range(min(kills, 7)):
        facts = done(facts, to_us(facts)[0])
    after, _ = carried_out(facts, to_cdi)
    assert after.ours is None
    assert after.theirs["spec"] == SPEC
    assert after.theirs["metadata"]["annotations"]["team"] == "images"
    assert after.theirs["metadata"]["annotations"][naming.ANNOTATION_DESIRED_DIGEST] == B
    assert ANNOTATION_MIGRATED not in after.theirs["metadata"]["annotations"]
    claims = [labels(it) for it in after.claims]
    assert sorted(it.get(naming.LABEL_CRON, "") for it in claims) == ["", "fedora", "fedora"]
    assert not any(LABEL in it for it in [*claims, labels(after.data_source)])
    assert labels(after.data_source)[naming.LABEL_CRON] == "fedora"


@pytest.mark.parametrize("kills", range(6))
def test_the_way_back_may_be_killed_too(kills):
    moved, _ = carried_out(before(), to_us)
    facts = moved
    for _ in range(kills):
        facts = done(facts, to_cdi(facts)[0])
    assert carried_out(facts, to_cdi)[0] == carried_out(moved, to_cdi)[0]


def test_a_cron_that_a_person_suspends_later_stays_so():
    moved, _ = carried_out(before(), to_us)
    resting = deepcopy(moved.ours)
    resting["metadata"]["annotations"][naming.ANNOTATION_SUSPEND] = "true"
    assert to_us(replace(moved, ours=resting)) == ()


def test_a_worker_does_nothing_for_a_cron_between_the_first_step_and_the_last():
    facts, seen = before(), []
    for plan in (to_us, to_cdi):
        while steps := plan(facts):
            facts = done(facts, steps[0])
            moving = facts.ours is not None and naming.ANNOTATION_MOVING in facts.ours["metadata"]["annotations"]
            seen.append((steps[0].action, moving))
    assert [moving for _, moving in seen] == [True] * 6 + [False] + [True] * (len(seen) - 8) + [False]
    assert seen[-1] == (Action.DELETE, False)


def test_a_cron_of_cdis_that_rests_is_one_that_rests_with_us():
    facts = before()
    resting = merged(facts.theirs, {"metadata": {"annotations": {naming.ANNOTATION_SUSPEND: "true"}}})
    ours = carried_out(replace(facts, theirs=resting), to_us)[0].ours["metadata"]["annotations"]
    assert ours[naming.ANNOTATION_SUSPEND] == "true"
    assert naming.ANNOTATION_MOVING not in ours


def test_a_data_source_that_is_a_persons_own_stays_so():
    own = an_object("fedora", spec={"source": {}})
    assert carried_out(replace(before(), data_source=own), to_us)[0].data_source == own


def test_a_claim_that_cdi_has_not_filled_is_no_import_though_its_data_volume_is_gone():
    facts = before()
    old, new, other = facts.claims
    half = merged(new, {"metadata": {"annotations": {"cdi.kubevirt.io/storage.pod.phase": "Running"}}})
    adopted = [it.name for it in to_us(replace(facts, claims=(old, half, other))) if it.action is Action.ADOPT]
    assert adopted == [OLD]


def test_an_adopted_import_says_what_the_cron_would_have_made():
    adopted = [it for it in to_us(before()) if it.action is Action.ADOPT]
    urls = [it.body["spec"]["source"]["registry"]["url"] for it in adopted]
    assert urls == [f"docker://quay.io/a/fedora@{digest}" for digest in (A, B)]


def test_what_cdi_would_remove_with_its_cron_is_not_moved():
    label = {"kind": "PersistentVolumeClaim", "metadata": {"labels": {naming.LABEL_CLEANUP: "true"}}}
    facts = before()
    old, new, other = facts.claims
    with pytest.raises(InvalidObjectError, match=rf"images/{NEW} has the label .*kubectl label .*cleanup-"):
        to_us(replace(facts, claims=(old, merged(new, label), other)))


def test_an_unfinished_import_of_ours_does_not_go_to_cdi():
    moved, _ = carried_out(before(), to_us)
    half = an_object("fedora-c", labels={LABEL: "fedora"}, annotations={ANNOTATION_PHASE: "Failed"})
    after, steps = carried_out(replace(moved, claims=(*moved.claims, half)), to_cdi)
    assert [it.name for it in steps if it.action is Action.DELETE and it.resource == PVCS] == ["fedora-c"]
    assert [it["metadata"]["name"] for it in after.claims] == sorted([OLD, NEW, "somebodys"])


def test_on_the_way_back_retention_none_is_cdis_before_our_cron_goes():
    moved, _ = carried_out(before(), to_us)
    after, steps = carried_out(replace(moved, ours=merged(moved.ours, {"spec": {"retentionPolicy": "None"}})), to_cdi)
    assert after.theirs["spec"]["retentionPolicy"] == "None"
    assert [it.action for it in steps[-3:]] == [Action.CREATE, Action.PATCH, Action.DELETE]
    assert steps[-2].body == {"spec": {"retentionPolicy": "All"}}


@pytest.mark.parametrize("kills", range(7))
def test_who_turns_round_on_the_way_back_has_a_cron_that_polls_and_all_its_imports(kills):
    moved, _ = carried_out(before(), to_us)
    said = {naming.ANNOTATION_DIGEST: f"sha256:{'c' * 64}", ANNOTATION_PHASE: "Succeeded"}
    facts = replace(moved, claims=(*moved.claims, an_object("fedora-c", labels={LABEL: "fedora"}, annotations=said)))
    for _ in range(kills):
        facts = done(facts, to_cdi(facts)[0])
    after, _ = carried_out(facts, to_us)
    assert naming.ANNOTATION_SUSPEND not in after.ours["metadata"]["annotations"]
    assert [labels(it) for it in after.claims if it["metadata"]["name"] != "somebodys"] == [{LABEL: "fedora"}] * 3
    assert labels(after.data_source) == {LABEL: "fedora"}


def test_the_way_back_waits_until_cdis_cron_is_gone():
    facts = done(before(), to_us(before())[0])
    leaving = merged(facts.theirs, {"metadata": {"deletionTimestamp": "2026-11-01T00:00:00Z"}})
    with pytest.raises(InUseError, match="still being deleted"):
        to_cdi(replace(facts, theirs=leaving))


def test_a_claim_that_nothing_tells_the_digest_of_stays_a_persons():
    unknown = an_object("fedora-000000000000", labels={naming.LABEL_CRON: "fedora"})
    facts = before()
    after, _ = carried_out(replace(facts, claims=(*facts.claims, unknown)), to_us)
    assert unknown in after.claims


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"theirs": theirs(retentionPolicy="None")}, InvalidObjectError, r"retentionPolicy None.*retentionPolicy: All"),
        (
            {"theirs": merged(theirs(), {"metadata": {"ownerReferences": [{"kind": "SSP", "name": "ssp"}]}})},
            InvalidObjectError,
            r"belongs to SSP ssp.*dataimportcrontemplate\.kubevirt\.io/enable",
        ),
        (
            {"theirs": merged(theirs(), {"metadata": {"labels": {"app.kubernetes.io/managed-by": "ssp-operator"}}})},
            InvalidObjectError,
            "belongs to ssp-operator",
        ),
        ({"ours": an_object("fedora", spec=SPEC)}, AlreadyExistsError, "exists already"),
        ({"theirs": None}, InvalidObjectError, "there is no DataImportCron images/fedora of cdi.kubevirt.io"),
    ],
)
def test_what_cannot_be_moved_is_refused_with_what_to_do(changes, error, words):
    with pytest.raises(error, match=words):
        to_us(replace(before(), **changes))


def test_what_cdi_has_not_finished_is_imported_anew():
    unfinished = an_object("fedora-1", labels={naming.LABEL_CRON: "fedora"}, spec={}, status={"phase": "Pending"})
    claim = an_object("fedora-1", labels={naming.LABEL_CRON: "fedora"})
    facts = before()
    facts = replace(facts, volumes=(*facts.volumes, unfinished), claims=(*facts.claims, claim))
    after, steps = carried_out(facts, to_us)
    assert after.volumes == ()
    assert [it.name for it in steps if it.action is Action.DELETE and it.resource == DATA_VOLUMES] == ["fedora-1"]
    assert "fedora-1" not in [it.name for it in steps if it.action is Action.ADOPT]


def test_an_import_that_cdi_completes_meanwhile_is_taken_along():
    facts = before()
    facts = done(facts, to_us(facts)[0])
    third = f"sha256:{'c' * 64}"
    newer = merged(facts.theirs, {"status": {"currentImports": [{"DataVolumeName": "fedora-c", "Digest": third}]}})
    claim = an_object("fedora-c", labels={naming.LABEL_CRON: "fedora"})
    after, steps = carried_out(replace(facts, theirs=newer, claims=(*facts.claims, claim)), to_us)
    assert steps[0].why == "CDI has imported meanwhile"
    (adopted,) = (it for it in after.claims if it["metadata"]["name"] == "fedora-c")
    assert adopted["metadata"]["annotations"][naming.ANNOTATION_DIGEST] == third


def test_the_way_back_waits_for_an_import_of_ours():
    moved, _ = carried_out(before(), to_us)
    importing = merged(moved.ours, {"status": {"conditions": [{"type": "Progressing", "status": "True"}]}})
    with pytest.raises(InUseError, match=r"is importing.*try again"):
        to_cdi(replace(moved, ours=importing))


def test_there_is_nothing_to_go_back_from():
    with pytest.raises(InvalidObjectError, match=r"no DataImportCron images/fedora of dataimportcron\.io"):
        to_cdi(replace(before(), theirs=None))
