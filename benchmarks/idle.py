"""The whole home at rest, `up` with its server and worker, against a bare server and a bare worker beside it.

Memory is the proportional set size of all processes, so that shared pages count once.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.engine import WorkerProcess, add_cron, document, manifest, prepare, server, unsettled
from benchmarks.measure import MIB, against, cpu_of, memory_of
from dataimportcron.host.state.store import Store
from demo.host import descendants, host, wait_for
from tests.support.fault_registry import fault_registry

_NAMES = [f"cron-{index}" for index in range(10)]
_WEEKLY = "0 3 * * 1"
_PATIENCE, _SETTLE, _WINDOW = 60.0, 10.0, 60.0
"""Seconds until the first polls at most, from then until all is at rest, and for which it is watched."""
_MEMORY_BAR, _CPU_BAR = 1.5, 2.0


def main() -> None:
    """Print memory and CPU of both at rest."""
    work = Path(tempfile.mkdtemp(prefix="dataimportcron-bench-"))
    try:
        with host(work / "state") as home, server(work / "bare") as endpoint, fault_registry() as registry:
            state = prepare(home.folder, f'insecure_registries = ["{registry.host}"]\n')
            for name in _NAMES:
                registry.answer(f"/v2/bench/{name}/manifests/latest", manifest())
                add_cron(state, document(name, _WEEKLY, host=registry.host))
            home.start()
            store = Store(state)
            bare = WorkerProcess("bare", endpoint.address)
            try:
                bare.usage()
                wait_for("the first polls", _PATIENCE, lambda: not unsettled(store))
                _watch(home.up.pid if home.up else 0)
            finally:
                bare.stop()
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _watch(up: int) -> None:
    time.sleep(_SETTLE)
    ours = [up, *(pid for pid, _ in descendants(up))]
    peers = [pid for pid, _ in descendants(os.getpid()) if pid not in ours]
    before = {name: cpu_of(pids) for name, pids in (("ours", ours), ("bare", peers))}
    time.sleep(_WINDOW)
    share = {name: (cpu_of(pids) - before[name]) / _WINDOW for name, pids in (("ours", ours), ("bare", peers))}
    memory = {"ours": memory_of(ours), "bare": memory_of(peers)}
    print(f"{'':<6}{'processes':>10}{'MiB':>8}{'CPU %':>8}")
    for name, pids in (("ours", ours), ("bare", peers)):
        print(f"{name:<6}{len(pids):>10}{memory[name] / MIB:>8.0f}{100 * share[name]:>8.2f}")
    print(against(f"memory at rest with {len(_NAMES)} crons, ours:bare", memory["ours"] / memory["bare"], _MEMORY_BAR))
    print(against(f"CPU at rest with {len(_NAMES)} crons, ours:bare", share["ours"] / share["bare"], _CPU_BAR))


if __name__ == "__main__":
    main()
