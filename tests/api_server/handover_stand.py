"""The stand of tests of hand-overs: claims that a real control plane binds, and a worker that is disturbed."""

import asyncio
from itertools import count
from types import SimpleNamespace

from dataimportcron.cluster.client.resources import PVCS, PVS
from dataimportcron.cluster.clones.handover import Handover, reference
from dataimportcron.errors import ObjectNotFoundError

GOLDEN, TENANT, OTHER = "handover-images", "handover-tenant", "handover-stranger"
NUMBERS = count(1)


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

    async def patch(self, *arguments, **options):
        meddle, self._meddle = self._meddle, None
        if meddle is not None and not self._after:
            await meddle()
        answer = await self._connection.patch(*arguments, **options)
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

    async def told(self, reason):
        """What is said to be waited for, once it is."""

        async def look():
            return next((it for it in self.said if it.reason == reason), None)

        return await self.until(look)

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

    async def force(self, resource, name, namespace=""):
        """Somebody deletes an object that is in use."""

        async def is_gone():
            try:
                await self.connection.delete(resource, name, namespace)
                await self.connection.patch(resource, name, namespace, {"metadata": {"finalizers": None}})
            except ObjectNotFoundError:
                return True
            return False

        await self.until(is_gone)

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
