"""What is known of a volume's users with few rights: those of the hardened unit, and those of an ordinary user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataimportcron.host.cloner import HostCloner
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.volumes import HostVolumes
from dataimportcron.values import VolumeSpec
from tests.support.home import keep_volumes_inside
from tests.support.overlays import make_overlay
from tests.support.storage import as_root, public_folder

ROOT = Path(__file__).parents[2]
_ASK = """
import os, sys
from pathlib import Path
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.volumes import HostVolumes
if sys.argv[2:] and os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(HostVolumes(StateFolder(Path(sys.argv[1]))).in_use_now("golden", "disk"), end="")
"""
_UNIT = ("--bounding-set", "-all,+dac_read_search,+lease", "--inh-caps", "-all")
"""root, as deploy/systemd lets it be."""


@pytest.fixture
def work():
    """Whoever we become may come here."""
    with public_folder() as folder:
        yield folder


@pytest.fixture
def state(work):
    folder = StateFolder(work / "state")
    folder.prepare()
    keep_volumes_inside(folder, f'overlay_folders = ["{work}/images"]\n')
    return folder


@pytest.fixture
def images(work):
    """Where the disks of machines are."""
    folder = work / "images"
    folder.mkdir()
    return folder


@pytest.fixture
async def file(state, images):
    """A complete volume."""
    assert images.exists()
    volumes = HostVolumes(state)
    spec = VolumeSpec(namespace="golden", name="disk", uid="uid", size=1 << 20)
    await HostCloner(volumes).blank(spec)
    return volumes.place(spec).file


@pytest.fixture
def as_unit(state):
    """Who uses the volume, asked by root with the rights of the unit."""

    def ask():
        python = ("env", f"PYTHONPATH={ROOT}", sys.executable, "-c", _ASK, str(state.path))
        return said_by(as_root("setpriv", *_UNIT, *python))

    return ask


@pytest.fixture
def as_user(state, file):
    """Who uses the volume, asked by an ordinary user, who owns the state folder."""
    assert file.exists()
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "65534:65534", state.path], check=True)
    command = [sys.executable, "-c", _ASK, str(state.path), "user"]
    return lambda: said_by(command, env=os.environ | {"PYTHONPATH": str(ROOT)})


def said_by(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.stderr == ""
    return done.stdout


def libvirt_takes(path):
    """As libvirt does with the disks of a machine that starts."""
    subprocess.run(as_root("chown", "65533:65533", str(path)), check=True)
    subprocess.run(as_root("chmod", "0600", str(path)), check=True)


def test_the_hardened_unit_knows_all(as_unit, file, images):
    overlay = make_overlay(images / "vm.qcow2", file)
    with file.open("rb"):
        libvirt_takes(file)
        libvirt_takes(overlay)
        assert as_unit() == f"{overlay} has it as its backing file"
        subprocess.run(as_root("rm", str(overlay)), check=True)
        assert as_unit() == f"{file} is open: by a process that cannot be looked at, or as a loop device"
    assert as_unit() == ""


def test_an_ordinary_user_knows_what_is_his_own(as_user, file, images):
    assert as_user() == ""
    with file.open("rb"):
        assert f"{file} is open" in as_user() or f"has {file} open" in as_user()
    overlay = make_overlay(images / "vm.qcow2", file)
    assert as_user() == f"{overlay} has it as its backing file"


def test_an_ordinary_user_keeps_what_he_cannot_know(as_user, file, images):
    overlay = make_overlay(images / "vm.qcow2", file)
    libvirt_takes(overlay)
    doubt = f"{overlay}: it cannot be read: Permission denied"
    assert as_user() == f"whether a disk has {file} as its backing file cannot be known: {doubt}"
    subprocess.run(as_root("rm", str(overlay)), check=True)
    libvirt_takes(file)
    assert f"whether {file} is open cannot be known" in as_user()
