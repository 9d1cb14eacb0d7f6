"""`make soak`: an idle hour of the whole product on a cluster, and what it asks the API server for meanwhile.

Every watch ends and is taken up again a dozen times, and etcd is compacted as often. Nothing may be written, and
nothing listed anew; Leases are not counted. MINUTES says how long it takes.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from benchmarks.cluster_site import Request, Site, site
from benchmarks.measure import MIB
from demo.push import Image, disk_layer, push

_NAMES: Final = tuple(f"cron-{number}" for number in range(10))
_NAMESPACE: Final = "soak"
_PATIENCE: Final = 600
"""Seconds for the imports."""
_SETTLE: Final = 20.0
"""Seconds until the last event of the last import has been written."""


def main() -> None:
    """Print what was asked in each minute, and in all; ends with 1 if something was written or listed."""
    minutes = int(os.environ.get("MINUTES", "60"))
    with site() as here:
        _fill(here)
        time.sleep(_SETTLE)
        here.log.requests()
        memory, cpu = here.memory(), here.cpu()
        found: list[Request] = []
        for minute in range(1, minutes + 1):
            time.sleep(60)
            asked = here.log.requests()
            found += asked
            print(f"minute {minute:>3}: {_told(asked) or 'nothing'}", flush=True)
        print(f"memory of the workers: {memory / MIB:.0f} MiB before, {here.memory() / MIB:.0f} MiB after")
        print(f"CPU of the workers: {100 * (here.cpu() - cpu) / (60 * minutes):.2f} %")
    print(f"asked in {minutes} min with {len(_NAMES)} crons at rest: {_told(found) or 'nothing'}")
    wrong = [request for request in found if request.writes or request.verb == "list"]
    if wrong:
        sys.exit(f"FAILED: written or listed at rest: {_told(wrong)}")


def _fill(here: Site) -> None:
    """Crons whose image is imported, and which poll next year."""
    disk = here.work / "disk.img"
    disk.write_bytes(b"golden image" * 100_000)
    push(here.registry, "soak/disk", "latest", Image(layers=(disk_layer(disk, here.work),)))
    here.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}})
    here.cluster.apply(*map(_cron, _NAMES))
    crons = [f"{here.place.mode.crons}/{name}" for name in _NAMES]
    here.cluster.wait("condition=Ready", *crons, "-n", _NAMESPACE, seconds=_PATIENCE)


def _cron(name: str) -> dict[str, Any]:
    source = {"registry": {"url": "docker://quay.io/soak/disk"}}
    storage = {"resources": {"requests": {"storage": "64Mi"}}}
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataImportCron",
        "metadata": {"name": name, "namespace": _NAMESPACE},
        "spec": {
            "template": {"spec": {"source": source, "storage": storage}},
            "schedule": "0 3 1 1 *",
            "managedDataSource": name,
        },
    }


def _told(requests: Iterable[Request]) -> str:
    counted = Counter(f"{request.verb} {request.resource}" for request in requests)
    return ", ".join(f"{number} {what}" for what, number in counted.most_common())


if __name__ == "__main__":
    main()
