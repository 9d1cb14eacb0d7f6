"""`dataimportcron delete`."""

from __future__ import annotations

import argparse

from dataimportcron.host.manifest_folders import refuse_managed
from dataimportcron.host.store import DEFAULT_NAMESPACE, Store
from worker.cli.common import kind_of, namespace_option, open_state, read_documents, state_option, target_of, yaml_files


def configure(parser: argparse.ArgumentParser) -> None:
    """What to delete."""
    parser.add_argument("target", nargs="*", metavar="KIND NAME", help="an object, as KIND NAME or KIND/NAME")
    parser.add_argument("-f", "--filename", action="append", default=[], metavar="FILE", help="the objects of a file")
    namespace_option(parser)
    state_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Delete each object that is named; one that is not there is an error."""
    targets = []
    for path in yaml_files(arguments.filename):
        for document in read_documents(path):
            metadata = document.get("metadata")
            named = metadata if isinstance(metadata, dict) else {}
            namespace = str(named.get("namespace") or DEFAULT_NAMESPACE)
            targets.append((str(document.get("kind")), namespace, str(named.get("name"))))
    if arguments.target or not targets:
        kind, name = target_of(arguments.target)
        targets.append((kind, arguments.namespace, name))
    state = open_state(arguments)
    store, folders = Store(state), state.manifest_folders()
    for kind, namespace, name in targets:
        resource = store.get(kind_of(kind), namespace, name)
        refuse_managed(store, folders, resource)
        store.delete(resource)
        print(f"{resource.kind.lower()}/{name} deleted")
    return 0
