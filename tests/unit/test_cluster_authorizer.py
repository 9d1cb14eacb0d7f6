"""Who wants a clone, as the API server writes it, and by which rights it is granted."""

import pytest
import yaml

from dataimportcron.cluster.authorizer import ways_to_clone
from dataimportcron.cluster.clones.requester import BINDING, NAME, POLICY, Belief, Requester
from dataimportcron.values import CloneSource, SourceKind
from deploy.image.build import CHECKOUT
from tests.support.facts import NOW


def test_what_is_deployed_is_what_is_compared():
    policy, binding = yaml.safe_load_all((CHECKOUT / "deploy/policies/requester.yaml").read_text())
    assert {policy["metadata"]["name"], binding["metadata"]["name"]} == {NAME}
    assert (policy["spec"], binding["spec"]) == (POLICY, BINDING)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        ("\n\nsystem:masters", None),
        ("alice", Requester(name="alice")),
        ("alice\n", Requester(name="alice", groups=())),
        ("alice\n7\na\nb", Requester(name="alice", uid="7", groups=("a", "b"))),
    ],
)
def test_a_requester_is_read(text, found):
    assert Requester.parse(text) == found


def test_a_service_account_has_the_groups_of_one():
    found = Requester.of_account("golden", "importer")
    assert found.name == "system:serviceaccount:golden:importer"
    assert found.groups == ("system:serviceaccounts", "system:serviceaccounts:golden", "system:authenticated")


@pytest.mark.parametrize(
    ("kind", "by_pod"), [(SourceKind.PVC, ["pods"]), (SourceKind.SNAPSHOT, ["pods", "pvcs"])], ids=str
)
def test_a03_the_rights_that_are_asked_for(kind, by_pod):
    source, pods = ways_to_clone(CloneSource(namespace="golden", name="fedora", kind=kind))
    right = {"group": "cdi.kubevirt.io", "resource": "datavolumes", "subresource": "source", "name": "fedora"}
    assert source == ({"namespace": "golden", "verb": "create"} | right,)
    assert pods == tuple({"namespace": "golden", "verb": "create", "resource": it} for it in by_pod)


def test_only_what_is_younger_than_the_policy_is_believed():
    assert "since 2026-11-23T12:00:00Z, and it was made at 2026-11-23T12:00:00Z" in Belief(since=NOW).doubt(NOW)
    assert Belief(since=NOW).doubt(NOW.replace(second=1)) == ""
    assert "made at an unknown time" in Belief(since=NOW).doubt(None)
    assert Belief(fault="It is gone", hint="bring it back").doubt(NOW) == "It is gone (bring it back)"
