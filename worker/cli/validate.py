"""`dataimportcron validate`: all faults of all files at once, without a state folder or a server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dataimportcron.api.validation import validate
from dataimportcron.errors import DataImportCronError, InvalidObjectError
from worker.cli.common import read_documents, yaml_files
from worker.cli.text import report, say


def configure(parser: argparse.ArgumentParser) -> None:
    """The files."""
    parser.add_argument("-f", "--filename", action="append", default=[], metavar="FILE", help="a file, a folder, or -")
    parser.add_argument("files", nargs="*", metavar="FILE", help="the same")


def run(arguments: argparse.Namespace) -> int:
    """Print every fault, and how many there are; 2 if there is any, or nothing to check."""
    named = [*arguments.filename, *arguments.files]
    if not named:
        raise InvalidObjectError("Nothing to validate", hint="name files or folders, or - for the standard input")
    files = documents = faults = 0
    for name in named:
        try:
            paths = yaml_files([name])
        except DataImportCronError as error:
            faults += bool(report(error))
            continue
        for path in paths:
            files += 1
            try:
                found = read_documents(path)
            except InvalidObjectError as error:
                faults += bool(report(error))
                continue
            documents += len(found)
            faults += say_faults(path, found)
    print(f"{_count(files, 'file')}, {_count(documents, 'document')}, {_count(faults, 'fault')}")
    if not documents and not faults:
        print("error: there is no document in what was named", file=sys.stderr)
    return 2 if faults or not documents else 0


def say_faults(path: Path, documents: Sequence[dict[str, object]]) -> int:
    """Say each fault with its file and, where that holds several, the number of the document; returns how many."""
    count = 0
    for number, document in enumerate(documents, 1):
        where = f"{path}, document {number}" if len(documents) > 1 else str(path)
        for fault in validate(document, source=str(path)):
            count += 1
            say(f"error: {where}: {fault}", sys.stderr)
    return count


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
