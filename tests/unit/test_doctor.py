"""The checks of `doctor`, each on an installation with one thing wrong, and on a sound one."""

import json
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from dataimportcron.api.types import DataImportCron
from dataimportcron.host.disks import folders as storage
from dataimportcron.host.files import try_lock
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.store import Store
from dataimportcron.manifests import with_status
from tests.support.home import NAME, NAMESPACE, cron_document
from tests.support.storage import mounted
from worker.doctor import engine, folders, machine, objects
from worker.doctor.finding import Level
from worker.temporal import Endpoint

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday, after 01:30


@pytest.fixture
def state(tmp_path):
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    settings(folder, f'default_folder = "{tmp_path}/images"\n')
    return folder


def settings(state, text):
    (state.path / "settings.toml").write_text(text)


def apply(state, **spec) -> DataImportCron:
    return Store(state).apply(cron_document(**spec))[0]


def levels(findings):
    return [(finding.what, finding.level) for finding in findings]


def test_programs_are_found_and_a_missing_one_has_its_cure(monkeypatch):
    found = {finding.what: finding for finding in machine.check(embedded=True)}
    assert {finding.level for finding in found.values()} == {Level.OK}
    monkeypatch.setenv("PATH", "")
    missing = {finding.what: finding for finding in machine.check(embedded=False)}
    assert (missing["qemu-img"].level, missing["qemu-img"].cure) == (Level.NOTE, "apt install qemu-utils")
    assert "temporal" not in missing


def test_a_state_folder_that_is_not_there_or_newer_is_said(tmp_path, state):
    (missing,) = folders.check_state(StateFolder(tmp_path / "nowhere"))
    assert missing.wrong
    assert "dataimportcron up" in missing.cure
    assert levels(folders.check_state(state)) == [("state folder", Level.OK)]
    (state.path / "VERSION").write_text("99\n")
    (newer,) = folders.check_state(state)
    assert newer.wrong
    assert "99" in newer.found


def test_settings_that_cannot_be_used_are_said_with_their_key(state):
    assert folders.check_settings(state).level is Level.OK
    settings(state, "concurent_imports = 3\n")
    wrong = folders.check_settings(state)
    assert wrong.wrong
    assert "concurent_imports" in wrong.found


def test_up_is_known_by_its_lock(state):
    assert folders.check_up(state).wrong
    held = try_lock(state.run / "up.lock")
    try:
        assert folders.check_up(state).level is Level.OK
    finally:
        os.close(held)
    assert folders.check_up(state).wrong


def test_folders_that_others_may_read_and_deletions_that_hang(state):
    assert not list(folders.check_state_details(state))
    (state.path / "objects").chmod(0o755)
    hanging = state.deleted / "uid.json"
    hanging.write_text("{}")
    os.utime(hanging, (time.time() - 3600, time.time() - 3600))
    found = {finding.what: finding for finding in folders.check_state_details(state)}
    assert found["private folders"].cure == f"chmod 700 {state.path}/objects"
    assert "for 60m" in found["deletions"].found


def test_storage_folders_are_named_with_their_file_system_and_space(state, tmp_path):
    (tmp_path / "file").write_text("")
    settings(state, f'default_folder = "{tmp_path}/images"\n[storage_classes]\nfast = "{tmp_path}/file"\n')
    found = list(folders.check_storage(state, 0))
    assert levels(found) == [("storage (default)", Level.WRONG), ("storage fast", Level.WRONG)]
    assert f"{tmp_path}/images does not exist" in found[0].found
    (tmp_path / "images").mkdir()
    assert " free; clones " in next(folders.check_storage(state, 0)).found
    full = list(folders.check_storage(state, 1 << 60))
    assert levels(full)[0] == ("storage (default)", Level.NOTE)
    assert not list((tmp_path / "images").iterdir())


def test_a_folder_on_a_read_only_file_system_is_not_another_users(state, tmp_path):
    settings(state, f'default_folder = "{tmp_path}/images"\n')
    with mounted("tmpfs", tmp_path / "images", "-t", "tmpfs", "-o", "ro") as images:
        (finding,) = folders.check_storage(state, 0)
    assert finding.found == f"{images} cannot be written"
    assert finding.cure == "its file system is read-only: mount it for writing"


def test_the_default_folder_is_the_one_that_the_next_volume_goes_to(state, tmp_path, monkeypatch):
    settings(state, "")
    libvirts = tmp_path / "libvirts"
    monkeypatch.setattr(storage, "LIBVIRT_IMAGES", libvirts)
    settings(state, f'default_folder = "{state.path}/volumes"\n')
    assert [finding.level for finding in folders.check_storage(state, 0)] == [Level.NOTE, Level.OK]
    settings(state, "")
    not_yet, room = folders.check_storage(state, 0)
    assert "volumes is not there yet; the first volume makes it" in not_yet.found
    assert " free; clones " in room.found
    libvirts.mkdir()
    (finding,) = folders.check_storage(state, 0)
    assert (finding.what, finding.found.split(":")[0]) == ("storage (default)", str(libvirts))
    assert not list(libvirts.iterdir())
    assert storage.StorageFolders(state).of("")[0] == libvirts


def test_where_overlays_are_seen_is_said_and_a_folder_that_cannot_be_read(state, tmp_path):
    (tmp_path / "vms").mkdir()
    settings(state, f'default_folder = "{tmp_path}/images"\noverlay_folders = ["{tmp_path}/vms", "{tmp_path}/gone"]\n')
    wrong, seen = folders.check_overlays(state)
    assert (wrong.level, seen.level) == (Level.WRONG, Level.OK)
    assert f"{tmp_path}/gone cannot be read" in wrong.found
    assert f"below {tmp_path}/images, {tmp_path}/vms, {tmp_path}/gone" in seen.found


def test_a_half_written_volume_without_its_object_is_a_leftover(state, tmp_path):
    hidden = tmp_path / "images" / ".dataimportcron" / NAMESPACE
    hidden.mkdir(parents=True)
    (hidden / "gone.partial").write_bytes(bytes(4096))
    (hidden / "mine.partial").write_bytes(bytes(4096))
    Store(state).apply(
        {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataVolume",
            "metadata": {"name": "mine", "namespace": NAMESPACE},
            "spec": {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Mi"}}}},
        }
    )
    (finding,) = folders.check_leftovers(state)
    assert (finding.level, finding.cure) == (Level.NOTE, f"rm {hidden}/gone.partial")


def test_a_file_that_was_never_taken_in_is_said(state):
    apply(state)
    assert levels(objects.check_files(state)) == [("object files", Level.OK)]
    broken = Store(state).path_of("DataImportCron", NAMESPACE, "broken")
    broken.write_text("kind: DataImportCron\n  name: [\n")
    (wrong,) = objects.check_files(state)
    assert wrong.cure == f"mend {broken}"
    assert "line 2" in wrong.found


@pytest.mark.parametrize(
    ("condition", "age", "level", "words"),
    [
        (("True", "UpToDate", "all is well"), timedelta(minutes=1), Level.OK, "all is well"),
        (("False", "ImportProgressing", "importing"), timedelta(minutes=1), Level.OK, "importing"),
        (("False", "RegistryUnavailable", "no route"), timedelta(minutes=1), Level.WRONG, "no route"),
        (("False", "ImportFailed", "too small"), timedelta(minutes=1), Level.WRONG, "too small"),
        (("True", "UpToDate", "all is well"), timedelta(days=3), Level.WRONG, "its poll is 10h overdue"),
    ],
)
def test_a_cron_is_wrong_if_its_poll_failed_or_is_late(state, condition, age, level, words):
    status, reason, message = condition
    cron = apply(state)
    given = {"type": "UpToDate", "status": status, "reason": reason, "message": message}
    known = cron.status.model_validate({"conditions": [given]})
    cron = with_status(cron, conditions=known.conditions, last_execution_timestamp=NOW - age)
    finding = objects.check_cron(cron, timedelta(seconds=10), NOW)
    assert (finding.level, words in finding.found) == (level, True)
    assert finding.wrong is bool(finding.cure)


def test_a_schedule_that_cannot_be_read_is_what_is_to_be_corrected(state):
    cron = apply(state)
    broken = cron.model_copy(update={"spec": cron.spec.model_copy(update={"schedule": "61 * * * *"})})
    finding = objects.check_cron(broken, timedelta(seconds=10), NOW)
    assert (finding.level, "schedule" in finding.found) == (Level.WRONG, True)
    assert "worker" not in finding.cure


async def test_a_cron_that_follows_a_volume_has_no_registry_and_nothing_is_wrong_with_that(state):
    template = cron_document()["spec"]["template"]
    template["spec"]["source"] = {"pvc": {"name": "golden", "namespace": NAMESPACE}}
    cron = apply(state, template=template)
    assert objects.check_dependencies(state, cron) is None
    assert await objects.check_sources(state, [cron]) == []


def test_a_secret_that_is_not_there_is_named(state):
    template = cron_document()["spec"]["template"]
    template["spec"]["source"]["registry"]["secretRef"] = "login"
    missing = objects.check_dependencies(state, apply(state, template=template))
    assert f"Secret {NAMESPACE}/login" in missing.found
    assert objects.check_dependencies(state, apply(state)) is None


async def test_a_registry_that_refuses_is_said_once_per_image(state):
    template = cron_document()["spec"]["template"]
    template["spec"]["source"]["registry"]["url"] = "docker://127.0.0.1:9/a:latest"
    cron = apply(state, template=template)
    (finding,) = await objects.check_sources(state, [cron, cron])
    assert finding.wrong
    assert finding.what == "source docker://127.0.0.1:9/a:latest"


def test_a_complete_volume_without_its_file_is_said_with_how_to_get_it_back(state):
    store = Store(state)
    document = {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": "gone", "namespace": NAMESPACE, "labels": {"cdi.kubevirt.io/dataImportCron": NAME}},
        "spec": {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Mi"}}}},
    }
    volume, _ = store.apply(document)
    store.patch(volume, with_status(volume, phase="Succeeded"))
    found = {finding.what: finding for finding in objects.check_volumes(state)}
    assert found[f"volume {NAMESPACE}/gone"].cure == f"dataimportcron poll {NAME} -n {NAMESPACE} --wait"


def test_the_largest_volume_is_what_a_template_requests(state):
    assert objects.largest_volume([apply(state)]) == 1 << 20
    assert objects.largest_volume([]) == 0


async def test_temporal_that_does_not_answer_is_one_finding():
    found = [one async for one in engine.check(Endpoint(address="127.0.0.1:9"), "site", [], NOW)]
    assert levels(found) == [("Temporal", Level.WRONG)]
    assert found[0].cure


def test_findings_are_plain_json(state, monkeypatch, capsys):
    from worker.cli import main  # noqa: PLC0415 -- the command line is under test here alone

    monkeypatch.setenv("DATAIMPORTCRON_STATE", str(state.path / "nowhere"))
    assert main(["doctor", "-o", "json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert {"what", "level", "found", "cure"} == set(findings[0])
    assert findings[-1]["level"] == "wrong"
