"""What kubectl's users do with objects of the kinds, and what CDI's clients write."""

import json
import os
import subprocess
from copy import deepcopy

import pytest

from dataimportcron.api.validation import read
from dataimportcron.errors import TransientError
from tests.cluster.binaries import binaries
from tests.support.admission import ADMITTED, CDI, DIGEST, OWN, URL

NOON = "2026-03-01T12:00:00Z"
GROUPS = pytest.mark.parametrize(
    ("version", "resource"),
    [(CDI, "dataimportcrons.cdi.kubevirt.io"), (OWN, "dataimportcrons.dataimportcron.io")],
    ids=["standalone", "beside"],
)


def cron(version, name):
    document = deepcopy(ADMITTED["v01"])
    return document | {"apiVersion": version, "metadata": {"name": name, "namespace": "default"}}


def conditions(ready="True", up_to_date="True"):
    told = {"Ready": (ready, "Ready"), "UpToDate": (up_to_date, "UpToDate"), "Progressing": ("False", "NoImport")}
    return [
        {"type": kind, "status": status, "reason": reason, "message": "m",
         "lastTransitionTime": NOON, "lastHeartbeatTime": NOON}
        for kind, (status, reason) in told.items()
    ]  # fmt: skip


def status_of(generation=1, **changes):
    return {
        "observedGeneration": generation,
        "currentImports": [{"DataVolumeName": "test-datasource-68b44fc891f3", "Digest": DIGEST}],
        "lastImportedPVC": {"namespace": "default", "name": "test-datasource-68b44fc891f3"},
        "lastExecutionTimestamp": NOON,
        "lastImportTimestamp": NOON,
        "sourceFormat": "pvc",
        "conditions": conditions(**changes),
    }


def write_status(api, resource, name, status):
    patch = json.dumps({"status": status})
    api.kubectl("patch", resource, name, "--subresource=status", "--type=merge", "-p", patch)


def columns(text):
    heading, *rows = text.splitlines()
    starts = [i for i, c in enumerate(heading) if c != " " and heading[max(i - 3, 0) : i].strip() == ""]
    ends = [*starts[1:], None]
    return [[line[a:b].strip() for a, b in zip(starts, ends, strict=True)] for line in (heading, *rows)]


@GROUPS
def test_status_is_a_subresource_and_a_spec_may_change(api, version, resource):
    api.apply(cron(version, "changes") | {"status": {"sourceFormat": "snapshot"}})
    assert "status" not in api.get(resource, "changes")
    write_status(api, resource, "changes", status_of())
    stored = api.get(resource, "changes")
    assert (stored["status"], stored["metadata"]["generation"]) == (status_of(), 1)
    changed = cron(version, "changes")
    changed["spec"] |= {"schedule": "@daily", "importsToKeep": 5, "managedDataSource": "another"}
    api.apply(changed)
    stored = api.get(resource, "changes")
    assert (stored["metadata"]["generation"], stored["spec"]["schedule"]) == (2, "@daily")
    assert stored["status"] == status_of()


@GROUPS
def test_server_side_apply_shares_an_object_and_names_who_else_has_a_field(api, version, resource):
    document = cron(version, "shared")
    api.kubectl("apply", "--server-side", "--field-manager=git", "-f", "-", document=document)
    api.kubectl("annotate", resource, "shared", "dataimportcron.io/suspend=true", "--field-manager=person")
    document["spec"]["importsToKeep"] = 2
    api.kubectl("apply", "--server-side", "--field-manager=git", "-f", "-", document=document)
    stored = api.get(resource, "shared")
    assert stored["metadata"]["annotations"]["dataimportcron.io/suspend"] == "true"
    document["spec"]["importsToKeep"] = 4
    with pytest.raises(TransientError, match=r'conflict with "git": \.spec\.importsToKeep'):
        api.kubectl("apply", "--server-side", "--field-manager=robot", "-f", "-", document=document)


@GROUPS
def test_an_editors_change_is_stored_and_a_wrong_one_refused(api, version, resource, tmp_path):
    api.apply(cron(version, "edited"))
    editor = tmp_path / "editor"
    seen = tmp_path / "seen"
    editor.write_text(f'#!/bin/sh\ncp "$1" {seen}\nexec sed -i "s/schedule: .*/schedule: \'$SCHEDULE\'/" "$1"\n')
    editor.chmod(0o755)
    kubectl = [binaries("control-plane") / "kubectl", "--kubeconfig", api.kubeconfig]

    def edit(schedule):
        own = {"EDITOR": str(editor), "SCHEDULE": schedule, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
        environment = os.environ | own
        command = [*kubectl, "edit", resource, "edited"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert "edited" in edit("0 5 * * *").stdout
    assert api.get(resource, "edited")["spec"]["schedule"] == "0 5 * * *"
    assert edit("0 25 * * *").returncode == 1
    # kubectl opens the editor once more, with the reason on top.
    assert "Illegal cron schedule" in seen.read_text()
    assert api.get(resource, "edited")["spec"]["schedule"] == "0 5 * * *"


@GROUPS
def test_wait_and_watch_see_it_become_ready(api, version, resource):
    api.apply(cron(version, "awaited"))
    kubectl = [binaries("control-plane") / "kubectl", "--kubeconfig", api.kubeconfig]
    wait = [*kubectl, "wait", f"{resource}/awaited", "--for=condition=Ready", "--timeout=60s"]
    watch = [*kubectl, "get", resource, "awaited", "-w", "-o", "wide"]
    with (
        subprocess.Popen(wait, stdout=subprocess.PIPE, text=True) as waiting,
        subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as watching,
    ):
        try:
            lines = [watching.stdout.readline() for _ in range(2)]
            assert "awaited" in lines[1]
            assert "True" not in lines[1]
            write_status(api, resource, "awaited", status_of())
            assert watching.stdout.readline().count("True") == 2
            assert waiting.wait(60) == 0
            assert "condition met" in waiting.stdout.read()
        finally:
            watching.terminate()
            waiting.kill()


def test_our_columns_tell_what_a_person_asks_first(api):
    api.apply(cron(OWN, "columns"))
    write_status(api, "dicron", "columns", status_of(up_to_date="False"))
    heading, row = columns(api.kubectl("get", "dicrons", "columns"))
    assert heading == ["NAME", "SCHEDULE", "SOURCE", "READY", "UPTODATE", "LAST IMPORT", "AGE"]
    assert row[:5] == ["columns", "30 1 * * 1", URL, "True", "False"]
    assert row[5].endswith("d")
    assert row[6].endswith("s")


@pytest.mark.parametrize(("case", "source"), [("v01", URL), ("v02-tag", "rhel8-is:latest"), ("pvc-source", "golden")])
def test_the_column_source_shows_whatever_is_followed(api, case, source):
    document = ADMITTED[case] | {"apiVersion": OWN, "metadata": {"name": f"follows-{case}", "namespace": "default"}}
    api.apply(document)
    assert columns(api.kubectl("get", "dicron", f"follows-{case}"))[1][2] == source


def test_cdis_columns_are_cdis_and_wide_ones_ours(api):
    api.apply(cron(CDI, "narrow"))
    write_status(api, "dic", "narrow", status_of())
    assert columns(api.kubectl("get", "dic", "narrow")) == [["NAME", "FORMAT"], ["narrow", "pvc"]]
    wide = columns(api.kubectl("get", "dics", "narrow", "-o", "wide"))[0]
    assert wide == ["NAME", "FORMAT", "SCHEDULE", "SOURCE", "READY", "UPTODATE", "LAST IMPORT", "AGE"]
    volume = deepcopy(ADMITTED["k01"])
    volume["metadata"]["name"] = "narrow"
    api.apply(volume)
    write_status(api, "dv", "narrow", {"phase": "ImportInProgress", "progress": "12.34%", "restartCount": 1})
    heading, row = columns(api.kubectl("get", "dvs", "narrow"))
    assert heading == ["NAME", "PHASE", "PROGRESS", "RESTARTS", "AGE"]
    assert row[:4] == ["narrow", "ImportInProgress", "12.34%", "1"]
    source = deepcopy(ADMITTED["no-source-yet"])
    source["metadata"]["name"] = "narrow"
    api.apply(source)
    assert columns(api.kubectl("get", "das", "narrow"))[0] == ["NAME", "AGE"]
    everything = api.kubectl("get", "all")
    for kind in ("dataimportcron", "datasource", "datavolume"):
        assert f"{kind}.cdi.kubevirt.io/narrow" in everything
    assert "dataimportcron.dataimportcron.io/" in everything


GO_TYPES = {
    "cron": {
        "apiVersion": CDI,
        "kind": "DataImportCron",
        "metadata": {"name": "written-by-go", "namespace": "default", "creationTimestamp": None},
        "spec": {
            "template": {
                "metadata": {"creationTimestamp": None, "labels": {"team": "images"}, "annotations": {"a/b": "c"}},
                "spec": {
                    "source": {"registry": {"url": URL, "pullMethod": "node", "platform": {"architecture": "arm64"}}},
                    "storage": {"resources": {"requests": {"storage": "5Gi"}}},
                },
                "status": {},
            },
            "schedule": "30 1 * * 1",
            "managedDataSource": "fedora",
            "importsToKeep": 2,
            "retentionPolicy": "All",
        },
        "status": {},
    },
    "volume": {
        "apiVersion": CDI,
        "kind": "DataVolume",
        "metadata": {"name": "written-by-go", "namespace": "default", "creationTimestamp": None},
        "spec": {
            "sourceRef": {"kind": "DataSource", "namespace": "golden-images", "name": "fedora"},
            "storage": {"resources": {}},
        },
        "status": {},
    },
    "source": {
        "apiVersion": CDI,
        "kind": "DataSource",
        "metadata": {"name": "written-by-go", "namespace": "default", "creationTimestamp": None},
        "spec": {"source": {}},
        "status": {"source": {}},
    },
}


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(it) for key, it in value.items() if it is not None}
    return value


@pytest.mark.parametrize("document", GO_TYPES.values(), ids=GO_TYPES)
def test_what_cdis_go_types_write_is_kept_and_read_without_loss(api, document):
    api.kubectl("create", "--validate=strict", "-f", "-", document=document)
    stored = api.get(document["kind"].lower() + "s.cdi.kubevirt.io", "written-by-go")
    assert without_nulls(stored["spec"]) == without_nulls(document["spec"])
    assert without_nulls(read(stored).document()) == without_nulls(stored)


@pytest.mark.parametrize("document", GO_TYPES.values(), ids=GO_TYPES)
def test_fields_of_a_newer_cdi_survive_our_reading_and_writing(document):
    newer = deepcopy(document)
    newer["spec"]["aNewField"] = {"deep": [1, {"er": None}]}
    newer["status"] = {"conditions": [{"type": "Ready", "status": "True", "observed": 3, "lastTransitionTime": None}]}
    newer["status"]["more"] = "kept"
    written = read(newer).document()
    assert written["spec"]["aNewField"] == newer["spec"]["aNewField"]
    assert written["status"]["more"] == "kept"
    assert written["status"]["conditions"][0]["observed"] == 3


def test_a_condition_without_times_may_be_written(api):
    api.apply(cron(CDI, "timeless"))
    timeless = [{"type": "UpToDate", "status": "False", "lastTransitionTime": None, "lastHeartbeatTime": None}]
    api.kubectl("apply", "--server-side", "--subresource=status", "--field-manager=go", "-f", "-", document={
        **cron(CDI, "timeless"), "status": {"conditions": timeless},
    })  # fmt: skip
    (condition,) = read(api.get("dic", "timeless")).status.conditions
    assert (condition.type, condition.last_transition_time) == ("UpToDate", None)
