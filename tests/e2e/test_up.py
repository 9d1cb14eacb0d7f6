"""`up` in each of its modes, what it says, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dataimportcron.host import dev_server
from dataimportcron.host.state.folder import StateFolder
from demo.host import PROGRAM, descendants, wait_for
from demo.push import Image, disk_layer, push
from demo.story import CRON, DATA_SOURCE, NAMESPACE, REPOSITORY, SAMPLES
from tests.support.storage import mounted


def log(home):
    return (home.folder / "up.log").read_text()


def started(home, **environment):
    """`up`, without waiting for anything."""
    with (home.folder / "up.log").open("ab") as output:
        home.up = subprocess.Popen(
            [*PROGRAM, "up"], env=home.environment | environment, stdout=output, stderr=output, start_new_session=True
        )


@contextmanager
def own_temporal(home):
    """Somebody's server with our search attributes; yields its address."""
    endpoint = dev_server.choose_endpoint(home.state)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(dev_server.command(home.state, endpoint), **quiet)
    try:
        dev_server.wait_ready(endpoint)
        yield endpoint.address
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("moment", ["the folder", "the server", "the worker"])
def test_ctrl_c_ends_it_cleanly_at_any_moment(home, moment):
    started(home)
    seen = {
        "the folder": (home.folder / "run" / "up.lock").exists,
        "the server": lambda: home.pid_of("start-dev"),
        "the worker": lambda: "this worker leads" in log(home),
    }
    wait_for(moment, 60, seen[moment])
    children = [pid for pid, _ in descendants(home.up.pid)]
    home.up.send_signal(signal.SIGINT)
    code = home.up.wait(60)
    assert code in {0, 130}
    assert moment == "the folder" or code == 0
    assert "Traceback" not in log(home)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    home.start()


def test_a_server_that_is_killed_again_and_again_is_there_again(home):
    home.start()
    for count in range(1, 4):
        home.kill("start-dev")
        wait_for("that it is said", 30, lambda n=count: log(home).count("the server ended (SIGKILL)") == n)
        wait_for("the next one", 30, lambda: home.pid_of("start-dev"))
    home.kill("worker worker")
    home.run("apply", "-f", str(SAMPLES / "fedora.yaml"))
    wait_for("a poll", 60, lambda: home.cron(NAMESPACE, CRON).status.conditions)
    assert "Traceback" not in log(home)


def test_the_next_up_waits_for_the_server_of_one_that_was_killed(home):
    """Two servers would write one database."""
    home.start()
    wait_for("its worker", 60, lambda: "serving site" in log(home))
    before, old = dev_server.endpoint_of(home.state), home.pid_of("start-dev")
    os.kill(old, signal.SIGSTOP)
    home.up.kill()
    home.up.wait()
    started(home)
    wait_for("that it is said", 30, lambda: "waiting for the server of an `up` that was killed" in log(home))
    assert home.pid_of("start-dev") is None
    os.kill(old, signal.SIGCONT)
    wait_for("the next server", 60, lambda: home.pid_of("start-dev"))
    # Whoever reaps it may be late; it has no memory, and so no files, any more.
    assert not _memory(old)
    wait_for("the next worker", 60, lambda: log(home).count("serving site") == 2)
    assert dev_server.endpoint_of(home.state) == before


def test_ports_that_somebody_took_are_said(home):
    home.start()
    before = dev_server.endpoint_of(home.state)
    home.stop()
    with socket.create_server((dev_server.HOST, before.port)):
        home.start()
        assert f"the ports of last time are taken, {before.port} or {before.ui_port}" in log(home)
        assert f"Temporal    {dev_server.endpoint_of(home.state).address}" in log(home)


def test_a_damaged_database_is_said_with_the_cure(home):
    (home.folder / "temporal.db").write_text("what somebody's editor left\n" * 100)
    done = home.run("up", check=False)
    assert done.returncode == 2
    assert "file is not a database" in done.stderr
    assert f"move {home.folder}/temporal.db* away" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("made", [True, False])
def test_a_full_disk_is_said(home, tmp_path, made):
    with mounted("tmpfs", tmp_path / "small", "-t", "tmpfs", "-o", "size=256k") as folder:
        state = StateFolder(folder / "state")
        if made:
            state.prepare()
        with (folder / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))
        done = home.run("up", "--state", str(state.path), check=False)
    assert done.returncode == 2
    assert re.search(f"error: State folder {state.path}.* No space left on device|is full", done.stderr)
    assert "Traceback" not in done.stderr


def test_the_users_own_temporal_gets_a_worker_and_no_server(home):
    with own_temporal(home) as address:
        started(home, TEMPORAL_ADDRESS=address)
        wait_for("the worker", 60, lambda: "serving site" in log(home))
        [(_, line)] = descendants(home.up.pid)
        assert "worker worker" in line
        assert f"Temporal    {address}, namespace default (your own: no server is started here)" in log(home)
        home.up.send_signal(signal.SIGINT)
        assert home.up.wait(60) == 0


def test_temporal_that_goes_away_is_said_once(home):
    with own_temporal(home) as address:
        started(home, TEMPORAL_ADDRESS=address)
        wait_for("the worker", 60, lambda: "this worker leads" in log(home))
    wait_for("that it is said", 60, lambda: f"Temporal does not answer at {address}" in log(home))
    before = len(log(home).splitlines())
    time.sleep(15)  # dozens of tries of a dozen pollers
    assert len(log(home).splitlines()) - before <= 2, log(home)


def test_while_temporal_is_away_files_are_read_all_the_same(home, tmp_path):
    folder = tmp_path / "dataimportcron.d"
    folder.mkdir()
    with (home.folder / "settings.toml").open("a") as settings:
        settings.write(f'manifest_folders = ["{folder}"]\n')
    (folder / "images.yaml").write_text((SAMPLES / "fedora.yaml").read_text())
    started(home, TEMPORAL_ADDRESS="127.0.0.1:1")
    wait_for("the object", 60, lambda: home.cron(NAMESPACE, CRON))
    assert log(home).count("waiting: Temporal does not answer at 127.0.0.1:1") == 1
    assert "Traceback" not in log(home)


def test_a_configuration_of_temporal_that_is_not_there_is_an_error(home):
    done = subprocess.run(
        [*PROGRAM, "up"],
        env=home.environment | {"TEMPORAL_CONFIG_FILE": "/nowhere.toml"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: The configuration of Temporal names /nowhere.toml: No such file")


def test_objects_in_a_manifest_folder(home, http, tmp_path):
    folder = tmp_path / "dataimportcron.d"
    folder.mkdir()
    with (home.folder / "settings.toml").open("a") as settings:
        settings.write(f'manifest_folders = ["{folder}"]\n')
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"manifest" * 1000)
    push(http, REPOSITORY, "latest", Image(layers=(disk_layer(disk, tmp_path),)))
    file = folder / "images.yaml"
    text = (SAMPLES / "fedora.yaml").read_text()
    file.write_text(text)
    home.start()
    assert f"manifests   {folder}" in log(home)
    wait_for("the import", 60, lambda: home.points_to(NAMESPACE, DATA_SOURCE))
    file.write_text(text.replace("importsToKeep: 2", "importsToKeep: 1"))
    wait_for("the edit", 20, lambda: home.cron(NAMESPACE, CRON).spec.imports_to_keep == 1)
    file.write_text(text.replace("30 1 * * 1", "61 * * * *"))
    said = wait_for(
        "that the broken edit is said",
        20,
        lambda: (told := home.run("describe", "dic", CRON, "-n", NAMESPACE).stdout) and "Problem" in told and told,
    )
    assert "Illegal cron schedule" in said
    for arguments in (["apply", "-f", str(SAMPLES / "fedora.yaml")], ["delete", "dic", CRON, "-n", NAMESPACE]):
        refused = home.run(*arguments, check=False)
        assert refused.returncode == 2
        assert refused.stderr == f"error: dataimportcron/{CRON} is managed by {file}\nhint: edit it there\n"
    assert home.run("suspend", CRON, "-n", NAMESPACE).stdout == f"dataimportcron/{CRON} suspended\n"
    assert home.run("resume", CRON, "-n", NAMESPACE).stdout == f"dataimportcron/{CRON} resumed\n"
    assert "UpToDate" in home.run("poll", CRON, "-n", NAMESPACE).stdout
    assert [path.name for path in folder.iterdir()] == ["images.yaml"]
    assert "61 * * * *" in file.read_text()
    file.unlink()
    wait_for("the deletion", 30, lambda: CRON not in home.run("get", "dic", "-n", NAMESPACE).stdout)


def _memory(pid):
    try:
        return Path(f"/proc/{pid}/maps").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
