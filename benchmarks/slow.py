"""A registry that answers in half a minute beside one that answers at once: what the crons of the second notice.

Both are polled through the whole worker and the real source. Polls of the quick registry's crons are forced one after
the other, without the slow one's crons and while all of them wait for theirs, and their latencies compared.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

from temporalio.client import Client

from benchmarks.engine import NAMESPACE, WorkerProcess, add_cron, document, manifest, prepare, server
from benchmarks.measure import against
from dataimportcron.api.types import DataImportCron
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.store import Store
from dataimportcron.messages import PollResult
from tests.support.fault_registry import FaultRegistry, fault_registry
from tests.support.temporal import eventually

_QUICK, _SLOW = [f"quick-{index}" for index in range(20)], [f"slow-{index}" for index in range(200)]
_DELAY = 29.0
"""Seconds; from 30 on a lookup gives up."""
_NEVER = "0 0 1 1 *"
_SETTLING = 10.0
"""Seconds in which the slow ones' start is over, and none has been answered."""
_PATIENCE = 120.0
_BAR = 1.5


def main() -> None:
    """Print latencies of the quick registry's polls."""
    work = Path(tempfile.mkdtemp(prefix="dataimportcron-bench-"))
    try:
        with server(work) as endpoint, fault_registry() as quick, fault_registry() as slow:
            state = prepare(work, f'insecure_registries = ["{quick.host}", "{slow.host}"]\n')
            for registry, names, delay in ((quick, _QUICK, 0.0), (slow, _SLOW, _DELAY)):
                for name in names:
                    registry.answer(f"/v2/bench/{name}/manifests/latest", manifest(delay))
            worker = WorkerProcess("sourced", endpoint.address, str(work))
            try:
                asyncio.run(_measure(endpoint.address, state, quick, slow))
            finally:
                worker.stop()
    finally:
        shutil.rmtree(work, ignore_errors=True)


async def _measure(address: str, state: StateFolder, quick: FaultRegistry, slow: FaultRegistry) -> None:
    client, store = await Client.connect(address), Store(state)
    ids = [add_cron(state, document(name, _NEVER, host=quick.host)) for name in _QUICK]
    await eventually(lambda: all(_settled(store, name) for name in _QUICK), _PATIENCE)
    alone = await _latencies(client, ids)
    for name in _SLOW:
        add_cron(state, document(name, _NEVER, host=slow.host))
    # So many as may be are under way; all others wait for their turn.
    await eventually(lambda: len(slow.requests) >= state.settings().concurrent_lookups, _PATIENCE)
    await asyncio.sleep(_SETTLING)
    beside = await _latencies(client, ids)
    waiting = sum(not _settled(store, name) for name in _SLOW)
    print(f"a forced poll takes {1000 * median(alone):.0f} ms alone, {1000 * median(beside):.0f} ms beside")
    print(f"{waiting} of {len(_SLOW)} slow lookups were still waited for")
    print(against("latency beside a slow registry, to alone", median(beside) / median(alone), _BAR))


def _settled(store: Store, name: str) -> bool:
    return store.get(DataImportCron, NAMESPACE, name).status.last_imported_pvc is not None


async def _latencies(client: Client, ids: list[str]) -> list[float]:
    """Seconds of a forced poll of each, one after the other."""
    found = []
    for name in ids:
        begin = time.monotonic()
        await client.get_workflow_handle(name).execute_update("poll_now", "benchmark", result_type=PollResult)
        found.append(time.monotonic() - begin)
    return found


if __name__ == "__main__":
    main()
