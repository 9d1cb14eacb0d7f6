"""Crons, what they name, and their storage: each finding provoked, and gone when its cure was followed."""

import json
from contextlib import suppress
from datetime import timedelta

import pytest

from dataimportcron.errors import TransientError
from demo.registry import registry
from tests.api_server.doctor.conftest import CONTEXT, CRON, GOLDEN, all_findings, define, healed, now, of, only
from tests.support.temporal import eventually
from worker.doctor.finding import Level


async def test_a_cron_that_fails_says_so_in_its_own_words(cron):
    condition = {"type": "UpToDate", "status": "False", "reason": "Unauthorized", "message": "quay.io says no"}
    polled = {"lastExecutionTimestamp": f"{now():%Y-%m-%dT%H:%M:%SZ}"}
    cron({"conditions": [condition], **polled})
    fails = await only(CRON)
    assert (fails.found, fails.level) == ("Unauthorized: quay.io says no", Level.WRONG)
    assert fails.cure.endswith(f"dataimportcron poll fedora-cron -n {GOLDEN} --context {CONTEXT} --wait")
    cron({"conditions": [condition | {"status": "True", "reason": "UpToDate", "message": "all is well"}], **polled})
    await healed(CRON)
    assert "overdue" in (await only(CRON, now() + timedelta(days=8))).found


@pytest.mark.usefixtures("_beside")
async def test_a_cron_beside_cdi_is_read_from_our_group(cron):
    condition = {"type": "UpToDate", "status": "False", "reason": "ImportFailed", "message": "too small"}
    cron({"conditions": [condition]}, kind="dataimportcron.io")
    assert (await only(CRON)).found == "ImportFailed: too small"


async def test_a_cron_that_cannot_be_read_names_its_field(cron, plane):
    definition = ("crd", "dataimportcrons.cdi.kubevirt.io")
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    path = "/spec/versions/0/schema/openAPIV3Schema"
    loosened = [{"op": "replace", "path": path, "value": anything}]
    plane.kubectl("patch", *definition, "--type=json", "-p", json.dumps(loosened))
    try:

        async def taken():
            with suppress(TransientError):  # the server serves the looser one a moment later
                cron(kept="three")
            return "spec.importsToKeep: " in (await only(CRON)).found

        await eventually(taken)
    finally:
        plane.kubectl("delete", "--all", "dataimportcrons.cdi.kubevirt.io", "-n", GOLDEN)
        define(plane, "standalone")


async def test_what_a_cron_names_and_is_not_there(cron, plane):
    cron(source={"secretRef": "login"})
    assert f"Secret {GOLDEN}/login" in (await only(CRON)).found
    assert not [one for one in await all_findings() if one.what.startswith("source ")]
    plane.kubectl("create", "secret", "generic", "login", "-n", GOLDEN, "--from-literal=accessKeyId=a",
                  "--from-literal=secretKey=hidden")  # fmt: skip
    try:
        found = await all_findings()
        assert [one.found for one in found if one.what == CRON] == ["has not been polled yet"]
        assert "hidden" not in str(found)
    finally:
        plane.kubectl("delete", "secret", "login", "-n", GOLDEN)


async def test_a_registry_is_asked_from_here(cron, plane, tmp_path):
    with registry(tmp_path) as running:
        host = running.url.removeprefix("https://")
        cron(source={"url": f"docker://{host}/absent:1", "certConfigMap": "ca"})
        where = ("-n", GOLDEN)
        plane.kubectl("create", "configmap", "ca", *where, f"--from-file=ca.crt={running.ca}")
        try:
            asked = await only(f"source docker://{host}/absent:1")
        finally:
            plane.kubectl("delete", "configmap", "ca", *where)
    assert asked.level is Level.NOTE
    assert "absent" in asked.found
    assert "from here" in asked.cure


def storage_class(plane, name, provisioner, **annotations):
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": provisioner}
    plane.apply(kind | {"metadata": {"name": name, "annotations": annotations}})


async def test_classes_that_crons_need(cron, plane):
    assert (await only("storage classes")).found == "there is none: no volume can be made"
    try:
        storage_class(plane, "strange", "example.com/strange")
        cron()
        lacking = await only("storage classes")
        assert lacking.found == f"strange; none is the default, and {GOLDEN}/fedora-cron name none"
        cron(storage={"storageClassName": "absent"})
        assert (await only("storage classes")).level is Level.NOTE
        assert "does not exist" in (await only("storage class absent")).found
        cron(storage={"storageClassName": "strange"})
        assert "nothing is known of its provisioner" in (await only("storage class strange")).found
        profile = {"metadata": {"name": "strange"}, "spec": {}}
        plane.apply({"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "StorageProfile", **profile})
        sets = {"status": {"claimPropertySets": [{"accessModes": ["ReadWriteMany"], "volumeMode": "Block"}]}}
        where = ("storageprofile", "strange", "--type=merge", "--subresource=status", "-p", json.dumps(sets))
        plane.kubectl("patch", *where)
        assert not await of("storage class strange")
        storage_class(plane, "known", "ebs.csi.aws.com", **{"storageclass.kubernetes.io/is-default-class": "true"})
        assert (await only("storage classes")).found == "known, strange; known is the default"
    finally:
        plane.kubectl("delete", "storageclass", "--all")
        plane.kubectl("delete", "storageprofile", "--all")


def claim(plane, name, **labels):
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": "gone"}
    metadata = {"name": name, "namespace": GOLDEN, "labels": labels}
    plane.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})


async def test_a_claim_that_waits_for_long_has_its_events_words(plane):
    later = now() + timedelta(minutes=20)
    claim(plane, "fedora-1", **{"app.kubernetes.io/managed-by": "dataimportcron"})
    try:
        assert (await only("claims")).level is Level.OK

        async def told():
            return (
                'storageclass.storage.k8s.io "gone" not found' in (await only(f"volume {GOLDEN}/fedora-1", later)).found
            )

        await eventually(told)
    finally:
        plane.kubectl("delete", "pvc", "fedora-1", "-n", GOLDEN)
    await healed("claims", later)


@pytest.mark.usefixtures("_beside")
async def test_an_import_with_both_labels_is_cdis_to_delete(plane):
    claim(plane, "both", **{"cdi.kubevirt.io/dataImportCron": "a", "dataimportcron.io/data-import-cron": "b"})
    try:
        found = await only(f"PersistentVolumeClaim {GOLDEN}/both")
        assert "CDI's label of its cron a beside ours" in found.found
        plane.kubectl(*found.cure.removeprefix("kubectl ").split())
        assert not await of(f"PersistentVolumeClaim {GOLDEN}/both")
    finally:
        plane.kubectl("delete", "pvc", "both", "-n", GOLDEN)


async def test_policies_that_refuse_an_import(cron, plane):
    cron()
    what = f"policies of {GOLDEN}"
    assert (await only(what)).level is Level.OK
    plane.kubectl("create", "quota", "none", "-n", GOLDEN, "--hard=pods=0")
    try:

        async def full():
            return "exceeded quota" in (await only(what)).found

        await eventually(full)
        assert (await only(what)).cure.startswith("raise the ResourceQuota")
    finally:
        plane.kubectl("delete", "quota", "none", "-n", GOLDEN)
    await healed(what)
    plane.apply(*_policy())
    try:

        async def refused():
            return "no Job of dataimportcron today" in (await only(what)).found

        await eventually(refused)
    finally:
        for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
            plane.kubectl("delete", kind, "no-jobs")
    await healed(what)


def _policy():
    rule = {"apiGroups": ["batch"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["jobs"]}
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "no Job of dataimportcron today"}],
    }
    version = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": "no-jobs"}}
    yield version | {"kind": "ValidatingAdmissionPolicy", "spec": spec}
    bound = {"policyName": "no-jobs", "validationActions": ["Deny"]}
    yield version | {"kind": "ValidatingAdmissionPolicyBinding", "spec": bound}


async def test_a_priority_that_is_not_there(cron, plane):
    cron()
    where = ("dataimportcrons.cdi.kubevirt.io", "fedora-cron", "-n", GOLDEN)
    named = {"spec": {"template": {"spec": {"priorityClassName": "urgent"}}}}
    plane.kubectl("patch", *where, "--type=merge", "-p", json.dumps(named))
    assert "no PriorityClass with name urgent was found" in (await only(f"policies of {GOLDEN}")).found
