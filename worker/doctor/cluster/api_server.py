"""The API server: its version, what nodes can do, and what stands in the way of our objects."""

from __future__ import annotations

import re
from typing import Final

from dataimportcron.api.types import CDI_GROUP
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import MUTATING_WEBHOOKS, NODES, VALIDATING_WEBHOOKS, Json
from dataimportcron.cluster.jobs.node_pull import has_image_volumes
from worker.doctor.finding import Finding, bad, good

MINIMUM: Final = (1, 29)
"""The first version that takes our definitions: their rules compare quantities, and name the field that is at fault."""


def check_version(server: str, version: Json) -> Finding:
    """Whether the server is new enough.

    Args:
        server: its URL.
        version: what it says at /version.
    """
    parts = re.match(r"v?(\d+)\.(\d+)", str(version.get("gitVersion")), re.ASCII)
    found = f"Kubernetes {version.get('gitVersion')} at {server}"
    if parts is None or (int(parts[1]), int(parts[2])) >= MINIMUM:
        return good("API server", found)
    least = ".".join(map(str, MINIMUM))
    return bad("API server", f"{found}, which does not take our definitions", f"upgrade to {least} or newer")


async def check_nodes(connection: Connection) -> list[Finding]:
    """How imports with `pullMethod: node` are made."""
    nodes = await connection.list(NODES)
    if not nodes:
        return [bad("nodes", "there is none: no import pod can run", "let a node join: kubectl get nodes")]
    if has_image_volumes(nodes):
        return [good("nodes", f"{len(nodes)}, all mount images as volumes, as pullMethod node does best")]
    return [good("nodes", f"{len(nodes)}, not all mount images as volumes: pullMethod node runs the images instead")]


async def check_webhooks(connection: Connection) -> list[Finding]:
    """Webhooks on CDI's group in a cluster without CDI: they refuse all objects, for nobody answers them."""
    findings = []
    for resource in (VALIDATING_WEBHOOKS, MUTATING_WEBHOOKS):
        for configuration in await connection.list(resource):
            name = configuration["metadata"]["name"]
            if any(_is_about_cdi(webhook) for webhook in configuration.get("webhooks") or ()):
                findings.append(
                    bad(
                        "webhooks",
                        f"{resource.kind} {name} asks about objects of {CDI_GROUP}, and CDI is not here",
                        f"if it was left behind by CDI: kubectl delete {resource} {name}",
                    )
                )
    return findings or [good("webhooks", f"none asks about objects of {CDI_GROUP}")]


def _is_about_cdi(webhook: Json) -> bool:
    fails = webhook.get("failurePolicy", "Fail") == "Fail"
    return fails and any(CDI_GROUP in (rule.get("apiGroups") or ()) for rule in webhook.get("rules") or ())
