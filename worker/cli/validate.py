"""`dataimportcron validate`: all faults of all files at once."""

from __future__ import annotations

import argparse
import sys

from dataimportcron.api.validation import validate
from dataimportcron.errors import InvalidObjectError
from worker.cli.common import read_documents, yaml_files


def configure(parser: argparse.ArgumentParser) -> None:
    """The files."""
    parser.add_argument("-f", "--filename", action="append", default=[], metavar="FILE", help="a file, a folder, or -")
    parser.add_argument("files", nargs="*", metavar="FILE", help="the same")


def run(arguments: argparse.Namespace) -> int:
    """Print every fault; 2 if there is any."""
    faults = documents = 0
    for path in yaml_files([*arguments.filename, *arguments.files]):
        try:
            found = read_documents(path)
        except InvalidObjectError as error:
            faults += 1
            print(f"error: {error}", file=sys.stderr)
            continue
        for document in found:
            documents += 1
            for fault in validate(document, source=str(path)):
                faults += 1
                print(f"error: {path}: {fault}", file=sys.stderr)
    print(f"{documents} documents, {faults} faults")
    return 2 if faults or not documents else 0
