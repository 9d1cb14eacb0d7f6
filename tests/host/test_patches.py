"""A patch answers with the object as whoever comes next reads it, although it reads no more than what has changed."""

from datetime import UTC, datetime

from dataimportcron.api.meta import Condition
from dataimportcron.api.types import DataImportCron
from dataimportcron.host.state.store import Store
from dataimportcron.manifests import with_annotations, with_labels, with_status
from tests.support.home import NAME, NAMESPACE

NEXT = "cdi.kubevirt.io/storage.import.nextCronTime"


def cron_of(store):
    return store.get(DataImportCron, NAMESPACE, NAME)


def test_what_a_patch_returns_is_what_is_read_after_it(store, state, document):
    store.apply(document | {"metadata": document["metadata"] | {"labels": {"given": "1"}, "annotations": {NEXT: "x"}}})
    now = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    condition = Condition(type="UpToDate", status="True", last_transition_time=now, last_heartbeat_time=now)
    changes = [
        lambda it: with_status(it, last_execution_timestamp=now, conditions=[condition]),
        lambda it: with_labels(with_annotations(it, {NEXT: None, "ours": "1"}), {"given": None, "ours": "1"}),
        lambda it: with_status(with_annotations(it, {"ours": "2"}), source_format="pvc"),
        lambda it: it.model_copy(update={"spec": it.spec.model_copy(update={"schedule": "@daily"})}),
        lambda it: it.model_copy(update={"status": type(it.status)()}),
        lambda it: with_annotations(it, {"ours": None}),
    ]
    for change in changes:
        before = cron_of(store)
        written = store.patch(before, change(before))
        read = cron_of(Store(state))
        assert (written, written.document()) == (read, read.document())
        assert cron_of(store) == read
        assert written.metadata.resource_version != before.metadata.resource_version
