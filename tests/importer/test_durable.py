"""What is durable when: no test can cut the power, so it is the order of the calls that is tested."""

import os
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path

import pytest

from dataimportcron.errors import InvalidImageError
from dataimportcron.importer.run import Request, run_import
from dataimportcron.importer.targets import device
from tests.importer.conftest import MemoryImage, tar_of
from tests.support.storage import loop_device

MIB = 1 << 20


@pytest.fixture(params=["file", "device"])
def target(request, tmp_path):
    (tmp_path / "pool").mkdir()
    backing = tmp_path / "pool" / "target"
    backing.write_bytes(bytes(4 * MIB))
    with loop_device(backing) if request.param == "device" else nullcontext(backing) as found:
        yield found


@pytest.fixture
def steps(monkeypatch):
    """Names of calls and of what they are for, as they come; the same again and again counts once."""
    found = []

    def note(owner, name):
        real = getattr(owner, name)

        def call(what, *arguments, **options):
            path = Path(f"/proc/self/fd/{what}").readlink() if isinstance(what, int) else Path(what)
            found.append(f"{name.strip('_')} {path.name}")
            return real(what, *arguments, **options)

        monkeypatch.setattr(owner, name, call)

    for name in ("ftruncate", "pwrite", "fsync", "replace", "unlink"):
        note(os, name)
    note(device, "_punch")
    return found


def imported(target, marker, *members):
    request = Request(target=target, marker=marker, size=4 * MIB)
    return run_import(request, MemoryImage.of(tar_of(*members)), lambda _: None)


def seen(steps, target):
    return [step for step, _ in groupby(step.replace(target.name, "target") for step in steps)]


def test_each_step_is_durable_before_the_next(target, tmp_path, steps):
    (tmp_path / "records").mkdir()
    marker = tmp_path / "records" / "marker"
    imported(target, marker, ("disk/d", b"old"))
    steps.clear()
    imported(target, marker, ("disk/d", b"new"))
    emptied, sealed = ["punch target"], ["fsync target"]
    if target.is_file():
        emptied, sealed = ["ftruncate target"], ["ftruncate target", "fsync target", "fsync pool"]
    assert seen(steps, target) == [
        "unlink marker",
        "fsync records",
        *emptied,
        "pwrite target",
        *sealed,
        "fsync marker.new",
        "replace marker.new",
        "fsync records",
    ]


def test_what_a_failure_takes_away_is_away(target, steps):
    with pytest.raises(InvalidImageError):
        imported(target, None, ("disk/d", b"one"), ("disk/e", b"another"))
    taken = ["ftruncate target"] if target.is_file() else ["punch target", "fsync target"]
    assert seen(steps, target)[-len(taken) :] == taken
