"""API server, nodes, CDI, definitions, webhooks: each finding provoked, and gone when its cure was followed."""

import asyncio
import json
import socket
from dataclasses import replace

import pytest
import yaml

from dataimportcron.cluster.client.resources import MUTATING_POLICIES
from dataimportcron.cluster.clones import requester
from dataimportcron.cluster.watching.detection import CDI_LEASE
from tests.api_server.doctor.conftest import DEPLOY, GOLDEN, WORKER, all_findings, define, healed, lease, now, of, only
from tests.api_server.objects.definitions import definition
from tests.support.running import running
from worker.doctor.cluster import api_server
from worker.doctor.cluster.checks import check
from worker.doctor.finding import Level


async def test_a_server_that_does_not_answer_is_one_finding(tmp_path, monkeypatch, plane):
    broken = yaml.safe_load(plane.kubeconfig.read_text())
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        broken["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{nobody.getsockname()[1]}"
        (tmp_path / "config").write_text(yaml.safe_dump(broken))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        found = await all_findings()
    assert [(one.what, one.level) for one in found] == [("program", Level.OK), ("API server", Level.WRONG)]
    assert "does not answer" in found[1].found


async def test_a_context_that_is_not_there_is_said():
    found = [one async for one in check("nowhere", WORKER, now())]
    assert [(one.what, one.wrong) for one in found] == [("program", False), ("kubeconfig", True)]
    assert "nowhere" in found[1].found


async def test_the_version_is_named_and_one_that_is_too_old(plane):
    assert plane.url in (await only("API server")).found
    old = api_server.check_version("https://old", {"gitVersion": "v1.28.9+k3s1"})
    assert (old.level, old.cure) == (Level.WRONG, "upgrade to 1.29 or newer")
    assert api_server.check_version("https://new", {"gitVersion": "v1.29.0-eks-1"}).level is Level.OK


async def test_nodes_and_how_they_pull(plane):
    assert (await only("nodes")).found == "there is none: no import pod can run"
    plane.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"}, "spec": {"unschedulable": True}})
    try:
        assert "runs the images instead" in (await only("nodes")).found
        info = {"kubeletVersion": "v1.35.0", "containerRuntimeVersion": "containerd://2.2.0"}
        empty = dict.fromkeys(
            ("architecture", "bootID", "kernelVersion", "kubeProxyVersion", "machineID", "operatingSystem",
             "osImage", "systemUUID"), "-",
        )  # fmt: skip
        patch = json.dumps({"status": {"nodeInfo": empty | info}})
        plane.kubectl("patch", "node", "one", "--type=merge", "--subresource=status", "-p", patch)
        assert "all mount images as volumes" in (await only("nodes")).found
    finally:
        plane.kubectl("delete", "node", "one")


async def test_whose_the_definitions_are(plane):
    [ours] = await of("definitions")
    assert ours.found.startswith("ours: cdiconfigs.cdi.kubevirt.io, ")
    label = ("label", "crd", "datasources.cdi.kubevirt.io")
    plane.kubectl(*label, "operator.cdi.kubevirt.io=")
    try:
        assert "of CDI's operator: datasources.cdi.kubevirt.io" in [one.found for one in await of("definitions")]
    finally:
        plane.kubectl(*label, "operator.cdi.kubevirt.io-")


@pytest.mark.usefixtures("_beside")
async def test_a_definition_that_is_missing_has_its_command(plane):
    assert "object CDI cdi exists" in (await only("mode")).found
    plane.kubectl("delete", "crd", "dataimportcrons.dataimportcron.io")
    try:
        missing = await only("mode")
        assert "does not know dataimportcrons.dataimportcron.io" in missing.found
        assert missing.cure == "kubectl apply --server-side -f deploy/crds/beside"
    finally:
        define(plane, "beside")
    await healed("mode")


async def test_cdi_without_its_object_is_known_by_its_lease(plane):
    assert (await only("mode")).found.startswith("without CDI")
    lease(plane, CDI_LEASE, GOLDEN, now())
    try:
        async with running(_renewing(plane)):
            assert f"{GOLDEN}/{CDI_LEASE}" in (await only("mode")).found
    finally:
        plane.kubectl("delete", "lease", CDI_LEASE, "-n", GOLDEN)


async def _renewing(plane):
    while True:
        await asyncio.sleep(1)
        await asyncio.to_thread(lease, plane, CDI_LEASE, GOLDEN, now())


async def test_kubevirt_waits_for_definitions_of_settings(plane):
    plane.apply(definition("kubevirt.io", "kubevirts", "KubeVirt", status=True))
    try:
        assert not await of("KubeVirt")
        plane.kubectl("delete", "crd", "storageprofiles.cdi.kubevirt.io")
        waits = await only("KubeVirt")
        assert "no virtual machine starts" in waits.found
        assert waits.found.endswith("waits for storageprofiles.cdi.kubevirt.io")
        assert waits.cure.startswith("kubectl apply --server-side -f deploy/crds/settings;")
        refused = await only("mode")
        assert "does not know storageprofiles.cdi.kubevirt.io" in refused.found
        assert refused.cure == "kubectl apply --server-side -f deploy/crds/settings"
        define(plane, "settings")
        assert not await of("KubeVirt")
    finally:
        define(plane, "settings")
        plane.kubectl("delete", "crd", "kubevirts.kubevirt.io")


async def test_a_webhook_that_cdi_has_left_behind(plane):
    rule = {"apiGroups": ["cdi.kubevirt.io"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["none"]}
    webhook = {
        "name": "datavolume-validate.cdi.kubevirt.io",
        "rules": [rule],
        "clientConfig": {"url": "https://127.0.0.1:9/"},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    plane.apply(kind | {"metadata": {"name": "cdi-api-validate"}, "webhooks": [webhook]})
    left = await only("webhooks")
    assert "ValidatingWebhookConfiguration cdi-api-validate asks about objects of cdi.kubevirt.io" in left.found
    plane.kubectl(*left.cure.partition("kubectl ")[2].split())
    await healed("webhooks")


async def test_a_server_without_admission_policies_has_no_clones_between_namespaces(monkeypatch):
    monkeypatch.setattr(requester, "MUTATING_POLICIES", replace(MUTATING_POLICIES, version="v9"))
    found = await only("clones")
    assert (found.level, "no MutatingAdmissionPolicy" in found.found) == (Level.NOTE, True)
    assert "1.36" in found.cure


async def test_clones_between_namespaces_need_a_policy(plane):
    await healed("clones")
    plane.kubectl("delete", "mutatingadmissionpolicy", "dataimportcron-requester")
    try:
        missing = await only("clones")
        assert missing.level is Level.WRONG
        assert missing.found.endswith("MutatingAdmissionPolicy dataimportcron-requester does not exist")
        assert missing.cure == "kubectl apply --server-side -k deploy/policies"
    finally:
        plane.kubectl("apply", "--server-side", "-k", str(DEPLOY / "policies"))
    await healed("clones")
