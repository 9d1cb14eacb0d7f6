"""The command line against one running host: what a person sees while images are imported, and what `doctor` finds."""

import json
import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from dataimportcron.naming import import_name
from demo.host import PROGRAM, host, wait_for
from demo.push import Image, delete_tag, disk_layer, push
from demo.registry import client, registry
from demo.story import CRON, DATA_SOURCE, NAMESPACE, REPOSITORY, SAMPLES, trust
from tests.support.terminal import Terminal

ON_CRON = (CRON, "-n", NAMESPACE)
MIB = 1 << 20
RATE = 4 * MIB


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def running(work):
    with registry(work / "registry") as started:
        yield started


@pytest.fixture(scope="module")
def publish(running, work):
    with client(running) as http:

        def push_latest(mib: int) -> str:
            disk = work / "disk.img"
            disk.write_bytes(os.urandom(mib * MIB))
            digest = push(http, REPOSITORY, "latest", Image(layers=(disk_layer(disk, work),)))
            return import_name(DATA_SOURCE, digest)

        push_latest.http = http
        yield push_latest


@pytest.fixture(scope="module")
def home(work, running, publish):
    settings = f"import_rate = {RATE}\n"
    with host(work / "state", settings) as prepared:
        prepared.mirror("quay.io", running)
        trust(prepared, running.ca, work)
        first = publish(1)
        prepared.start()
        prepared.run("apply", "-f", str(SAMPLES / "fedora.yaml"))
        wait_for("the first import", 60, lambda: prepared.points_to(NAMESPACE, DATA_SOURCE) == first)
        yield prepared


@pytest.fixture
def terminal(home):
    opened = []

    def start(*arguments, columns=80, **variables):
        shown = Terminal([*PROGRAM, *arguments], home.environment | variables, columns=columns)
        opened.append(shown)
        return shown

    yield start
    for shown in opened:
        shown.close()


def test_nothing_is_wrong_with_a_host_that_runs(home):
    def sound():
        done = home.run("doctor", check=False)
        return done.stdout if done.returncode == 0 else ""

    told = wait_for("a sound host", 60, sound)
    assert "nothing is wrong" in told
    assert re.search(r"^ok +workers: ", told, re.MULTILINE)
    assert re.search(rf"^ok +source docker://quay.io/{REPOSITORY}:latest: sha256:", told, re.MULTILINE)


@pytest.mark.parametrize("columns", [80, 160])
def test_no_screen_of_a_typical_cron_is_wider_than_its_terminal(terminal, columns):
    for arguments in (
        ("get", "dic", "-n", NAMESPACE),
        ("get", "all", "-A"),
        ("describe", "dic", *ON_CRON),
        ("describe", "dv", "-n", NAMESPACE),
        ("next", *ON_CRON),
    ):
        shown = terminal(*arguments, columns=columns, NO_COLOR="1")
        assert shown.end() == 0
        wide = [line for line in shown.lines() if len(line) > columns and "/" not in line]
        assert not wide, (arguments, wide)


def test_colours_are_for_terminals_and_for_those_who_want_them(home, terminal):
    coloured = terminal("get", "dic", "-A")
    coloured.end()
    assert "\x1b[32mTrue" in coloured.output
    plain = terminal("get", "dic", "-A", NO_COLOR="1")
    plain.end()
    assert "\x1b" not in plain.output
    assert "\x1b" not in home.run("get", "dic", "-A").stdout


def test_wait_follows_the_import_with_a_bar_and_over_a_killed_importer(home, terminal, publish):
    name = publish(32)
    shown = terminal("poll", *ON_CRON, "--wait")
    shown.read_until("MiB/s")
    home.kill("dataimportcron.importer")
    assert shown.end(120) == 0
    bars = [line for line in shown.lines() if line.startswith(f"{name}  ")]
    assert all(len(line) < 80 for line in bars)
    assert any(re.search(r"\[#+\.+\] +\d+%  [\d.]+ MiB/3\d\.\d MiB  [\d.]+ [KM]iB/s  ETA \d+s", line) for line in bars)
    assert f"{name} failed and is tried again: " in shown.output
    assert f"DataSource {DATA_SOURCE} points to {name}" in shown.output
    assert home.points_to(NAMESPACE, DATA_SOURCE) == name


def test_wait_says_plain_lines_elsewhere(home, publish):
    name = publish(2)
    told = home.run("poll", *ON_CRON, "--wait").stdout
    assert "\r" not in told
    assert "\x1b" not in told
    assert told.splitlines()[-1] == f"DataSource {DATA_SOURCE} points to {name}"
    assert home.run("poll", *ON_CRON, "--wait").stdout.splitlines()[-1] == told.splitlines()[-1]


def test_ctrl_c_leaves_the_import_running(home, terminal, publish):
    name = publish(16)
    shown = terminal("poll", *ON_CRON, "--wait")
    shown.read_until("%")
    shown.press_ctrl_c()
    assert shown.end() == 130
    assert f"the import of {name} goes on" in shown.output
    wait_for("the import", 60, lambda: home.points_to(NAMESPACE, DATA_SOURCE) == name)


def test_watch_shows_each_change_and_deletions_and_ends_with_ctrl_c(home, work):
    document = work / "watched.yaml"
    document.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: watched}\ndata: {a: b}\n")
    watching = subprocess.Popen(
        [*PROGRAM, "get", "cm", "--watch"], env=home.environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert watching.stdout.readline() == "No ConfigMap found in default namespace.\n"
        home.run("apply", "-f", str(document))
        assert watching.stdout.readline().split() == ["NAME", "DATA", "AGE"]
        assert watching.stdout.readline().split()[:2] == ["watched", "1"]
        document.write_text(document.read_text().replace("a: b", "a: b, c: d"))
        home.run("apply", "-f", str(document))
        assert watching.stdout.readline().split()[:2] == ["watched", "2"]
        home.run("delete", "cm", "watched")
        assert watching.stdout.readline().split() == ["watched", "2", "<deleted>"]
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 0
    finally:
        watching.kill()
        watching.wait()
        watching.stdout.close()


def test_history_has_a_row_and_a_link_per_import(home):
    rows = home.run("history", *ON_CRON).stdout.splitlines()
    found = json.loads(home.run("history", *ON_CRON, "-o", "json").stdout)["imports"]
    assert rows[0].split() == ["STARTED", "(UTC)", "DIGEST", "TOOK", "READ", "OUTCOME", "DATAVOLUME", "LINK"]
    assert len(found) >= 2
    for row, entry in zip(rows[1:], found, strict=False):
        assert entry["digest"].removeprefix("sha256:") in row
        assert f"Succeeded   {entry['dataVolume']}" in row
        assert row.endswith(f"%2F{NAMESPACE}%2F{entry['dataVolume']}/{entry['runId']}/history")
        assert entry["link"].startswith(f"{home.ui}/namespaces/default/workflows/")


def test_doctor_finds_what_was_broken_and_says_the_cure(home, publish, work):
    file = home.store.path_of("DataImportCron", NAMESPACE, CRON)
    good = file.read_text()
    current = home.points_to(NAMESPACE, DATA_SOURCE)
    image = home.file(NAMESPACE, current)
    image.rename(work / "hidden.img")
    delete_tag(publish.http, REPOSITORY, "latest")
    file.write_text(good.replace("30 1 * * 1", "61 * * * *"))
    try:
        wait_for("the broken edit", 30, lambda: "Problem" in home.run("describe", "dic", *ON_CRON).stdout)
        done = home.run("doctor", "-o", "json", check=False)
    finally:
        file.write_text(good)
        (work / "hidden.img").rename(image)
    assert done.returncode == 1
    wrong = {f["what"]: f for f in json.loads(done.stdout) if f["level"] == "wrong"}
    assert "Illegal cron schedule" in wrong["object file"]["found"]
    assert wrong["object file"]["cure"] == f"mend {file}"
    assert wrong[f"volume {NAMESPACE}/{current}"]["cure"] == f"dataimportcron poll {CRON} -n {NAMESPACE} --wait"
    assert "latest" in wrong[f"source docker://quay.io/{REPOSITORY}:latest"]["found"]
    assert all(finding["cure"] for finding in wrong.values())


def test_a_poll_that_fails_ends_with_1_and_its_words_which_describe_repeats(home, publish):
    delete_tag(publish.http, REPOSITORY, "latest")
    done = home.run("poll", *ON_CRON, "--wait", check=False)
    assert done.returncode == 1
    reason, _, message = done.stdout.splitlines()[0].partition(": ")
    assert reason == "ImageNotFound"
    told = home.run("describe", "dic", *ON_CRON).stdout
    assert re.search(rf"^Last Poll: +\d+s ago, failed: ImageNotFound: {re.escape(message)}$", told, re.MULTILINE)
    assert home.run("get", "dic", "-A").stdout.splitlines()[1].split()[7] == "False"


def test_a_poll_whose_temporal_goes_away_says_so_and_nothing_else(home):
    """Nobody answers the poll, as the worker stands still; then nobody can, as nobody restarts the server."""
    stopped = [home.pid_of("worker worker"), home.up.pid]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*PROGRAM, "poll", *ON_CRON], env=home.environment, text=True, **pipes) as poll:
        try:
            wait_for("it is asked", 30, lambda: _connected(poll.pid))
            home.kill("start-dev")
            out, words = poll.communicate(timeout=120)
        finally:
            poll.kill()
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
    assert (poll.returncode, out) == (1, "")
    assert [line.partition(":")[0] for line in words.splitlines()] == ["error", "hint"]
    wait_for("it answers again", 90, lambda: "ImageNotFound" in home.run("poll", *ON_CRON, check=False).stdout)


def _connected(pid):
    """Whether a process has a connection over TCP."""
    links = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            links.add(str(descriptor.readlink()))
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[3] == "01" and f"socket:[{row[9]}]" in links for row in table)


def test_doctor_says_that_nothing_runs(home):
    home.stop()
    done = home.run("doctor", check=False)
    assert done.returncode == 1
    assert re.search(r"^wrong +up: does not run.*\n +cure: dataimportcron up$", done.stdout, re.MULTILINE)
    assert re.search(r"^wrong +Temporal: .*\n +cure: ", done.stdout, re.MULTILINE)
