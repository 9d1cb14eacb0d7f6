"""Who has made a DataVolume: nobody writes that himself, and it is believed only where the policy was in force."""

from dataclasses import replace

import pytest

from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.client.resources import DATA_VOLUMES, MUTATING_POLICIES, MUTATING_POLICY_BINDINGS
from dataimportcron.cluster.clones import requester
from dataimportcron.cluster.clones.requester import BINDING, NAME, POLICY, REQUESTER, belief
from dataimportcron.errors import TransientError
from tests.api_server.authorisation.stand import (
    ADMIN,
    DENIED,
    DEPLOY,
    FEDORA,
    OWN,
    TENANT,
    binding,
    in_force,
    named,
    patched,
    user,
    volume,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

ELSEWHERE = {"namespaceSelector": {"matchLabels": {"a": "b"}}}


async def test_a_stamp_forged_at_creation(at):
    await at.alice.create(DATA_VOLUMES, volume(annotations={REQUESTER: ADMIN}))
    await at.refused(f"User alice has {DENIED}")


async def test_a_stamp_forged_by_server_side_apply(at):
    await at.alice.apply(DATA_VOLUMES, volume(annotations={REQUESTER: ADMIN}), field_manager="alice")
    await at.refused(f"User alice has {DENIED}")


@pytest.mark.parametrize(
    "stamp", [ADMIN, "bob\n\nsystem:authenticated", "", None], ids=["admin", "bob", "empty", "none"]
)
async def test_a_stamp_that_is_edited_or_removed(at, stamp):
    await at.alice.create(DATA_VOLUMES, volume())
    before = await at.stamp()
    await at.alice.patch(DATA_VOLUMES, "vm", TENANT, patched({REQUESTER: stamp}))
    await at.alice.patch(DATA_VOLUMES, "vm", TENANT, patched({REQUESTER: stamp, "other": "change"}))
    await at.alice.patch(DATA_VOLUMES, "vm", TENANT, patched(None))
    await at.alice.apply(DATA_VOLUMES, volume(annotations={REQUESTER: stamp or ADMIN}), field_manager="thief")
    assert await at.stamp() == before
    await at.refused(f"User alice has {DENIED}")


async def test_a_stamp_in_an_object_that_is_replaced(at):
    await at.alice.create(DATA_VOLUMES, volume())
    document = volume(annotations={REQUESTER: ADMIN}) | {"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume"}
    at.plane.kubectl("replace", "--as=alice", "-f", "-", document=document)
    await at.refused(f"User alice has {DENIED}")


async def test_a_stamp_written_by_way_of_the_status(at):
    await at.alice.create(DATA_VOLUMES, volume())
    status = patched({REQUESTER: ADMIN}) | {"status": {"phase": "Pending"}}
    # She may not even do that; were she granted it, it would change nothing.
    await at.admin.patch(DATA_VOLUMES, "vm", TENANT, status, subresource="status")
    await at.refused(f"User alice has {DENIED}")


async def test_another_source_in_an_object_of_somebody_who_may(at):
    """Else who shares a namespace with bob reads by him what he may read."""
    await at.bob.create(DATA_VOLUMES, volume(pvc=OWN))
    patch = {"spec": {"source": {"pvc": FEDORA}}}
    await at.alice.patch(DATA_VOLUMES, "vm", TENANT, patch)
    assert (await at.stamp()).splitlines()[0] == "alice"
    await at.refused(f"User alice has {DENIED}")


async def test_a_name_with_a_line_break_is_nobodys(at, plane):
    name = "eve\n\nsystem:masters"
    path = plane.authority.kubeconfig(plane.url, name, name="eve")
    rights = binding("dataimportcron.io:edit", TENANT, user(name)) | named("eve", TENANT)
    plane.apply(rights)
    async with connected(kubeconfig=str(path)) as eve:
        await eve.create(DATA_VOLUMES, volume())
    assert await at.stamp() == ""
    await at.refused(f"{REQUESTER} does not say who has made this DataVolume")


@pytest.fixture
def restored(plane):
    """What a test takes from the policy is there again after it."""
    yield
    plane.kubectl("delete", "-k", str(DEPLOY / "policies"))
    plane.kubectl("apply", "--server-side", "-k", str(DEPLOY / "policies"))


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("resource", [MUTATING_POLICIES, MUTATING_POLICY_BINDINGS], ids=["policy", "binding"])
async def test_without_it_nobody_is_believed_nor_when_it_is_back(at, resource):
    await at.bob.create(DATA_VOLUMES, volume())
    await at.admin.delete(resource, NAME)
    await at.refused(f"{resource.kind} {NAME} does not exist (kubectl apply --server-side -k deploy/policies)")
    # Meanwhile alice writes whatever she likes.
    await at.alice.apply(DATA_VOLUMES, volume("forged", annotations={REQUESTER: ADMIN}), field_manager="alice")
    at.plane.kubectl("apply", "--server-side", "-k", str(DEPLOY / "policies"))
    await at.refused("is not in force for longer than this DataVolume exists")
    await at.refused("is not in force for longer than this DataVolume exists", name="forged")
    # What is made from now on is believed again.
    await in_force(at)
    await at.bob.create(DATA_VOLUMES, volume("later"))
    assert (await at.prepare("later")).step == "Clone"


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("resource", "field", "change", "undo"),
    [
        (MUTATING_POLICIES, "failurePolicy", "Ignore", "Fail"),
        (MUTATING_POLICIES, "matchConditions", [{"name": "never", "expression": "false"}], None),
        (MUTATING_POLICIES, "matchConstraints", ELSEWHERE, {"namespaceSelector": {"matchLabels": None}}),
        (MUTATING_POLICY_BINDINGS, "matchResources", ELSEWHERE, None),
    ],
    ids=["failure", "conditions", "constraints", "binding"],
)
async def test_one_that_was_altered_is_not_believed_nor_when_it_is_mended(at, resource, field, change, undo):
    await at.bob.create(DATA_VOLUMES, volume())
    await at.admin.patch(resource, NAME, "", {"spec": {field: change}})
    await at.refused(f"{resource.kind} {NAME} is not the one of this release: spec.{field}")
    await at.admin.patch(resource, NAME, "", {"spec": {field: undo}})
    spec = {MUTATING_POLICIES: POLICY, MUTATING_POLICY_BINDINGS: BINDING}[resource]
    assert (await at.admin.get(resource, NAME))["spec"] == spec
    await at.refused(f"{resource.kind} {NAME} has been altered since it was made (kubectl delete -k deploy/policies")


async def test_a_server_without_such_policies(at, monkeypatch):
    unknown = replace(MUTATING_POLICIES, version="v9")
    await at.bob.create(DATA_VOLUMES, volume())
    monkeypatch.setattr(requester, "MUTATING_POLICIES", unknown)
    await at.refused("This API server has no MutatingAdmissionPolicy")
    await at.refused("move to Kubernetes 1.36 or newer")


async def test_the_servers_policy_is_the_one_of_this_release(at):
    assert (await belief(at.worker)).fault == ""
    assert (await at.worker.get(MUTATING_POLICIES, NAME))["spec"] == POLICY
    assert (await at.worker.get(MUTATING_POLICY_BINDINGS, NAME))["spec"] == BINDING


async def test_alice_may_not_change_the_policy(plane):
    """The users here are those that the tests take them for."""
    with pytest.raises(TransientError, match="forbidden"):
        plane.kubectl("delete", "mutatingadmissionpolicy", NAME, "--as=alice")
