"""The port `Importer`: the data-plane program as a subprocess that dies with us.

It reads its end of a pipe that we hold open as its standard input; when this process is killed, the pipe ends, and so
does the importer.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress

from dataimportcron.errors import ImporterDiedError, TargetBusyError, error_of
from dataimportcron.host.access import HostAccess
from dataimportcron.host.disks.local_disks import FILE_SCHEME
from dataimportcron.host.files import try_lock_existing
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.volumes import HostVolumes
from dataimportcron.importer.report import Progress, Result, parse_line
from dataimportcron.reference import Reference
from dataimportcron.values import ImageSource, Transfer, VolumeSpec

logger = logging.getLogger(__name__)

_PATIENCE = 10.0
"""Seconds between SIGTERM and SIGKILL."""
_LONGEST_LINE = 1 << 20


class HostImporter:
    """`ports.Importer`."""

    def __init__(self, access: HostAccess, volumes: HostVolumes, state: StateFolder) -> None:
        self._access = access
        self._volumes = volumes
        self._state = state

    async def run(
        self, image: ImageSource, digest: str, volume: VolumeSpec, report: Callable[[Transfer], None]
    ) -> Transfer:
        """See the port."""
        if await asyncio.to_thread(self._is_made, volume, digest):
            return Transfer(phase="Complete")
        place = await asyncio.to_thread(self._volumes.prepare, volume)
        url = image.url
        if url.startswith("docker://"):
            url = f"docker://{Reference.parse(url).with_digest(digest)}"
        pinned = ["--digest", digest] if digest and url == image.url else []
        url = url.removeprefix(FILE_SCHEME)
        arguments = ["--source", url, *pinned, "--target", str(place.partial), "--size", str(volume.size)]
        arguments += ["--marker", str(place.marker), "--watch-stdin"]
        architecture = image.architecture or self._state.settings().architecture
        if architecture:
            arguments += ["--platform", f"linux/{architecture}"]
        rate = self._state.settings().import_rate
        if rate:
            arguments += ["--rate", str(rate)]
        with self._access.folder(image) as (options, _):
            result = await self._run([*arguments, *options], report)
        await asyncio.to_thread(self._hand_over, volume, digest or result.digest)
        return Transfer(phase="Complete", done=result.bytes_read, total=result.bytes_read, written=result.bytes_written)

    def _is_made(self, volume: VolumeSpec, digest: str) -> bool:
        """Whether the volume is complete; one of its name, digest and size that an earlier object left is adopted."""
        if self._volumes.is_made(volume):
            return True
        found = self._volumes.find_now(volume.namespace, volume.name)
        return found is not None and bool(digest) and found.digest == digest and found.size >= volume.size

    def _hand_over(self, volume: VolumeSpec, digest: str) -> None:
        """Put what the importer has completed into the pool, unless another importer is at it again."""
        place = self._volumes.place(volume)
        lock = try_lock_existing(place.partial)
        try:
            if lock is not None and place.marker.exists():
                self._volumes.finish(volume, digest=digest, writable=False)
            elif not self._is_made(volume, digest):
                raise TargetBusyError(f"{place.partial} is in the hands of another importer")
        finally:
            if lock is not None:
                os.close(lock)

    async def _run(self, arguments: list[str], report: Callable[[Transfer], None]) -> Result:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "dataimportcron.importer",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LONGEST_LINE,
        )
        try:
            result, complaint = await asyncio.gather(_follow(process, report), _complaint(process))
            code = await process.wait()
        except BaseException:
            await _stop(process)
            raise
        finally:
            if process.stdin is not None:
                process.stdin.close()
        if result is None:
            raise ImporterDiedError(
                f"The importer ended with status {code} and without a result: {complaint or 'it said nothing'}",
                hint="it is started again",
            )
        if result.failed:
            raise error_of(result.reason, result.message, permanent=result.permanent, retry_after=result.retry_after)
        return result


async def _follow(process: asyncio.subprocess.Process, report: Callable[[Transfer], None]) -> Result | None:
    """Report progress until the output ends; returns the result, None if there was none."""
    if process.stdout is None:  # pragma: no cover -- it was asked for
        return None
    result = None
    async for line in process.stdout:
        parsed = parse_line(line.decode("utf-8", "replace"))
        if isinstance(parsed, Progress):
            report(
                Transfer(
                    phase=parsed.phase, done=parsed.bytes_read, total=parsed.bytes_total, written=parsed.bytes_written
                )
            )
        elif parsed is not None:
            result = parsed
    return result


async def _complaint(process: asyncio.subprocess.Process) -> str:
    """The last line of the standard error, which is all read so that the importer never blocks on it."""
    last = ""
    if process.stderr is not None:
        async for line in process.stderr:
            text = line.decode("utf-8", "replace").strip()
            if text:
                logger.debug("importer: %s", text)
                last = text
    return last


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End the importer and wait for it: nobody else may write the target before that."""
    with suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _PATIENCE)
        except TimeoutError:
            process.kill()
    await process.wait()
