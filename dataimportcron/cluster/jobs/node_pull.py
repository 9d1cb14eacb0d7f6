"""`pullMethod: node`: a node's container runtime pulls the image, with what it knows of the registry.

Its digest is that of a container that just ran: a Job whose pod runs a static busybox in the image's own container,
and ends. That a pull takes many minutes is no failure: the Job goes on, and the next look asks again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from contextlib import suppress
from typing import Final

from dataimportcron import naming
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import JOBS, PODS, Json
from dataimportcron.cluster.jobs.holdups import hold_up
from dataimportcron.cluster.jobs.pods import (
    IMAGE_CONTAINER,
    PodSettings,
    busybox_container,
    common_pod,
    image_container,
    pod_annotations,
    shared_volume,
)
from dataimportcron.cluster.jobs.waiting import events_about
from dataimportcron.errors import (
    AlreadyExistsError,
    DataImportCronError,
    ImageNotFoundError,
    ImagePullingError,
    InvalidImageError,
    ObjectNotFoundError,
    RegistryUnavailableError,
    TransientError,
    UnauthorizedError,
)
from dataimportcron.values import ImageSource, ResolvedImage

_LOOK: Final = 0.5
_PATIENCE: Final = 60.0
"""Seconds that one look waits; a pull that takes longer goes on without it."""
_MOMENT: Final = 5.0
"""Seconds that a pod may wait for something before that is a failure."""
_DEADLINE: Final = 6 * 3600
_TTL: Final = 60
"""Seconds that a finished Job stays when nobody has read it; its digest would be of then."""
_LABEL_LOOKUP: Final = "dataimportcron.io/lookup"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

_DENIED: Final = ("unauthorized", "denied", "forbidden", "authorization failed", "no basic auth")
_ABSENT: Final = ("not found", "manifest unknown", "invalidimagename", "couldn't parse image", "no match for platform")
_NODE_VERSION: Final = (1, 35)
_RUNTIMES: Final = {"containerd": (2, 1), "cri-o": (1, 33)}
"""From which version on a container runtime mounts images as volumes."""
_VERSION = re.compile(r"(?P<runtime>[\w-]+)://v?(?P<major>\d+)\.(?P<minor>\d+)", re.ASCII)
_KUBELET = re.compile(r"v?(?P<major>\d+)\.(?P<minor>\d+)", re.ASCII)


class NodeDigest:
    """Digests as nodes see them.

    Args:
        connection: to the API server.
        settings: of the pods.
    """

    def __init__(self, connection: Connection, settings: PodSettings) -> None:
        self._connection = connection
        self._settings = settings

    async def resolve(self, image: ImageSource) -> ResolvedImage:
        """Have a node pull the image, and read the digest of what it pulled.

        Raises:
            ImagePullingError: it still pulls.
            ImageNotFoundError: it cannot pull it.
            InvalidImageError: it does not say what it pulled.
        """
        job = lookup_job(image, self._settings)
        name, deadline = job["metadata"]["name"], time.monotonic() + _PATIENCE
        if await self._is_old(name, image.namespace):
            await self._remove(name, image.namespace)
        # By uid: the pod of an earlier Job of this name may still be there, with the digest of then.
        own = f"batch.kubernetes.io/controller-uid={await self._begin(job)}"
        started = time.monotonic()
        while time.monotonic() < deadline:
            pods = await self._connection.list(PODS, image.namespace, label_selector=own)
            pod = pods[0] if pods else None
            if pod is not None and (digest := digest_of(pod)):
                await self._remove(name, image.namespace)
                return ResolvedImage(digest=digest, manifest_digest=digest)
            failure = await self._failure(name, image, pod, patient=time.monotonic() - started < _MOMENT)
            if failure is not None:
                # The next look has its own pod, which does not wait as long as the kubelet would with this one.
                await self._remove(name, image.namespace)
                raise failure
            await asyncio.sleep(_LOOK)
        raise ImagePullingError(
            f"A node has been pulling {_image_of(image)} for {_PATIENCE:.0f} s and goes on",
            hint="it is asked again; a large image takes its time",
        )

    async def _begin(self, job: Json) -> str:
        """Make the Job, or find the one that another look has made; returns its uid."""
        while True:
            try:
                return str((await self._connection.create(JOBS, job))["metadata"]["uid"])
            except AlreadyExistsError:
                with suppress(ObjectNotFoundError):  # it has just gone
                    metadata = job["metadata"]
                    there = await self._connection.get(JOBS, metadata["name"], metadata["namespace"])
                    return str(there["metadata"]["uid"])

    async def _is_old(self, name: str, namespace: str) -> bool:
        """Whether a finished Job of an earlier look is there, whose digest may be of yesterday."""
        try:
            job = await self._connection.get(JOBS, name, namespace)
        except ObjectNotFoundError:
            return False
        return bool(job["metadata"].get("deletionTimestamp") or (job.get("status") or {}).get("conditions"))

    async def _remove(self, name: str, namespace: str) -> None:
        """Remove a Job with its pod; returns once its name is free."""
        await self._connection.delete(JOBS, name, namespace, propagation="Background")
        for _ in range(round(_PATIENCE / _LOOK)):
            try:
                await self._connection.get(JOBS, name, namespace)
            except ObjectNotFoundError:
                return
            await asyncio.sleep(_LOOK)

    async def _failure(
        self, name: str, image: ImageSource, pod: Json | None, *, patient: bool
    ) -> DataImportCronError | None:
        """Why the pod will not run, None while it may (N-04)."""
        job = await self._connection.get(JOBS, name, image.namespace)
        found = hold_up(pod, [], await events_about(self._connection, job, *([pod] if pod else [])))
        if found is None or (found.passing and patient):
            return None
        return pull_error(found.message) if found.reason == "ImagePullFailed" else TransientError(found.message)


def lookup_job(image: ImageSource, settings: PodSettings) -> Json:
    """The Job that has a node pull an image. Looks at the same image share it by its name."""
    reference = _image_of(image)
    key = f"{reference} {image.architecture} {image.secret}"
    name = f"poll-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    labels = {
        naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
        naming.LABEL_COMPONENT: naming.COMPONENT,
        _LABEL_LOOKUP: name,
    }
    pod = common_pod(settings, architecture=image.architecture, secret=image.secret)
    del pod["securityContext"]["fsGroup"], pod["securityContext"]["fsGroupChangePolicy"]
    pod |= {
        "initContainers": [busybox_container(settings)],
        "containers": [
            image_container(settings, reference, "true", imagePullPolicy="Always"),
        ],
        "volumes": [shared_volume()],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": image.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": _TTL,
            "activeDeadlineSeconds": _DEADLINE,
            "template": {
                "metadata": {"labels": labels, "annotations": pod_annotations(settings, IMAGE_CONTAINER)},
                "spec": pod,
            },
        },
    }


def digest_of(pod: Json) -> str:
    """The digest of the image that a pod's container has run, "" while it has not (N-02, N-03).

    Raises:
        InvalidImageError: it has run, and the node does not say of what digest.
    """
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    status: Json = next((it for it in statuses if it["name"] == IMAGE_CONTAINER), {})
    if "terminated" not in (status.get("state") or {}):
        return ""
    image_id = str(status.get("imageID") or "")
    found = _DIGEST.search(image_id)
    if found is None:
        raise InvalidImageError(
            f"The node tells no digest of image {status.get('image')}: its imageID is {image_id!r}",
            hint="the image must come from a registry",
        )
    return found.group()


def pull_error(message: str) -> DataImportCronError:
    """What a container runtime's failure to pull an image stands for, by its words."""
    words = message.lower()
    if any(word in words for word in _DENIED):
        return UnauthorizedError(message, hint="imagePullSecrets of the settings, secretRef, or the node's own")
    if any(word in words for word in _ABSENT):
        return ImageNotFoundError(message)
    return RegistryUnavailableError(message)


def has_image_volumes(nodes: list[Json]) -> bool:
    """Whether all nodes mount images as volumes (KEP-4639)."""
    return bool(nodes) and all(_mounts_images((it.get("status") or {}).get("nodeInfo") or {}) for it in nodes)


def _mounts_images(info: Json) -> bool:
    kubelet = _KUBELET.match(str(info.get("kubeletVersion") or ""))
    runtime = _VERSION.match(str(info.get("containerRuntimeVersion") or ""))
    if kubelet is None or runtime is None or (int(kubelet["major"]), int(kubelet["minor"])) < _NODE_VERSION:
        return False
    needed = _RUNTIMES.get(runtime["runtime"])
    return needed is not None and (int(runtime["major"]), int(runtime["minor"])) >= needed


def _image_of(image: ImageSource) -> str:
    return image.url.removeprefix("docker://")
