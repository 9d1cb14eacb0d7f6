"""`dataimportcron apply`: store objects; whoever runs picks them up within a second."""

from __future__ import annotations

import argparse

from dataimportcron.api.validation import parse
from dataimportcron.errors import InvalidObjectError
from dataimportcron.host.state.manifest_folders import refuse_managed
from dataimportcron.host.state.store import Store
from worker.cli.common import open_state, read_documents, state_option, yaml_files
from worker.cli.validate import say_faults


def configure(parser: argparse.ArgumentParser) -> None:
    """The files."""
    parser.add_argument(
        "-f", "--filename", action="append", required=True, metavar="FILE", help="a file, a folder, or - for stdin"
    )
    state_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Apply all documents, or none if one of them has a fault."""
    files = [(path, read_documents(path)) for path in yaml_files(arguments.filename)]
    if sum(say_faults(path, documents) for path, documents in files):
        raise InvalidObjectError("nothing was applied")
    state = open_state(arguments)
    store, folders = Store(state), state.manifest_folders()
    for _, documents in files:
        for document in documents:
            refuse_managed(store, folders, parse(document))
    for path, documents in files:
        for document in documents:
            resource, what = store.apply(document, source=str(path))
            print(f"{resource.kind.lower()}/{resource.metadata.name} {what}")
    return 0
