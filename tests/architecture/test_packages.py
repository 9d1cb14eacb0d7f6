"""The wheel: our generic names are ours alone, and what is built works without the checkout."""

import importlib.metadata
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = ("dataimportcron", "workflows", "activities", "worker")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = "import os, sys; from hatchling.build import build_wheel as b; os.chdir(sys.argv[1]); print(b(sys.argv[2]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(ROOT), str(folder)], capture_output=True, text=True, check=True
    )
    return folder / done.stdout.split()[-1]


def test_nobody_else_owns_our_names():
    owners = importlib.metadata.packages_distributions()
    for name in NAMES:
        assert set(owners.get(name, ["dataimportcron"])) == {"dataimportcron"}, (
            f"another distribution ships the top-level package {name!r}: {owners[name]}"
        )


def test_the_wheel_holds_our_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(NAMES)


def test_the_wheel_works_outside_the_checkout(wheel, tmp_path):
    target = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(target), "DATAIMPORTCRON_STATE": str(tmp_path / "state")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    where = run("-c", "import worker, workflows, activities, dataimportcron; print(worker.__file__)")
    assert where.stdout.startswith(str(target)), where.stderr
    sample = ROOT / "deploy" / "samples" / "fedora.yaml"
    assert run("-m", "worker", "validate", str(sample)).returncode == 0
    assert run("-m", "worker", "next", "30 1 * * 1").stdout.count("UTC") >= 5
    assert run("-m", "dataimportcron.importer", "--help").returncode == 0
