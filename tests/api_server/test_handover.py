"""Volumes are handed over to another namespace; the controllers of a real control plane bind the claims."""

import asyncio
from types import SimpleNamespace

import pytest

from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.client.resources import NAMESPACES, PODS, PVCS, PVS, STORAGE_CLASSES
from dataimportcron.cluster.clones.handover import HANDED_OVER, Handover, immovable, reference
from dataimportcron.errors import (
    AlreadyExistsError,
    ConflictError,
    DataImportCronError,
    ForeignVolumeError,
    InUseError,
    InvalidObjectError,
)
from tests.api_server.handover_stand import (
    GOLDEN,
    NUMBERS,
    OTHER,
    TENANT,
    Claims,
    Killed,
    KilledError,
    Meddled,
    claim_of,
)
from tests.support.running import all_closed

POLICIES = pytest.mark.parametrize("policy", ["Delete", "Retain"])


@pytest.fixture
async def claims(control_plane):
    async with connected(kubeconfig=str(control_plane.kubeconfig)) as connection:
        for name in (GOLDEN, TENANT, OTHER):
            await made(connection, NAMESPACES, {"metadata": {"name": name}})
        for name, mode in (("now", "Immediate"), ("later", "WaitForFirstConsumer")):
            storage_class = {"metadata": {"name": name}, "provisioner": "csi.example.org", "volumeBindingMode": mode}
            await made(connection, STORAGE_CLASSES, storage_class)
        yield Claims(connection)
    await all_closed()


async def made(connection, resource, body):
    try:
        await connection.create(resource, body)
    except AlreadyExistsError:
        return


@POLICIES
@pytest.mark.parametrize("storage_class", ["now", "later"])
async def test_a_volume_becomes_another_namespaces(claims, policy, storage_class):
    pair = await claims.make(policy, storage_class)
    assert pair.target["spec"]["dataSourceRef"] == reference(pair.name)  # no definition of the kind is needed
    assert pair.target["status"]["phase"] == "Pending"
    await claims.is_handed_over(pair, await claims.move(pair))
    volume = await claims.volume(pair)
    assert volume["spec"]["persistentVolumeReclaimPolicy"] == policy
    assert volume["spec"]["storageClassName"] == storage_class
    assert volume["metadata"]["annotations"][HANDED_OVER] == f"{GOLDEN}/{pair.name}"


@POLICIES
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
async def test_killed_at_each_request_and_started_again(claims, policy, done):
    async def survives(number):
        pair = await claims.make(policy)
        try:
            await claims.move(pair, Killed(claims.connection, number, done=done))
        except KilledError:
            await claims.is_handed_over(pair, await claims.again(pair))
            return True
        return False

    # So many requests it has at least: six until the volume is given away, five until the first claim is deleted.
    assert all(await asyncio.gather(*(survives(number) for number in range(1, 12))))


async def test_a_hand_over_writes_twice(claims):
    pair, writes = await claims.make(), []

    class Counted:
        def __getattr__(self, name):
            writes.append(name) if name in {"patch", "create", "apply", "delete"} else None
            return getattr(claims.connection, name)

    await claims.move(pair, Counted())
    assert writes == ["patch", "delete"]


@POLICIES
async def test_a_worker_that_wakes_up_late_changes_nothing(claims, policy):
    pair = await claims.make(policy)

    async def another_worker():
        await claims.again(pair)

    bound = await claims.move(pair, Meddled(claims.connection, another_worker))
    await claims.is_handed_over(pair, bound)


@POLICIES
async def test_a_worker_that_wakes_up_late_takes_nothing_from_the_next_target(claims, policy):
    pair = await claims.make(policy)
    late = SimpleNamespace(**vars(pair))

    async def another_worker_and_another_target():
        await claims.delete(pair, TENANT)
        await claims.connection.create(PVCS, claim_of(pair.name, TENANT, "now", dataSourceRef=reference(pair.name)))
        pair.target = await claims.claim(pair.name)
        await claims.again(pair)

    with pytest.raises(ConflictError, match="was deleted after it had got"):
        await claims.move(late, Meddled(claims.connection, another_worker_and_another_target))
    await claims.is_handed_over(pair, await claims.claim(pair.name))


@POLICIES
async def test_a_target_that_goes_before_the_write_leaves_all_as_it_was(claims, policy):
    pair = await claims.make(policy)
    await claims.delete(pair, TENANT)
    with pytest.raises(ConflictError, match=f"{TENANT}/{pair.name} was deleted while its volume was filled"):
        await claims.move(pair)
    filled = await claims.claim(pair.name, GOLDEN)
    assert filled["status"]["phase"] == "Bound"

    # The next try has the target that was made anew.
    await claims.connection.create(PVCS, claim_of(pair.name, TENANT, "now", dataSourceRef=reference(pair.name)))
    pair.target = await claims.claim(pair.name)
    await claims.is_handed_over(pair, await claims.move(pair))


@pytest.mark.parametrize(
    ("policy", "fate"), [("Delete", "which goes with it"), ("Retain", "kubectl delete pv pv-clone")]
)
@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after it"])
async def test_a_target_that_is_made_anew_meanwhile_gets_nothing_of_the_earlier_one(claims, policy, fate, after):
    pair = await claims.make(policy)

    async def replace_target():
        await claims.delete(pair, TENANT)
        await claims.connection.create(PVCS, claim_of(pair.name, TENANT, "now", dataSourceRef=reference(pair.name)))

    with pytest.raises(ConflictError, match=fate):
        await claims.move(pair, Meddled(claims.connection, replace_target, after=after))
    await claims.gone(pair, GOLDEN)

    async def released():
        return (await claims.volume(pair))["status"]["phase"] == "Released"

    await claims.until(released)
    assert (await claims.claim(pair.name))["status"]["phase"] == "Pending"
    assert (await claims.volume(pair))["spec"]["claimRef"]["uid"] == pair.target["metadata"]["uid"]


@POLICIES
async def test_the_volume_of_a_target_that_is_gone_is_not_given_to_the_next(claims, policy):
    """Its owner may have written to it between a worker's death and the next one's start."""
    pair = await claims.make(policy)
    with pytest.raises(KilledError):
        await claims.move(pair, Killed(claims.connection, 6, done=True))
    assert (await claims.volume(pair))["spec"]["claimRef"]["uid"] == pair.target["metadata"]["uid"]
    await claims.in_phase("Bound", pair.name, TENANT)
    await claims.delete(pair, TENANT)
    await claims.connection.create(PVCS, claim_of(pair.name, TENANT, "now", dataSourceRef=reference(pair.name)))
    with pytest.raises(ConflictError, match="was deleted after it had got PersistentVolume"):
        await claims.again(pair)
    await claims.gone(pair, GOLDEN)
    assert (await claims.volume(pair))["spec"]["claimRef"]["uid"] == pair.target["metadata"]["uid"]


async def test_a_first_claim_that_is_deleted_takes_its_volume_with_it(claims):
    pair = await claims.make("Delete")
    await claims.delete(pair, GOLDEN)

    async def released():
        return (await claims.volume(pair))["status"]["phase"] == "Released"

    await claims.until(released)
    with pytest.raises(ConflictError, match="was deleted by somebody, and its PersistentVolume"):
        await claims.move(pair)
    assert (await claims.claim(pair.name))["status"]["phase"] == "Pending"


async def test_a_first_claim_that_is_deleted_leaves_a_retained_volume_to_the_target(claims):
    pair = await claims.make("Retain")
    await claims.delete(pair, GOLDEN)
    await claims.connection.create(PVCS, claim_of(pair.name, GOLDEN, "later"))  # its namespace's users make another
    bound = await claims.move(pair)
    assert bound["spec"]["volumeName"] == pair.volume
    assert await claims.claim(pair.name, GOLDEN)


async def test_a_volume_that_is_gone_is_filled_anew(claims):
    pair = await claims.make()
    await claims.force(PVS, pair.volume)
    with pytest.raises(ConflictError, match="is gone; it is filled anew"):
        await claims.move(pair)
    await claims.gone(pair, GOLDEN)


async def test_nobody_gets_anothers_volume_by_naming_it(claims):
    """A claim may name any volume; it has the one that names it."""
    victim = await claims.make()
    thief = SimpleNamespace(name=f"thief-{next(NUMBERS)}")
    await claims.connection.create(PVCS, claim_of(thief.name, GOLDEN, "now", volumeName=victim.volume))
    thief.filled = await claims.claim(thief.name, GOLDEN)
    thief.target = await claims.connection.create(
        PVCS, claim_of(thief.name, OTHER, "now", dataSourceRef=reference(thief.name))
    )
    with pytest.raises(ForeignVolumeError, match=f"which is of claim {GOLDEN}/{victim.name}"):
        await claims.move(thief)
    assert (await claims.volume(victim))["spec"]["claimRef"]["uid"] == victim.filled["metadata"]["uid"]


async def test_only_a_claim_that_asks_for_it_takes_a_volume_over(claims):
    pair = await claims.make()
    await claims.connection.create(PVCS, claim_of(f"{pair.name}-plain", TENANT, "now"))
    pair.target = await claims.claim(f"{pair.name}-plain")
    with pytest.raises(ForeignVolumeError, match="was not made to take a volume over"):
        await claims.move(pair)


async def test_a_target_that_its_owner_binds_elsewhere_leaves_the_volume_to_nobody_else(claims):
    pair, other = await claims.make("Retain"), f"pv-other-{next(NUMBERS)}"
    await claims.connection.create(
        PVS,
        {
            "metadata": {"name": other},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "1Gi"},
                "storageClassName": "now",
                "csi": {"driver": "csi.example.org", "volumeHandle": other},
                "claimRef": {"namespace": TENANT, "name": pair.name},
            },
        },
    )

    async def bind_elsewhere():
        await claims.connection.patch(PVCS, pair.name, TENANT, {"spec": {"volumeName": other}})

    with pytest.raises(ForeignVolumeError, match="was bound to another volume while it took"):
        await claims.move(pair, Meddled(claims.connection, bind_elsewhere))

    async def let_go():
        claim = (await claims.volume(pair))["spec"].get("claimRef") or {}
        return claim if claim.get("uid") != pair.target["metadata"]["uid"] else None

    # Were it anybody's, the next claim of its class would get the bytes.
    claim = await claims.until(let_go)
    assert (claim.get("namespace"), claim.get("name")) == (TENANT, pair.name)


async def test_a_volume_in_use_is_waited_for_and_said(claims):
    pair = await claims.make()
    await use(claims, pair)
    moving = asyncio.create_task(claims.move(pair))
    assert f"pod {GOLDEN}/reader-{pair.name} using" in (await claims.told("InUse")).message
    assert (await claims.volume(pair))["spec"]["claimRef"]["namespace"] == GOLDEN
    await claims.connection.delete(PODS, f"reader-{pair.name}", GOLDEN)
    await claims.is_handed_over(pair, await moving)


async def test_who_has_mounted_it_before_the_write_is_waited_for_after_it(claims):
    """Else users of the first namespace would go on reading, and writing, what is another's."""
    pair = await claims.make()

    async def mount():
        await use(claims, pair)

    moving = asyncio.create_task(claims.move(pair, Meddled(claims.connection, mount)))
    await claims.in_phase("Bound", pair.name, TENANT)
    # A worker that was started anew finds the same, also where somebody has removed the first claim by force.
    await claims.force(PVCS, pair.name, GOLDEN)
    with pytest.raises(InUseError, match=f"pod {GOLDEN}/reader-{pair.name} using"):
        await Handover(claims.connection).is_moved(await claims.claim(pair.name))
    assert f"pod {GOLDEN}/reader-{pair.name} using" in (await claims.told("InUse")).message
    assert not moving.done()
    await claims.connection.delete(PODS, f"reader-{pair.name}", GOLDEN)
    await claims.is_handed_over(pair, await moving)
    assert await Handover(claims.connection).is_moved(await claims.claim(pair.name))


async def use(claims, pair):
    """A pod on a node has the first claim mounted."""
    mount = [{"name": "disk", "persistentVolumeClaim": {"claimName": pair.name}}]
    # A label of ours on it, so that it passes for an importer's pod, changes nothing.
    labels = {"dataimportcron.io/volume": pair.filled["metadata"]["uid"]}
    pod = {
        "metadata": {"name": f"reader-{pair.name}", "namespace": GOLDEN, "labels": labels},
        "spec": {
            "nodeName": "none",
            "containers": [{"name": "c", "image": "busybox"}],
            "volumes": mount,
            "terminationGracePeriodSeconds": 0,
        },
    }

    async def made():
        try:
            return await claims.connection.create(PODS, pod)
        except DataImportCronError:  # the namespace's service account is made by a controller
            return None

    await claims.until(made)


async def test_a_claim_that_asks_for_a_volume_gets_none_by_that(claims):
    """Anybody may make such a claim; it has what the worker hands over to it, and the worker asks first for whom."""
    pair = await claims.make()
    forged = claim_of(pair.name, OTHER, "now", dataSourceRef=reference(pair.name))
    forged["metadata"]["annotations"] = {"dataimportcron.io/complete": "{}", "dataimportcron.io/attempt": "7"}
    forged = await claims.connection.create(PVCS, forged)
    await claims.is_handed_over(pair, await claims.move(pair))
    assert (await claims.claim(pair.name, OTHER))["status"]["phase"] == "Pending"
    assert not await Handover(claims.connection).is_moved(forged)


@pytest.mark.parametrize("field", ["nodePublishSecretRef", "controllerExpandSecretRef"])
async def test_a_volume_with_secrets_of_its_namespace_stays_where_it_is(claims, field):
    pair = await claims.make(**{field: {"name": "key", "namespace": GOLDEN}})
    with pytest.raises(InvalidObjectError, match=rf"needs Secrets of namespace {GOLDEN} \(spec.csi.{field}\)"):
        await claims.move(pair)
    assert (await claims.volume(pair))["spec"]["claimRef"]["namespace"] == GOLDEN


@pytest.mark.parametrize(
    ("wants", "why"),
    [
        ({"volumeMode": "Block"}, "the volume is a Filesystem, and a Block is wanted"),
        ({"resources": {"requests": {"storage": "2Gi"}}}, "the volume has 1Gi, and 2Gi are wanted"),
        ({"accessModes": ["ReadWriteMany"]}, "the volume cannot be ReadWriteMany"),
        ({}, ""),
    ],
)
def test_what_a_target_wants_is_compared_first(wants, why):
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    volume = {"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "csi": {"driver": "d"}}}
    assert immovable(volume, {"metadata": {"namespace": GOLDEN}}, {"spec": spec | wants}) == why
