"""Who may clone from another namespace: CDI's rules, and each way around them that an unprivileged user might try.

The worker runs under its service account with the roles of deploy/, the users have certificates of the cluster.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import pytest_asyncio
from temporalio.exceptions import ApplicationError

from dataimportcron.api.types import DataImportCron, DataVolume
from dataimportcron.cluster import requester
from dataimportcron.cluster.authorizer import ClusterAuthorizer
from dataimportcron.cluster.kubeconfig import connected
from dataimportcron.cluster.requester import BINDING, NAME, POLICY, REQUESTER, belief
from dataimportcron.cluster.resources import (
    DATA_IMPORT_CRONS,
    DATA_SOURCES,
    DATA_VOLUMES,
    MUTATING_POLICIES,
    MUTATING_POLICY_BINDINGS,
    ResourceType,
)
from dataimportcron.errors import TransientError
from dataimportcron.ports import CloneSource, SourceKind
from tests.api_server.clone_stand import (
    DEPLOY,
    FEDORA,
    GOLDEN,
    OWN,
    SECRET,
    TENANT,
    binding,
    in_force,
    install,
    stand,
    user,
    volume,
    worker_kubeconfig,
)
from tests.cluster.control_plane import control_plane as run_control_plane

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN = "system:admin\n\nsystem:masters\nsystem:authenticated"
"""What a forger would have the worker believe."""
DENIED = f"insufficient permissions in clone source namespace {GOLDEN}"
CRON_LABEL, CLONE_SOURCE = "cdi.kubevirt.io/dataImportCron", "dataimportcron.io/clone-source"
ELSEWHERE = {"namespaceSelector": {"matchLabels": {"a": "b"}}}
ROLES = ResourceType("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = ResourceType("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    """A control plane of its own: its policy writes on all DataVolumes."""
    with run_control_plane(tmp_path_factory.mktemp("authorisation")) as running:
        install(running)
        yield running


@pytest.fixture(scope="module")
def kubeconfigs(plane):
    people = [plane.authority.kubeconfig(plane.url, name) for name in ("alice", "bob")]
    return [plane.kubeconfig, worker_kubeconfig(plane), *people]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(plane, kubeconfigs):
    async with AsyncExitStack() as stack:
        yield await stand(stack, plane, kubeconfigs)
    await asyncio.sleep(0.25)  # TLS connections end after they are closed, says aiohttp


@pytest_asyncio.fixture(loop_scope="module")
async def at(shared):
    await in_force(shared)
    yield shared
    await shared.clear()


def patched(annotations):
    return {"metadata": {"annotations": annotations}}


# -- by the rules ------------------------------------------------------------------------------------------------------


async def test_who_may_clone_does(at):
    await at.bob.create(DATA_VOLUMES, volume())
    ready = await at.prepare()
    assert (ready.step, ready.source) == ("Clone", f"{GOLDEN}/fedora")
    await at.clone(ready)
    assert at.cloned.sources == [f"{GOLDEN}/fedora"]
    assert (await at.stamp()).splitlines() == ["bob", "", "system:authenticated"]


async def test_who_may_not_is_refused_in_cdis_words(at):
    await at.alice.create(DATA_VOLUMES, volume())
    await at.refused(f"User alice has {DENIED}")


async def test_within_a_namespace_nobody_is_asked(at):
    await at.alice.create(DATA_VOLUMES, volume(pvc=OWN))
    assert (await at.prepare()).step == "Clone"


async def test_a_right_that_comes_later_is_enough(at):
    await at.alice.create(DATA_VOLUMES, volume())
    await at.refused(DENIED)
    at.plane.apply(binding("cdi.kubevirt.io:clone-sourcer", GOLDEN, user("alice")) | named("alice"))
    try:
        assert (await at.prepare()).step == "Clone"
    finally:
        await at.admin.delete(ROLE_BINDINGS, "alice", GOLDEN)


@pytest.mark.parametrize(
    ("kind", "rights", "may"),
    [
        ("pvc", [("cdi.kubevirt.io", "datavolumes/source")], True),
        ("pvc", [("", "pods")], True),
        ("pvc", [("", "pvcs")], False),
        ("snapshot", [("cdi.kubevirt.io", "datavolumes/source")], True),
        ("snapshot", [("", "pods")], False),
        ("snapshot", [("", "pvcs")], False),
        ("snapshot", [("", "pods"), ("", "pvcs")], True),
    ],
)
async def test_a03_the_ways_to_clone(at, kind, rights, may):
    await at.alice.create(DATA_VOLUMES, volume())
    await at.seen(DataVolume, "vm")
    made = await at.objects.get(DataVolume, TENANT, "vm")
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "way", "namespace": GOLDEN},
        "rules": [{"apiGroups": [group], "resources": [it], "verbs": ["create"]} for group, it in rights],
    }
    bound = binding("way", GOLDEN, user("alice"))
    bound["roleRef"]["kind"] = "Role"
    await at.admin.create(ROLES, role)
    await at.admin.create(ROLE_BINDINGS, bound)
    try:
        refusal = await at.authorizer.refusal(made, CloneSource(namespace=GOLDEN, name="fedora", kind=SourceKind(kind)))
    finally:
        for resource in (ROLES, ROLE_BINDINGS):
            await at.admin.delete(resource, "way", GOLDEN)
    assert (refusal == "") is may


# -- the stamp ---------------------------------------------------------------------------------------------------------


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


# -- the policy --------------------------------------------------------------------------------------------------------


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


# -- what is cloned ----------------------------------------------------------------------------------------------------


async def test_a_forged_status_of_a_data_source(at):
    await at.point(at.alice, "ref", pvc=FEDORA)
    status = {"status": {"source": {"pvc": OWN}}}
    await at.admin.patch(DATA_SOURCES, "ref", TENANT, status, subresource="status")
    await at.alice.create(DATA_VOLUMES, volume(sourceRef={"kind": "DataSource", "name": "ref"}))
    await at.refused(DENIED)


async def test_a_data_source_that_points_elsewhere_before_the_clone(at):
    await at.point(at.alice, "ref", pvc=OWN)
    await at.alice.create(DATA_VOLUMES, volume(sourceRef={"kind": "DataSource", "name": "ref"}))
    ready = await at.prepare()
    await at.point(at.alice, "ref", pvc=FEDORA)
    await at.clone(ready)
    assert at.cloned.sources == [f"{TENANT}/own"]


async def test_a_data_source_that_points_elsewhere_after_creation(at):
    await at.point(at.alice, "ref", pvc=OWN)
    await at.alice.create(DATA_VOLUMES, volume(sourceRef={"kind": "DataSource", "name": "ref"}))
    await at.point(at.alice, "ref", pvc=FEDORA)
    await at.refused(DENIED)


async def test_chains_of_data_sources_into_other_namespaces(at):
    await at.point(at.admin, "images", GOLDEN, pvc={"namespace": SECRET, "name": "disk"})
    await at.point(at.admin, "pointer", GOLDEN, dataSource={"namespace": GOLDEN, "name": "images"})
    # bob may clone from where the DataSource is, and not from where it leads.
    reference = {"kind": "DataSource", "name": "pointer", "namespace": GOLDEN}
    await at.bob.create(DATA_VOLUMES, volume(sourceRef=reference))
    await at.refused(f"User bob has insufficient permissions in clone source namespace {SECRET}")
    await at.point(at.alice, "mine", dataSource={"namespace": GOLDEN, "name": "pointer"})
    await at.alice.create(DATA_VOLUMES, volume("hers", sourceRef={"kind": "DataSource", "name": "mine"}))
    await at.refused("refers to a DataSource in another namespace", "hers", "CloneWithoutSource")


async def test_a_forged_note_of_what_is_cloned(at):
    await at.alice.create(DATA_VOLUMES, volume(pvc=OWN))
    ready = await at.prepare()
    await at.alice.patch(DATA_VOLUMES, "vm", TENANT, patched({CLONE_SOURCE: f"{GOLDEN}/fedora"}))
    await at.clone(ready)
    assert at.cloned.sources == [f"{TENANT}/own"]


async def test_a_data_volume_that_is_made_anew_by_another_before_the_clone(at):
    await at.bob.create(DATA_VOLUMES, volume())
    ready = await at.prepare()
    await at.alice.delete(DATA_VOLUMES, "vm", TENANT)
    await at.alice.create(DATA_VOLUMES, volume(pvc=OWN))
    with pytest.raises(ApplicationError, match="No source has been chosen for DataVolume tenant/vm as it is now"):
        await at.clone(ready)
    assert not at.cloned.sources


async def test_a_right_that_is_taken_away_before_the_clone(at):
    at.plane.apply(binding("cdi.kubevirt.io:clone-sourcer", GOLDEN, user("alice")) | named("alice"))
    await at.alice.create(DATA_VOLUMES, volume())
    ready = await at.prepare()
    await at.admin.delete(ROLE_BINDINGS, "alice", GOLDEN)
    with pytest.raises(ApplicationError, match=DENIED) as raised:
        await at.clone(ready)
    assert raised.value.type == "CloneWithoutSource"  # it is prepared again, which says why
    await at.refused(DENIED)


# -- crons -------------------------------------------------------------------------------------------------------------


def cron(name, service_account=None, namespace=GOLDEN):
    spec = {
        "schedule": "0 5 * * *",
        "managedDataSource": name,
        "template": {"spec": volume(pvc={"namespace": namespace, "name": "fedora"})["spec"]},
    }
    return {"metadata": {"name": name, "namespace": TENANT}, "spec": spec | (service_account or {})}


@pytest.mark.parametrize("named_account", [{}, {"serviceAccountName": "somebody"}], ids=["default", "named"])
async def test_a02_a_cron_that_may_not_read_its_source(at, named_account):
    await at.alice.create(DATA_IMPORT_CRONS, cron("follows", named_account))
    decision = await at.look("follows")
    who = f"system:serviceaccount:{TENANT}:{named_account.get('serviceAccountName', 'default')}"
    assert (decision.verdict, decision.reason) == ("Failed", "NotAuthorized")
    status = (await at.admin.get(DATA_IMPORT_CRONS, "follows", TENANT))["status"]
    said = {it["type"]: (it["status"], it["reason"], it["message"]) for it in status["conditions"]}
    assert said["Progressing"] == ("False", "NotAuthorized", "Not authorized to create DataVolume")
    assert said["UpToDate"] == ("False", "NotAuthorized", f"User {who} has {DENIED}")
    assert "currentImports" not in status
    assert await at.admin.list(DATA_VOLUMES, TENANT) == []


async def test_a01_a02_a_cron_that_may(at):
    source = CloneSource(namespace=GOLDEN, name="fedora")
    for name, namespace in (("importer", GOLDEN), ("nobody", TENANT)):
        made = DataImportCron.model_validate(cron("follows", {"serviceAccountName": name}))
        where = CloneSource(namespace=namespace, name="fedora")
        assert await at.authorizer.refusal(made, where) == ""
    assert await at.authorizer.refusal(DataImportCron.model_validate(cron("follows")), source)


async def test_what_a_cron_imports_is_asked_for_its_account(at):
    await at.alice.create(DATA_IMPORT_CRONS, cron("allowed", {"serviceAccountName": "importer"}))
    await at.alice.create(DATA_IMPORT_CRONS, cron("denied"))
    for name in ("allowed", "denied"):
        await at.seen(DataImportCron, name)
        await at.worker.create(DATA_VOLUMES, volume(name, labels={CRON_LABEL: name}))
    assert (await at.stamp("denied")).startswith("system:serviceaccount:dataimportcron:dataimportcron\n")
    assert (await at.prepare("allowed")).step == "Clone"
    await at.refused(f"User system:serviceaccount:{TENANT}:default has {DENIED}", "denied")
    # To make it another's import, or none, is no way around either.
    await at.alice.patch(DATA_VOLUMES, "denied", TENANT, {"metadata": {"labels": {CRON_LABEL: None}}})
    await at.refused(f"User system:serviceaccount:{TENANT}:default has {DENIED}", "denied")


async def test_the_label_of_a_cron_on_somebodys_own_data_volume(at):
    await at.alice.create(DATA_IMPORT_CRONS, cron("allowed", {"serviceAccountName": "importer"}))
    await at.seen(DataImportCron, "allowed")
    await at.alice.create(DATA_VOLUMES, volume(labels={CRON_LABEL: "allowed"}))
    await at.refused(f"User alice has {DENIED}")


async def test_beside_cdi_only_crons_are_asked_for(at):
    beside = ClusterAuthorizer(at.worker, at.objects, beside=True)
    source = CloneSource(namespace=GOLDEN, name="fedora")
    await at.alice.create(DATA_IMPORT_CRONS, cron("allowed", {"serviceAccountName": "importer"}))
    await at.seen(DataImportCron, "allowed")
    imported = DataVolume.model_validate(volume("import", labels={CRON_LABEL: "allowed"}))
    assert await beside.refusal(imported, source) == ""
    forged = DataVolume.model_validate(volume("forged", annotations={REQUESTER: ADMIN}))
    assert await beside.refusal(forged, source) == f"User system:serviceaccount:{TENANT}:default has {DENIED}"


async def test_who_may_not_ask_is_told_so(at):
    """An install for one namespace: it has no right to ask for others."""
    poor = ClusterAuthorizer(at.alice, at.objects, beside=True)
    imported = DataVolume.model_validate(volume("import"))
    said = await poor.refusal(imported, CloneSource(namespace=GOLDEN, name="fedora"))
    assert said.startswith(f"Nothing is cloned from namespace {GOLDEN}: ")
    assert "cannot create resource" in said


async def test_alice_may_not_change_the_policy(plane):
    """The users here are those that the tests take them for."""
    with pytest.raises(TransientError, match="forbidden"):
        plane.kubectl("delete", "mutatingadmissionpolicy", NAME, "--as=alice")


def named(name, namespace=GOLDEN):
    """The metadata of a binding by another name."""
    return {"metadata": {"name": name, "namespace": namespace}}
