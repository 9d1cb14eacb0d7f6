"""What a person does to the files: taken in, or kept as it was and said; deleted only when surely absent."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import yaml

from dataimportcron.api.types import DataImportCron, DataVolume
from dataimportcron.errors import ObjectNotFoundError
from dataimportcron.host.objects import HostWatch
from tests.support.home import NAME, NAMESPACE


@pytest.fixture
def path(store, document):
    store.apply(document)
    return store.path_of("DataImportCron", NAMESPACE, NAME)


def exists(store):
    try:
        store.get(DataImportCron, NAMESPACE, NAME)
    except ObjectNotFoundError:
        return False
    return True


def schedule(store):
    return store.get(DataImportCron, NAMESPACE, NAME).spec.schedule


def rewrite(path, document, **spec):
    path.write_text(yaml.safe_dump(document | {"spec": document["spec"] | spec}))


def test_a_new_file_is_a_new_object(store, clock, document):
    path = store.path_of("DataImportCron", NAMESPACE, NAME)
    path.parent.mkdir(parents=True)
    rewrite(path, document)
    assert clock.scans(2) == []
    assert schedule(store) == "30 1 * * 1"
    assert path.read_text() == yaml.safe_dump(document)


def test_an_edit_is_taken_in(store, clock, document, path):
    uid = store.get(DataImportCron, NAMESPACE, NAME).metadata.uid
    rewrite(path, document, schedule="@daily")
    clock.scans(2)
    found = store.get(DataImportCron, NAMESPACE, NAME)
    assert (found.spec.schedule, found.metadata.uid, found.metadata.generation) == ("@daily", uid, 2)


def test_an_editors_rename_is_an_edit(store, clock, document, path):
    uid = store.get(DataImportCron, NAMESPACE, NAME).metadata.uid
    clock.scans(1)
    path.rename(path.with_suffix(".yaml~"))
    clock.scans(1)
    rewrite(path, document, schedule="@daily")
    clock.scans(4)
    assert schedule(store) == "@daily"
    assert store.get(DataImportCron, NAMESPACE, NAME).metadata.uid == uid


def test_a_file_that_is_being_written_waits(store, clock, document, path):
    for hour in range(4):
        rewrite(path, document, schedule=f"0 {hour} * * *")
        clock.scans(1)
        assert schedule(store) == "30 1 * * 1"
    clock.scans(1)
    assert schedule(store) == "0 3 * * *"


def test_a_touched_file_changes_nothing(store, clock, path):
    before = store.get(DataImportCron, NAMESPACE, NAME)
    os.utime(path)
    clock.scans(3)
    assert store.get(DataImportCron, NAMESPACE, NAME) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "must hold one object, found 0"),
        (b"kind: DataImportCron\nmetadata: [", "line 2"),
        (b"\xff\xfe", "no UTF-8"),
        (b"kind: DataImportCro\n", "did you mean DataImportCron"),
        (b"a: 1\n---\nb: 2\n", "must hold one object, found 2"),
        (b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, namespace: x}\n", "its place is .*x/other.yaml"),
    ],
)
def test_a_broken_edit_keeps_the_object_and_is_said(store, clock, path, content, said):
    before = store.get(DataImportCron, NAMESPACE, NAME)
    good = path.read_bytes()
    path.write_bytes(content)
    [problem] = clock.scans(5)
    assert store.get(DataImportCron, NAMESPACE, NAME) == before
    record = store.record(DataImportCron, NAMESPACE, NAME)
    assert record.problem == problem
    assert [event["reason"] for event in record.events] == ["InvalidSpec"]
    assert re.search(said, problem)
    path.write_bytes(good)
    assert clock.scans(2) == []
    assert store.record(DataImportCron, NAMESPACE, NAME).problem == ""


def test_a_broken_edit_that_is_taken_back_by_rename(store, clock, path):
    path.rename(path.with_suffix(".orig"))
    path.write_text("broken")
    assert len(clock.scans(2)) == 1
    path.with_suffix(".orig").rename(path)
    assert clock.scans(1) == []
    assert store.record(DataImportCron, NAMESPACE, NAME).problem == ""


def test_a_folder_in_the_place_of_a_file_stops_nothing(store, clock, document, path):
    odd = path.with_name("odd.yaml")
    odd.mkdir()
    rewrite(path, document, schedule="@daily")
    [problem] = clock.scans(2)
    assert "odd.yaml is no regular file" in problem
    assert schedule(store) == "@daily"


def test_a_pipe_in_the_place_of_a_file_stops_nothing(store, clock, path):
    path.unlink()
    os.mkfifo(path)
    assert "is no regular file" in clock.scans(6)[0]
    assert exists(store)


def test_a_removed_file_is_a_deletion_after_two_seconds(store, clock, path):
    uid = store.get(DataImportCron, NAMESPACE, NAME).metadata.uid
    clock.scans(1)
    path.unlink()
    clock.scans(2)
    assert exists(store)
    clock.scans(1)
    assert not exists(store)
    assert [gone.metadata.uid for gone in store.deletions()] == [uid]


def test_an_absence_is_counted_without_interruption(store, clock, path):
    content = path.read_bytes()
    for _ in range(4):
        path.unlink()
        clock.scans(2)
        path.write_bytes(content)
        clock.scans(2)
    assert exists(store)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_folder_that_is_gone_is_no_deletion(store, clock, path, level, tmp_path):
    clock.scans(1)
    folder = path.parents[level]
    folder.rename(tmp_path / "elsewhere")
    [problem] = clock.scans(10)
    assert str(path.parent) in problem
    assert "its objects are kept" in problem
    assert exists(store)
    (tmp_path / "elsewhere").rename(folder)
    assert clock.scans(3) == []
    assert exists(store)


def test_an_empty_folder_in_its_place_is_no_deletion(store, clock, path, tmp_path):
    """What an unmounted folder looks like."""
    clock.scans(1)
    path.parent.rename(tmp_path / "elsewhere")
    path.parent.mkdir()
    [problem] = clock.scans(10)
    assert "perhaps something is not mounted" in problem
    assert exists(store)


def test_a_dangling_link_is_no_deletion(store, clock, path):
    clock.scans(1)
    path.unlink()
    path.symlink_to("/nowhere/at/all.yaml")
    clock.scans(10)
    assert exists(store)


_AS_NOBODY = """
import os, sys
from pathlib import Path
from dataimportcron.host.state.scan import Scanner
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.store import Store
store = Store(StateFolder(Path(sys.argv[1])))
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
scanner = Scanner(store)
for second in range(6):
    problems = scanner.scan(1000.0 + second)
print(len(list(store.heads())), [problem.message for problem in problems])
"""


def test_a_folder_that_cannot_be_read_is_no_deletion(state, path, tmp_path):
    path.unlink()
    if os.geteuid() == 0:
        for item in (state.path, *state.path.rglob("*")):
            os.chown(item, 65534, 65534)
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    path.parent.chmod(0)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, str(state.path)], capture_output=True, text=True, check=False
        )
    finally:
        path.parent.chmod(0o700)
    assert done.stderr == ""
    assert done.stdout.startswith("1 [")
    assert "Permission denied; its objects are kept" in done.stdout


def test_a_volume_that_is_made_again_waits_for_the_end_of_the_old_one(store, clock):
    volume = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": "v", "namespace": "golden"},
        "spec": {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Mi"}}}},
    }
    old, _ = store.apply(volume)
    store.delete(old)
    path = store.path_of("DataVolume", "golden", "v")
    path.write_text(yaml.safe_dump(volume))
    [problem] = clock.scans(3)
    assert "is still being deleted" in problem
    store.forget(old.metadata.uid)
    assert clock.scans(1) == []
    assert store.get(DataVolume, "golden", "v").metadata.uid != old.metadata.uid


def test_watch_tells_news_once(store, document):
    watch = HostWatch(store)
    watch.look()
    assert watch.look() == (False, [])
    resource, _ = store.apply(document)
    assert watch.look()[0]
    assert not watch.look()[0]
    store.add_event(resource, "Normal", "Said", "something")
    assert watch.look()[0]
    store.delete(resource)
    changed, gone = watch.look()
    assert changed
    assert [item.metadata.uid for item in gone] == [resource.metadata.uid]
