"""`dataimportcron describe`: all that is known of an object, for a person, laid out as kubectl does it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from dataimportcron.api.types import DataImportCron, DataVolume
from dataimportcron.errors import InvalidScheduleError, ObjectNotFoundError
from dataimportcron.host import clock
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.records import Document, Record
from dataimportcron.host.state.store import Store
from dataimportcron.host.volumes import HostVolumes
from dataimportcron.polling import poll_failed, suspended
from worker.cli import text
from worker.cli.common import namespace_option, open_state, state_option
from worker.cli.kinds import find, none_found, tidy, wanted
from worker.cli.polls import clock_times, next_polls, when


def configure(parser: argparse.ArgumentParser) -> None:
    """Which objects."""
    parser.add_argument("kind", metavar="KIND", help="a kind as `get` knows it, or an object as KIND/NAME")
    parser.add_argument("names", nargs="*", metavar="NAME", help="objects of that kind; all of them without")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    namespace_option(parser)
    state_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print them."""
    asked, state = wanted([arguments.kind, *arguments.names]), open_state(arguments)
    namespace = None if arguments.all_namespaces else arguments.namespace
    records = find(state, asked, namespace)
    print("\n\n\n".join("\n".join(_lines(state, record)) for record in records) or none_found(asked, namespace))
    return 0


def _lines(state: StateFolder, record: Record) -> Iterator[str]:
    now, width = clock.now(), text.width_of()
    document = tidy(record.document())
    yield from _head(record, document, now, width)
    status = dict(document.get("status") or {})
    conditions = status.pop("conditions", [])
    for key, value in document.items():
        if key in {"apiVersion", "kind", "metadata", "status"}:
            continue
        if record.kind == "Secret" and isinstance(value, dict):
            value = {name: f"<hidden, {len(str(hidden))} characters>" for name, hidden in value.items()}  # noqa: PLW2901
        yield from text.outline({key: value}, width=width)
    if status:
        yield from text.outline({"status": status}, width=width)
    facts = dict(_facts(state, record, now))
    if facts:
        yield from text.outline(facts, width=width)
    if conditions or record.status:
        yield from _section("Conditions", _conditions(conditions, now), width)
    yield from _section("Events", _events(record.events, now), width)


def _head(record: Record, document: Document, now: datetime, width: int | None) -> Iterator[str]:
    """Who it is. Labels and annotations stand one below the other."""
    metadata = document["metadata"]
    fields: list[tuple[str, list[str]]] = [
        ("Name", [record.name]),
        ("Namespace", [record.namespace]),
        ("Labels", [f"{key}={value}" for key, value in (metadata.get("labels") or {}).items()]),
        ("Annotations", [f"{key}: {value}" for key, value in (metadata.get("annotations") or {}).items()]),
        ("API Version", [document["apiVersion"]]),
        ("Kind", [record.kind]),
        ("Created", [f"{record.created} ({text.ago(text.parse_time(record.created), now)} ago)"]),
    ]
    if record.problem:
        fields.append(("Problem", [f"the file is not applied, the last good one is in force: {record.problem}"]))
    column = max(len(name) for name, _ in fields) + 3
    for name, values in fields:
        words = [word for value in values for word in value.split()]
        if width is not None and max(map(len, words), default=0) > width - column:
            yield f"{name}:"
            for value in values:
                yield from text.wrapped(value, width, indent="  ", hang="  ")
            continue
        for number, value in enumerate(values or ["<none>"]):
            yield from text.field("" if number else f"{name}:", value, column, width)


def _facts(state: StateFolder, record: Record, now: datetime) -> Iterator[tuple[str, str]]:
    """What stands in no single field: polls and imports of a cron, the file of a volume."""
    if record.kind == "DataVolume":
        volume = HostVolumes(state).find_now(record.namespace, record.name)
        if volume is not None:
            yield "file", volume.location
    if record.kind != "DataImportCron":
        return
    cron = record.resource()
    assert isinstance(cron, DataImportCron)  # noqa: S101 -- the kind chooses the model
    yield "lastPoll", _last_poll(cron, now)
    yield "nextPoll", _next_poll(state, cron, now)
    running = _running(state, cron)
    if running:
        yield "runningImport", running


def _last_poll(cron: DataImportCron, now: datetime) -> str:
    polled = cron.status.last_execution_timestamp
    if polled is None:
        return "<never>"
    said = f"{text.ago(polled, now)} ago"
    if not poll_failed(cron):
        return said
    failure = next(c for c in cron.status.conditions if c.type == "UpToDate")
    return f"{said}, failed: {failure.reason}: {failure.message}"


def _next_poll(state: StateFolder, cron: DataImportCron, now: datetime) -> str:
    try:
        due = next_polls(cron, now, 1, state.settings())
    except InvalidScheduleError as error:
        return f"never: {error}"
    if due:
        utc, local = clock_times(due[0])
        return f"{when(due[0], now)}, at {utc} ({local})"
    if suspended(cron):
        return "suspended, until `dataimportcron resume`"
    return "never by itself: the schedule is empty" if not cron.spec.schedule else "never: the schedule never fires"


def _running(state: StateFolder, cron: DataImportCron) -> str:
    """The import that is not complete yet, with its progress and how often it was begun again."""
    if not cron.status.current_imports:
        return ""
    name = cron.status.current_imports[0].data_volume_name
    try:
        volume = Store(state).get(DataVolume, cron.metadata.namespace, name)
    except ObjectNotFoundError:
        return ""
    if volume.status.phase == "Succeeded":
        return ""
    again = volume.status.restart_count or 0
    restarts = f", begun again {again} time{'' if again == 1 else 's'}" if again else ""
    return f"{name}: {volume.status.phase or 'Pending'}, {volume.status.progress or 'N/A'}{restarts}"


def _section(title: str, rows: list[tuple[list[str], str]], width: int | None) -> Iterator[str]:
    if len(rows) == 1:
        yield f"{title}:  <none>"
        return
    yield f"{title}:"
    shown = text.noted(rows, width=None if width is None else width - 2)
    yield from ("  " + line for line in shown.splitlines())


def _conditions(conditions: list[dict[str, Any]], now: datetime) -> list[tuple[list[str], str]]:
    head = (["Type", "Status", "Reason", "Since"], "Message")
    return [head] + [
        (
            [c["type"], c["status"], c.get("reason", ""), text.ago(text.parse_time(c.get("lastTransitionTime")), now)],
            c.get("message", ""),
        )
        for c in conditions
    ]


def _events(events: list[dict[str, Any]], now: datetime) -> list[tuple[list[str], str]]:
    """Newest last, as kubectl shows them; `5m (x3 over 2h)` is three times in two hours, last five minutes ago."""
    head = (["Type", "Reason", "Age"], "Message")
    return [head] + [([event["type"], event["reason"], _age(event, now)], event["message"]) for event in events]


def _age(event: dict[str, Any], now: datetime) -> str:
    last = text.ago(text.parse_time(event["last"]), now)
    if event["count"] == 1:
        return last
    return f"{last} (x{event['count']} over {text.ago(text.parse_time(event['first']), now)})"
