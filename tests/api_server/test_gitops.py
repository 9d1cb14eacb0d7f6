"""Health checks for GitOps tools, evaluated: Argo CD's by Lua 5.1, Flux's by the API server's own CEL.

Flux gives an expression the object's members as variables; an admission policy has the object, and binds them.
"""

import json
import re
import subprocess

import pytest
import yaml

from dataimportcron import errors
from dataimportcron.errors import TransientError
from deploy.image.build import CHECKOUT
from tests.api_server.objects.definitions import definition
from tests.support.gitops import MOMENTS

GITOPS = CHECKOUT / "deploy" / "gitops"
_GROUP = "gitops.example"


def checks():
    """Flux's checks by apiVersion and kind."""
    document = yaml.safe_load((GITOPS / "flux" / "health-checks.yaml").read_text())
    return {(check["apiVersion"], check["kind"]): check for check in document["spec"]["healthCheckExprs"]}


@pytest.fixture(scope="module")
def cluster(control_plane):
    """Where moments are objects of a kind of their own: ours lose their status when they are made."""
    control_plane.define(definition(_GROUP, "moments", "Moment", status=False))
    control_plane.apply(
        *(part for (version, kind), check in checks().items() for part in _policy(version, kind, check))
    )
    for version, kind in checks():
        nothing = {"apiVersion": version, "kind": kind, "metadata": {}, "status": {}}
        control_plane.processes.wait_until(
            f"the policy of {kind} is in force",
            lambda it=nothing: "ValidatingAdmissionPolicy" in _refusal(control_plane, it),
        )
    return control_plane


@pytest.mark.parametrize("moment", [pytest.param(moment, id=moment.name) for moment in MOMENTS if moment.argo])
def test_argo_cd_tells_what_it_is(moment):
    kustomization = yaml.safe_load((GITOPS / "argocd" / "kustomization.yaml").read_text())
    files = dict(entry.split("=") for entry in kustomization["configMapGenerator"][0]["files"])
    group = moment.document["apiVersion"].partition("/")[0]
    script = GITOPS / "argocd" / files[f"resource.customizations.health.{group}_{moment.document['kind']}"]
    program = f"obj = {_lua(moment.document)}\nlocal hs = (function()\n{script.read_text()}\nend)()\n"
    program += "print(hs.status)\nprint(hs.message)\n"
    done = subprocess.run(["lua5.1", "-"], input=program, capture_output=True, text=True, check=True)
    status, message = done.stdout.splitlines()
    assert status == moment.argo
    assert message
    assert message != "nil"


@pytest.mark.parametrize("moment", [pytest.param(moment, id=moment.name) for moment in MOMENTS])
def test_flux_tells_what_it_is(cluster, moment):
    # What Flux does before it asks, and the order in which it asks.
    observed = moment.document["status"].get("observedGeneration")
    if observed not in {None, moment.document["metadata"]["generation"]}:
        assert moment.flux == "InProgress"
        return
    failed, current = _evaluated(cluster, moment.document)
    assert ("Failed" if failed else "Current" if current else "InProgress") == moment.flux


def test_flux_takes_them_as_a_kustomization():
    check = yaml.safe_load((GITOPS / "flux" / "health-checks.yaml").read_text())
    assert check["apiVersion"] == "kustomize.toolkit.fluxcd.io/v1"
    assert {kind for _, kind in checks()} == {"DataImportCron", "DataSource", "DataVolume"}


def test_what_mends_itself_is_not_called_broken():
    lua = (GITOPS / "argocd" / "data-import-cron.lua").read_text()
    in_lua = set(re.findall(r"(\w+) = true", lua))
    for check in (value["failed"] for (_, kind), value in checks().items() if kind == "DataImportCron"):
        assert set(re.findall(r"'(\w+)'", check.partition("!(")[2])) == in_lua
    transient = {found.reason for found in _descendants(errors.TransientError)}
    permanent = {found.reason for found in _descendants(errors.PermanentError)}
    assert transient <= in_lua, "add them to deploy/gitops"
    assert not permanent & in_lua


def test_argo_cd_gets_them_by_a_component(cluster, tmp_path):
    (tmp_path / "argocd-cm.yaml").write_text(
        yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": {"a": "b"}})
    )
    subprocess.run(["cp", "-r", GITOPS / "argocd", tmp_path / "ours"], check=True)
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["argocd-cm.yaml"], "components": ["ours"]})
    )
    merged = yaml.safe_load(cluster.kubectl("kustomize", str(tmp_path)))
    assert merged["metadata"]["name"] == "argocd-cm"
    assert merged["data"]["a"] == "b"
    assert len(merged["data"]) == 4


def _evaluated(cluster, document):
    """Whether `failed` and `current` hold, as the policy's message says."""
    failed, current = re.search(r"failed=(\w+) current=(\w+)", _refusal(cluster, document)).groups()
    return failed == "true", current == "true"


def _refusal(cluster, document):
    """What is said of a moment, "" for as long as there is no policy for it."""
    metadata = {"name": "moment", "namespace": "default"}
    moment = {"apiVersion": f"{_GROUP}/v1beta1", "kind": "Moment", "metadata": metadata}
    try:
        cluster.kubectl("create", "--dry-run=server", "-f", "-", document=moment | {"spec": document})
    except TransientError as error:
        return error.message
    return ""


def _policy(version, kind, check):
    def bound(expression):
        return f"[object.spec.status].all(status, [object.spec.metadata].all(metadata, {expression}))"

    def said(word):
        return f"'{word}=' + string(variables.{word})"

    name = f"{kind.lower()}.{version.partition('/')[0]}"
    resources = {"apiGroups": [_GROUP], "apiVersions": ["v1beta1"], "operations": ["CREATE"], "resources": ["moments"]}
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [resources]},
            "matchConditions": [
                {"name": "kind", "expression": f"[object.spec.apiVersion, object.spec.kind] == ['{version}', '{kind}']"}
            ],
            "variables": [{"name": word, "expression": bound(check[word])} for word in ("failed", "current")],
            "validations": [
                {"expression": "false", "messageExpression": " + ".join((said("failed"), "' '", said("current")))},
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    return policy, binding


def _lua(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{json.dumps(key)}] = {_lua(member)}" for key, member in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ", ".join(_lua(member) for member in value) + "}"
    return json.dumps(value)


def _descendants(root):
    for found in root.__subclasses__():
        if found.__module__ == errors.__name__:
            yield found
        yield from _descendants(found)
