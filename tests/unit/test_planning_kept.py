"""Imports that are kept as snapshots, and those whose storage class is another now (S-04 to S-11, G-06)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataimportcron import naming, planning, pruning
from dataimportcron.api.conditions import SNAPSHOT_PROGRESSING, Phase
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataSourceSource, DataSourceSpec
from dataimportcron.kept import is_ready, points_to, progress_of
from dataimportcron.manifests import (
    advised_restore_size,
    data_source_of,
    pointed_to,
    snapshot_of,
    used,
    with_annotations,
    with_labels,
    with_promoted_import,
    with_restore_size,
)
from dataimportcron.messages import Trigger, Verdict
from dataimportcron.values import Placement, SourceKind, Volume
from tests.support.facts import NOW, A, B, C, a_cron, an_import, condition, facts, resolved
from tests.support.home import NAMESPACE

SNAPSHOTS = Placement(storage_class="fast", form=SourceKind.SNAPSHOT, snapshot_class="snaps")
VOLUMES = Placement(storage_class="fast")
SLOW = Placement(storage_class="slow")


def placed(volume, storage_class="fast"):
    return with_annotations(volume, {naming.ANNOTATION_PLACED_IN: storage_class})


def taken_of(volume, *, ready=True, error="", restore=None, placement=SNAPSHOTS):
    """The snapshot of an import, as the driver has it."""
    found = Volume(namespace=NAMESPACE, name=volume.metadata.name, size=1, mode="Block", requested=500)
    document = snapshot_of(a_cron(), volume, found, placement).document()
    status = {"readyToUse": ready, "restoreSize": restore, "error": {"message": error} if error else None}
    return VolumeSnapshot.model_validate(document | {"status": status})


def look(cron, volumes=(), snapshots=(), placement=SNAPSHOTS, **values):
    found = facts(cron, imports=tuple(volumes), snapshots=tuple(snapshots), placement=placement, resolved=resolved(A))
    return planning.plan(replace(found, **values))


def done(kept, form, digest=A):
    """The cron and its DataSource after a promotion."""
    cron = with_promoted_import(a_cron(), kept.metadata.name, digest, NOW, form)
    return cron, pointed_to(data_source_of(cron), cron, kept)


def test_a_complete_volume_is_promoted_which_takes_its_snapshot():
    plan = look(a_cron(), [placed(an_import(A))])
    assert plan.decision.verdict is Verdict.PROMOTE
    assert condition(plan.cron, "UpToDate")[:2] == ("False", "ImportProgressing")


@pytest.mark.parametrize("error", ["", "the driver is full"])
def test_a_snapshot_that_is_being_taken_is_waited_for(error):
    volume = placed(an_import(A))
    plan = look(a_cron(), [volume], [taken_of(volume, ready=False, error=error)])
    assert plan.decision.verdict is Verdict.WAIT
    said = f"{SNAPSHOT_PROGRESSING}: {error}" if error else SNAPSHOT_PROGRESSING
    assert condition(plan.cron, "UpToDate") == ("False", "ImportProgressing", said)
    assert condition(plan.cron, "Progressing")[:2] == ("False", "NoImport")


def test_a_ready_snapshot_is_promoted_until_its_volume_has_gone():
    volume = placed(an_import(A))
    snapshot = taken_of(volume)
    assert look(a_cron(), [volume], [snapshot]).decision.verdict is Verdict.PROMOTE
    cron, data_source = done(snapshot, SourceKind.SNAPSHOT)
    assert look(cron, [volume], [snapshot], data_source=data_source).decision.verdict is Verdict.PROMOTE
    plan = look(cron, [], [snapshot], data_source=data_source)
    assert (plan.decision.verdict, plan.decision.reason) == (Verdict.WAIT, "UpToDate")
    assert condition(plan.cron, "Ready")[0] == "True"
    assert plan.cron.metadata.annotations[naming.ANNOTATION_STORAGE_CLASS] == "fast"


def test_a_data_source_that_points_elsewhere_is_moved_back():
    snapshot = taken_of(placed(an_import(A)))
    cron, data_source = done(snapshot, SourceKind.SNAPSHOT)
    spec = data_source.spec.model_copy(update={"source": DataSourceSource(pvc=data_source.spec.source.snapshot)})
    elsewhere = data_source.model_copy(update={"spec": spec})
    plan = look(cron, [], [snapshot], data_source=elsewhere)
    assert plan.decision.verdict is Verdict.PROMOTE
    assert condition(plan.cron, "Ready")[0] == "False"


def test_a_data_source_that_a_person_keeps_does_not_matter():
    snapshot = taken_of(placed(an_import(A)))
    cron, data_source = done(snapshot, SourceKind.SNAPSHOT)
    own = with_labels(pointed_to(data_source, cron, taken_of(an_import(B))), {naming.LABEL_CRON: None})
    plan = look(cron, [], [snapshot], data_source=own)
    assert (plan.decision.verdict, condition(plan.cron, "Ready")[0]) == (Verdict.WAIT, "True")


@pytest.mark.parametrize(
    ("source", "points"),
    [
        ({"pvc": {"name": "a"}}, True),
        ({"pvc": {"name": "a", "namespace": NAMESPACE}}, True),
        ({"pvc": {"name": "a", "namespace": "elsewhere"}}, False),
        ({"pvc": {"name": "b"}}, False),
        ({"pvc": {"name": "a"}, "snapshot": {"name": "a"}}, False),
        ({}, False),
    ],
)
def test_what_points_to_an_import(source, points):
    bare = data_source_of(a_cron())
    found = bare.model_copy(update={"spec": DataSourceSpec.model_validate({"source": source})})
    assert points_to(found, "a", SourceKind.PVC) is points


def test_a_snapshot_that_is_being_deleted_is_none_to_restore_from():
    snapshot = taken_of(an_import(A))
    going = snapshot.model_copy(update={"metadata": snapshot.metadata.model_copy(update={"deletion_timestamp": NOW})})
    assert is_ready(snapshot)
    assert not is_ready(going)


def test_an_error_without_words_is_no_error_to_tell():
    document = taken_of(an_import(A)).document() | {"status": {"error": {}}}
    assert progress_of(VolumeSnapshot.model_validate(document)) == SNAPSHOT_PROGRESSING


def test_a_data_source_that_points_to_a_snapshot_in_the_making_is_not_ready():
    snapshot = taken_of(placed(an_import(A)), ready=False)
    cron, data_source = done(snapshot, SourceKind.SNAPSHOT)
    assert condition(look(cron, [], [snapshot], data_source=data_source).cron, "Ready")[0] == "False"


def test_the_snapshot_of_another_import_of_the_same_disk_is_no_form_of_this_one():
    volume = placed(an_import(A))
    cron, data_source = done(volume, SourceKind.PVC)
    snapshot = taken_of(volume)
    other = snapshot.model_copy(update={"metadata": snapshot.metadata.model_copy(update={"name": "renamed-a"})})
    assert look(cron, [volume], [other], VOLUMES, data_source=data_source).decision.verdict is Verdict.WAIT
    assert look(cron, [], [other]).decision.data_volume == "renamed-a"


def test_the_last_snapshot_that_is_deleted_is_imported_again():
    snapshot = taken_of(placed(an_import(A)))
    cron, data_source = done(snapshot, SourceKind.SNAPSHOT)
    plan = look(cron, [], [], data_source=data_source, trigger=Trigger.CHANGE)
    assert (plan.decision.verdict, plan.decision.data_volume) == (Verdict.IMPORT, snapshot.metadata.name)


def test_from_volume_to_snapshot_nothing_is_imported():
    volume = placed(an_import(A))
    cron, data_source = done(volume, SourceKind.PVC)
    assert look(cron, [volume], [], VOLUMES, data_source=data_source).decision.verdict is Verdict.WAIT
    plan = look(cron, [volume], [], data_source=data_source)
    assert plan.decision.verdict is Verdict.PROMOTE
    assert condition(plan.cron, "Ready")[0] == "True", "the DataSource points to the volume until the snapshot is ready"


def test_from_snapshot_to_volume_it_is_imported_and_the_snapshot_serves_until_then():
    volume = placed(an_import(A))
    snapshot = taken_of(volume)
    cron, data_source = done(snapshot, SourceKind.SNAPSHOT)
    plan = look(cron, [], [snapshot], VOLUMES, data_source=data_source)
    assert (plan.decision.verdict, plan.decision.anew) == (Verdict.IMPORT, False)
    assert condition(plan.cron, "Ready")[0] == "True"
    moved = look(cron, [volume], [snapshot], VOLUMES, data_source=data_source)
    assert moved.decision.verdict is Verdict.PROMOTE
    cron, data_source = done(volume, SourceKind.PVC)
    assert look(cron, [volume], [snapshot], VOLUMES, data_source=data_source).decision.verdict is Verdict.PROMOTE
    assert look(cron, [volume], [], VOLUMES, data_source=data_source).decision.verdict is Verdict.WAIT


def test_a_snapshot_of_another_class_is_made_anew():
    snapshot = taken_of(placed(an_import(A)), placement=replace(SNAPSHOTS, snapshot_class="old"))
    cron, data_source = done(snapshot, SourceKind.SNAPSHOT)
    assert look(cron, [], [snapshot], data_source=data_source).decision.verdict is Verdict.IMPORT


@pytest.mark.parametrize("form", list(SourceKind))
def test_another_storage_class_makes_place_for_a_new_import(form):
    volume = placed(an_import(A))
    kept = volume if form is SourceKind.PVC else taken_of(volume)
    cron, data_source = done(kept, form)
    volumes, snapshots = ([volume], []) if form is SourceKind.PVC else ([], [kept])
    now = SLOW if form is SourceKind.PVC else replace(SNAPSHOTS, storage_class="slow")
    plan = look(cron, volumes, snapshots, now, data_source=data_source)
    name = volume.metadata.name
    assert (plan.decision.verdict, plan.decision.replaces, plan.decision.anew) == (Verdict.IMPORT, name, True)
    said = f"Import {name} is of storage class fast, and imports go into slow now"
    assert condition(plan.cron, "UpToDate") == ("False", "Outdated", said)
    busy = look(cron, volumes, snapshots, now, data_source=data_source, in_use="pod a/b uses it")
    assert busy.decision.verdict is Verdict.WAIT
    assert "pod a/b uses it" in busy.decision.message


@pytest.mark.parametrize(("noted", "placement"), [("fast", VOLUMES), ("", SLOW), ("fast", Placement()), ("fast", None)])
def test_an_import_stays_where_its_class_is_the_same_or_nobody_can_say(noted, placement):
    volume = placed(an_import(A), noted)
    cron, data_source = done(volume, SourceKind.PVC)
    assert look(cron, [volume], [], placement, data_source=data_source).decision.verdict is Verdict.WAIT


@pytest.mark.parametrize(
    ("phase", "verdict"), [(Phase.IMPORT_SCHEDULED, Verdict.IMPORT), (Phase.IMPORT_IN_PROGRESS, Verdict.WAIT)]
)
def test_an_import_that_waits_for_its_volume_is_begun_anew_in_the_other_class(phase, verdict):
    volume = placed(an_import(A, phase))
    plan = look(a_cron(), [volume], [], SLOW, running=volume.metadata.name)
    assert plan.decision.verdict is verdict
    assert [entry.data_volume_name for entry in plan.cron.status.current_imports] == [volume.metadata.name]


def test_snapshots_are_pruned_by_themselves():
    cron = with_promoted_import(a_cron(importsToKeep=1), an_import(C).metadata.name, C, NOW, SourceKind.SNAPSHOT)
    volumes = [an_import(A), an_import(B)]
    snapshots = [taken_of(volume) for volume in (*volumes, an_import(C))]
    names = [snapshot.metadata.name for snapshot in snapshots[:2]]
    assert {it.metadata.name for it in pruning.plan_prune(cron, snapshots, frozenset())} == set(names)
    own = with_labels(snapshots[0], {naming.LABEL_CRON: None})
    assert [it.metadata.name for it in pruning.plan_prune(cron, [own, *snapshots[1:]], frozenset())] == [names[1]]
    pointing = pointed_to(data_source_of(cron), cron, snapshots[0])
    pointed = pruning.pointed_by([pointing], NAMESPACE, SourceKind.SNAPSHOT)
    assert pointed == {names[0]}
    assert pruning.pointed_by([pointing], NAMESPACE) == frozenset()
    cron, data_source = done(snapshots[2], SourceKind.SNAPSHOT, C)
    cron = cron.model_copy(update={"spec": cron.spec.model_copy(update={"imports_to_keep": 1})})
    plan = look(cron, [], snapshots, data_source=data_source, resolved=resolved(C))
    assert plan.decision.verdict is Verdict.PRUNE


def test_an_older_digest_whose_snapshot_is_there_needs_no_import():
    old, new = taken_of(placed(an_import(A))), taken_of(placed(an_import(B)))
    cron, data_source = done(new, SourceKind.SNAPSHOT, B)
    plan = look(cron, [], [old, new], data_source=data_source)
    assert (plan.decision.verdict, plan.decision.data_volume) == (Verdict.PROMOTE, old.metadata.name)


def test_what_a_snapshot_says_of_its_import():
    volume = with_labels(used(an_import(A), NOW), {"instancetype.kubevirt.io/default-preference": "fedora", "x": "y"})
    snapshot = taken_of(placed(volume), restore="2Gi")
    metadata = snapshot.metadata
    assert metadata.labels == {
        "app": "containerized-data-importer",
        "cdi.kubevirt.io": "",
        "cdi.kubevirt.io/dataImportCron": "fedora-cron",
        "app.kubernetes.io/managed-by": "dataimportcron",
        "app.kubernetes.io/component": "storage",
        "instancetype.kubevirt.io/default-preference": "fedora",
    }
    assert metadata.annotations[naming.ANNOTATION_SOURCE_VOLUME_MODE] == "Block"
    assert metadata.annotations[naming.ANNOTATION_DIGEST] == A
    assert (
        metadata.annotations[naming.ANNOTATION_LAST_USE_TIME]
        == volume.metadata.annotations[naming.ANNOTATION_LAST_USE_TIME]
    )
    sized = with_restore_size(snapshot, a_cron()).metadata.annotations
    assert sized[naming.ANNOTATION_ADVISED_RESTORE_SIZE] == "2Gi"
    assert snapshot.spec.volume_snapshot_class_name == "snaps"
    assert snapshot.spec.source.persistent_volume_claim_name == metadata.name


@pytest.mark.parametrize(
    ("template", "restore", "claim", "size"),
    [
        ("1Gi", "", "", "1Gi"),
        ("2Gi", "1Gi", "", "2Gi"),
        ("1Gi", "2Gi", "", "2Gi"),
        ("1Gi", "1Gi", "", "1Gi"),
        ("", "", "500Mi", "500Mi"),
        ("1Gi", "", "500Mi", "1Gi"),
        ("", "", "", ""),
    ],
)
def test_the_size_of_what_is_restored(template, restore, claim, size):
    assert advised_restore_size(template, restore, claim) == size
