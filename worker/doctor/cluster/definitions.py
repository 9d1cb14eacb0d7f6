"""The definitions of our kinds and CDI's: whose they are, and what waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dataimportcron.api.crds import SETTINGS
from dataimportcron.api.types import CDI_GROUP, OWN_GROUP
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import CRDS, DATA_VOLUMES, Json
from dataimportcron.cluster.watching.detection import is_of_cdi
from worker.doctor.finding import Finding, bad, good

_KUBEVIRT: Final = "kubevirts.kubevirt.io"
_APPLY: Final = "kubectl apply --server-side -f deploy/crds/settings"


async def check(connection: Connection) -> list[Finding]:
    """Look at all definitions of the cluster."""
    crds = await connection.list(CRDS)
    own = [crd for crd in crds if crd["spec"]["group"] in {CDI_GROUP, OWN_GROUP}]
    return [*_owners(own), *_unestablished(own), *_kubevirt({crd["metadata"]["name"] for crd in crds})]


def _owners(crds: Sequence[Json]) -> list[Finding]:
    owners: dict[str, list[str]] = {}
    for crd in crds:
        owners.setdefault(_owner_of(crd), []).append(crd["metadata"]["name"])
    return [good("definitions", f"{owner}: {', '.join(sorted(names))}") for owner, names in sorted(owners.items())]


def _owner_of(crd: Json) -> str:
    if is_of_cdi(crd):
        return "of CDI's operator"
    ours = (crd["metadata"].get("labels") or {}).get("app.kubernetes.io/part-of") == "dataimportcron"
    return "ours" if ours else "of somebody else"


def _unestablished(crds: Sequence[Json]) -> list[Finding]:
    """Definitions that the server has stored and does not serve."""
    findings = []
    for crd in crds:
        name, conditions = crd["metadata"]["name"], (crd.get("status") or {}).get("conditions") or ()
        for condition in conditions:
            if condition["type"] in {"Established", "NamesAccepted"} and condition["status"] != "True":
                found = f"{name} is not served: {condition.get('message') or condition.get('reason')}"
                findings.append(bad("definitions", found, f"kubectl describe crd {name}"))
    return findings


def _kubevirt(names: set[str]) -> list[Finding]:
    """virt-controller looks for DataVolumes, and once they are known waits for CDI's settings too."""
    missing = [definition.name for definition in SETTINGS if definition.name not in names]
    if _KUBEVIRT not in names or not missing:
        return []
    listed = ", ".join(missing)
    if str(DATA_VOLUMES) in names:
        found = f"no virtual machine starts: virt-controller knows {DATA_VOLUMES} and waits for {listed}"
        return [bad("KubeVirt", found, f"{_APPLY}; then the same with deploy/crds/settings/object")]
    found = f"{listed} must be there before {DATA_VOLUMES}, or virt-controller starts no virtual machine any more"
    return [bad("KubeVirt", found, f"{_APPLY}; then the same with deploy/crds/settings/object, then …/standalone")]
