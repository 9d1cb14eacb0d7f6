"""The objects: files that are no good, crons that fail or are late, what they refer to, and volumes that are gone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from dataimportcron.api.conditions import Phase, UpToDateReason
from dataimportcron.api.documents import load_documents
from dataimportcron.api.types import DataImportCron, DataVolume
from dataimportcron.api.validation import validate
from dataimportcron.errors import DataImportCronError
from dataimportcron.host.access import HostAccess
from dataimportcron.host.source import HostSource
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.store import Store
from dataimportcron.host.volumes import HostVolumes
from dataimportcron.manifests import volume_spec
from dataimportcron.naming import LABEL_CRON
from dataimportcron.polling import next_poll_of, poll_failed, source_of, suspended
from dataimportcron.ports import Source
from dataimportcron.values import ImageSource
from worker.cli.text import span
from worker.doctor.finding import Finding, bad, failed, good, note

_LATE: Final = timedelta(minutes=2)
"""A poll may be so late without anything being wrong."""
_PATIENCE: Final = 15.0
"""Seconds that a registry has to answer."""


def check_files(state: StateFolder) -> Iterator[Finding]:
    """Files of objects that are not in force as they are."""
    store = Store(state)
    known = {store.file_of(record): record for record in store.heads()}
    wrong = {path: record.problem for path, record in known.items() if record.problem}
    for path in sorted(store.folder.glob("*/*/*.yaml")):
        if path not in known and (fault := _fault(path.read_bytes(), str(path))):
            wrong[path] = fault
    for path, problem in sorted(wrong.items()):
        kept = "; what was read from it before is in force" if path in known else ""
        yield bad("object file", f"{problem}{kept}", f"mend {path}")
    if not wrong:
        yield good("object files", f"{len(known)} objects, all in force as their files say")


def check_cron(cron: DataImportCron, window: timedelta, now: datetime, *, context: str = "") -> Finding:
    """Whether a cron is polled in time, with success, and its DataSource is up to date.

    Args:
        cron: as it is stored.
        window: over which equal schedules are spread.
        now: the time.
        context: of the cluster that it is in, "" for a host.
    """
    what = title(cron)
    up_to_date = next((c for c in cron.status.conditions if c.type == "UpToDate"), None)
    if up_to_date is not None and (poll_failed(cron) or up_to_date.reason == UpToDateReason.IMPORT_FAILED):
        return bad(what, f"{up_to_date.reason}: {up_to_date.message}", _poll_again(cron, context))
    try:
        overdue = _overdue(cron, window, now)
    except DataImportCronError as error:
        return failed(what, error, "correct spec.schedule")
    if overdue >= _LATE:
        runs = "the worker" if context else "`up` or a worker"
        found = f"its poll is {span(overdue.total_seconds())} overdue"
        return bad(what, found, f"see that {runs} runs, and what its log says")
    if suspended(cron):
        return note(what, "is suspended", _command("resume", cron, context))
    if up_to_date is None:
        return note(what, "has not been polled yet")
    return good(what, f"UpToDate is {up_to_date.status}: {up_to_date.message}")


def check_dependencies(state: StateFolder, cron: DataImportCron) -> Finding | None:
    """What the cron's source refers to: None where all of it is there. Where it is a volume, only polls look."""
    source = source_of(cron)
    try:
        if source is not None:
            HostAccess(Store(state), state).dependencies(source)
    except DataImportCronError as error:
        return failed(title(cron), error)
    return None


async def check_sources(state: StateFolder, crons: Sequence[DataImportCron]) -> list[Finding]:
    """Ask the registries of the crons, with the client and the rights of the polls."""
    source = HostSource(HostAccess(Store(state), state), state)
    return await ask_registries(source, filter(None, map(source_of, crons)))


async def ask_registries(source: Source, images: Iterable[ImageSource], *, from_elsewhere: str = "") -> list[Finding]:
    """Ask the registry of each image once, all at a time.

    Args:
        source: by which they are asked; it is closed.
        images: that crons follow.
        from_elsewhere: the cure where polls are made from elsewhere: what is bad from here may be good from there, so
            it is a note.
    """

    async def ask(image: ImageSource) -> Finding:
        what = f"source {image.url}"
        try:
            async with asyncio.timeout(_PATIENCE):
                resolved = await source.resolve(image, fresh=True)
        except TimeoutError:
            found, cure = f"no answer within {_PATIENCE:.0f} s", "check the network, proxies and mirrors"
        except DataImportCronError as error:
            found, cure = error.message, error.hint or "correct the source, or what answers there"
        else:
            return good(what, resolved.digest)
        return note(what, found, from_elsewhere) if from_elsewhere else bad(what, found, cure)

    try:
        return list(await asyncio.gather(*map(ask, {image.url: image for image in images}.values())))
    finally:
        source.close()


def check_volumes(state: StateFolder) -> Iterator[Finding]:
    """Whether each complete volume still has its file."""
    volumes, complete = HostVolumes(state), 0
    for volume in Store(state).list(DataVolume):
        metadata = volume.metadata
        if volume.status.phase != Phase.SUCCEEDED:
            continue
        if volumes.find_now(metadata.namespace, metadata.name) is not None:
            complete += 1
        else:
            cron = metadata.labels.get(LABEL_CRON)
            again = f"dataimportcron poll {cron} -n {metadata.namespace} --wait"
            anew = f"dataimportcron delete dv {metadata.name} -n {metadata.namespace}, and apply it again"
            yield bad(f"volume {metadata.namespace}/{metadata.name}", "its file is gone", again if cron else anew)
    yield good("volumes", f"{complete} complete")


def largest_volume(crons: Sequence[DataImportCron]) -> int:
    """Bytes of the largest volume that a cron makes, 0 where none says how large."""
    sizes = [0]
    for cron in crons:
        template = DataVolume(metadata=cron.metadata, spec=cron.spec.template.spec)
        try:
            sizes.append(volume_spec(template).size)
        except DataImportCronError:
            continue
    return max(sizes)


def _overdue(cron: DataImportCron, window: timedelta, now: datetime) -> timedelta:
    """For how long a poll should have been made; nothing or less if none should.

    Raises:
        InvalidScheduleError: the schedule is no cron expression.
    """
    since = cron.status.last_execution_timestamp or cron.metadata.creation_timestamp
    due = next_poll_of(cron, since, window) if since else None
    return now - due if due else timedelta()


def _fault(data: bytes, path: str) -> str:
    """The first thing that is wrong with a file, "" for nothing."""
    try:
        documents = load_documents(data.decode(), source=path)
    except (DataImportCronError, UnicodeDecodeError) as error:
        return str(error)
    faults = [str(fault) for document in documents for fault in validate(document, source=path)]
    return faults[0] if faults else ""


def title(cron: DataImportCron) -> str:
    """What a finding about a cron is called."""
    return f"cron {cron.metadata.namespace}/{cron.metadata.name}"


def _poll_again(cron: DataImportCron, context: str) -> str:
    return f"mend that, then: {_command('poll', cron, context)} --wait"


def _command(verb: str, cron: DataImportCron, context: str) -> str:
    where = f" --context {context}" if context else ""
    return f"dataimportcron {verb} {cron.metadata.name} -n {cron.metadata.namespace}{where}"
