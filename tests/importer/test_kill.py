"""kill -9 at any moment, then the same command again: the right disk, and never a record of another one."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext

import pytest

from dataimportcron.importer.run import Request, run_import
from dataimportcron.importer.source.local_image import FileImage
from dataimportcron.importer.targets.marker import Marker
from tests.importer.conftest import patchwork, qcow2_of
from tests.support.importing import ROOT, run, start
from tests.support.storage import loop_device

MIB = 1 << 20
SIZE = 4 * MIB


@pytest.fixture(params=["file", "device"])
def target(request, tmp_path):
    backing = tmp_path / "target"
    backing.write_bytes(os.urandom(SIZE))
    with loop_device(backing) if request.param == "device" else nullcontext(backing) as found:
        yield found


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def test_in_front_of_every_change_of_the_storage(target, tmp_path):
    found, digests = {"": None}, []
    for name in ("old", "new"):
        (tmp_path / name).write_bytes(disk := os.urandom(3 * MIB - 100))
        digests.append(f"sha256:{sha256(disk)}")
        found[digests[-1]] = sha256(disk.ljust(SIZE, b"\0"))
    old, new = digests
    command = [sys.executable, "-m", "tests.support.mortal", target, tmp_path / "marker", str(SIZE)]
    disks = [tmp_path / "old", tmp_path / "new"]
    done = subprocess.run([*command, *disks], cwd=ROOT, capture_output=True, text=True, check=True)
    deaths = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(deaths) > 9
    assert [death["ended"] for death in deaths] == [False] * (len(deaths) - 1) + [True]
    assert all(death["again"] == {"recorded": new, "found": found[new]} for death in deaths)
    recorded = [death["dead"]["recorded"] for death in deaths]
    assert {*recorded} == {old, "", new}
    assert recorded == sorted(recorded, key=[old, "", new].index)
    for death in deaths:
        assert found[death["dead"]["recorded"]] in {death["dead"]["found"], None}


def test_at_later_and_later_moments(target, tmp_path):
    """The whole program, with its threads and a slow source; two disks take turns: there is always an old one."""
    marker, disks, wanted = tmp_path / "marker", [], {"": None}
    for seed in (41, 42):
        raw = patchwork(3 * MIB, seed)
        (folder := tmp_path / str(seed)).mkdir()
        image = qcow2_of(raw, folder)
        disks.append((image, raw.ljust(SIZE, b"\0")))
        wanted[f"sha256:{sha256(image.read_bytes())}"] = disks[-1][1]
    for moment in range(12):
        image, raw = disks[moment % 2]
        slow = ["--rate", image.stat().st_size]
        with start("--source", image, "--target", target, "--marker", marker, "--size", SIZE, *slow) as process:
            if moment:
                process.stdout.readline()
                time.sleep(0.05 * (moment - 1))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        recorded = Marker.from_json(marker.read_text()).digest if marker.exists() else ""
        assert wanted[recorded] in (target.read_bytes(), None)
        run_import(Request(target=target, marker=marker, size=SIZE), FileImage(image), lambda _: None)
        assert target.read_bytes() == raw


def test_again_does_nothing(target, tmp_path):
    disk = tmp_path / "disk.raw"
    disk.write_bytes(patchwork(2 * MIB, 32))
    same = ["--source", disk, "--target", target, "--marker", tmp_path / "marker", "--size", SIZE]
    assert run(*same)[2].bytes_read > 2 * MIB
    os.sync()
    before = (tmp_path / "target").stat().st_mtime_ns
    code, _, result = run(*same)
    os.sync()
    assert (code, result.bytes_read) == (0, 0)
    assert (tmp_path / "target").stat().st_mtime_ns == before
