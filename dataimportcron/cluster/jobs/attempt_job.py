"""The Job of one attempt to fill a claim, and the pod in it. Pure.

A Job never retries: that is the workflow's. It is made suspended, see `importer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dataimportcron import naming
from dataimportcron.cluster.client.resources import Json
from dataimportcron.cluster.jobs.pods import (
    BUSYBOX,
    SHARED,
    PodSettings,
    busybox_container,
    common_pod,
    container,
    image_container,
    pod_annotations,
    shared_mount,
    shared_volume,
)
from dataimportcron.importer.report import VOLUME

CONTAINER: Final = "importer"
LABEL_VOLUME: Final = "dataimportcron.io/volume-uid"
"""On Job and pod: the uid of the claim that is written."""
LABEL_NAME: Final = "dataimportcron.io/data-volume"
"""On Job and pod: whose import it is, for people."""

_FOLDER, _DEVICE, _SCRATCH = "/data", "/dev/disk-image", "/tmp"  # noqa: S108 -- the pod's own
_SOURCE_FOLDER, _SOURCE_DEVICE = "/source", "/dev/source-image"
_IMAGE, _IMAGE_ROOT, _ENVIRON = (f"{SHARED}/{part}" for part in ("image", "root", "environ"))
"""Where a volume of the image is, or a link to the root of its process; beside either, the image's environment."""
_SECRET, _CERTS, _MIRRORS = (f"/etc/dataimportcron/{part}" for part in ("secret", "certs", "certs.d"))
_LONGEST_LABEL: Final = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to fill a claim.

    Attributes:
        namespace: of claim, Job and pod.
        claim: name of the claim, which is the DataVolume's.
        claim_uid: of it.
        number: 1 for the first.
        url: of the image, pinned by a digest where it is in a registry; "" for one that reads a claim.
        verb: what is done, the beginning of the Job's name.
        source_claim: name of the claim that is read; the claim itself, where its disk only becomes larger.
        source_block: that claim is a block device.
        digest: that an image must have whose URL cannot say so; "" for any.
        node_pull: the node's runtime pulls the image.
        image_volume: it is mounted as a volume then; else its own container holds it.
        architecture: wanted, "" for the settings'.
        size: of the disk, in bytes.
        block: the claim is a block device.
        preallocate: the disk shall have no holes.
        secret: name of the Secret with credentials, "" for none.
        cert_config_map: name of the ConfigMap with CA certificates, "" for none.
        priority_class: of the pod, "" for the default.
        service_account: of the pod, "" for the default.
    """

    namespace: str
    claim: str
    claim_uid: str
    number: int
    url: str
    size: int
    verb: str = "import"
    source_claim: str = ""
    source_block: bool = False
    digest: str = ""
    node_pull: bool = False
    image_volume: bool = False
    architecture: str = ""
    block: bool = False
    preallocate: bool = False
    secret: str = ""
    cert_config_map: str = ""
    priority_class: str = ""
    service_account: str = ""

    @property
    def name(self) -> str:
        """Of the Job, and of the ConfigMap with its files."""
        return f"{self.verb}-{self.claim_uid}-{self.number}"

    @property
    def image(self) -> str:
        """The image as a node's runtime names it."""
        return self.url.removeprefix("docker://")


def import_job(attempt: Attempt, settings: PodSettings) -> Json:
    """The Job of an attempt, suspended. Its claim owns it, so that it goes when the volume goes."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "name": attempt.claim,
        "uid": attempt.claim_uid,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(attempt, claim),
        "spec": {
            "suspend": True,
            "backoffLimit": 0,
            "template": {
                "metadata": {
                    "labels": labels_of(attempt.claim_uid, attempt.claim),
                    "annotations": pod_annotations(settings, CONTAINER),
                },
                "spec": _pod(attempt, settings),
            },
        },
    }


def files_of(attempt: Attempt, settings: PodSettings, job: str) -> Json | None:
    """The ConfigMap with the settings' mirrors and certificates, None if there are none; it goes with the Job.

    A pod can mount only what is in its own namespace. Keys of a ConfigMap hold no path, so they are numbered; the pod
    gives them their paths.
    """
    texts = [*settings.mirrors.values(), *settings.certificates.values()]
    if not texts:
        return None
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(attempt, {"apiVersion": "batch/v1", "kind": "Job", "name": attempt.name, "uid": job}),
        "data": {f"file-{number}": text for number, text in enumerate(texts)},
    }


def labels_of(claim_uid: str, claim: str) -> dict[str, str]:
    """The labels of the Jobs and pods of a claim."""
    return {
        naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
        naming.LABEL_COMPONENT: naming.COMPONENT,
        LABEL_VOLUME: claim_uid,
        LABEL_NAME: claim[:_LONGEST_LABEL].rstrip("-."),
    }


def _metadata(attempt: Attempt, owner: Json) -> Json:
    return {
        "name": attempt.name,
        "namespace": attempt.namespace,
        "labels": labels_of(attempt.claim_uid, attempt.claim),
        "ownerReferences": [{**owner, "controller": True}],
    }


def _pod(attempt: Attempt, settings: PodSettings) -> Json:
    pulled = attempt.node_pull
    spec = common_pod(
        settings,
        architecture=attempt.architecture if pulled else "",
        secret=attempt.secret if pulled else "",
    )
    if attempt.priority_class:
        spec["priorityClassName"] = attempt.priority_class
    if attempt.service_account:
        spec["serviceAccountName"] = attempt.service_account
    volumes, mounts, devices = _disks(attempt)
    volumes.append({"name": "scratch", "emptyDir": {}})
    mounts.append({"name": "scratch", "mountPath": _SCRATCH})
    if not pulled:
        files = _files(attempt, settings)
        volumes += files
        mounts += [{"name": it["name"], "mountPath": _PLACES[it["name"]], "readOnly": True} for it in files]
    else:
        volumes.append(shared_volume())
        mounts.append(shared_mount())
        if attempt.image_volume:
            volumes.append({"name": "image", "image": {"reference": attempt.image, "pullPolicy": "IfNotPresent"}})
            mounts.append({"name": "image", "mountPath": _IMAGE, "readOnly": True})
            own = _that_tells_its_environment(attempt, settings)
        else:
            spec["shareProcessNamespace"] = True
            own = _that_holds_its_files(attempt, settings)
        spec["initContainers"] = [busybox_container(settings), own]
    environment = {"HOME": _SCRATCH, **({} if pulled else settings.environment)}
    members: Json = {"volumeDevices": devices} if devices else {}
    spec["containers"] = [
        container(
            settings,
            CONTAINER,
            command=list(settings.command),
            args=_arguments(attempt, settings),
            env=[{"name": name, "value": value} for name, value in environment.items()],
            terminationMessagePolicy="FallbackToLogsOnError",
            volumeMounts=mounts,
            **members,
        )
    ]
    spec["volumes"] = volumes
    return spec


def _disks(attempt: Attempt) -> tuple[list[Json], list[Json], list[Json]]:
    """The claim that is written and the one that is read: volumes, mounts and devices."""
    claims = [("disk", attempt.claim, attempt.block, _FOLDER, _DEVICE)]
    if attempt.source_claim not in {"", attempt.claim}:
        claims.append(("source", attempt.source_claim, attempt.source_block, _SOURCE_FOLDER, _SOURCE_DEVICE))
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": claim}} for name, claim, *_ in claims]
    mounts = [
        {"name": name, "mountPath": folder} | ({"readOnly": True} if name == "source" else {})
        for name, _, block, folder, _ in claims
        if not block
    ]
    devices = [{"name": name, "devicePath": device} for name, _, block, _, device in claims if block]
    return volumes, mounts, devices


def _that_tells_its_environment(attempt: Attempt, settings: PodSettings) -> Json:
    """The image's own container, which says what environment it has: a volume of the image does not (L-05)."""
    return image_container(settings, attempt.image, "sh", "-c", f"exec {BUSYBOX} cat /proc/self/environ >{_ENVIRON}")


def _that_holds_its_files(attempt: Attempt, settings: PodSettings) -> Json:
    """The image's own container, which only holds its files open: the importer reads them through its process.

    As a sidecar it ends when the importer has. The link appears once there is a process; until then the importer is
    not started.
    """
    # Kubernetes makes one dollar of two; the shell's own number is what it shall see.
    hold = f"{BUSYBOX} ln -sfn /proc/$$$$/root {_IMAGE_ROOT} && exec {BUSYBOX} sleep 2147483647"
    probe = {
        "exec": {"command": [BUSYBOX, "test", "-L", _IMAGE_ROOT]},
        "periodSeconds": 1,
        "failureThreshold": 60,
    }
    return image_container(settings, attempt.image, "sh", "-c", hold, restartPolicy="Always", startupProbe=probe)


_PLACES: Final = {"secret": _SECRET, "certs": _CERTS, "mirrors": _MIRRORS}


def _files(attempt: Attempt, settings: PodSettings) -> list[Json]:
    """Volumes with what the importer needs for a registry: credentials, certificates, mirrors."""
    volumes: list[Json] = []
    if attempt.secret:
        volumes.append({"name": "secret", "secret": {"secretName": attempt.secret, "defaultMode": 0o440}})
    paths = [*settings.mirrors, *settings.certificates]
    items = [{"key": f"file-{number}", "path": path} for number, path in enumerate(paths)]
    mirrors, certificates = items[: len(settings.mirrors)], items[len(settings.mirrors) :]
    sources: list[Json] = []
    if attempt.cert_config_map:
        sources.append({"configMap": {"name": attempt.cert_config_map}})
    if certificates:
        sources.append({"configMap": {"name": attempt.name, "items": certificates}})
    if sources:
        volumes.append({"name": "certs", "projected": {"sources": sources}})
    if mirrors:
        volumes.append({"name": "mirrors", "configMap": {"name": attempt.name, "items": mirrors}})
    return volumes


def _source(attempt: Attempt, target: str) -> str:
    """What the importer reads, as its command line says it."""
    if attempt.source_claim == attempt.claim:
        return f"{VOLUME}{target}"
    if attempt.source_claim:
        return f"{VOLUME}{_SOURCE_DEVICE if attempt.source_block else _SOURCE_FOLDER}"
    if attempt.node_pull:
        return _IMAGE if attempt.image_volume else _IMAGE_ROOT
    return attempt.url


def _arguments(attempt: Attempt, settings: PodSettings) -> list[str]:
    """The importer's command line; nothing secret stands in it."""
    target = _DEVICE if attempt.block else _FOLDER
    arguments = ["--source", _source(attempt, target), "--size", str(attempt.size), "--target", target]
    if attempt.digest:
        arguments += ["--digest", attempt.digest]
    if attempt.preallocate:
        arguments.append("--preallocate")
    if attempt.node_pull:
        return arguments
    architecture = attempt.architecture or settings.architecture
    if architecture:
        arguments += ["--platform", f"linux/{architecture}"]
    if settings.rate:
        arguments += ["--rate", str(settings.rate)]
    for option, wanted, folder in (
        ("--secret-dir", attempt.secret, _SECRET),
        ("--cert-dir", attempt.cert_config_map or settings.certificates, _CERTS),
        ("--mirrors", settings.mirrors, _MIRRORS),
    ):
        if wanted:
            arguments += [option, folder]
    for host in settings.insecure_registries:
        arguments += ["--insecure-registry", host]
    return arguments
