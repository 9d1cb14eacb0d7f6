"""The worker: its Deployment with what that refers to, and who leads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import CONFIG_MAPS, DEPLOYMENTS, LEASES, Json
from dataimportcron.cluster.client.verbs import find
from dataimportcron.cluster.registries.settings import DEFAULT_FILE, IMAGE_VARIABLE, ClusterSettings, settings_in
from dataimportcron.cluster.watching.detection import FRESH
from dataimportcron.errors import DataImportCronError
from dataimportcron.manifests import parse_time
from worker.cli.text import span
from worker.doctor.finding import Finding, bad, failed, good, note

NAME: Final = "dataimportcron"
"""Of the Deployment, its service account and its Lease."""
_CONTAINER: Final = "worker"
_VOLUME: Final = "settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What is known of the worker.

    Attributes:
        findings: about it.
        settings: what it was given; the defaults where those cannot be read.
        image: of import pods, "" where that is not known.
        temporal: the address of its Temporal, "" where that is not known.
    """

    findings: tuple[Finding, ...]
    settings: ClusterSettings
    image: str = ""
    temporal: str = ""


async def check(connection: Connection, namespace: str) -> Deployed:
    """Look at the Deployment in the worker's namespace."""
    deployment = await find(connection, DEPLOYMENTS, NAME, namespace)
    if deployment is None:
        cure = "kubectl apply --server-side -k your overlay; where it is in another namespace, give --namespace"
        missing = bad("worker", f"there is no Deployment {namespace}/{NAME}", cure)
        return Deployed(findings=(missing,), settings=ClusterSettings())
    pod = deployment["spec"]["template"]["spec"]
    container = next((it for it in pod["containers"] if it["name"] == _CONTAINER), pod["containers"][0])
    findings = [_pods(deployment), *_image(container, namespace)]
    settings, finding = await _settings(connection, pod, namespace)
    findings.append(finding)
    temporal = ""
    for name in _environment(container):
        data = await _data_of(connection, name, namespace)
        if data is None:
            findings.append(_absent(name, namespace))
        else:
            temporal = data.get("TEMPORAL_ADDRESS") or temporal
    return Deployed(
        findings=tuple(findings),
        settings=settings,
        image=_variable(container, IMAGE_VARIABLE),
        temporal=_variable(container, "TEMPORAL_ADDRESS") or temporal,
    )


async def check_leader(connection: Connection, namespace: str, now: datetime) -> list[Finding]:
    """Who leads, by the Lease that the leader renews every two seconds."""
    cure = f"kubectl -n {namespace} logs deployment/{NAME}"
    lease = await find(connection, LEASES, NAME, namespace)
    if lease is None:
        return [bad("leader", f"no worker has led yet: there is no Lease {namespace}/{NAME}", cure)]
    spec = lease.get("spec") or {}
    holder, renewed = spec.get("holderIdentity"), parse_time(spec.get("renewTime") or "")
    if not holder or renewed is None:
        return [bad("leader", "nobody leads: the last worker that did has ended", cure)]
    ago = span((now - renewed).total_seconds())
    if now - renewed > FRESH:
        return [bad("leader", f"nobody leads: {holder} has not renewed its Lease for {ago}", cure)]
    return [good("leader", f"{holder}, which renewed its Lease {ago} ago")]


def _pods(deployment: Json) -> Finding:
    metadata, status = deployment["metadata"], deployment.get("status") or {}
    wanted, ready = deployment["spec"].get("replicas", 1), status.get("availableReplicas", 0)
    place = f"{metadata['namespace']}/{metadata['name']}"
    if not wanted:
        cure = f"kubectl -n {metadata['namespace']} scale deployment/{metadata['name']} --replicas=2"
        return bad("worker", f"Deployment {place} is scaled to 0", cure)
    said = [it["message"] for it in status.get("conditions") or () if it["status"] == "False" and it.get("message")]
    why = f": {said[0].rstrip('.')}" if said else ""
    cure = f"kubectl -n {metadata['namespace']} get pods, and their logs and events"
    if not ready:
        return bad("worker", f"no pod of Deployment {place} is ready{why}", cure)
    if ready < wanted:
        return note("worker", f"{ready} of {wanted} pods of Deployment {place} are ready{why}", cure)
    return good("worker", f"{ready} pods of Deployment {place} are ready")


def _image(container: Json, namespace: str) -> Iterator[Finding]:
    """Import pods run what the variable names, and are to be of the same release as the worker."""
    image = container["image"]
    named = _variable(container, IMAGE_VARIABLE)
    if named == image:
        yield good("image", image)
        return
    set_it = f"kubectl -n {namespace} set env deployment/{NAME} {IMAGE_VARIABLE}={image}"
    found = f"import pods run {named}" if named else f"{IMAGE_VARIABLE} does not name the image of import pods"
    yield bad("image", f"{found}, and the worker is {image}", f"`replacements` of your overlay, or: {set_it}")


async def _settings(connection: Connection, pod: Json, namespace: str) -> tuple[ClusterSettings, Finding]:
    volumes = (it for it in pod.get("volumes") or () if it["name"] == _VOLUME)
    name = next((it["configMap"]["name"] for it in volumes if "configMap" in it), "")
    if not name:
        return ClusterSettings(), note("settings", "no ConfigMap of settings is mounted: the defaults are assumed")
    data = await _data_of(connection, name, namespace)
    if data is None:
        return ClusterSettings(), _absent(name, namespace)
    try:
        settings = settings_in(data.get(DEFAULT_FILE.name, ""), f"ConfigMap {namespace}/{name}")
    except DataImportCronError as error:
        return ClusterSettings(), failed("settings", error, "mend them in your overlay and apply it")
    return settings, good("settings", f"ConfigMap {namespace}/{name} is valid")


async def _data_of(connection: Connection, name: str, namespace: str) -> dict[str, str] | None:
    """What a ConfigMap holds, None if there is none."""
    found = await find(connection, CONFIG_MAPS, name, namespace)
    return None if found is None else found.get("data") or {}


def _absent(name: str, namespace: str) -> Finding:
    found = f"ConfigMap {namespace}/{name} does not exist, and the worker's pods cannot start without it"
    return bad("worker", found, "apply your overlay again")


def _variable(container: Json, name: str) -> str:
    return next((it.get("value", "") for it in container.get("env") or () if it["name"] == name), "")


def _environment(container: Json) -> list[str]:
    """Names of the ConfigMaps that the container's environment needs."""
    sources = [it["configMapRef"] for it in container.get("envFrom") or () if "configMapRef" in it]
    return [it["name"] for it in sources if not it.get("optional")]
