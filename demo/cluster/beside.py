"""CDI's part in the demonstration and the tests: its definitions, its CR, its Lease, and its DataSource controller.

Only what this product meets is played: CDI marks a DataSource Ready when the claim that it names is there, and keeps
renewing its Lease. The real one is not to be had without its operator's images.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from dataimportcron.cluster.watching.detection import CDI_LEASE
from dataimportcron.errors import TransientError
from demo.cluster.installation import define_cdis
from tests.cluster.full import Cluster

_PERIOD: Final = 1.0
_NAMESPACE: Final = "cdi"


@contextmanager
def playing_cdi(cluster: Cluster) -> Iterator[None]:
    """CDI is there for the length of the context."""
    define_cdis(cluster)
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}})
    cluster.apply({"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "CDI", "metadata": {"name": "cdi"}, "spec": {}})
    stop = threading.Event()
    player = threading.Thread(target=_play, args=(cluster, stop), name="cdi")
    player.start()
    try:
        yield
    finally:
        stop.set()
        player.join()
        # Whoever is installed next would wait for a minute whether somebody renews it.
        cluster.delete("lease", CDI_LEASE, _NAMESPACE)
        cluster.delete("namespace", _NAMESPACE)


def _play(cluster: Cluster, stop: threading.Event) -> None:
    while not stop.wait(_PERIOD):
        try:
            cluster.apply(_lease())
            for source in cluster.get("datasource", "-A")["items"]:
                _reconcile(cluster, source)
        except TransientError:
            continue  # the API server is away, or an object has changed: the next round tells


def _lease() -> dict[str, Any]:
    moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: TID251 -- CDI's clock
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": CDI_LEASE, "namespace": _NAMESPACE},
        "spec": {"holderIdentity": "cdi-deployment-0", "leaseDurationSeconds": 15, "renewTime": moment},
    }


def _reconcile(cluster: Cluster, source: dict[str, Any]) -> None:
    """Ready while the claim that it names is there."""
    metadata, claim = source["metadata"], source["spec"]["source"].get("pvc")
    there = claim and cluster.answers("get", "pvc", claim["name"], "-n", claim.get("namespace", metadata["namespace"]))
    status, reason = ("True", "Ready") if there else ("False", "NotFound" if claim else "NoSource")
    known = (source.get("status") or {}).get("conditions") or [{}]
    if (known[0].get("status"), known[0].get("reason")) == (status, reason):
        return
    ready = {"type": "Ready", "status": status, "reason": reason, "message": "DataSource is ready to be consumed"}
    patch = {"status": {"conditions": [ready], "source": source["spec"]["source"] if there else {}}}
    cluster.kubectl(
        "patch", "datasource", metadata["name"], "-n", metadata["namespace"], "--type=merge", "--subresource=status",
        f"--patch={_json(patch)}",
    )  # fmt: skip


def _json(value: object) -> str:
    import json  # noqa: PLC0415 -- used here alone

    return json.dumps(value)
