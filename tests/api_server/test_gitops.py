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
from tests.cluster.control_plane import control_plane as run_control_plane
from tests.support.gitops import MOMENTS

GITOPS = CHECKOUT / "deploy" / "gitops"
_KINDS = {"DataImportCron": "dataimportcrons", "DataSource": "datasources", "DataVolume": "datavolumes"}


def checks():
    """Flux's checks by apiVersion and kind."""
    document = yaml.safe_load((GITOPS / "flux" / "health-checks.yaml").read_text())
    return {(check["apiVersion"], check["kind"]): check for check in document["spec"]["healthCheckExprs"]}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with run_control_plane(tmp_path_factory.mktemp("gitops")) as running:
        running.kubectl("create", "namespace", "golden-images")
        for version, kind in checks():
            group = version.partition("/")[0]
            running.apply(_definition(group, kind), *_policy(group, kind, checks()[version, kind]))
            running.kubectl("wait", "--for=condition=Established", f"crd/{_KINDS[kind]}.{group}")
        yield running


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
    assert {kind for _, kind in checks()} == set(_KINDS)


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
    with pytest.raises(TransientError) as refused:
        cluster.kubectl("create", "--dry-run=server", "-f", "-", document=document)
    failed, current = re.search(r"failed=(\w+) current=(\w+)", str(refused.value)).groups()
    return failed == "true", current == "true"


def _policy(group, kind, check):
    def bound(expression):
        return f"[object.status].all(status, [object.metadata].all(metadata, {expression}))"

    def said(word):
        return f"'{word}=' + string(variables.{word})"

    name = f"{kind.lower()}.{group}"
    rule = {"apiGroups": [group], "apiVersions": ["v1beta1"], "operations": ["CREATE"], "resources": [_KINDS[kind]]}
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
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


def _definition(group, kind):
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    names = {"plural": _KINDS[kind], "singular": kind.lower(), "kind": kind}
    version = {"name": "v1beta1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{_KINDS[kind]}.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


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
