"""The store: what a person applies, and what we write beside and over it."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from dataimportcron.api.types import DataImportCron, DataSource, DataVolume, Secret
from dataimportcron.errors import ConflictError, InvalidObjectError, ObjectNotFoundError
from dataimportcron.host.state.cache import is_settled
from dataimportcron.host.state.records import Record
from dataimportcron.host.state.store import Store
from dataimportcron.manifests import with_annotations, with_labels, with_status
from tests.support.home import NAME, NAMESPACE

NEXT = "cdi.kubevirt.io/storage.import.nextCronTime"


def cron_of(store):
    return store.get(DataImportCron, NAMESPACE, NAME)


def data_source():
    return DataSource.model_validate({"metadata": {"name": "fedora", "namespace": NAMESPACE}, "spec": {"source": {}}})


def pointed(made, name="p"):
    return DataSource.model_validate(
        made.document() | {"spec": {"source": {"pvc": {"name": name, "namespace": NAMESPACE}}}}
    )


def path_of(store):
    return store.path_of("DataImportCron", NAMESPACE, NAME)


def test_apply_stores_the_document_as_given(store, document):
    _, what = store.apply(document)
    assert what == "created"
    assert yaml.safe_load(path_of(store).read_text()) == document
    assert cron_of(store).spec.schedule == "30 1 * * 1"


def test_apply_again(store, document):
    first, _ = store.apply(document)
    assert store.apply(document) == (first, "unchanged")
    second, what = store.apply(document | {"spec": document["spec"] | {"schedule": "@daily"}})
    assert what == "configured"
    assert second.metadata.uid == first.metadata.uid
    assert second.metadata.generation == first.metadata.generation + 1


def test_apply_refuses_and_stores_nothing(store, document):
    with pytest.raises(InvalidObjectError) as error:
        store.apply(document | {"spec": document["spec"] | {"schedule": "61 * * * *", "importsToKep": 2}})
    assert len(error.value.faults) == 2
    assert not path_of(store).exists()
    with pytest.raises(ObjectNotFoundError):
        cron_of(store)


def test_apply_mends_a_broken_file(store, document, clock):
    store.apply(document)
    path_of(store).write_text("kind: [")
    clock.scans(2)
    assert store.record(DataImportCron, NAMESPACE, NAME).problem
    assert store.apply(document)[1] == "configured"
    assert yaml.safe_load(path_of(store).read_text()) == document
    assert not store.record(DataImportCron, NAMESPACE, NAME).problem


def test_both_groups_are_one_object(store, document):
    first, _ = store.apply(document)
    second, what = store.apply(document | {"apiVersion": "dataimportcron.io/v1beta1"})
    assert what == "configured"
    assert second.metadata.uid == first.metadata.uid
    assert [item.api_version for item in store.list(DataImportCron)] == ["dataimportcron.io/v1beta1"]


def test_no_namespace_means_default(store, document):
    document["metadata"].pop("namespace")
    store.apply(document)
    assert store.get(DataImportCron, "default", NAME).metadata.namespace == "default"
    assert store.get(DataImportCron, "", NAME).metadata.namespace == "default"


def test_a_status_in_a_document_means_nothing(store):
    volume = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": "v", "namespace": "golden"},
        "spec": {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Mi"}}}},
        "status": {"phase": "Succeeded"},
    }
    store.apply(volume)
    assert store.get(DataVolume, "golden", "v").status.phase == ""


def test_secrets_are_files_for_nobody_else(store, state):
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": NAMESPACE},
        "data": {"accessKeyId": base64.b64encode(b"me").decode()},
    }
    store.apply(secret)
    store.delete(store.get(Secret, NAMESPACE, "s"))
    store.apply(secret)
    files = [path for path in state.path.rglob("*") if path.is_file() and b"bWU=" in path.read_bytes()]
    assert len(files) == 3
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_the_user_wins_over_what_we_wrote(store, document, clock):
    document["metadata"]["annotations"] = {NEXT: "2026-01-01T00:00:00Z", "mine": "1"}
    store.apply(document)
    store.patch(cron_of(store), with_annotations(cron_of(store), {NEXT: None, "mine": "2", "ours": "3"}))
    clock.scans(3)
    assert cron_of(store).metadata.annotations == {"mine": "2", "ours": "3"}

    document["metadata"]["annotations"] = {NEXT: "2026-02-01T00:00:00Z", "mine": "changed"}
    path_of(store).write_text(yaml.safe_dump(document))
    clock.scans(2)
    assert cron_of(store).metadata.annotations == {
        NEXT: "2026-02-01T00:00:00Z",
        "mine": "changed",
        "ours": "3",
    }


def test_a_consumed_input_that_is_written_again_is_an_input_again(store, document):
    document["metadata"]["annotations"] = {NEXT: "2026-01-01T00:00:00Z"}
    store.apply(document)
    store.patch(cron_of(store), with_annotations(cron_of(store), {NEXT: None}))
    assert cron_of(store).metadata.annotations == {}
    store.apply(document | {"metadata": {"name": NAME, "namespace": NAMESPACE}})
    assert cron_of(store).metadata.annotations == {}
    store.apply(document)
    assert cron_of(store).metadata.annotations == {NEXT: "2026-01-01T00:00:00Z"}


def test_labels_of_the_user_outlive_ours(store, document):
    document["metadata"]["labels"] = {"team": "a"}
    store.apply(document)
    store.patch(cron_of(store), with_labels(cron_of(store), {"ours": "1"}))
    document["metadata"]["labels"] = {"team": "b"}
    store.apply(document)
    assert cron_of(store).metadata.labels == {"team": "b", "ours": "1"}


OURS = {"cdi.kubevirt.io/dataImportCron": NAME, "cdi.kubevirt.io/dataImportCron.cleanup": "true"}


def made_by_us(store):
    store.create(with_annotations(with_labels(data_source(), OURS), {"ours": "1"}))
    return store.path_of("DataSource", NAMESPACE, "fedora")


def applied(store, **metadata):
    document = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataSource",
        "metadata": {"name": "fedora", "namespace": NAMESPACE} | metadata,
        "spec": {"source": {}},
    }
    resource, what = store.apply(document)
    return what, resource.metadata.labels, resource.metadata.annotations


def test_an_apply_takes_away_nothing_that_it_has_not_given(store, clock):
    made_by_us(store)
    mine = {"team": "a"}
    assert applied(store, labels=mine) == ("configured", OURS | mine, {"ours": "1"})
    assert applied(store, labels=mine) == ("unchanged", OURS | mine, {"ours": "1"})
    assert applied(store) == ("configured", OURS, {"ours": "1"})
    clock.scans(3)
    assert store.get(DataSource, NAMESPACE, "fedora").metadata.labels == OURS


def test_a_label_that_is_removed_in_the_file_stays_away(store, clock):
    path = made_by_us(store)
    document = yaml.safe_load(path.read_text())
    document["metadata"].pop("labels")
    path.write_text(yaml.safe_dump(document))
    clock.scans(2)
    assert store.get(DataSource, NAMESPACE, "fedora").metadata.labels == {}
    assert applied(store) == ("unchanged", {}, {"ours": "1"})


def test_what_a_person_has_mentioned_is_the_persons(store):
    made_by_us(store)
    (mine, value), *_ = OURS.items()
    assert applied(store, labels={mine: value})[1] == OURS
    assert mine not in applied(store)[1]


def test_status_stays_out_of_the_users_file(store, document):
    store.apply(document)
    before = path_of(store).read_bytes()
    store.patch(cron_of(store), with_status(with_labels(cron_of(store), {"a": "1"}), source_format="pvc"))
    assert path_of(store).read_bytes() == before


def test_our_change_of_a_spec_goes_into_the_file(store):
    made = store.create(data_source())
    store.patch(made, pointed(made))
    text = store.path_of("DataSource", NAMESPACE, "fedora").read_text()
    assert yaml.safe_load(text)["spec"] == {"source": {"pvc": {"name": "p", "namespace": NAMESPACE}}}


def test_an_edit_that_is_not_read_yet_is_never_written_over(store, clock):
    made = store.create(data_source())
    path = store.path_of("DataSource", NAMESPACE, "fedora")
    edited = yaml.safe_load(path.read_text())
    edited["metadata"]["labels"] = {"by": "user"}
    path.write_text(yaml.safe_dump(edited))
    store.patch(made, pointed(made))
    assert yaml.safe_load(path.read_text()) == edited
    clock.scans(2)
    assert store.get(DataSource, NAMESPACE, "fedora").metadata.labels == {"by": "user"}


def test_a_file_that_is_removed_is_not_brought_back_by_us(store, clock):
    made = store.create(data_source())
    store.path_of("DataSource", NAMESPACE, "fedora").unlink()
    store.patch(made, pointed(made))
    clock.scans(4)
    with pytest.raises(ObjectNotFoundError):
        store.get(DataSource, NAMESPACE, "fedora")


def test_create_does_not_write_over_a_users_file(store):
    path = store.path_of("DataSource", NAMESPACE, "fedora")
    path.parent.mkdir(parents=True)
    path.write_text("not read yet")
    with pytest.raises(ConflictError, match="not read yet"):
        store.create(data_source())
    assert path.read_text() == "not read yet"


def test_a_deletion_is_reported_until_it_is_done(store, state, document):
    resource, _ = store.apply(document)
    assert store.delete(resource)
    assert not store.delete(resource)
    assert not path_of(store).exists()
    assert [gone.metadata.uid for gone in Store(state).deletions()] == [resource.metadata.uid]
    store.forget(resource.metadata.uid)
    assert list(Store(state).deletions()) == []


def test_a_volume_is_not_made_again_while_the_old_one_ends(store):
    volume = DataVolume.model_validate({"metadata": {"name": "v", "namespace": "golden"}})
    made = store.create(volume)
    store.delete(made)
    with pytest.raises(ConflictError, match="golden/v is still being deleted"):
        store.create(volume)
    store.forget(made.metadata.uid)
    assert store.create(volume).metadata.uid != made.metadata.uid


def test_another_process_sees_it_at_once(store, state, document):
    other = Store(state)
    store.apply(document)
    for round_ in range(30):
        store.patch(cron_of(store), with_annotations(cron_of(store), {"round": str(round_)}))
        assert cron_of(other).metadata.annotations["round"] == str(round_)
        other.patch(cron_of(other), with_annotations(cron_of(other), {"answer": str(round_)}))
        assert cron_of(store).metadata.annotations["answer"] == str(round_)


def test_a_record_is_read_again_only_when_another_has_written_it(store, state, document, monkeypatch):
    store.apply(document)
    cron_of(store)
    read, parse = [], Record.from_json
    monkeypatch.setattr(Record, "from_json", lambda data: read.append(data) or parse(data))
    for _ in range(3):
        assert cron_of(store).spec.schedule == "30 1 * * 1"
        assert [record.name for record in store.heads()] == [NAME]
    assert read == []
    for writer, reads in ((store, 0), (Store(state), 1)):
        label = {"ours": str(reads)}
        writer.patch(cron_of(writer), with_labels(cron_of(writer), label))
        read.clear()
        assert cron_of(store).metadata.labels == label
        assert len(read) == reads


def test_what_is_known_is_what_is_there(store, state, document):
    cron, _ = store.apply(document)
    other = Store(state)

    def known():
        return other.known(DataImportCron, NAMESPACE, NAME), other.known_list(DataImportCron, NAMESPACE)

    assert known() == (None, None), "nothing has been read yet"
    assert other.list(DataImportCron) == [cron]
    assert other.known(DataImportCron, NAMESPACE, NAME) == cron
    folder = state.status / "dataimportcron" / NAMESPACE
    os.utime(folder, (1, 1))
    other.list(DataImportCron)
    assert known() == (cron, [cron])
    store.patch(cron, with_labels(cron, {"ours": "1"}))
    assert known() == (None, None), "it is another one by now"
    other.list(DataImportCron)
    assert other.known(DataImportCron, NAMESPACE, NAME).metadata.labels == {"ours": "1"}
    store.delete(cron)
    assert known() == (None, None)


def test_the_list_of_a_namespace_is_the_same_until_something_changes(store, state, document):
    cron, _ = store.apply(document)
    os.utime(state.status / "dataimportcron" / NAMESPACE, (1, 1))
    first = store.list(DataImportCron, NAMESPACE)
    assert store.list(DataImportCron, NAMESPACE) is first
    assert store.known_list(DataImportCron, NAMESPACE) is first
    written = store.patch(cron, with_labels(cron, {"ours": "1"}))
    assert (first, store.list(DataImportCron, NAMESPACE)) == ([cron], [written])


@pytest.mark.parametrize(("modified", "settled"), [(-0.05, False), (-0.5, True)])
def test_a_fine_clock_is_told_from_a_coarse_one(modified, settled):
    moment = 1_700_000_000_000_000_000
    fine, coarse = moment + int(modified * 1e9) + 123, moment + int(modified * 1e9)
    assert is_settled((fine, 0, 0), moment) is settled
    assert not is_settled((coarse, 0, 0), moment)
    assert is_settled((coarse - 2_000_000_000, 0, 0), moment)


def test_patches_written_together_are_on_the_disk_before_anybody_hears_of_them(store, document, monkeypatch):
    made = [store.apply(document | {"metadata": document["metadata"] | {"name": name}})[0] for name in ("a", "b", "c")]
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    store.patch_all([(cron, with_labels(cron, {"ours": "1"})) for cron in made])
    assert [path.suffix for path in synced] == [".tmp"] * 3 + [""]


def test_no_reader_can_spoil_what_the_next_one_reads(store):
    document = data_source().document() | {"spec": {"source": {}, "fromTheFuture": {"deep": [1]}}}
    made = store.create(DataSource.model_validate(document))
    for found in (made, store.get(DataSource, NAMESPACE, "fedora")):
        found.spec.model_extra["fromTheFuture"]["deep"].append(2)
    assert store.get(DataSource, NAMESPACE, "fedora").spec.model_extra == {"fromTheFuture": {"deep": [1]}}


def test_fields_of_a_newer_record_are_passed_over(store, document):
    store.apply(document)
    record = store.record(DataImportCron, NAMESPACE, NAME)
    data = record.to_json().replace(b'{"kind"', b'{"fromTheFuture":1,"kind"', 1)
    assert b"fromTheFuture" in data
    assert Record.from_json(data) == record


_WRITER = """
import sys
from pathlib import Path
from dataimportcron.api.types import DataSource
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.store import Store
store = Store(StateFolder(Path(sys.argv[1])))
print("ready", flush=True)
for number in range(10**9):
    before = store.get(DataSource, "golden-images", "fedora")
    pvc = {"name": f"volume-{number}", "namespace": "golden"}
    store.patch(before, DataSource.model_validate(before.document() | {"spec": {"source": {"pvc": pvc}}}))
    store.add_event(before, "Normal", "Said", f"{number % 70}")
"""


def test_kill_9_at_any_moment_leaves_readable_objects(store, state, clock):
    store.create(data_source())
    version = 1
    for _ in range(4):
        process = subprocess.Popen([sys.executable, "-c", _WRITER, str(state.path)], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.15)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        found = store.get(DataSource, NAMESPACE, "fedora")
        assert int(found.metadata.resource_version) > version
        version = int(found.metadata.resource_version)
        assert clock.scans(4) == []
        # A crash between file and record leaves a file that says more: it is read as an edit.
        text = store.path_of("DataSource", NAMESPACE, "fedora").read_text()
        again = store.get(DataSource, NAMESPACE, "fedora")
        assert yaml.safe_load(text)["spec"]["source"]["pvc"]["name"] == again.spec.source.pvc.name
        store.patch(again, with_annotations(again, {"still": "writable" + str(version)}))


def test_events_are_bounded(store):
    made = store.create(data_source())
    for number in range(60):
        store.add_event(made, "Normal", "Said", f"{number}")
    messages = [event["message"] for event in store.record(DataSource, NAMESPACE, made.metadata.name).events]
    assert messages == [str(number) for number in range(10, 60)]
