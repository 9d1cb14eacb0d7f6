"""What all pods that we make share. Pure.

They fit into a namespace that enforces the Pod Security Standard "restricted". They run as uid, gid and fsGroup 107,
QEMU's in KubeVirt, so that a virtual machine can open `disk.img`; they have no API token and nothing of Temporal's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dataimportcron.cluster.client.resources import Json

QEMU: Final = 107
"""User and group of QEMU in KubeVirt."""
IMAGE_CONTAINER: Final = "image"
"""The container of an image itself, which a node pulls for it."""
SHARED: Final = "/shared"
"""The folder that the containers of a pod share."""
BUSYBOX: Final = f"{SHARED}/busybox"
_NO_MESH: Final = {
    "sidecar.istio.io/inject": "false",
    "linkerd.io/inject": "disabled",
    "kuma.io/sidecar-injection": "disabled",
}
"""A mesh's sidecar never ends, and then neither does the pod."""
DEFAULT_RESOURCES: Final[Json] = {
    "requests": {"cpu": "100m", "memory": "64Mi"},
    "limits": {"cpu": "2", "memory": "600Mi"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSettings:
    """What is alike in all pods that we make.

    Attributes:
        image: our own, by digest.
        image_pull_policy: of our own image; "" for Kubernetes' default.
        image_pull_secrets: names of Secrets in the namespaces where imports run.
        command: starts the importer in our image.
        busybox: path of a static busybox in our image.
        node_selector: of pods, as are `tolerations`, `affinity` and `annotations`.
        tolerations: as in a pod.
        affinity: as in a pod.
        annotations: beside those that keep a service mesh away; they win.
        resources: of each container.
        architecture: wanted where a source asks for none; "" for that of our image.
        rate: bytes per second that one import may download; 0 for no limit.
        insecure_registries: hosts whose certificates are not checked.
        mirrors: files of containerd's `certs.d`, by path: `quay.io/hosts.toml`.
        certificates: CA certificates that are trusted besides, in PEM, by file name.
        environment: of the importer, such as HTTPS_PROXY; what CDI's configuration says counts before it.
    """

    image: str
    image_pull_policy: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    command: tuple[str, ...] = ("python", "-m", "dataimportcron.importer")
    busybox: str = "/usr/bin/busybox"
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Json] = ()
    affinity: Json = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    resources: Json = field(default_factory=lambda: dict(DEFAULT_RESOURCES))
    architecture: str = ""
    rate: int = 0
    insecure_registries: tuple[str, ...] = ()
    mirrors: Mapping[str, str] = field(default_factory=dict)
    certificates: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def pod_annotations(settings: PodSettings, container: str) -> dict[str, str]:
    """Annotations of a pod of ours, whose log is that of `container`."""
    return {**_NO_MESH, "kubectl.kubernetes.io/default-container": container, **settings.annotations}


def common_pod(settings: PodSettings, *, architecture: str = "", secret: str = "") -> Json:
    """What all pods of ours share, without containers and volumes.

    Args:
        settings: of the worker.
        architecture: of a node that shall pull the image; "" for any (N-05, RI-06).
        secret: with credentials for an image that the node pulls; "" for none.
    """
    selector = {**settings.node_selector, **({"kubernetes.io/arch": architecture} if architecture else {})}
    secrets = dict.fromkeys((*settings.image_pull_secrets, *([secret] if secret else [])))
    spec: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": QEMU,
            "runAsGroup": QEMU,
            "fsGroup": QEMU,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    optional = {
        "imagePullSecrets": [{"name": name} for name in secrets],
        "nodeSelector": selector,
        "tolerations": list(settings.tolerations),
        "affinity": settings.affinity,
    }
    return spec | {key: value for key, value in optional.items() if value}


def container(settings: PodSettings, name: str, image: str = "", **members: object) -> Json:
    """A container of a pod of ours; of our own image where none is named."""
    made: Json = {
        "name": name,
        "image": image or settings.image,
        "resources": settings.resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        **members,
    }
    if not image and settings.image_pull_policy:
        made["imagePullPolicy"] = settings.image_pull_policy
    return made


def busybox_container(settings: PodSettings) -> Json:
    """An init container that puts a static busybox where an image's own container finds it."""
    return container(settings, "busybox", command=["cp", settings.busybox, BUSYBOX], volumeMounts=[shared_mount()])


def image_container(settings: PodSettings, image: str, *arguments: str, **members: object) -> Json:
    """An image's own container, in which that busybox runs with these arguments."""
    command = [BUSYBOX, *arguments]
    return container(settings, IMAGE_CONTAINER, image, command=command, volumeMounts=[shared_mount()], **members)


def shared_volume() -> Json:
    """The folder that the containers of a pod share."""
    return {"name": "shared", "emptyDir": {}}


def shared_mount() -> Json:
    """Where it is mounted."""
    return {"name": "shared", "mountPath": SHARED}
