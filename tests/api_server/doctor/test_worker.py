"""The worker, its rights and who leads: each finding provoked, and gone when its cure was followed."""

import json
from datetime import timedelta

import pytest
import yaml

from tests.api_server.doctor.conftest import CONTEXT, DEPLOY, GOLDEN, WORKER, healed, lease, now, of, only
from tests.support.temporal import eventually
from worker.doctor.cluster import rights
from worker.doctor.cluster.checks import check
from worker.doctor.finding import Level


@pytest.mark.parametrize("mode", ["standalone", "beside"])
def test_the_rights_that_are_asked_for_are_those_that_deploy_grants(mode):
    files = [DEPLOY / "rbac" / name / "role.yaml" for name in ("objects", mode, "cluster")]
    if mode == "standalone":
        files.append(DEPLOY / "rbac" / mode / "settings.yaml")
    files.append(DEPLOY / "base" / "service-account.yaml")
    granted = {
        (group, resource, verb, name)
        for file in files
        for document in yaml.safe_load_all(file.read_text())
        for rule in document.get("rules", ())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }
    alone = (*rights.STANDALONE, *rights.SETTINGS, *rights.HANDOVER)
    kinds = alone if mode == "standalone" else rights.BESIDE
    table = (*rights.OBJECTS, *kinds, *rights.CLUSTER, *rights.LEADER)
    assert {(it.group, it.resource, verb, it.name) for it in table for verb in it.verbs.split()} == granted


async def lacks_rights():
    return (await only("rights")).wrong


async def test_rights_that_the_worker_lacks_are_named(plane):
    await healed("rights")
    plane.kubectl("delete", "clusterrolebinding", "dataimportcron-objects")
    try:
        await eventually(lacks_rights)
        missing = await only("rights")
        assert "system:serviceaccount:dataimportcron:dataimportcron may not " in missing.found
        assert "get, list, create, patch, delete jobs.batch" in missing.found
        assert "dataimportcrons" not in missing.found
    finally:
        plane.kubectl("apply", "--server-side", "-k", str(DEPLOY / "rbac/objects"))
    await healed("rights")


@pytest.mark.usefixtures("_beside")
async def test_rights_for_the_kinds_of_the_other_mode():
    missing = await only("rights")
    assert "patch dataimportcrons.dataimportcron.io/status" in missing.found
    assert missing.cure.endswith("…/beside")


async def test_a_worker_that_is_not_deployed():
    found = [one async for one in check(CONTEXT, GOLDEN, now()) if one.what == "worker"]
    assert [one.found for one in found] == [f"there is no Deployment {GOLDEN}/dataimportcron"]
    assert "--namespace" in found[0].cure


async def test_pods_that_are_not_ready_are_said(plane):
    none = await only("worker")
    assert none.found.startswith(f"no pod of Deployment {WORKER}/dataimportcron is ready")
    pods = [pod["metadata"]["name"] for pod in plane.get("pods", "-n", WORKER)["items"]]
    ready = json.dumps({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})

    def make_ready(pod):
        plane.kubectl("patch", "pod", pod, "-n", WORKER, "--subresource=status", "-p", ready)

    make_ready(pods[0])

    async def some():
        return "1 of 2 pods" in (await only("worker")).found

    await eventually(some)
    make_ready(pods[1])
    await healed("worker")
    deployment = ("deployment/dataimportcron", "-n", WORKER)
    plane.kubectl("scale", *deployment, "--replicas=0")
    assert "is scaled to 0" in (await only("worker")).found
    plane.kubectl("scale", *deployment, "--replicas=2")


async def test_an_image_of_import_pods_that_is_not_the_workers(plane):
    assert (await only("image")).level is Level.OK
    deployment = ("deployment/dataimportcron", "-n", WORKER)
    plane.kubectl("set", "image", *deployment, "worker=r.example/dataimportcron:9")
    other = await only("image")
    assert other.found == "import pods run localhost/dataimportcron:0.1.0, and the worker is r.example/dataimportcron:9"
    plane.kubectl(*other.cure.rpartition("kubectl ")[2].split())
    assert (await only("image")).found == "r.example/dataimportcron:9"


async def test_settings_that_cannot_be_used_and_config_maps_that_are_gone(plane):
    deployment = plane.get("deployment", "dataimportcron", "-n", WORKER)
    pod = deployment["spec"]["template"]["spec"]
    settings = next(volume["configMap"]["name"] for volume in pod["volumes"] if volume["name"] == "settings")
    temporal = pod["containers"][0]["envFrom"][0]["configMapRef"]["name"]
    before = [plane.get("configmap", name, "-n", WORKER) for name in (settings, temporal)]
    wrong = {"data": {"settings.toml": "concurent_imports = 3\n"}}
    plane.kubectl("patch", "configmap", settings, "-n", WORKER, "--type=merge", "-p", json.dumps(wrong))
    try:
        assert "concurent_imports" in (await only("settings")).found
        other = {"data": {"settings.toml": 'mode = "beside"\n'}}
        plane.kubectl("patch", "configmap", settings, "-n", WORKER, "--type=merge", "-p", json.dumps(other))
        assert (await only("mode")).found == "the settings say beside, and CDI is not here"
        one = {"data": {"settings.toml": 'namespace = "golden-images"\n'}}
        plane.kubectl("patch", "configmap", settings, "-n", WORKER, "--type=merge", "-p", json.dumps(one))
        await healed("settings")
        plane.kubectl("delete", "clusterrolebinding", "dataimportcron-kinds")
        await eventually(lacks_rights)
        assert "patch dataimportcrons.cdi.kubevirt.io/status in golden-images" in (await only("rights")).found
        plane.kubectl("delete", "configmap", settings, temporal, "-n", WORKER)
        absent = [one.found for one in await of("worker")][1:]
        gone = [f"ConfigMap {WORKER}/{name} does not exist" for name in (settings, temporal)]
        assert [one.partition(",")[0] for one in absent] == gone
    finally:
        for one in before:
            one["metadata"] = {key: one["metadata"][key] for key in ("name", "namespace", "labels")}
            plane.apply(one)
        plane.kubectl("apply", "--server-side", "-k", str(DEPLOY / "rbac/standalone"))
    await healed("settings")


async def test_who_leads(plane):
    assert "no worker has led yet" in (await only("leader")).found
    try:
        lease(plane, "dataimportcron", WORKER, now() - timedelta(hours=3))
        assert (await only("leader")).found == "nobody leads: worker-1 has not renewed its Lease for 3h"
        lease(plane, "dataimportcron", WORKER, now(), holder="")
        assert (await only("leader")).wrong
        lease(plane, "dataimportcron", WORKER, now())
        leads = await only("leader")
        assert (leads.level, leads.found.partition(",")[0]) == (Level.OK, "worker-1")
    finally:
        plane.kubectl("delete", "lease", "dataimportcron", "-n", WORKER)
