"""The program as a service: its unit as systemd judges it, and what the unit starts, in the cage that it asks for."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from dataimportcron.naming import import_name
from demo.host import descendants, wait_for
from demo.push import Image, disk_layer, push
from demo.story import CRON, DATA_SOURCE, NAMESPACE, REPOSITORY, SAMPLES, same_bytes, trust
from tests.support.caged import CagedHost, as_root, installed, setting
from worker.cli import up

LIBVIRT_QEMU = 64055
"""Debian's uid of the user libvirt-qemu, whom libvirt gives the disks of running machines."""


@pytest.fixture
def home(tmp_path, running_registry):
    images = tmp_path / "images"
    images.mkdir()
    prepared = CagedHost(tmp_path / "state", f'default_folder = "{images}"\n', images=images)
    prepared.prepare()
    prepared.mirror("quay.io", running_registry)
    trust(prepared, running_registry.ca, tmp_path)
    try:
        yield prepared
    finally:
        prepared.stop()


@pytest.fixture
def release(http, tmp_path):
    def publish(content: bytes):
        disk = tmp_path / f"disk-{len(content)}.img"
        disk.write_bytes(content)
        return push(http, REPOSITORY, "latest", Image(layers=(disk_layer(disk, tmp_path),))), disk

    return publish


def imported(home, digest):
    name = import_name(DATA_SOURCE, digest)
    wait_for(name, 90, lambda: home.points_to(NAMESPACE, DATA_SOURCE) == name)
    return home.file(NAMESPACE, name)


def systemd_analyze(*arguments):
    program = shutil.which("systemd-analyze")
    assert program, "systemd-analyze is not installed: apt-get install --no-install-recommends systemd"
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_systemd_finds_no_fault_with_the_unit(tmp_path):
    done = systemd_analyze("verify", str(installed(tmp_path)))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_finds_the_unit_well_confined(tmp_path, capsys):
    done = systemd_analyze("security", "--offline=yes", "--threshold=22", str(installed(tmp_path)))
    overall = re.search(r"Overall exposure level .*", done.stdout)
    assert overall, done.stdout + done.stderr
    with capsys.disabled():
        print(f"\n{overall[0]}")  # noqa: T201 -- the score is to be seen
    assert done.returncode == 0, overall[0]


def test_the_unit_gives_the_children_time_to_end():
    assert int(setting("TimeoutStopSec")) > 2 * up._PATIENCE


def test_in_its_cage_it_imports_clones_and_prunes_what_libvirt_has_taken(home, release, tmp_path):
    first, _ = release(b"first" * 5000)
    home.start()
    assert home.said[0] == "READY=1"
    assert home.said[1].startswith("STATUS=serving site ")
    cron = tmp_path / "cron.yaml"
    cron.write_text((SAMPLES / "fedora.yaml").read_text().replace("importsToKeep: 2", "importsToKeep: 1"))
    home.run("apply", "-f", str(cron))
    old = imported(home, first)
    clone = tmp_path / "clone.yaml"
    clone.write_text(
        "apiVersion: cdi.kubevirt.io/v1beta1\nkind: DataVolume\n"
        f"metadata: {{name: machine, namespace: {NAMESPACE}}}\n"
        f"spec:\n  sourceRef: {{kind: DataSource, name: {DATA_SOURCE}}}\n"
        "  storage: {resources: {requests: {storage: 30Gi}}}\n"
    )
    home.run("apply", "-f", str(clone))
    wait_for("the clone", 60, lambda: home.volume(NAMESPACE, "machine").status.phase == "Succeeded")
    as_root("chown", str(LIBVIRT_QEMU), str(old))
    as_root("chmod", "0600", str(old))
    second, disk = release(b"second" * 9000)
    home.run("poll", CRON, "-n", NAMESPACE)
    assert same_bytes(disk, imported(home, second))
    wait_for("the old one to be pruned", 60, lambda: not old.exists())
    assert home.file(NAMESPACE, "machine").exists()


def test_it_survives_a_reboot_in_mid_import(home, release):
    digest, disk = release(os.urandom(2 << 20))
    settings = home.folder / "settings.toml"
    free = settings.read_text()
    settings.write_text(free + f"import_rate = {disk.stat().st_size // 100}\n")
    home.start()
    home.run("apply", "-f", str(SAMPLES / "fedora.yaml"))
    wait_for("the importer", 60, lambda: home.pid_of("dataimportcron.importer"))
    uid = home.cron(NAMESPACE, CRON).metadata.uid
    everything = [home.up.pid, *(pid for pid, _ in descendants(home.up.pid))]
    for pid in everything:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    home.up.wait()
    wait_for("nothing to be left", 30, lambda: not any(Path(f"/proc/{pid}").exists() for pid in everything))
    for path in (home.folder / "run").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    settings.write_text(free)
    home.start()
    assert same_bytes(disk, imported(home, digest))
    assert home.cron(NAMESPACE, CRON).metadata.uid == uid
    assert len(home.volumes(NAMESPACE)) == 1


def test_sigterm_leaves_nothing_running(home):
    home.start()
    everything = [pid for pid, _ in descendants(home.up.pid)]
    assert len(everything) == 2
    home.up.send_signal(signal.SIGTERM)
    assert home.up.wait(int(setting("TimeoutStopSec"))) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in everything)
