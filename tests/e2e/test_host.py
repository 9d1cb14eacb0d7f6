"""A person's host: the command line, `up`, and what may happen to files and processes."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from dataimportcron.naming import import_name
from demo.host import PROGRAM, descendants, wait_for
from demo.push import Image, disk_layer, push
from demo.story import CRON, DATA_SOURCE, NAMESPACE, REPOSITORY, SAMPLES, same_bytes


@pytest.fixture
def release(http, tmp_path):
    def publish(content: bytes):
        disk = tmp_path / f"disk-{len(content)}.img"
        disk.write_bytes(content)
        return push(http, REPOSITORY, "latest", Image(layers=(disk_layer(disk, tmp_path),))), disk

    return publish


def wait_until_imported(home, digest, seconds=60):
    name = import_name(DATA_SOURCE, digest)
    wait_for(name, seconds, lambda: home.points_to(NAMESPACE, DATA_SOURCE) == name)
    return name


def test_two_workers_on_one_folder_import_once(home, release):
    digest, disk = release(b"two workers" * 5000)
    home.start()
    second = subprocess.Popen([*PROGRAM, "worker"], env=home.environment, stderr=subprocess.PIPE, text=True)
    try:
        home.run("apply", "-f", str(SAMPLES / "fedora.yaml"))
        name = wait_until_imported(home, digest)
        assert same_bytes(disk, home.file(NAMESPACE, name))
        newer, disk = release(b"newer" * 9000)
        first = home.pid_of("worker worker")
        os.kill(first, signal.SIGKILL)
        home.run("poll", CRON, "-n", NAMESPACE)
        name = wait_until_imported(home, newer)
        assert same_bytes(disk, home.file(NAMESPACE, name))
        told = home.run("history", CRON, "-n", NAMESPACE).stdout
        assert told.count("Succeeded") == 2
    finally:
        second.send_signal(signal.SIGTERM)
        _, words = second.communicate(timeout=60)
    assert second.returncode == 0, words


def test_a_second_up_says_so_and_ends(home):
    home.start()
    second = home.run("up", check=False)
    assert second.returncode == 2
    assert second.stderr.startswith("error: `dataimportcron up` runs already on")
    assert "hint: " in second.stderr


def test_kill_9_of_up_takes_everything_with_it(home):
    home.start()
    children = [pid for pid, _ in descendants(home.up.pid)]
    assert len(children) == 2
    home.up.kill()
    home.up.wait()
    wait_for("no child", 30, lambda: not any(_alive(pid) for pid in children))


def test_sigterm_stops_up_cleanly_and_state_survives(home, release):
    digest, _ = release(b"survivor" * 1000)
    home.start()
    home.run("apply", "-f", str(SAMPLES / "fedora.yaml"))
    wait_until_imported(home, digest)
    children = [pid for pid, _ in descendants(home.up.pid)]
    home.up.send_signal(signal.SIGTERM)
    assert home.up.wait(60) == 0
    assert not any(_alive(pid) for pid in children)
    home.start()
    told = wait_for("the history", 60, lambda: home.run("history", CRON, "-n", NAMESPACE, check=False).stdout)
    assert told.count("Succeeded") == 1
    assert "UpToDate" in home.run("poll", CRON, "-n", NAMESPACE).stdout


def test_files_are_objects(home, release):
    digest, _ = release(b"by file" * 1000)
    home.start()
    folder = home.folder / "objects" / "dataimportcron" / NAMESPACE
    folder.mkdir(parents=True)
    file = folder / f"{CRON}.yaml"
    text = (SAMPLES / "fedora.yaml").read_text()
    file.write_text(text)
    wait_until_imported(home, digest)
    file.write_text(text.replace("30 1 * * 1", "61 * * * *"))
    told = wait_for(
        "the broken edit is said",
        20,
        lambda: (said := home.run("describe", "dic", CRON, "-n", NAMESPACE).stdout) and "Problem" in said and said,
    )
    assert "Illegal cron schedule" in told
    assert home.cron(NAMESPACE, CRON).spec.schedule == "30 1 * * 1"
    file.write_text(text.replace("importsToKeep: 2", "importsToKeep: 1"))
    wait_for("the good edit", 20, lambda: home.cron(NAMESPACE, CRON).spec.imports_to_keep == 1)
    hidden = file.with_suffix(".bak")
    file.rename(hidden)
    time.sleep(0.5)
    hidden.rename(file)
    time.sleep(3)
    uid = home.cron(NAMESPACE, CRON).metadata.uid
    file.unlink()
    wait_for("the deletion", 30, lambda: CRON not in home.run("get", "dic", "-n", NAMESPACE).stdout)
    assert uid


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["get", "nothing"], 2, "There is no kind 'nothing'"),
        (["get", "dic", "nobody"], 1, "DataImportCron default/nobody does not exist"),
        (["delete", "dic"], 2, "Expected KIND NAME"),
        (["apply", "-f", "/nowhere.yaml"], 2, "There is no file /nowhere.yaml"),
        (["poll", "nobody"], 1, "DataImportCron default/nobody does not exist"),
        (["next", "61 * * * *"], 2, "minute"),
        (["import", "--source", "https://x/y", "--target", "t", "--size", "1"], 2, ""),
    ],
)
def test_errors_are_one_line_and_a_hint(home, arguments, code, words, tmp_path):
    done = subprocess.run(
        [*PROGRAM, *arguments], env=home.environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_apply_says_all_faults_and_applies_nothing(home, tmp_path):
    bad = tmp_path / "bad.yaml"
    good = (SAMPLES / "fedora.yaml").read_text()
    bad.write_text(
        good + "---\n" + good.replace("30 1 * * 1", "61 * * * *").replace("importsToKeep: 2", "importToKeep: -2")
    )
    done = home.run("apply", "-f", str(bad), check=False)
    assert done.returncode == 2
    assert "spec.schedule: Illegal cron schedule" in done.stderr
    assert "did you mean importsToKeep?" in done.stderr
    assert "nothing was applied" in done.stderr
    assert CRON not in home.run("get", "dic", "-A").stdout


def _alive(pid: int) -> bool:
    try:
        return b"\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False
