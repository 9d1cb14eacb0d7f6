"""The product as tests install it beside one another on one cluster, and what they look at."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.client import Client

from demo.cluster.installation import NAMESPACE, Installation
from tests.cluster.full import Cluster

WORKER = f"system:serviceaccount:{NAMESPACE}:dataimportcron"
"""The user whose requests are the product's."""


def leave_nothing(place: Installation, *namespaces: str) -> None:
    """Remove the product, its objects in these namespaces, and its definitions."""
    place.uninstall()
    for namespace in namespaces:
        for kind in (place.mode.crons, "datasources", "datavolumes", "pvc"):
            place.cluster.kubectl("delete", kind, "--all", "-n", namespace, "--ignore-not-found", "--wait=false")
    undefine(place.cluster)


def undefine(cluster: Cluster) -> None:
    """Remove the product's definitions, and with them whatever objects of theirs others left."""
    crds = [item["metadata"]["name"] for item in cluster.get("crd")["items"]]
    ours = [name for name in crds if name.endswith((".cdi.kubevirt.io", ".dataimportcron.io"))]
    if ours:
        cluster.kubectl("delete", "crd", *ours)


def cron(place: Installation, namespace: str, url: str, **registry: str) -> dict[str, Any]:
    """A DataImportCron `golden` that keeps the DataSource `golden`, of an image that pods pull."""
    source = {"registry": {"url": f"docker://{url}", "pullMethod": "pod"} | registry}
    storage = {"resources": {"requests": {"storage": "512Mi"}}}
    return {
        "apiVersion": f"{place.mode.group}/v1beta1",
        "kind": "DataImportCron",
        "metadata": {"name": "golden", "namespace": namespace},
        "spec": {
            "template": {"spec": {"source": source, "storage": storage}},
            "schedule": "0 3 1 1 *",
            "managedDataSource": "golden",
        },
    }


def certificates(namespace: str, authority: str) -> dict[str, Any]:
    """A ConfigMap `certs` for `certConfigMap`."""
    metadata = {"name": "certs", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": authority}}


def seen(cluster: Cluster, namespace: str) -> str:
    """What anybody may see of imports in a namespace: arguments and logs of what runs on the node, and objects."""
    logs = f"cat /proc/[0-9]*/cmdline /var/log/pods/{namespace}_*/*/*.log 2>/dev/null; true"
    kinds = "events,jobs,configmaps,pvc,datasources,datavolumes,dataimportcrons.cdi.kubevirt.io"
    return cluster.on_node("sh", "-c", logs) + cluster.kubectl("get", kinds, "-n", namespace, "-o", "yaml")


def histories(address: str) -> bytes:
    """All that Temporal remembers of executions."""
    return asyncio.run(_histories(address))


async def _histories(address: str) -> bytes:
    client = await Client.connect(address)
    found = b""
    async for run in client.list_workflows():
        history = await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        found += b"".join(event.SerializeToString() for event in history.events)
    return found
