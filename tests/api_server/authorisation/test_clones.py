"""Who may clone from another namespace, by CDI's rules; and what is cloned, whatever others change meanwhile."""

import pytest
from temporalio.exceptions import ApplicationError

from dataimportcron.api.types import DataImportCron, DataVolume
from dataimportcron.cluster.authorizer import ClusterAuthorizer
from dataimportcron.cluster.client.resources import DATA_IMPORT_CRONS, DATA_SOURCES, DATA_VOLUMES, ResourceType
from dataimportcron.cluster.clones.requester import REQUESTER
from dataimportcron.values import CloneSource, SourceKind
from tests.api_server.authorisation.stand import (
    ADMIN,
    DENIED,
    FEDORA,
    GOLDEN,
    OWN,
    SECRET,
    TENANT,
    account,
    binding,
    named,
    patched,
    until,
    user,
    volume,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

CRON_LABEL, CLONE_SOURCE = "cdi.kubevirt.io/dataImportCron", "dataimportcron.io/clone-source"
ROLES = ResourceType("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = ResourceType("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")


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


def image():
    """The golden image as a DataVolume that retention would remove."""
    return DataVolume.model_validate({"metadata": {"name": "fedora", "namespace": GOLDEN}})


async def test_only_who_may_clone_an_image_keeps_it_from_retention(at):
    await at.alice.create(DATA_VOLUMES, volume())
    await at.alice.create(DATA_VOLUMES, volume("noted", OWN, {CLONE_SOURCE: f"{GOLDEN}/fedora"}))
    for name in ("vm", "noted"):
        await at.seen(DataVolume, name)
    assert await at.uses.of(image()) == ""
    await at.bob.create(DATA_VOLUMES, volume("bobs"))
    await at.seen(DataVolume, "bobs")
    assert await at.uses.of(image()) == f"DataVolume {TENANT}/bobs is to be cloned from it"


async def test_a_data_source_keeps_an_image_of_another_namespace_where_its_own_may_clone_it(at):
    await at.point(at.bob, "pin", pvc=FEDORA)
    assert await at.uses.from_elsewhere(image()) == "", "whoever has made it, that is not on record"
    grant = binding("cdi.kubevirt.io:clone-sourcer", GOLDEN, account("default"))
    grant |= named("tenants")
    await at.admin.create(ROLE_BINDINGS, grant)
    try:
        await until(lambda: at.uses.from_elsewhere(image()))
        assert await at.uses.from_elsewhere(image()) == f"DataSource {TENANT}/pin points to it"
    finally:
        await at.admin.delete(ROLE_BINDINGS, "tenants", GOLDEN)


async def test_within_a_namespace_an_image_is_kept_by_whomever(at):
    await at.alice.create(DATA_VOLUMES, volume(pvc=OWN))
    await at.seen(DataVolume, "vm")
    own = DataVolume.model_validate({"metadata": {"name": "own", "namespace": TENANT}})
    assert await at.uses.of(own) == f"DataVolume {TENANT}/vm is to be cloned from it"
