"""Objects in folders that are only read: taken in, kept when in doubt, deleted when surely gone, never written."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
import yaml

from dataimportcron.api.types import DataImportCron, DataSource, Secret
from dataimportcron.errors import ObjectNotFoundError
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.manifest_folders import ManagedObjectError, refuse_managed
from dataimportcron.host.state.scan import Scanner
from dataimportcron.host.state.store import Store
from dataimportcron.manifests import with_annotations, with_labels
from tests.host.conftest import Clock
from tests.support.home import DATA_SOURCE, NAMESPACE, cron_document
from tests.support.storage import denied, public_folder

BOMB = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 8))


def named(name, **spec):
    document = cron_document(**spec)
    return document | {"metadata": document["metadata"] | {"name": name}}


def data_source(pvc):
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataSource",
        "metadata": {"name": DATA_SOURCE, "namespace": NAMESPACE},
        "spec": {"source": {"pvc": {"name": pvc, "namespace": NAMESPACE}}},
    }


def write(path, *documents):
    path.write_text(yaml.safe_dump_all(documents))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "etc"
    folder.mkdir()
    return folder


@pytest.fixture
def clock(store, folder):
    return Clock(store, lambda: (folder,))


@pytest.fixture
def file(folder, clock):
    """A file with two crons that have been taken in."""
    path = folder / "images.yaml"
    write(path, named("a"), named("b"))
    assert clock.scans(2) == []
    return path


def names(store):
    return [cron.metadata.name for cron in store.list(DataImportCron)]


def get(store, name):
    return store.get(DataImportCron, NAMESPACE, name)


def events(store, name):
    return [event["reason"] for event in store.record(DataImportCron, NAMESPACE, name).events]


def test_all_objects_of_all_files_are_taken_in_and_nothing_is_written(store, clock, folder):
    write(folder / "images.yaml", named("a"), named("b"))
    write(folder / "more.yml", {"apiVersion": "v1", "kind": "List", "items": [named("c"), named("d")]})
    write(folder / ".hidden.yaml", named("e"))
    write(folder / "notes.txt", named("f"))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    assert clock.scans(2) == []
    assert names(store) == ["a", "b", "c", "d"]
    cron = get(store, "a")
    after = with_annotations(with_labels(cron, {"ours": "yes"}), {"seen": "yes"})
    assert store.patch(cron, after).metadata.labels == {"ours": "yes"}
    assert clock.scans(3) == []
    assert get(store, "a").metadata.annotations == {"seen": "yes"}
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before
    assert list(store.folder.rglob("*.yaml")) == []


def test_an_edit_changes_its_object_alone(store, clock, file):
    one, other = get(store, "a"), get(store, "b")
    write(file, named("a", schedule="@daily"), named("b"))
    clock.scans(2)
    assert (get(store, "a").spec.schedule, get(store, "a").metadata.uid) == ("@daily", one.metadata.uid)
    assert get(store, "b") == other


@pytest.mark.usefixtures("file")
def test_a_restart_takes_nothing_for_news(state, store, folder):
    before = [get(store, "a"), get(store, "b")]
    again = Store(state)
    assert Clock(again, lambda: (folder,)).scans(5) == []
    assert [get(again, "a"), get(again, "b")] == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"kind: DataImportCron\nmetadata: [", "images.yaml, line 2: not YAML"),
        (b"\xff\xfe", "no UTF-8 text"),
        (BOMB.encode(), "more than 100000 values"),
        (b"#" * (1 << 20) + b"\n", "at most 1048576 are read"),
        (yaml.safe_dump_all([named("a"), named("b", schedule="61 * * * *")]).encode(), "Illegal cron schedule"),
        (yaml.safe_dump_all([named("a", schedule="@daily"), named("a")]).encode(), "/a stands in it twice"),
    ],
)
def test_a_broken_edit_keeps_all_objects_of_the_file_and_is_said(store, clock, file, content, said):
    before, good = [get(store, "a"), get(store, "b")], file.read_bytes()
    file.write_bytes(content)
    [problem] = clock.scans(5)
    assert re.search(said, problem)
    assert [get(store, "a"), get(store, "b")] == before
    for name in ("a", "b"):
        assert store.record(DataImportCron, NAMESPACE, name).problem == problem
        assert events(store, name) == ["InvalidSpec"]
    file.write_bytes(good)
    assert clock.scans(2) == []
    assert [store.record(DataImportCron, NAMESPACE, name).problem for name in ("a", "b")] == ["", ""]


def test_a_broken_edit_that_is_taken_back_by_rename(store, clock, file):
    kept = file.rename(file.with_suffix(".orig"))
    file.write_text("broken")
    assert len(clock.scans(2)) == 1
    kept.rename(file)
    assert clock.scans(2) == []
    assert store.record(DataImportCron, NAMESPACE, "a").problem == ""


def a_pipe(path):
    os.mkfifo(path)


def a_dangling_link(path):
    path.symlink_to("/nowhere/at/all.yaml")


def a_folder(path):
    path.mkdir()


@pytest.mark.parametrize(
    ("put", "said"),
    [
        (a_pipe, "is no regular file"),
        (a_folder, "is no regular file"),
        (a_dangling_link, "cannot be read: No such file"),
    ],
)
def test_what_is_no_file_is_said_and_nothing_is_lost(store, clock, file, put, said):
    file.unlink()
    put(file)
    problems = clock.scans(6)
    assert said in "".join(problems)
    assert names(store) == ["a", "b"]


def test_a_removed_file_deletes_its_objects_after_two_seconds(store, clock, file):
    file.unlink()
    clock.scans(2)
    assert names(store) == ["a", "b"]
    clock.scans(1)
    assert names(store) == []
    assert sorted(gone.metadata.name for gone in store.deletions()) == ["a", "b"]


def test_a_removed_document_deletes_its_object_after_two_seconds(store, clock, file):
    write(file, named("b"))
    clock.scans(3)
    assert names(store) == ["a", "b"]
    clock.scans(1)
    assert names(store) == ["b"]


def test_an_absence_is_counted_without_interruption(store, clock, file):
    both = file.read_bytes()
    for _ in range(4):
        write(file, named("b"))
        clock.scans(3)
        file.write_bytes(both)
        clock.scans(2)
    for _ in range(4):
        file.unlink()
        clock.scans(2)
        file.write_bytes(both)
        clock.scans(2)
    assert names(store) == ["a", "b"]


def test_a_folder_that_is_gone_or_another_one_is_no_deletion(store, clock, file, folder, tmp_path):
    away = folder.rename(tmp_path / "elsewhere")
    [problem] = clock.scans(10)
    assert "its objects are kept" in problem
    folder.mkdir()
    [problem] = clock.scans(10)
    assert "perhaps something is not mounted" in problem
    write(file, named("b"))
    assert "perhaps something is not mounted" in "".join(clock.scans(10))
    assert names(store) == ["a", "b"]
    file.unlink()
    folder.rmdir()
    away.rename(folder)
    assert clock.scans(10) == []
    assert names(store) == ["a", "b"]


def test_a_folder_that_replaces_another_one_with_all_its_files(store, clock, file, folder, tmp_path):
    """As a deployment tool does it, or a reboot with a fresh /etc."""
    uids = [get(store, name).metadata.uid for name in ("a", "b")]
    folder.rename(tmp_path / "old")
    folder.mkdir()
    write(file, named("a"), named("b"))
    assert clock.scans(3) == []
    write(file, named("b"))
    clock.scans(5)
    assert [get(store, "b").metadata.uid] == uids[1:]
    assert names(store) == ["b"]


@pytest.mark.usefixtures("file")
def test_a_folder_that_the_settings_name_no_longer_keeps_its_objects(store, folder):
    [problem] = Clock(store, tuple).scans(10)
    assert problem == f"{folder} is no manifest folder any more; its objects are kept"
    assert names(store) == ["a", "b"]
    refuse_managed(store, (), get(store, "a"))


@pytest.mark.usefixtures("file")
def test_broken_settings_change_nothing(state, store, folder):
    settings = state.path / "settings.toml"
    settings.write_text(f'manifest_folders = ["{folder}"]')
    clock = Clock(store, state.manifest_folders)
    assert clock.scans(2) == []
    settings.write_text("manifest_folders = 3")
    [problem] = clock.scans(5)
    assert "manifest_folders must be a list, found 3" in problem
    assert names(store) == ["a", "b"]


def test_of_two_files_the_first_keeps_the_object_and_the_other_is_said(store, clock, folder):
    first, second = folder / "1.yaml", folder / "2.yaml"
    write(second, named("a", schedule="@weekly"))
    write(first, named("a", schedule="@daily"))
    [problem] = clock.scans(4)
    assert str(first) in problem
    assert problem.startswith(f"{second}: DataImportCron")
    assert get(store, "a").spec.schedule == "@daily"
    assert store.record(DataImportCron, NAMESPACE, "a").events[0]["count"] == 1
    uid = get(store, "a").metadata.uid
    first.unlink()
    assert clock.scans(4) == []
    assert (get(store, "a").spec.schedule, get(store, "a").metadata.uid) == ("@weekly", uid)
    write(first, named("a"))
    [problem] = clock.scans(4)
    assert problem.startswith(f"{first}: DataImportCron")
    assert get(store, "a").spec.schedule == "@weekly"


def test_an_object_that_moves_to_another_file_stays(store, clock, file):
    uid = get(store, "a").metadata.uid
    write(file, named("b"))
    write(file.with_name("new.yaml"), named("a"))
    assert clock.scans(10) == []
    assert get(store, "a").metadata.uid == uid
    assert store.deletions() == []


def test_an_object_of_the_state_folder_wins_until_it_moves(store, clock, file):
    store.apply(named("c", schedule="@daily"))
    write(file, named("a"), named("b"), named("c"))
    [problem] = clock.scans(4)
    own = store.path_of("DataImportCron", NAMESPACE, "c")
    assert f"it is managed by {own}" in problem
    assert (get(store, "c").spec.schedule, events(store, "c")) == ("@daily", ["Conflict"])
    uid = get(store, "c").metadata.uid
    own.unlink()
    assert clock.scans(5) == []
    assert (get(store, "c").spec.schedule, get(store, "c").metadata.uid) == ("30 1 * * 1", uid)


def test_a_file_in_the_state_folder_does_not_take_an_object_away(store, clock, file):
    own = store.path_of("DataImportCron", NAMESPACE, "a")
    own.parent.mkdir(parents=True)
    write(own, named("a", schedule="@daily"))
    [problem] = clock.scans(4)
    assert str(own) in problem
    assert f"is managed by {file}" in problem
    assert get(store, "a").spec.schedule == "30 1 * * 1"
    uid = get(store, "a").metadata.uid
    file.unlink()
    clock.scans(6)
    assert (get(store, "a").spec.schedule, get(store, "a").metadata.uid) == ("@daily", uid)


def test_a_spec_that_we_write_stays_in_the_record_until_a_person_writes_another(store, clock, folder):
    path = folder / "source.yaml"
    write(path, data_source("first"))
    clock.scans(2)
    before = store.get(DataSource, NAMESPACE, DATA_SOURCE)
    store.patch(before, before.model_copy(update={"spec": DataSource.model_validate(data_source("second")).spec}))
    write(path, data_source("first"), named("a"))
    clock.scans(3)
    found = store.get(DataSource, NAMESPACE, DATA_SOURCE)
    assert (found.spec.source.pvc.name, found.metadata.generation) == ("second", 2)
    write(path, data_source("third"), named("a"))
    clock.scans(3)
    assert store.get(DataSource, NAMESPACE, DATA_SOURCE).spec.source.pvc.name == "third"


def test_a_private_secret_stays_private(store, state, clock, folder):
    path = folder / "secret.yaml"
    write(path, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"key": "value"}})
    path.chmod(0o600)
    assert clock.scans(2) == []
    assert store.get(Secret, "default", "s").metadata.name == "s"
    [record] = state.status.glob("secret/*/s.json")
    assert record.stat().st_mode & 0o777 == 0o600


def test_apply_and_delete_are_refused_while_the_file_has_it(store, file, folder):
    cron = get(store, "a")
    with pytest.raises(ManagedObjectError, match=f"dataimportcron/a is managed by {file} .edit it there"):
        refuse_managed(store, (folder,), cron)
    good = file.read_text()
    file.write_text("broken")
    with pytest.raises(ManagedObjectError):
        refuse_managed(store, (folder,), cron)
    file.write_text(good)
    write(file, named("b"))
    refuse_managed(store, (folder,), cron)
    file.unlink()
    refuse_managed(store, (folder,), cron)


def test_the_scanner_reads_no_folder_unless_it_is_told(store, folder):
    write(folder / "images.yaml", named("a"))
    assert Scanner(store).scan(1.0) == []
    with pytest.raises(ObjectNotFoundError):
        get(store, "a")


@pytest.mark.parametrize("text", ["", " \n\n"])
def test_a_file_that_was_emptied_keeps_its_objects_until_it_is_removed(store, clock, file, text):
    file.write_text(text)
    told = clock.scans(4)
    assert told
    assert f"{file} is empty (to delete its objects remove the file)" in told[0]
    assert names(store) == ["a", "b"]
    file.unlink()
    clock.scans(6)
    assert names(store) == []


def test_objects_that_are_commented_out_are_deleted(store, clock, file):
    file.write_text("# none at the moment\n")
    clock.scans(6)
    assert names(store) == []


def test_a_file_that_may_not_be_read_keeps_its_objects_and_is_said():
    with public_folder() as work:
        state, folder = StateFolder(work / "state"), work / "etc"
        state.prepare()
        folder.mkdir()
        store, path = Store(state), folder / "images.yaml"
        clock = Clock(store, lambda: (folder,))
        write(path, named("a"), named("b"))
        assert clock.scans(2) == []
        subprocess.run(["chmod", "-R", "a+rX", work], check=True)
        before = store.list(DataImportCron)
        write(path, named("a", schedule="@daily"))
        path.chmod(0o600)
        with denied(path):
            assert clock.scans(6) == [f"{path} cannot be read: Permission denied"]
            assert store.list(DataImportCron) == before
        clock.scans(6)
        assert [cron.spec.schedule for cron in store.list(DataImportCron)] == ["@daily"]
