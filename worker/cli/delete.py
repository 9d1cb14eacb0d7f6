"""`dataimportcron delete`."""

from __future__ import annotations

import argparse

from dataimportcron.api.types import KINDS, DataVolume, Resource
from dataimportcron.errors import InUseError, InvalidObjectError
from dataimportcron.host.state.manifest_folders import refuse_managed
from dataimportcron.host.state.reader import DEFAULT_NAMESPACE
from dataimportcron.host.state.store import Store
from dataimportcron.host.volumes import HostVolumes
from worker.cli.common import namespace_option, open_state, read_documents, state_option, yaml_files
from worker.cli.kinds import kind_named, wanted


def configure(parser: argparse.ArgumentParser) -> None:
    """What to delete."""
    parser.add_argument("target", nargs="*", metavar="KIND NAME", help="objects, as KIND NAME ... or KIND/NAME ...")
    parser.add_argument("-f", "--filename", action="append", default=[], metavar="FILE", help="the objects of a file")
    namespace_option(parser)
    state_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Delete each object that is named; nothing is deleted if one is not there, or is a volume in use."""
    targets = []
    for path in yaml_files(arguments.filename):
        for document in read_documents(path):
            metadata = document.get("metadata")
            named = metadata if isinstance(metadata, dict) else {}
            namespace = str(named.get("namespace") or DEFAULT_NAMESPACE)
            targets.append((kind_named(str(document.get("kind"))), namespace, str(named.get("name"))))
    asked = wanted(arguments.target).names if arguments.target else {}
    if not asked and (arguments.target or not targets):
        found = " ".join(arguments.target)
        raise InvalidObjectError(f"Expected KIND NAME or KIND/NAME, found {found!r}", hint="or name a file with -f")
    targets += [(kind, arguments.namespace, name) for kind, names in asked.items() for name in names]
    state = open_state(arguments)
    store, volumes, folders = Store(state), HostVolumes(state), state.manifest_folders()
    resources = [store.get(KINDS[kind], namespace, name) for kind, namespace, name in targets]
    for resource in resources:
        refuse_managed(store, folders, resource)
        _refuse_in_use(resource, volumes)
    for resource in resources:
        store.delete(resource)
        print(f"{resource.kind.lower()}/{resource.metadata.name} deleted")
    return 0


def _refuse_in_use(resource: Resource, volumes: HostVolumes) -> None:
    """Refuse to delete a DataVolume whose file somebody needs: a virtual machine would be lost with it.

    Raises:
        InUseError: somebody does, or nobody can say.
    """
    namespace, name = resource.metadata.namespace, resource.metadata.name
    user = volumes.in_use_now(namespace, name) if isinstance(resource, DataVolume) else ""
    if user:
        raise InUseError(
            f"DataVolume {namespace}/{name} is in use, nothing was deleted: {user}",
            hint="remove what uses it first; or remove the file by hand, then the DataVolume",
        )
