"""`dataimportcron migrate` on a real API server, with its garbage collector; CDI's part is looked at after each step.

The objects are as CDI leaves them: one import whose DataVolume still owns its claim, one whose DataVolume is gone.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from copy import deepcopy
from uuid import uuid4

import pytest

from dataimportcron import naming
from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.claims.claims import Claims
from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.migration.mover import Mover
from dataimportcron.cluster.migration.steps import ANNOTATION_MIGRATED, to_cdi, to_us
from dataimportcron.cluster.objects import ClusterObjects
from dataimportcron.cluster.volumes import ClusterVolumes
from dataimportcron.errors import InUseError
from tests.support.cdi import (
    CRON,
    NEW,
    OLD,
    OURS,
    OWN_LABEL,
    SOURCE,
    SPEC,
    THEIRS,
    URL,
    Space,
    annotations,
    labels,
    what_cdi_would_do,
)
from tests.support.facts import A, B
from worker.cli import main
from worker.cluster import dialect_of

GIB = 2**30
STEPS = 7
CDI = {"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "CDI", "metadata": {"name": "cdi"}, "spec": {}}


@pytest.fixture(scope="module")
def plane(api):
    """Where CDI is, while these tests run."""
    api.apply(CDI)
    yield api
    api.kubectl("delete", "cdi", "cdi")


@pytest.fixture
def empty(plane, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))
    monkeypatch.delenv("DATAIMPORTCRON_CONTEXT", raising=False)

    def make():
        space = Space(plane, f"images-{uuid4().hex[:8]}")
        plane.http.post("/api/v1/namespaces", json={"metadata": {"name": space.name}}).raise_for_status()
        return space

    return make


@pytest.fixture
def space(empty):
    made = empty()
    made.cron()
    made.imported()
    return made


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = main(["migrate", *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def essence(space):
    """What is there, without what differs from run to run."""
    found = {}
    for key, it in space.all().items():
        said = dict(annotations(it))
        record = json.loads(said.pop("dataimportcron.io/complete", "{}"))
        assert record.pop("uid", it["metadata"]["uid"]) == it["metadata"]["uid"]
        spec = json.loads(json.dumps(it["spec"]).replace(space.name, "HERE"))
        found[key] = {"labels": labels(it), "annotations": said, "spec": spec, "record": record}
    return found


async def walk(space, plan, *, stop=99, look=lambda: None, **options):
    """Do at most so many steps, as a process that is killed then; returns what each was."""
    told = []
    async with connected() as connection:
        dialect, _ = await dialect_of(connection)
        steps = Mover(connection, dialect, **options).move(space.name, CRON, plan)
        while len(told) < stop and (step := await anext(steps, None)) is not None:
            told.append(f"{step.action} {step.resource}/{step.name}")
            look()
        await steps.aclose()
    return told


def uids(space):
    return {it["metadata"]["name"]: it["metadata"]["uid"] for key, it in space.all().items() if "Claim" in key}


def test_all_is_ours_no_claim_is_touched_and_cdi_never_interferes(space):
    before = uids(space)

    def look():
        assert list(what_cdi_would_do(space.all())) == []
        assert uids(space) == before
        for thing in space.all().values():
            assert not {naming.LABEL_CRON, OWN_LABEL} <= set(labels(thing))

    told = asyncio.run(walk(space, to_us, look=look))
    assert len(told) == STEPS
    found = space.all()
    assert sorted(found) == [
        "cdi.kubevirt.io/DataSource/fedora",
        f"dataimportcron.io/DataImportCron/{CRON}",
        *(f"v1/PersistentVolumeClaim/{name}" for name in (OLD, NEW)),
    ]
    ours = space.the(OURS, CRON)
    assert ours["spec"] == SPEC
    assert labels(ours) == {"mine": "1"}
    assert annotations(ours).pop("team") == "images"
    assert naming.ANNOTATION_SUSPEND not in annotations(ours)
    for thing in found.values():
        assert not [key for key in labels(thing) if key.startswith(naming.LABEL_CRON)]
    for name, digest in ((OLD, A), (NEW, B)):
        claim = space.the("pvc", name)
        assert labels(claim)[OWN_LABEL] == CRON
        assert annotations(claim)[naming.ANNOTATION_DIGEST] == digest
        assert annotations(claim)[naming.ANNOTATION_LAST_USE_TIME] == "2026-10-01T00:00:00.000000000Z"
        assert not claim["metadata"].get("ownerReferences")
    source = space.the("datasource", SOURCE)
    assert labels(source)[OWN_LABEL] == CRON
    assert source["spec"]["source"]["pvc"] == {"name": NEW, "namespace": space.name}


def test_to_the_adapters_they_are_complete_imports(space, run):
    assert run(CRON, "-n", space.name)[0] == 0

    async def look():
        async with connected() as connection:
            dialect, _ = await dialect_of(connection)
            objects = ClusterObjects(connection, dialect)
            volumes = ClusterVolumes(connection, objects, Claims(connection, owned=False))
            for name, digest in ((OLD, A), (NEW, B)):
                shown = await objects.get(DataVolume, space.name, name)
                assert (shown.status.phase, shown.metadata.labels[naming.LABEL_CRON]) == ("Succeeded", CRON)
                assert shown.spec.source.registry.url == f"{URL}@{digest}"
                found = await volumes.find(space.name, name)
                assert (found.digest, found.size) == (digest, 10 * GIB)

    asyncio.run(look())


@pytest.mark.parametrize("kills", range(STEPS + 1))
def test_a_run_that_was_killed_goes_on(empty, run, kills):
    spaces = [empty(), empty()]
    for made in spaces:
        made.cron()
        made.imported()
    straight, killed = spaces
    assert run(CRON, "-n", straight.name)[0] == 0
    asyncio.run(walk(killed, to_us, stop=kills))
    code, told, _ = run(CRON, "-n", killed.name)
    assert code == 0
    assert len(told.splitlines()) == 1 + (STEPS - kills or 1)
    assert essence(killed) == essence(straight)
    assert run(CRON, "-n", killed.name)[1].endswith("nothing is left to be done\n")


def test_a_process_that_is_killed_leaves_nothing_undone(space):
    command = [sys.executable, "-m", "worker", "migrate", CRON, "-n", space.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as first:
        for line in first.stdout:
            if THEIRS in line:
                first.send_signal(signal.SIGKILL)
                break
    assert list(what_cdi_would_do(space.all())) == []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert labels(space.the("pvc", NEW))[OWN_LABEL] == CRON
    assert f"cdi.kubevirt.io/DataImportCron/{CRON}" not in space.all()


@pytest.mark.parametrize("kills", [0, 1, 2, 4])
def test_undo_brings_it_back_killed_or_not(space, run, kills):
    before, claims = essence(space), uids(space)
    assert run(CRON, "-n", space.name)[0] == 0

    def look():
        assert [it for it in what_cdi_would_do(space.all()) if not it.startswith("make")] == []
        assert uids(space) == claims

    asyncio.run(walk(space, to_cdi, stop=kills, look=look))
    code, told, _ = run(CRON, "-n", space.name, "--undo")
    assert code == 0
    assert f"  {OURS}/{CRON} deleted: " in told
    after = essence(space)
    del before[f"cdi.kubevirt.io/DataVolume/{OLD}"]  # CDI itself does without, once its import is complete
    for name, digest in ((OLD, A), (NEW, B)):
        before[f"v1/PersistentVolumeClaim/{name}"]["annotations"][naming.ANNOTATION_DIGEST] = digest
    assert after == before
    assert run(CRON, "-n", space.name, "--undo")[:2] == (0, f"{space.name}/{CRON}:\n  nothing is left to be done\n")
    assert run(CRON, "-n", space.name)[0] == 0
    assert labels(space.the("pvc", OLD))[OWN_LABEL] == CRON


def test_undo_gives_cdi_a_retention_that_was_changed_meanwhile(space, run):
    assert run(CRON, "-n", space.name)[0] == 0
    space.patch(OURS, CRON, {"spec": {"retentionPolicy": "None"}})
    assert run(CRON, "-n", space.name, "--undo")[0] == 0
    assert space.the(THEIRS, CRON)["spec"] == SPEC | {"retentionPolicy": "None"}
    assert sorted(uids(space)) == [OLD, NEW]


@pytest.mark.parametrize("undo", [False, True])
def test_a_dry_run_tells_what_is_then_done_and_writes_nothing(space, run, undo):
    way = ["--undo"] if undo else []
    if undo:
        assert run(CRON, "-n", space.name)[0] == 0
    before = space.all()
    code, told, _ = run(CRON, "-n", space.name, "--dry-run", *way)
    assert code == 0
    assert space.all() == before
    planned = re.findall(r"^  (\w+ \S+): .", told, re.MULTILINE)
    assert planned == asyncio.run(walk(space, to_cdi if undo else to_us))


SSP = {
    "apiVersion": "ssp.kubevirt.io/v1beta2",
    "kind": "SSP",
    "name": "ssp",
    "uid": "3d0c6a4e-0000-4000-8000-000000000000",
}
ENABLE = "dataimportcrontemplate.kubevirt.io/enable"


@pytest.mark.parametrize(
    ("changes", "words", "setting"),
    [
        ({"retentionPolicy": "None"}, "has retentionPolicy None", "retentionPolicy: All"),
        ({"metadata": {"ownerReferences": [SSP]}}, "belongs to SSP ssp", ENABLE),
        ({"metadata": {"labels": {"app.kubernetes.io/managed-by": "ssp-operator"}}}, "belongs to ssp-operator", ENABLE),
    ],
)
def test_what_cannot_be_moved_is_refused_with_the_setting_to_change(empty, run, changes, words, setting):
    space = empty()
    space.cron(**deepcopy(changes))
    space.imported()
    before = space.all()
    for options in ([], ["--dry-run"]):
        code, told, error = run(CRON, "-n", space.name, *options)
        assert (code, told.splitlines()[1:]) == (2, [])
        assert f"error: DataImportCron {space.name}/{CRON} {words}" in error
        assert f"\nhint: {error.partition('hint: ')[2]}" in error
        assert setting in error.partition("hint: ")[2]
    assert space.all() == before


def test_what_cdi_would_remove_with_its_cron_is_refused(space, run):
    space.patch("pvc", OLD, {"metadata": {"labels": {naming.LABEL_CLEANUP: "true"}}})
    code, _, error = run(CRON, "-n", space.name)
    assert code == 2
    cure = re.search(rf"kubectl (label \S+ -n {space.name} {OLD} \S+-)$", error, re.MULTILINE)
    space.plane.kubectl(*cure[1].split())
    assert run(CRON, "-n", space.name)[0] == 0


def test_a_cron_of_ours_that_was_there_before_is_never_overwritten(space, run):
    space.made({"apiVersion": "dataimportcron.io/v1beta1", "kind": "DataImportCron",
                "metadata": space.metadata(CRON), "spec": SPEC})  # fmt: skip
    before = space.all()
    code, _, error = run(CRON, "-n", space.name)
    assert code == 1
    assert "exists already" in error
    assert space.all() == before


def test_all_moves_each_that_can_be_moved_and_says_why_not_the_others(space, run):
    space.cron("another", retentionPolicy="None", managedDataSource="another")
    code, told, error = run("--all", "-n", space.name)
    assert code == 2
    assert [line for line in told.splitlines() if not line.startswith("  ")] == [
        f"{space.name}/another:", f"{space.name}/{CRON}:",
    ]  # fmt: skip
    assert f"DataImportCron {space.name}/another has retentionPolicy None" in error
    assert OWN_LABEL in labels(space.the("datasource", SOURCE))
    code, told, _ = run("--all", "-n", space.name, "--undo")
    assert (code, told.splitlines()[0]) == (0, f"{space.name}/{CRON}:")
    assert naming.LABEL_CRON in labels(space.the("datasource", SOURCE))


def test_what_holds_cdis_cron_is_named_and_the_next_run_goes_on(space, run):
    space.patch(THEIRS, CRON, {"metadata": {"finalizers": ["cdi.kubevirt.io/dataImportCronFinalizer"]}})
    with pytest.raises(InUseError, match=r"still being deleted: held by cdi\.kubevirt\.io/dataImportCronFinalizer"):
        asyncio.run(walk(space, to_us, patience=0))
    code, _, error = run(CRON, "-n", space.name, "--undo")  # or both crons would be gone in the end
    assert (code, "is still being deleted" in error) == (1, True)
    space.patch(THEIRS, CRON, {"metadata": {"finalizers": []}})
    assert run(CRON, "-n", space.name)[0] == 0
    assert json.loads(annotations(space.the(OURS, CRON))[ANNOTATION_MIGRATED])["imports"] == {OLD: A, NEW: B}


def test_words_that_mean_no_cron_are_refused(empty, run):
    space = empty()
    assert run()[0] == 2
    assert run(CRON, "--all")[0] == 2
    code, _, error = run("nobody", "-n", space.name)
    assert (code, error.splitlines()[0]) == (
        2, f"error: there is no DataImportCron {space.name}/nobody of cdi.kubevirt.io",
    )  # fmt: skip
    assert run("--all", "-n", space.name)[:2] == (0, "No DataImportCron found.\n")


def test_without_cdi_there_is_nothing_to_be_moved(space, run):
    space.plane.kubectl("delete", "cdi", "cdi")
    try:
        code, _, error = run(CRON, "-n", space.name)
    finally:
        space.plane.apply(CDI)
    assert code == 2
    assert "CDI does not run on https://" in error


def test_the_look_at_cdi_sees_what_it_would_undo_and_delete(space):
    space.patch("pvc", NEW, {"metadata": {"labels": {naming.LABEL_CRON: None}}})
    assert list(what_cdi_would_do(space.all())) == [f"label v1/PersistentVolumeClaim/{NEW}"]
    space.patch("pvc", OLD, {"metadata": {"labels": {naming.LABEL_CLEANUP: "true"}}})
    space.plane.kubectl("delete", THEIRS, CRON, "-n", space.name)
    assert list(what_cdi_would_do(space.all())) == [f"delete v1/PersistentVolumeClaim/{OLD}"]
