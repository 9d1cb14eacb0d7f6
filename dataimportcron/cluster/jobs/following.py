"""Following a Job's pod from nothing to its result: what it waits for, its progress, how it ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import JOBS, PODS, PVCS, Json
from dataimportcron.cluster.jobs.attempt_job import CONTAINER
from dataimportcron.cluster.jobs.attempts import failure_of
from dataimportcron.cluster.jobs.holdups import claims_of, hold_up, is_pulling
from dataimportcron.cluster.jobs.waiting import Waiting, events_about
from dataimportcron.errors import (
    ApiUnavailableError,
    DataImportCronError,
    ExpiredVersionError,
    ImporterDiedError,
    ObjectNotFoundError,
)
from dataimportcron.importer.report import TERMINATED, Progress, Result, parse_line
from dataimportcron.values import Transfer

logger = logging.getLogger(__name__)

_LOOK: Final = 2.0
"""Seconds between two looks at what holds a pod up."""
_NUDGE: Final = 10.0
"""Seconds after which a Job whose pod was refused is touched: its controller else waits up to ten minutes."""
_RETRY: Final = 1.0
_LOG_PATIENCE: Final = 10.0
"""Seconds that a log may take to end after its container has."""
_LAST_LINES: Final = 20
_NUDGED = "dataimportcron.io/nudged"


class Following:
    """One Job, followed to its end.

    Args:
        connection: to the API server.
        job: that runs.
        report: of the port.
    """

    def __init__(self, connection: Connection, job: Json, report: Callable[[Transfer], None]) -> None:
        self._connection = connection
        self._job = job["metadata"]
        self._claims = claims_of(job["spec"]["template"]["spec"])
        self._report = report
        self._waiting = Waiting(report)
        self._pod: Json | None = None
        self._gone = False
        self._changed = asyncio.Event()
        self._result: Result | None = None
        self._look_at = time.monotonic() + _LOOK
        self._nudge_at = time.monotonic() + _NUDGE

    async def run(self) -> Result:
        """Follow it until its pod has ended.

        Raises:
            ImporterDiedError: it ended without a result.
        """
        tasks = [asyncio.create_task(self._watch())]
        try:
            while not self._ended():
                self._changed.clear()
                if self._runs() and len(tasks) == 1:
                    tasks.append(asyncio.create_task(self._read_log()))
                elif not self._runs() and time.monotonic() >= self._look_at:
                    await self._look()
                    self._look_at = time.monotonic() + _LOOK
                for task in tasks:
                    if task.done():
                        task.result()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK / 2):  # wait_for can lose a cancellation before Python 3.12
                        await self._changed.wait()
            if len(tasks) > 1:
                await asyncio.wait(tasks[1:], timeout=_LOG_PATIENCE)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        result = self._result or await self._last_words()
        if result.reason == TERMINATED:
            raise ImporterDiedError(how_it_died(self._pod or {}, gone=True))
        return result

    # -- the pod -----------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Keep the pod as it is now; ends never. What the API server cannot say for a while is waited for."""
        selector, namespace = f"job-name={self._job['name']}", self._job["namespace"]
        while True:
            try:
                listing = await self._connection.snapshot(PODS, namespace, label_selector=selector)
                self._take(listing.items[0] if listing.items else None)
                changes = self._connection.watch(
                    PODS, namespace, resource_version=listing.resource_version, label_selector=selector
                )
                async for kind, pod in changes:
                    if kind != "BOOKMARK":
                        self._take(None if kind == "DELETED" else pod)
            except ExpiredVersionError:
                continue
            except ApiUnavailableError as error:
                logger.warning("Job %s/%s cannot be watched: %s", namespace, self._job["name"], error)
                await asyncio.sleep(_RETRY)

    def _take(self, pod: Json | None) -> None:
        if pod is None and self._pod is not None:
            self._gone = True  # and what it was last is kept: it may have ended well
        elif pod is not None:
            self._pod, self._gone = pod, False
        self._changed.set()

    def _state(self) -> Json:
        """The state of the importer's container, {} while there is none."""
        statuses = ((self._pod or {}).get("status") or {}).get("containerStatuses") or ()
        return next((it.get("state") or {} for it in statuses if it["name"] == CONTAINER), {})

    def _runs(self) -> bool:
        return "running" in self._state()

    def _ended(self) -> bool:
        phase = ((self._pod or {}).get("status") or {}).get("phase")
        return self._gone or "terminated" in self._state() or phase in {"Succeeded", "Failed"}

    # -- what it waits for -------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Say what holds the pod up, and end where the Job has failed without one."""
        try:
            job = await self._connection.get(JOBS, self._job["name"], self._job["namespace"])
            claims = [await self._connection.get(PVCS, name, self._job["namespace"]) for name in self._claims]
            things = [job, *claims, *([self._pod] if self._pod else [])]
            events = await events_about(self._connection, *things)
            found = hold_up(self._pod, claims, events)
            if self._pod is None and found is not None:
                await self._nudge()
        except ObjectNotFoundError as error:
            raise ImporterDiedError(f"The import was removed while it ran: {error.message}") from error
        except ApiUnavailableError as error:
            logger.warning("Job %s/%s cannot be read: %s", self._job["namespace"], self._job["name"], error)
            return
        if job["metadata"]["uid"] != self._job["uid"] or job["metadata"].get("deletionTimestamp"):
            raise ImporterDiedError(f"Job {self._job['name']} was deleted before its pod had begun")
        if self._pod is None and (why := failure_of(job)) is not None:
            raise ImporterDiedError(f"Job {self._job['name']} has failed without a pod: {why}")
        self._waiting.tell(found, "Pulling" if self._pod and is_pulling(self._pod, events) else "Scheduled")

    async def _nudge(self) -> None:
        """Have the Job's controller look again, now and then."""
        if time.monotonic() >= self._nudge_at:
            self._nudge_at = time.monotonic() + _NUDGE
            patch: Json = {"metadata": {"annotations": {_NUDGED: str(int(self._nudge_at))}}}
            await self._connection.patch(JOBS, self._job["name"], self._job["namespace"], patch)

    # -- what it says ------------------------------------------------------------------------------------------------

    async def _read_log(self) -> None:
        """Report progress until the container has ended; a log that breaks off is read anew, for lines only repeat."""
        name = self._pod["metadata"]["name"] if self._pod else ""
        while True:
            try:
                async for line in self._connection.follow_log(name, self._job["namespace"], CONTAINER):
                    self._take_line(line)
            except DataImportCronError as error:
                logger.info("the log of pod %s/%s broke off: %s", self._job["namespace"], name, error)
            if self._result is not None or self._ended():
                return
            await asyncio.sleep(_RETRY)

    def _take_line(self, line: str) -> None:
        parsed = parse_line(line)
        if isinstance(parsed, Progress):
            self._report(
                Transfer(
                    phase=parsed.phase, done=parsed.bytes_read, total=parsed.bytes_total, written=parsed.bytes_written
                )
            )
        elif parsed is not None:
            self._result = parsed

    async def _last_words(self) -> Result:
        """The result of a container that ended before its log was read."""
        terminated = self._state().get("terminated") or {}
        lines = str(terminated.get("message") or "").splitlines()
        name = self._pod["metadata"]["name"] if self._pod else ""
        if not self._gone:
            with suppress(DataImportCronError):
                log = await self._connection.log(name, self._job["namespace"], CONTAINER, tail=_LAST_LINES)
                lines += log.splitlines()
        for line in lines:
            self._take_line(line)
        if self._result is not None:
            return self._result
        raise ImporterDiedError(how_it_died(self._pod or {}, gone=self._gone, last=lines[-1] if lines else ""))


def how_it_died(pod: Json, *, gone: bool, last: str = "") -> str:
    """Why an importer's pod has ended without a result, in one sentence.

    Args:
        pod: as it was last.
        gone: it was taken away while it ran.
        last: words of the importer.
    """
    status = pod.get("status") or {}
    name = f"Pod {pod['metadata']['namespace']}/{pod['metadata']['name']}" if pod else "The importer's pod"
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return f"{name} was taken away: {condition.get('reason')}: {condition.get('message')}"
    if gone:
        return f"{name} was deleted while it ran"
    if status.get("reason") or status.get("message"):
        return f"{name} has ended: {status.get('reason', '')}: {status.get('message', '')}"
    statuses = status.get("containerStatuses") or ()
    terminated = next(
        (found for it in statuses if it["name"] == CONTAINER and (found := (it.get("state") or {}).get("terminated"))),
        None,
    )
    if terminated is None:
        return f"{name} has ended without a word"
    what = f"{name} has ended with status {terminated.get('exitCode')} ({terminated.get('reason', 'no reason')})"
    return f"{what} and without a result: {last or 'it said nothing'}"
