"""`dataimportcron get`: objects in columns or as documents, as kubectl shows them."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from dataimportcron.host import clock
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.records import Record
from worker.cli import text
from worker.cli.columns import FIRST_TO_GO
from worker.cli.columns import cells as cells_of
from worker.cli.common import namespace_option, open_state, state_option
from worker.cli.kinds import SHORT, Wanted, find, none_found, selector, tidy, wanted

_LOOK: Final = 0.5
"""Seconds between two looks of --watch."""


def configure(parser: argparse.ArgumentParser) -> None:
    """What to list."""
    parser.add_argument(
        "kind",
        metavar="KIND",
        help="kinds are dataimportcron (dic), datasource (das), datavolume (dv), configmap (cm), secret; "
        "several with commas, the first three as `all`, one object also as KIND/NAME",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="objects of that kind; all of them without")
    parser.add_argument(
        "-o", "--output", choices=["wide", "yaml", "json", "name"], help="more columns, or another form"
    )
    parser.add_argument("-w", "--watch", action="store_true", help="then show each change, until Ctrl-C")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    parser.add_argument("-l", "--selector", default="", metavar="LABELS", help="such as a=b,c!=d,e,!f")
    parser.add_argument("--no-headers", action="store_true", help="rows alone")
    namespace_option(parser)
    state_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the objects, and with --watch what becomes of them."""
    asked, state = wanted([arguments.kind, *arguments.names]), open_state(arguments)
    arguments.namespace = None if arguments.all_namespaces else arguments.namespace
    records = _find(arguments, asked, state)
    printer = _Printer(arguments, asked, state)
    printer.show_all(records)
    if arguments.watch:
        try:
            for record, gone in _changes(arguments, asked, state, records):
                printer.show(record, gone=gone)
        except KeyboardInterrupt:
            return 0
    return 0


def _find(arguments: argparse.Namespace, asked: Wanted, state: StateFolder) -> list[Record]:
    matches = selector(arguments.selector)
    return [record for record in find(state, asked, arguments.namespace) if matches(record.document())]


def _changes(
    arguments: argparse.Namespace, asked: Wanted, state: StateFolder, records: list[Record]
) -> Iterator[tuple[Record, bool]]:
    """Each record that is new, another or gone, and whether it is gone. A name may come back: it is waited for."""
    everything = Wanted(kinds=asked.kinds, names={})
    known = {record.uid: record for record in records}
    while True:
        time.sleep(_LOOK)
        found = {
            record.uid: record
            for record in _find(arguments, everything, state)
            if not asked.names or record.name in asked.names.get(record.kind, ())
        }
        for uid, record in known.items():
            if uid not in found:
                yield record, True
        for uid, record in found.items():
            if uid not in known or known[uid].version != record.version:
                yield record, False
        known = found


class _Printer:
    """Prints records in the form that is asked for."""

    def __init__(self, arguments: argparse.Namespace, asked: Wanted, state: StateFolder) -> None:
        self._state = state
        self._asked = asked
        self._form: str = arguments.output or ""
        self._namespace: str | None = arguments.namespace
        self._headers = not arguments.no_headers
        self._heads: dict[str, Sequence[str]] = {}
        self._widths: dict[str, list[int]] = {}

    def show_all(self, records: Sequence[Record]) -> None:
        """Print what is there."""
        if self._form in {"json", "yaml"}:
            documents = [tidy(record.document()) for record in records]
            single = self._asked.single and len(documents) == 1
            self._print(documents[0] if single else {"apiVersion": "v1", "kind": "List", "items": documents})
        elif self._form == "name":
            for record in records:
                self.show(record)
        elif not records:
            print(none_found(self._asked, self._namespace), flush=True)
        else:
            tables = [[record for record in records if record.kind == kind] for kind in self._asked.kinds]
            print("\n\n".join(self._table(group) for group in tables if group), flush=True)

    def show(self, record: Record, *, gone: bool = False) -> None:
        """Print one."""
        if self._form in {"json", "yaml"}:
            self._print(tidy(record.document()), separate=True)
        elif self._form == "name":
            print(f"{record.kind.lower()}/{record.name}", flush=True)
        else:
            head, row = self._row(record, clock.now())
            if record.kind not in self._heads:
                print(self._table([record]), flush=True)
                return
            shown = dict(zip(head, row, strict=True)) | ({"AGE": "<deleted>"} if gone else {})
            cells = [shown[name] for name in self._heads[record.kind]]
            widths = self._widths[record.kind]
            print(text.line(cells, widths, width=text.width_of(), colours=text.coloured()), flush=True)

    def _table(self, records: Sequence[Record]) -> str:
        now = clock.now()
        made = [self._row(record, now) for record in records]
        rows, width = [made[0][0], *(row for _, row in made)], text.width_of()
        rows = text.cut(rows, width) if self._form == "wide" else text.fitted(rows, width, FIRST_TO_GO)
        self._heads[records[0].kind] = rows[0]
        self._widths[records[0].kind] = text.column_widths(rows)
        shown = text.table(rows, width=width, colours=text.coloured())
        return shown if self._headers else shown.partition("\n")[2]

    def _row(self, record: Record, now: datetime) -> tuple[list[str], list[str]]:
        """The heads of the columns, and a record's cells."""
        wide = self._form == "wide"
        shown = cells_of(record.document(), now, wide=wide)
        if wide and record.kind == "DataImportCron":
            source = shown.pop("SOURCE")  # stays last: it is what may be cut
            shown |= {"NEXT POLL": self._next_poll(record, now), "SOURCE": source}
        name = f"{SHORT[record.kind]}/{record.name}" if len(self._asked.kinds) > 1 else record.name
        shown = {"NAME": name} | shown
        if self._namespace is None:
            shown = {"NAMESPACE": record.namespace} | shown
        return list(shown), list(shown.values())

    def _next_poll(self, record: Record, now: datetime) -> str:
        from worker.cli.polls import next_poll_in_words  # noqa: PLC0415 -- only -o wide needs the models

        return next_poll_in_words(record.resource(), now, self._state.settings())

    def _print(self, document: dict[str, Any], *, separate: bool = False) -> None:
        head = "---\n" if separate and self._form == "yaml" else ""
        print(head + text.serialized(document, self._form), end="", flush=True)
