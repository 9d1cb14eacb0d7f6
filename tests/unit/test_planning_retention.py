"""What retention removes, and what it never does."""

from datetime import timedelta

from dataimportcron import naming, pruning
from dataimportcron.api.types import DataSourceSource
from dataimportcron.manifests import (
    data_source_of,
    pointed_to,
    used,
    with_annotations,
    with_current_import,
)
from tests.support.facts import NOW, A, B, C, a_cron, an_import
from tests.support.home import NAMESPACE


def prune(keep, volumes, current, **spec):
    cron = a_cron(importsToKeep=keep, **spec)
    done = with_current_import(cron, current.metadata.name, A)
    return [v.metadata.name for v in pruning.plan_prune(done, volumes, frozenset())]


def test_g03_the_least_recently_used_goes():
    a, b, c = (an_import(d, at=NOW + timedelta(hours=n)) for n, d in enumerate((A, B, C)))
    a_again = used(a, NOW + timedelta(hours=5))
    assert prune(2, (a_again, b, c), c) == [b.metadata.name]
    assert prune(None, (a_again, b, c), c) == []
    assert prune(1, (a_again, b, c), c) == [a.metadata.name, b.metadata.name]


def test_x03_zero_keeps_the_current_one():
    a, b = an_import(A), an_import(B, at=NOW + timedelta(hours=1))
    assert prune(0, (a, b), a) == [b.metadata.name]


def test_g01_never_prunes_nothing():
    a, b = an_import(A), an_import(B)
    assert prune(1, (a, b), a, garbageCollect="Never") == []


def test_g04_without_a_timestamp_is_oldest():
    a, b = an_import(A), an_import(B)
    bare = with_annotations(b, {naming.ANNOTATION_LAST_USE_TIME: None})
    c = an_import(C)
    assert prune(2, (a, bare, c), c) == [b.metadata.name]


def test_g09_an_unlabelled_import_is_nobodys_victim():
    a, b = an_import(A), an_import(B)
    bare = a.model_copy(update={"metadata": a.metadata.model_copy(update={"labels": {}})})
    assert prune(1, (bare, b), b) == []


def test_what_the_data_source_points_to_is_never_pruned():
    a, b = an_import(A), an_import(B, at=NOW + timedelta(hours=1))
    cron = with_current_import(a_cron(importsToKeep=1), b.metadata.name, B)
    assert (
        pruning.plan_prune(cron, (a, b), pruning.pointed_by([pointed_to(data_source_of(cron), cron, a)], NAMESPACE))
        == ()
    )


def test_x04_timestamps_sort_as_times():
    whole = pruning.last_use(with_annotations(an_import(A), {naming.ANNOTATION_LAST_USE_TIME: "2026-01-01T00:00:05Z"}))
    part = pruning.last_use(with_annotations(an_import(A), {naming.ANNOTATION_LAST_USE_TIME: "2026-01-01T00:00:05.1Z"}))
    assert whole < part


def test_what_any_data_source_beside_it_points_to_is_never_pruned():
    a, b = an_import(A), an_import(B, at=NOW + timedelta(hours=1))
    cron = with_current_import(a_cron(importsToKeep=1), b.metadata.name, B)
    pin = pointed_to(data_source_of(cron), cron, a)
    beside = pin.model_copy(update={"metadata": pin.metadata.model_copy(update={"name": "pin", "labels": {}})})
    assert pruning.plan_prune(cron, (a, b), frozenset()) == (a,)
    assert pruning.plan_prune(cron, (a, b), pruning.pointed_by([beside], NAMESPACE)) == ()
    own = pin.spec.source.pvc.model_copy(update={"namespace": None})
    bare = beside.model_copy(update={"spec": pin.spec.model_copy(update={"source": DataSourceSource(pvc=own)})})
    assert pruning.pointed_by([bare], NAMESPACE) == {a.metadata.name}


def test_a_data_source_of_another_namespace_is_asked_for_by_itself():
    a, b = an_import(A), an_import(B, at=NOW + timedelta(hours=1))
    cron = with_current_import(a_cron(importsToKeep=1), b.metadata.name, B)
    pin = pointed_to(data_source_of(cron), cron, a)
    elsewhere = pin.model_copy(update={"metadata": pin.metadata.model_copy(update={"namespace": "vms", "labels": {}})})
    assert pruning.plan_prune(cron, (a, b), pruning.pointed_by([elsewhere], NAMESPACE)) == (a,)
    assert pruning.pointed_by([elsewhere], "vms") == frozenset()


def test_what_others_point_to_does_not_take_the_place_of_what_is_kept():
    a, b, c = (an_import(d, at=NOW + timedelta(hours=n)) for n, d in enumerate((A, B, C)))
    cron = with_current_import(a_cron(importsToKeep=2), c.metadata.name, C)
    assert pruning.plan_prune(cron, (a, b, c), frozenset({a.metadata.name})) == ()
