"""`path` and `delete` of volumes as a person runs them: standard output, standard error, exit code."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dataimportcron.api.types import DataSource, DataVolume
from dataimportcron.host.cloner import HostCloner
from dataimportcron.host.volumes import HostVolumes
from dataimportcron.values import VolumeSpec
from tests.support.overlays import make_overlay
from tests.support.storage import mounted

ROOT = Path(__file__).parents[2]


@pytest.fixture
def program(state):
    def run(*arguments):
        environment = os.environ | {"DATAIMPORTCRON_STATE": str(state.path), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-m", "worker", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def data_source(store):
    def make(name, **source):
        store.apply(
            {
                "apiVersion": "cdi.kubevirt.io/v1beta1",
                "kind": "DataSource",
                "metadata": {"name": name, "namespace": "golden"},
                "spec": {"source": source},
            }
        )

    return make


@pytest.fixture
def volume(state, store):
    """A complete DataVolume of a name; its file."""

    def make(name):
        store.apply(
            {
                "apiVersion": "cdi.kubevirt.io/v1beta1",
                "kind": "DataVolume",
                "metadata": {"name": name, "namespace": "golden"},
                "spec": {"source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Mi"}}}},
            }
        )
        spec = VolumeSpec(namespace="golden", name=name, uid=f"uid-of-{name}", size=1 << 20)
        asyncio.run(HostCloner(HostVolumes(state)).blank(spec))
        return state.path / "volumes" / "golden" / f"{name}.img"

    return make


def test_the_path_and_nothing_else(program, data_source, volume):
    file = volume("fedora-1")
    data_source("fedora", pvc={"namespace": "golden", "name": "fedora-1"})
    data_source("latest", dataSource={"name": "fedora"})
    assert program("path", "fedora", "-n", "golden") == (0, f"{file}\n", "")
    assert program("path", "latest", "-n", "golden") == (0, f"{file}\n", "")
    assert program("path", "datavolume/fedora-1", "-n", "golden") == (0, f"{file}\n", "")
    file.unlink()
    assert program("path", "dv/fedora-1", "-n", "golden")[:2] == (1, "")
    assert program("path", "dv/fedora-2", "-n", "golden")[:2] == (1, "")
    assert program("path", "dic/fedora-1", "-n", "golden")[:2] == (2, "")


def test_no_file_is_no_output(program, data_source):
    data_source("fedora", pvc={"namespace": "golden", "name": "fedora-1"})
    code, out, words = program("path", "fedora", "-n", "golden")
    assert (code, out) == (1, "")
    assert words == (
        "error: DataSource golden/fedora has no file: volume golden/fedora-1 is not complete, or its file is gone\n"
        "hint: dataimportcron describe datavolume fedora-1 -n golden says more\n"
    )


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ({}, 1, "DataSource golden/fedora has no volume yet"),
        ({"snapshot": {"namespace": "golden", "name": "s"}}, 2, "leads to a snapshot, expected a volume"),
        ({"dataSource": {"name": "pointer"}}, 2, "leads to a DataSource that is a pointer itself"),
        ({"dataSource": {"name": "absent"}}, 1, "DataSource golden/absent does not exist"),
    ],
)
def test_what_leads_to_no_file_is_said(program, data_source, source, code, words):
    data_source("pointer", dataSource={"name": "further"})
    data_source("fedora", **source)
    done, out, said = program("path", "fedora", "-n", "golden")
    assert (done, out) == (code, "")
    assert words in said


def test_a_forgotten_namespace_is_named(program, data_source):
    data_source("fedora")
    code, out, words = program("path", "fedora")
    assert (code, out) == (1, "")
    assert "DataSource default/fedora does not exist" in words
    assert "there is one in the namespace golden; name it with -n" in words


@pytest.mark.parametrize("named", [["dv", "one", "two"], ["dv/one", "datavolume/two"]])
def test_several_objects_are_deleted_by_either_form_of_their_names(program, store, volume, named):
    volume("one")
    volume("two")
    mixed = program("delete", "dv", "datavolume/one", "-n", "golden")
    assert (mixed[0], mixed[1]) == (2, "")
    assert "Expected KIND/NAME, found 'dv'" in mixed[2]
    assert "Expected KIND NAME or KIND/NAME, found 'dv'" in program("delete", "dv")[2]
    assert program("delete", *named, "-n", "golden")[:2] == (0, "datavolume/one deleted\ndatavolume/two deleted\n")
    assert store.list(DataVolume) == []


def test_a_volume_in_use_is_not_deleted(program, store, volume, tmp_path):
    file, other = volume("fedora-1"), volume("fedora-0")
    overlay = make_overlay(file.with_name("vm.qcow2"), file)
    listed = tmp_path / "both.yaml"
    listed.write_text(
        "".join(
            f"kind: DataVolume\nmetadata: {{name: {name}, namespace: golden}}\n---\n"
            for name in ("fedora-0", "fedora-1")
        )
    )
    code, out, words = program("delete", "-f", str(listed))
    assert (code, out) == (1, "")
    assert f"DataVolume golden/fedora-1 is in use, nothing was deleted: {overlay} has it as its backing file" in words
    assert len(store.list(DataVolume)) == 2
    overlay.unlink()
    assert program("delete", "-f", str(listed))[0] == 0
    assert store.list(DataVolume) == store.list(DataSource) == []
    assert other.exists()  # until a worker follows


def test_a_full_state_folder_is_said_in_one_sentence(state, program, data_source, tmp_path):
    data_source("fedora", pvc={"name": "fedora-1", "namespace": "golden"})
    kind = state.path / "objects" / "datasource"
    shutil.rmtree(kind)
    other = tmp_path / "other.yaml"
    other.write_text(
        "apiVersion: cdi.kubevirt.io/v1beta1\nkind: DataSource\nmetadata: {name: other, namespace: golden}\n"
        "spec: {source: {pvc: {name: a, namespace: golden}}}\n"
    )
    with mounted("tmpfs", kind, "-t", "tmpfs", "-o", "size=4k,mode=777"):
        (kind / "golden").mkdir()
        (kind / "golden" / "fill").write_bytes(bytes(4096))
        code, out, words = program("apply", "-f", str(other))
        left = sorted(path.name for path in (kind / "golden").iterdir())
    assert (code, out) == (1, "")
    assert words == f"error: {kind}/golden/other.yaml: No space left on device\n"
    assert left == ["fill"]
