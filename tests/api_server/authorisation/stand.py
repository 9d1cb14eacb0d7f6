"""The stand of tests of authorisation: a cluster as it is deployed, its users, and what the worker does as itself."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from temporalio.testing import ActivityEnvironment

from activities.data_volume import DataVolumeActivities
from activities.digest import DigestActivities
from activities.population import PopulationActivities
from activities.uses import Uses
from dataimportcron.api.crds import SETTINGS, STANDALONE
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.cluster.authorizer import ClusterAuthorizer
from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.client.resources import DATA_IMPORT_CRONS, DATA_SOURCES, DATA_VOLUMES
from dataimportcron.cluster.clones.requester import REQUESTER, belief
from dataimportcron.cluster.documents.dialect import standalone
from dataimportcron.cluster.events import ClusterEvents
from dataimportcron.cluster.objects import ClusterObjects
from dataimportcron.errors import ApiUnavailableError
from dataimportcron.messages import LookupInput, ObjectRef, PopulateInput, Trigger
from dataimportcron.values import Clonable, Reservation, Transfer
from deploy.image.build import CHECKOUT

DEPLOY = CHECKOUT / "deploy"
GOLDEN, TENANT, SECRET = "golden-images", "tenant", "secret"
"""Where images are; where alice and bob work; and where neither may read."""
FEDORA, OWN = {"namespace": GOLDEN, "name": "fedora"}, {"namespace": TENANT, "name": "own"}
"""What only bob may clone, and what both may."""
ADMIN = "system:admin\n\nsystem:masters\nsystem:authenticated"
"""What a forger would have the worker believe."""
DENIED = f"insufficient permissions in clone source namespace {GOLDEN}"
KINDS = {DataVolume: DATA_VOLUMES, DataSource: DATA_SOURCES, DataImportCron: DATA_IMPORT_CRONS}


class AllVolumes:
    """`ports.Volumes` of a cluster where every source is ready: whether one may clone is asked before that."""

    async def adopt(self, _volume):
        return False

    async def claims(self):
        return None

    async def clonable(self, _source):
        return Clonable(size=1 << 20)

    async def reserve(self, _volume, _source=None):
        return Reservation()

    async def notice(self, _volume):
        return ""

    async def placement(self, _spec):
        return None

    async def in_use(self, _namespace, _name, _kind):
        return ""


class Cloned:
    """`ports.Cloner` that notes what it shall clone."""

    def __init__(self):
        self.sources = []

    async def run(self, source, _volume, _report):
        self.sources.append(str(source))
        return Transfer(phase="Copy")


class Stand:
    """Users by their connections, and the worker's activities."""

    def __init__(self, plane, connections, objects):
        self.plane, self.objects, self.cloned = plane, objects, Cloned()
        self.admin, self.worker, self.alice, self.bob = connections
        events = ClusterEvents(self.worker, standalone(frozenset()), now=now)
        self.authorizer = ClusterAuthorizer(self.worker, objects, beside=False, settled=timedelta())
        self._prepare = DataVolumeActivities(objects, AllVolumes(), self.authorizer, events)
        self._population = PopulationActivities(objects, None, AllVolumes(), None, self.cloned, self.authorizer, events)
        self.uses = Uses(objects, AllVolumes(), self.authorizer)
        self._digest = DigestActivities(objects, None, AllVolumes(), self.authorizer, events)

    async def prepare(self, name="vm"):
        """The preparation's answer, with the DataVolume as it is now."""
        await self.seen(DataVolume, name)
        return await ActivityEnvironment().run(self._prepare.prepare_data_volume, self.populate(name))

    async def clone(self, ready, name="vm"):
        await self.seen(DataVolume, name)
        populate = self.populate(name, uid=ready.uid, source=ready.source)
        return await ActivityEnvironment().run(self._population.clone_data_volume, populate)

    async def look(self, cron):
        found = await self.seen(DataImportCron, cron)
        ref = ObjectRef(namespace=TENANT, name=cron, uid=found["metadata"]["uid"])
        look = LookupInput(cron=ref, trigger=Trigger.TICK, now=now())
        return await ActivityEnvironment().run(self._digest.look_up_digest, look)

    @staticmethod
    def populate(name, **values):
        return PopulateInput(namespace=TENANT, name=name, now=now(), **values)

    async def seen(self, kind, name, namespace=TENANT):
        """Wait until the worker sees an object as it is."""
        stored = await self.admin.get(KINDS[kind], name, namespace)

        async def look():
            found = await self.objects.get(kind, namespace, name)
            return found.metadata.resource_version == stored["metadata"]["resourceVersion"]

        await until(look)
        return stored

    async def refused(self, said, name="vm", reason="NotAuthorized"):
        """The DataVolume is not cloned, and its condition says why."""
        ready = await self.prepare(name)
        assert ready.step == "Wait", ready
        status = (await self.admin.get(DATA_VOLUMES, name, TENANT))["status"]
        [running] = [it for it in status["conditions"] if it["type"] == "Running"]
        assert (status["phase"], running["status"], running["reason"]) == ("Pending", "False", reason)
        assert said in running["message"]
        assert not self.cloned.sources

    async def stamp(self, name="vm"):
        return (await self.admin.get(DATA_VOLUMES, name, TENANT))["metadata"]["annotations"][REQUESTER]

    async def point(self, user, name, namespace=TENANT, **source):
        """Make a DataSource, or point it elsewhere."""
        body = {"metadata": {"name": name, "namespace": namespace}, "spec": {"source": source}}
        await user.apply(DATA_SOURCES, body, field_manager="a-person")
        await self.seen(DataSource, name, namespace)

    async def clear(self):
        self.cloned.sources.clear()
        for resource in KINDS.values():
            for item in await self.admin.list(resource):
                await self.admin.delete(resource, item["metadata"]["name"], item["metadata"]["namespace"])

        async def gone():
            return not any([await self.admin.list(resource) for resource in KINDS.values()])

        await until(gone)


def volume(name="vm", pvc=None, annotations=None, labels=None, **spec):
    """A DataVolume that clones the golden image."""
    spec = spec or {"source": {"pvc": pvc or FEDORA}}
    metadata = {"name": name, "namespace": TENANT, "annotations": annotations or {}, "labels": labels or {}}
    return {"metadata": metadata, "spec": spec | {"storage": {"resources": {"requests": {"storage": "1Mi"}}}}}


def now():
    return datetime.now(UTC)  # noqa: TID251 -- the tests' clock


async def until(look, seconds=30):
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110 -- the API server is asked, it does not tell
            await asyncio.sleep(0.05)
    return found


def install(plane):
    """The worker as it is deployed, and two users: both may edit TENANT, bob may clone from GOLDEN."""
    plane.kubectl("apply", "-f", str(DEPLOY / "namespace.yaml"))
    plane.define(*(it.document() for it in (*SETTINGS, *STANDALONE)))
    plane.kubectl("apply", "--server-side", "-k", str(DEPLOY / "overlays/standalone"))
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": it}} for it in (GOLDEN, TENANT, SECRET)
    ]
    plane.apply(
        *namespaces,
        binding("edit", TENANT, user("alice"), user("bob")),
        binding("dataimportcron.io:edit", TENANT, user("alice"), user("bob")),
        binding("cdi.kubevirt.io:clone-sourcer", GOLDEN, user("bob"), account("importer")),
        binding("dataimportcron.io:edit", GOLDEN, user("carol")),
    )


def user(name):
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}


def account(name):
    return {"kind": "ServiceAccount", "name": name, "namespace": TENANT}


def binding(role, namespace, *subjects):
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": role, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": list(subjects),
    }


def worker_kubeconfig(plane) -> Path:
    """Of the worker's service account."""
    token = plane.kubectl("create", "token", "dataimportcron", "-n", "dataimportcron").strip()
    document = yaml.safe_load(plane.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": token}
    path = plane.folder / "worker.kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


async def stand(stack: AsyncExitStack, plane, kubeconfigs) -> Stand:
    """A stand whose worker follows the cluster, once it believes what is made from now on."""
    connections = [await stack.enter_async_context(connected(kubeconfig=str(path))) for path in kubeconfigs]
    objects = ClusterObjects(
        connections[1], standalone(await connections[1].resources_of("cdi.kubevirt.io", "v1beta1"))
    )
    following = asyncio.create_task(objects.run())

    async def stop():
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    stack.push_async_callback(stop)
    await asyncio.wait_for(objects.wait_synced(), 30)
    return Stand(plane, connections, objects)


async def in_force(made: Stand):
    """Wait until the policy works, and is older than what is made from now on."""

    async def stamped():
        try:
            tried = await made.admin.create(DATA_VOLUMES, volume("tried"), dry_run=True)
        except ApiUnavailableError:  # for some seconds a server has no schema of a new kind for its policies
            return None
        return (tried["metadata"].get("annotations") or {}).get(REQUESTER)

    await until(stamped)
    found = await belief(made.worker, settled=timedelta())

    async def older():
        return found.doubt(now() - timedelta(seconds=1)) == ""

    await until(older)


def named(name, namespace=GOLDEN):
    """The metadata of a binding by another name."""
    return {"metadata": {"name": name, "namespace": namespace}}


def patched(annotations):
    return {"metadata": {"annotations": annotations}}
