"""The stand of tests of imports on an API server without nodes: the tests play the kubelet's part."""

from __future__ import annotations

import asyncio

from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.claims.claims import Claims
from dataimportcron.cluster.client.resources import JOBS, PODS
from dataimportcron.cluster.importer import ClusterImporter
from dataimportcron.cluster.jobs.pods import PodSettings
from dataimportcron.cluster.volumes import ClusterVolumes
from dataimportcron.importer.report import SUCCEEDED, Result
from dataimportcron.manifests import volume_spec
from dataimportcron.values import ImageSource

DIGEST = f"sha256:{'1' * 64}"
SETTINGS = PodSettings(image="registry.example/dataimportcron@sha256:0", mirrors={"quay.io/hosts.toml": "server = ''"})
DONE = Result(
    phase=SUCCEEDED,
    digest=DIGEST,
    bytes_read=5,
    bytes_written=4,
    virtual_size=8,
    env={"INSTANCETYPE_KUBEVIRT_IO_DEFAULT_PREFERENCE": "fedora"},
)
LATE_BINDING = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "late"},
    "provisioner": "kubernetes.io/no-provisioner",
    "volumeBindingMode": "WaitForFirstConsumer",
}
RESOURCE_QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"}}


class Cluster:
    """The adapters, and the kubelet's part.

    DataVolumes are objects of the cluster as well: the garbage collector deletes a claim whose owner is not there.
    """

    def __init__(self, connection, objects, namespace):
        self.connection, self.objects, self.namespace = connection, objects, namespace
        self.claims = Claims(connection, owned=True)
        self.importer = ClusterImporter(connection, objects, self.claims, SETTINGS)
        self.volumes = ClusterVolumes(connection, objects, self.claims)
        self.image = ImageSource(namespace=namespace, url="docker://quay.io/fedora:40")
        self.said, self.tasks = [], []

    async def volume(self, name="fedora-1", storage_class=None, **labels):
        made = DataVolume.model_validate(
            {
                "metadata": {"name": name, "namespace": self.namespace, "labels": labels},
                "spec": {
                    "source": {"registry": {"url": self.image.url}},
                    "storage": {"resources": {"requests": {"storage": "64Mi"}}, "storageClassName": storage_class},
                },
            }
        )
        return volume_spec(await self.objects.create(made))

    def start(self, spec):
        self.tasks.append(asyncio.create_task(self.importer.run(self.image, DIGEST, spec, self.said.append)))
        return self.tasks[-1]

    async def until(self, look):
        """What `look` finds, once it finds something."""
        async with asyncio.timeout(30):
            while not (found := await look()):  # noqa: ASYNC110 -- the API server is asked, it does not tell
                await asyncio.sleep(0.05)
        return found

    async def claim(self, name="fedora-1"):
        return await self.until(lambda: self.claims.find(self.namespace, name))

    async def pods(self):
        found = await self.connection.list(PODS, self.namespace)
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    async def jobs(self):
        return await self.connection.list(JOBS, self.namespace)

    async def pod(self):
        [found] = await self.until(self.pods)
        return found

    async def ends(self, pod, result):
        """Let a pod end as the importer does with this result."""
        message = result.to_json() if isinstance(result, Result) else result
        code = result.exit_code if isinstance(result, Result) else 137
        state = {"terminated": {"exitCode": code, "message": message, "reason": "Ended"}}
        status = {"name": "importer", "ready": False, "restartCount": 0, "image": "x", "imageID": "", "state": state}
        patch = {"status": {"phase": "Failed" if code else "Succeeded", "containerStatuses": [status]}}
        await self.connection.patch(PODS, pod["metadata"]["name"], self.namespace, patch, subresource="status")

    async def told(self, reason):
        async def look():
            return next((it for it in reversed(self.said) if it.waits_for == reason), None)

        return await self.until(look)
