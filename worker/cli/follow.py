"""Following an import until the cron's DataSource points to it.

What is waited for is read from the objects, so neither a restart of the worker nor one of the server ends the wait. How
many bytes there are to read stands in no object: Temporal is asked until it says that; without it percents are shown.
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import timedelta
from typing import Any, Final

from temporalio.service import RPCError

from dataimportcron import naming
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume
from dataimportcron.errors import DataImportCronError, ObjectNotFoundError, TransientError
from dataimportcron.projection import erroneous, failure_of
from worker.cli.home import CommandHome
from worker.cli.progress import Display
from worker.temporal import connect

_LOOK: Final = 0.25
_ASK_EVERY: Final = 1.0
"""Seconds between two questions for the size of the image."""
_PATIENCE: Final = timedelta(seconds=2)


class ImportFailedError(TransientError):
    """The import that was waited for has failed, and is not tried again before the next poll."""

    reason = "ImportFailed"


class Follower:
    """Follows what one cron imports."""

    def __init__(self, home: CommandHome, namespace: str, name: str) -> None:
        self._home = home
        self._namespace = namespace
        self._name = name
        self._display = Display()
        self._total = 0
        self._asked = float("-inf")
        self._restarts = 0

    def follow(self, wanted: str) -> int:
        """Show the import of this DataVolume, or of a newer one that takes its place; returns the exit code.

        Raises:
            ImportFailedError: it has failed, and waits for the next poll.
            ObjectNotFoundError: the cron was deleted meanwhile.
        """
        try:
            while True:
                cron = self._home.get(DataImportCron, self._namespace, self._name)
                current = [entry.data_volume_name for entry in cron.status.current_imports[:1]] or [wanted]
                if current != [wanted]:
                    self._display.say(f"{current[0]} takes the place of {wanted}")
                    wanted, self._total, self._restarts = current[0], 0, 0
                if wanted and self._is_promoted(cron, wanted):
                    self._display.say(f"DataSource {cron.spec.managed_data_source} points to {wanted}")
                    return 0
                self._show(wanted)
                time.sleep(_LOOK)
        except KeyboardInterrupt:
            self._display.clear()
            print(f"interrupted; the import of {wanted} goes on, `dataimportcron describe` shows it", file=sys.stderr)
            return 130
        except DataImportCronError:
            self._display.clear()
            raise

    def _is_promoted(self, cron: DataImportCron, wanted: str) -> bool:
        try:
            source = self._home.get(DataSource, self._namespace, cron.spec.managed_data_source)
        except ObjectNotFoundError:
            return False
        ready = any(c.type == "Ready" and c.status == "True" for c in source.status.conditions)
        return ready and source.spec.source.pvc is not None and source.spec.source.pvc.name == wanted

    def _show(self, wanted: str) -> None:
        try:
            volume = self._home.get(DataVolume, self._namespace, wanted)
        except ObjectNotFoundError:
            self._display.show(wanted, "Pending", None, 0)
            return
        if volume.status.phase == "Failed":
            raise ImportFailedError(
                f"The import of {wanted} failed: {failure_of(volume)}",
                hint="it is tried again at the next poll; `dataimportcron describe` shows more",
            )
        restarts = volume.status.restart_count or 0
        if restarts > self._restarts and erroneous(volume):
            self._display.say(f"{wanted} failed and is tried again: {failure_of(volume)}")
        self._restarts = restarts
        fraction = _fraction(volume)
        if fraction is not None and not self._total:
            self._total = self._ask_total(wanted)
        self._display.show(wanted, volume.status.phase or "Pending", fraction, self._total)

    def _ask_total(self, wanted: str) -> int:
        """Bytes that the import reads, as its heartbeat says; 0 if nobody can say."""
        if time.monotonic() - self._asked < _ASK_EVERY:
            return 0
        self._asked = time.monotonic()
        try:
            details = asyncio.run(self._heartbeat(naming.volume_workflow_id(self._home.site, self._namespace, wanted)))
        except (RPCError, DataImportCronError):
            return 0
        total = details.get("total") if isinstance(details, dict) else None
        return total if isinstance(total, int) else 0

    async def _heartbeat(self, workflow_id: str) -> Any:  # noqa: ANN401 -- whatever the importer says
        client = await connect(self._home.endpoint())
        described = await client.get_workflow_handle(workflow_id).describe(rpc_timeout=_PATIENCE)
        for pending in described.raw_description.pending_activities:
            if pending.heartbeat_details.payloads:
                return (await client.data_converter.decode(pending.heartbeat_details.payloads))[0]
        return None


def _fraction(volume: DataVolume) -> float | None:
    """How much is done, None while nobody knows."""
    progress = volume.status.progress or ""
    try:
        return float(progress.removesuffix("%")) / 100 if progress.endswith("%") else None
    except ValueError:
        return None
