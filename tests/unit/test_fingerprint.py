"""What wakes a cron: a change of what its look reads, and nothing else."""

from dataclasses import replace

from dataimportcron import naming
from dataimportcron.api.meta import Condition
from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataImportCron, DataSource, DataSourceSource, DataSourceSpec, DataVolume
from dataimportcron.manifests import data_source_of, with_annotations, with_labels, with_status
from dataimportcron.values import ClaimState, Placement, SourceKind
from tests.support.home import DATA_SOURCE, NAME, NAMESPACE, cron_document
from worker.binding import fingerprint
from worker.binding.world import World


def cron(name=NAME, uid="1", data_source=DATA_SOURCE):
    document = cron_document(managedDataSource=data_source)
    return DataImportCron.model_validate(document | {"metadata": {"name": name, "namespace": NAMESPACE, "uid": uid}})


def owned(kind, name, owner):
    return kind.model_validate(
        {"metadata": {"name": name, "namespace": NAMESPACE, "uid": name, "labels": {naming.LABEL_CRON: owner}}}
    )


def of(*crons, data_sources=(), data_volumes=(), me=None, **kept):
    return fingerprint.of_cron(me or cron(), World((cron(), *crons), data_sources, data_volumes, (), **kept))


def test_a_rival_of_the_data_source_counts():
    rivals = [owned(DataSource, DATA_SOURCE, "other")]
    alone = of(data_sources=rivals)
    there = of(cron("other", "2"), data_sources=rivals)
    assert there != alone
    assert of(cron("other", "3"), data_sources=rivals) not in {there, alone}
    assert of(cron("other", "2", "elsewhere"), data_sources=rivals) not in {there, alone}


def test_the_owner_of_an_import_that_could_be_taken_over_counts():
    imports = [owned(DataVolume, f"{DATA_SOURCE}-0123456789ab", "other")]
    assert of(cron("other", "2"), data_volumes=imports) != of(data_volumes=imports)
    relabelled = [owned(DataVolume, f"{DATA_SOURCE}-0123456789ab", "third")]
    assert of(data_volumes=relabelled) != of(data_volumes=imports)


def test_crons_that_have_nothing_to_do_with_it_do_not_count():
    sources = [owned(DataSource, DATA_SOURCE, NAME), owned(DataSource, "other", "other")]
    volumes = [owned(DataVolume, "other-0123456789ab", "other")]
    assert of(cron("other", "2", "other"), data_sources=sources, data_volumes=volumes) == of(
        data_sources=sources, data_volumes=volumes
    )


def test_what_is_written_into_the_cron_itself_does_not_count():
    written = with_status(with_annotations(cron(), {naming.ANNOTATION_DESIRED_DIGEST: "sha256:1"}), source_format="pvc")
    assert of(me=written) == of()
    assert of(me=with_labels(cron(), {"a": "1"})) != of()


def test_the_data_source_that_the_first_look_makes_is_no_news():
    made = data_source_of(cron())
    assert of(data_sources=[made]) == of()
    pointing = made.model_copy(
        update={"spec": DataSourceSpec(source=DataSourceSource(pvc={"namespace": NAMESPACE, "name": "x"}))}
    )
    assert of(data_sources=[pointing]) != of()
    assert of(data_sources=[owned(DataSource, DATA_SOURCE, "other")]) != of()


def test_other_words_of_a_failing_import_count():
    volume = owned(DataVolume, f"{DATA_SOURCE}-0123456789ab", NAME)

    def failing(words):
        broken = Condition(type="Running", status="False", reason="Error", message=words)
        return of(data_volumes=[with_status(volume, phase="ImportInProgress", conditions=[broken])])

    assert failing("connection refused") != failing("503")
    assert failing("503") != of(data_volumes=[with_status(volume, phase="ImportInProgress")])


def clone(**spec):
    return DataVolume.model_validate({"metadata": {"name": "disk", "namespace": "vms", "uid": "disk"}, "spec": spec})


def source(name, **source):
    return DataSource.model_validate(
        {"metadata": {"name": name, "namespace": NAMESPACE, "uid": name}, "spec": {"source": source}}
    )


def volume(name, phase):
    return DataVolume.model_validate(
        {"metadata": {"name": name, "namespace": NAMESPACE, "uid": name}, "status": {"phase": phase}}
    )


def of_volume(cloned, data_sources=(), data_volumes=()):
    return fingerprint.of_volume(cloned, World((), data_sources, (cloned, *data_volumes), ()))


def test_a_clone_hears_of_all_that_leads_to_its_source():
    by_name = clone(sourceRef={"kind": "DataSource", "namespace": NAMESPACE, "name": "latest"})
    pointer, direct = source("latest", dataSource={"name": "fedora"}), source("fedora", pvc={"name": "fedora-1"})
    heard = [
        of_volume(by_name),
        of_volume(by_name, [pointer]),
        of_volume(by_name, [pointer, direct]),
        of_volume(by_name, [pointer, direct], [volume("fedora-1", "ImportInProgress")]),
        of_volume(by_name, [pointer, direct], [volume("fedora-1", "Succeeded")]),
    ]
    assert len(set(heard)) == len(heard)
    by_volume = clone(source={"pvc": {"namespace": NAMESPACE, "name": "fedora-1"}})
    assert of_volume(by_volume) != of_volume(by_volume, (), [volume("fedora-1", "Succeeded")])


def test_an_import_does_not_hear_of_others():
    imported = clone(source={"registry": {"url": "docker://quay.io/a/b"}})
    assert of_volume(imported) == of_volume(imported, [source("fedora")], [volume("fedora-1", "Succeeded")])


def test_a_snapshot_that_becomes_ready_or_fails_counts():
    def snapshot(**status):
        metadata = {"name": f"{DATA_SOURCE}-0123456789ab", "namespace": NAMESPACE, "uid": "s"}
        return VolumeSnapshot.model_validate({"metadata": metadata, "status": status})

    states = [[], [snapshot()], [snapshot(readyToUse=True)], [snapshot(error={"message": "the driver is full"})]]
    assert len({of(snapshots=found) for found in states}) == len(states)
    other = snapshot().model_copy(update={"metadata": snapshot().metadata.model_copy(update={"name": "a-backup"})})
    assert of(snapshots=[other]) == of()


def test_where_imports_go_and_what_they_are_kept_as_counts():
    place = (NAMESPACE, NAME)
    snapshots = Placement(storage_class="fast", form=SourceKind.SNAPSHOT, snapshot_class="snaps")
    placements = [None, Placement(storage_class="fast"), Placement(storage_class="slow"), snapshots]
    made = [of(placements={place: placement} if placement else {}) for placement in placements]
    assert len(set(made)) == len(made)
    assert of(placements={(NAMESPACE, "other"): snapshots}) == of()


def test_a_poll_is_no_news_and_all_else_is():
    one, other, source = cron(), cron("other", "2"), owned(DataSource, DATA_SOURCE, NAME)
    before = World((one, other), (source,), (), ())

    def same(*crons, data_sources=(source,), **more):
        return fingerprint.is_as_before(before, World(crons, data_sources, (), (), **more))

    polled = with_status(with_annotations(one, {naming.ANNOTATION_DESIRED_DIGEST: "sha256:1"}), source_format="pvc")
    assert same(one, other)
    assert same(polled, other)
    assert not same(one)
    assert not same(other, one)
    assert not same(cron(uid="3"), other)
    assert not same(with_labels(one, {"a": "b"}), other)
    assert not same(with_annotations(one, {naming.ANNOTATION_SUSPEND: "true"}), other)
    assert not same(cron(data_source="another"), other)
    assert not same(one, other, data_sources=(with_labels(source, {"a": "b"}),))
    assert not same(one, other, placements={(NAMESPACE, NAME): Placement(storage_class="fast")})
    assert not same(one, other, claims={})


def of_clone(*, claims=None, snapshots=(), data_volumes=(), **source):
    clone = DataVolume.model_validate(
        {
            "metadata": {"name": "clone", "namespace": NAMESPACE, "uid": "1"},
            "spec": {"source": source or {"pvc": {"namespace": NAMESPACE, "name": "golden"}}},
        }
    )
    world = World((), (), data_volumes, (), snapshots=snapshots, claims=claims)
    return fingerprint.of_volume(clone, world)


def test_the_claim_in_a_volumes_place_counts_and_that_its_own_has_been_made_does_not():
    place, none = (NAMESPACE, "clone"), of_clone(claims={})
    own = ClaimState(uid="c", owner="1")
    assert of_clone(claims={place: own}) == none == of_clone(claims=None)
    bound = of_clone(claims={place: replace(own, state="Bound")})
    assert bound != none
    assert of_clone(claims={place: replace(own, state="Bound", whole=True)}) == bound
    foreign = of_clone(claims={place: ClaimState(uid="c")})
    assert foreign not in {none, bound}
    assert of_clone(claims={place: ClaimState(uid="c", whole=True)}) != foreign


def test_what_a_clone_is_made_of_counts():
    golden = {(NAMESPACE, "golden"): ClaimState(uid="c", state="Bound")}
    unfinished, absent = of_clone(claims=golden), of_clone(claims={})
    assert unfinished != absent
    assert of_clone(claims={(NAMESPACE, "golden"): replace(golden[NAMESPACE, "golden"], whole=True)}) != unfinished
    snapshot = VolumeSnapshot.model_validate({"metadata": {"name": "golden", "namespace": NAMESPACE, "uid": "s"}})
    named = {"snapshot": {"namespace": NAMESPACE, "name": "golden"}}
    pending = of_clone(snapshots=[snapshot], **named)
    assert pending != of_clone(**named)
    ready = with_status(snapshot, ready_to_use=True)
    assert of_clone(snapshots=[ready], **named) != pending
    assert of_clone(claims=golden, **named) == of_clone(**named)
