"""Records the histories that `test_replay.py` replays, and the fingerprint of the command sequence.

    python -m tests.replay.record NAME       adds histories/NAME.*.json and writes fingerprint.json anew

Run it when a workflow's commands changed on purpose, under a new NAME (a version): old recordings stay, because crons
that were started then may still sleep. A change that old recordings do not replay needs `workflow.patched`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from pathlib import Path

from temporalio.client import WorkflowHistory

from dataimportcron import naming
from dataimportcron.api.types import DataVolume
from dataimportcron.errors import ImageNotFoundError, RegistryUnavailableError
from dataimportcron.messages import CleanUp, CronInput, ObjectDeleted, PollResult
from dataimportcron.naming import import_name
from dataimportcron.projection import erroneous
from tests.replay.fingerprint import FINGERPRINT, fingerprint
from tests.support.home import DATA_SOURCE, NAME, NAMESPACE, TestHome
from tests.support.temporal import dev_server, eventually
from worker.run import workers
from workflows.data_import_cron import DataImportCronWorkflow

HISTORIES = Path(__file__).parent / "histories"
SITE = "recorded"
PATIENCE = 60.0
"""Seconds that a recording may take."""
_STACK_TRACE = re.compile(r'"stackTrace": "(?:[^"\\]|\\.)*"')


async def record(name: str) -> None:
    """One cron's life: import, quiet ticks, polls that fail, an import that fails first, pruning, deletion.

    On the real server: the time-skipping one loses an update that meets a workflow task in flight.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = TestHome(Path(folder) / "state")
        async with asyncio.timeout(PATIENCE), dev_server() as env:
            first, second = workers(env.client, home.home, site=SITE)
            async with first, second:
                digest = home.release(b"one")
                ref = home.apply(importsToKeep=1, retentionPolicy="None", schedule="@every 1s")
                handle = await env.client.start_workflow(
                    DataImportCronWorkflow.run,
                    CronInput(site=SITE, cron=ref),
                    id=naming.cron_workflow_id(SITE, NAMESPACE, NAME),
                    task_queue=naming.task_queue(SITE),
                )
                await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, digest))
                quiet = home.source.lookups + 3
                await eventually(lambda: home.source.lookups >= quiet)
                home.source.failure = ImageNotFoundError("no such tag")
                await handle.execute_update("poll_now", "recorded", result_type=PollResult)
                home.source.failure = RegistryUnavailableError("503")
                await handle.execute_update("poll_now", "recorded", result_type=PollResult)
                home.source.failure = None
                newer = home.release(b"two")
                home.importer.failure = RegistryUnavailableError("reset by peer")
                await handle.signal(DataImportCronWorkflow.poll, "recorded")
                await eventually(lambda: newer in home.importer.started)
                failing = import_name(DATA_SOURCE, newer)
                await eventually(lambda: erroneous(home.store.get(DataVolume, NAMESPACE, failing)))
                await handle.signal(DataImportCronWorkflow.changed, ref.uid)
                await eventually(lambda: home.condition("UpToDate")[1] == "ImportFailed")
                home.importer.failure = None
                await eventually(lambda: home.points_to() == import_name(DATA_SOURCE, newer))
                await eventually(lambda: len(home.volumes()) == 1)
                home.store.delete(home.cron())
                await handle.signal(
                    DataImportCronWorkflow.object_deleted,
                    ObjectDeleted(uid=ref.uid, clean_up=CleanUp(retention_policy="None", data_source=DATA_SOURCE)),
                )
                await handle.result()
                save(name, "cron", await handle.fetch_history())
                child = naming.volume_workflow_id(SITE, NAMESPACE, import_name(DATA_SOURCE, newer))
                save(name, "import", await env.client.get_workflow_handle(child).fetch_history())


def save(name: str, what: str, history: WorkflowHistory) -> None:
    """Write a recording; without stack traces, which replay nothing and name the folders of whoever recorded it."""
    HISTORIES.mkdir(exist_ok=True)
    text = _STACK_TRACE.sub('"stackTrace": ""', history.to_json())
    (HISTORIES / f"{name}.{what}.json").write_text(text + "\n")


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1]))
    FINGERPRINT.write_text(json.dumps(fingerprint(), indent=1) + "\n")
