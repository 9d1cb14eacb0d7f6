"""`dataimportcron import`: the importer's JSON lines for programs, a bar for a person."""

import json
import re
import subprocess

import pytest

from demo.host import PROGRAM, Host
from demo.push import Image, disk_layer, push
from demo.registry import client, registry
from tests.support.terminal import Terminal

MIB = 1 << 20


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("import")


@pytest.fixture(scope="module")
def command(work):
    with registry(work / "registry", tls=False) as running, client(running) as http:
        disk = work / "disk.img"
        disk.write_bytes(bytes(range(256)) * (16 * MIB // 256))
        push(http, "disks/a", "latest", Image(layers=(disk_layer(disk, work),)))
        yield [
            *(*PROGRAM, "import", "--source", f"docker://{running.host}/disks/a:latest"),
            *("--insecure-registry", running.host, "--size", str(32 * MIB)),
        ]


@pytest.fixture
def environment(tmp_path):
    return Host(tmp_path).environment


def test_a_person_sees_a_bar_and_what_was_written(command, environment, work):
    target = work / "seen.img"
    shown = Terminal([*command, "--target", str(target), "--rate", "20000"], environment, columns=80)
    try:
        shown.read_until("%")
        assert shown.end() == 0
    finally:
        shown.close()
    bars = [line for line in shown.lines() if line.startswith("Downloading ")]
    assert bars
    assert all(len(line) < 80 for line in bars)
    assert re.search(r"raw of 16\.0 MiB: [\d.]+ KiB read, 16\.0 MiB written\r\nsha256:[0-9a-f]{64}\r\n$", shown.output)
    assert target.stat().st_size == 32 * MIB


def test_a_person_who_interrupts_is_told_so(command, environment, work):
    shown = Terminal([*command, "--target", str(work / "cut.img"), "--rate", "5000"], environment, columns=80)
    try:
        shown.read_until("Downloading")
        shown.press_ctrl_c()
        assert shown.end() == 130
    finally:
        shown.close()
    assert shown.lines()[-2] == "interrupted; the same command begins anew"
    assert "Traceback" not in shown.output


def test_a_failure_is_said_in_words_with_the_importers_code(command, environment, work):
    shown = Terminal([*command[:-1], "4096", "--target", str(work / "small.img")], environment, columns=80)
    try:
        assert shown.end() == 2
    finally:
        shown.close()
    assert "error: VolumeTooSmall: " in shown.output
    assert "{" not in shown.output


def test_a_program_reads_json_lines(command, environment, work):
    done = subprocess.run(
        [*command, "--target", str(work / "lines.img")], env=environment, capture_output=True, text=True, check=True
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["phase"] == "Succeeded"
    assert lines[0]["phase"] == "Resolving"
    assert all("bytesRead" in line for line in lines)
