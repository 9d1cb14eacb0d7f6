"""Volumes are handed over to another namespace; the controllers of a real control plane bind the claims."""

import asyncio
from itertools import count
from types import SimpleNamespace

import pytest

from dataimportcron.cluster.handover import HANDED_OVER, Handover, immovable, reference
from dataimportcron.cluster.kubeconfig import connected
from dataimportcron.cluster.resources import NAMESPACES, PODS, PVCS, PVS, STORAGE_CLASSES
from dataimportcron.errors import (
    AlreadyExistsError,
    ConflictError,
    DataImportCronError,
    ForeignVolumeError,
    InvalidObjectError,
    ObjectNotFoundError,
)

GOLDEN, TENANT, OTHER = "golden-images", "tenant", "another-tenant"
NUMBERS = count(1)
POLICIES = pytest.mark.parametrize("policy", ["Delete", "Retain"])


class KilledError(Exception):
    """The worker has ended here."""


class Killed:
    """A connection of a worker that is killed at one of its requests: before it is sent, or before it is answered."""

    def __init__(self, connection, at, *, done):
        self._connection, self._left, self._done = connection, at, done

    def __getattr__(self, name):
        request = getattr(self._connection, name)

        async def call(*arguments, **options):
            self._left -= 1
            if self._left == 0 and not self._done:
                raise KilledError
            try:
                return await request(*arguments, **options)
            finally:
                if self._left == 0:
                    raise KilledError

        return call


class Meddled:
    """A connection whose owner's neighbours do something just before its first write to a volume, or just after."""

    def __init__(self, connection, meddle, *, after=False):
        self._connection, self._meddle, self._after = connection, meddle, after

    def __getattr__(self, name):
        return getattr(self._connection, name)

    async def patch(self, *arguments):
        meddle, self._meddle = self._meddle, None
        if meddle is not None and not self._after:
            await meddle()
        answer = await self._connection.patch(*arguments)
        if meddle is not None and self._after:
            await meddle()
        return answer


class Claims:
    """What stands in the cluster."""

    def __init__(self, connection):
        self.connection = connection
        self.said = []

    async def until(self, look):
        async with asyncio.timeout(30):
            while not (found := await look()):  # noqa: ASYNC110 -- the API server is asked, it does not tell
                await asyncio.sleep(0.05)
        return found

    async def claim(self, name, namespace=TENANT):
        try:
            return await self.connection.get(PVCS, name, namespace)
        except ObjectNotFoundError:
            return None

    async def in_phase(self, phase, name, namespace):
        async def look():
            found = await self.claim(name, namespace)
            return found if found and found["status"].get("phase") == phase else None

        return await self.until(look)

    async def make(self, policy="Delete", storage_class="now", **csi):
        """A bound claim in one namespace, its volume, and a claim in another that waits for it."""
        name = f"clone-{next(NUMBERS)}"
        volume = {
            "metadata": {
                "name": f"pv-{name}",
                "annotations": {
                    "pv.kubernetes.io/provisioned-by": "csi.example.org",
                    "pv.kubernetes.io/bound-by-controller": "yes",
                },
            },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "1Gi"},
                "persistentVolumeReclaimPolicy": policy,
                "storageClassName": "now",
                "csi": {"driver": "csi.example.org", "volumeHandle": name} | csi,
                "claimRef": {"namespace": GOLDEN, "name": name},
            },
        }
        await self.connection.create(PVS, volume)
        await self.connection.create(PVCS, claim_of(name, GOLDEN, "now"))
        target = await self.connection.create(
            PVCS, claim_of(name, TENANT, storage_class, dataSourceRef=reference(name))
        )
        filled = await self.in_phase("Bound", name, GOLDEN)
        return SimpleNamespace(name=name, volume=f"pv-{name}", filled=filled, target=target)

    async def move(self, pair, connection=None):
        return await Handover(connection or self.connection).move(pair.filled, pair.target, self.said.append)

    async def again(self, pair):
        """What a worker does that was started anew, with nothing in its head."""
        filled, target = await self.claim(pair.name, GOLDEN), await self.claim(pair.name)
        handover = Handover(self.connection)
        if filled is None:
            assert await handover.is_moved(target)
            return target
        return await handover.move(filled, target, self.said.append)

    async def volume(self, pair):
        return await self.connection.get(PVS, pair.volume)

    async def delete(self, pair, namespace):
        """Somebody deletes a claim, and it is gone."""
        await self.connection.delete(PVCS, pair.name, namespace)
        await self.gone(pair, namespace)

    async def gone(self, pair, namespace, uid=None):
        async def look():
            found = await self.claim(pair.name, namespace)
            return found is None or (uid and found["metadata"]["uid"] != uid)

        await self.until(look)

    async def is_handed_over(self, pair, bound):
        """The target has the one volume, for good, and nothing of the first claim is left."""
        await self.gone(pair, GOLDEN)
        volume = await self.volume(pair)
        assert bound["metadata"]["uid"] == pair.target["metadata"]["uid"]
        assert bound["spec"]["volumeName"] == pair.volume
        assert volume["spec"]["claimRef"]["uid"] == bound["metadata"]["uid"]
        assert volume["status"]["phase"] == "Bound"
        assert "deletionTimestamp" not in volume["metadata"]
        volumes = [it for it in await self.connection.list(PVS) if it["spec"]["csi"]["volumeHandle"] == pair.name]
        assert len(volumes) == 1


def claim_of(name, namespace, storage_class, **spec):
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": "1Gi"}},
        }
        | spec,
    }


@pytest.fixture
async def claims(control_plane):
    async with connected(kubeconfig=str(control_plane.kubeconfig)) as connection:
        for name in (GOLDEN, TENANT, OTHER):
            await made(connection, NAMESPACES, {"metadata": {"name": name}})
        for name, mode in (("now", "Immediate"), ("late", "WaitForFirstConsumer")):
            storage_class = {"metadata": {"name": name}, "provisioner": "csi.example.org", "volumeBindingMode": mode}
            await made(connection, STORAGE_CLASSES, storage_class)
        yield Claims(connection)


async def made(connection, resource, body):
    try:
        await connection.create(resource, body)
    except AlreadyExistsError:
        return


@POLICIES
@pytest.mark.parametrize("storage_class", ["now", "late"])
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
    await claims.connection.create(PVCS, claim_of(pair.name, GOLDEN, "late"))  # its namespace's users make another
    bound = await claims.move(pair)
    assert bound["spec"]["volumeName"] == pair.volume
    assert await claims.claim(pair.name, GOLDEN)


async def test_a_volume_that_is_gone_is_filled_anew(claims):
    pair = await claims.make()
    await claims.connection.patch(PVS, pair.volume, "", {"metadata": {"finalizers": None}})
    await claims.connection.delete(PVS, pair.volume)
    await claims.connection.patch(PVS, pair.volume, "", {"metadata": {"finalizers": None}})
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
    container = {"name": "c", "image": "busybox"}
    mount = [{"name": "disk", "persistentVolumeClaim": {"claimName": pair.name}}]
    # A label of ours on it, so that it passes for an importer's pod, changes nothing.
    labels = {"dataimportcron.io/volume": pair.filled["metadata"]["uid"]}
    pod = {
        "metadata": {"name": f"reader-{pair.name}", "namespace": GOLDEN, "labels": labels},
        "spec": {"nodeName": "none", "containers": [container], "volumes": mount, "terminationGracePeriodSeconds": 0},
    }
    accounts = claims.connection
    await claims.until(lambda: exists(accounts, pod))
    moving = asyncio.create_task(claims.move(pair))

    async def told():
        return next((it for it in claims.said if it.reason == "InUse"), None)

    assert f"pod {GOLDEN}/reader-{pair.name} using" in (await claims.until(told)).message
    assert (await claims.volume(pair))["spec"]["claimRef"]["namespace"] == GOLDEN
    await claims.connection.delete(PODS, f"reader-{pair.name}", GOLDEN)
    await claims.is_handed_over(pair, await moving)


async def exists(connection, pod):
    """Whether a pod could be made; its namespace's service account is made by a controller."""
    try:
        return await connection.create(PODS, pod)
    except DataImportCronError:
        return None


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
