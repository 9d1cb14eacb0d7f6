"""`dataimportcron path`: the file of a DataSource or a DataVolume, for `virt-install --disk …,backing_store=$(…)`."""

from __future__ import annotations

import argparse

from dataimportcron.api.types import DataSource, DataVolume
from dataimportcron.errors import InvalidObjectError, ObjectNotFoundError, TransientError
from dataimportcron.host.state.store import Store
from dataimportcron.host.volumes import HostVolumes
from worker.cli.common import namespace_option, open_state, state_option
from worker.cli.kinds import kind_named


def configure(parser: argparse.ArgumentParser) -> None:
    """Whose file."""
    parser.add_argument("target", metavar="DATASOURCE", help="a DataSource; or KIND/NAME, for a DataVolume too")
    namespace_option(parser)
    state_option(parser)
    parser.epilog = (
        "It prints the path and nothing else; where there is no file, it says why on the standard error, and the exit "
        "code is 1 or 2. The file is raw; that of a DataVolume with the annotation dataimportcron.io/clone: overlay is "
        "qcow2. An overlay keeps its base from being pruned where it is seen: below the storage folders, below "
        "libvirt's own, or below those that overlay_folders in settings.toml names. `dataimportcron doctor` lists them."
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the path of the file that a DataSource stands for now, or that a DataVolume is."""
    state = open_state(arguments)
    store = Store(state)
    kind, _, named = arguments.target.rpartition("/")
    kind, namespace, name = kind_named(kind or "datasource"), arguments.namespace, named
    if kind == "DataSource":
        namespace, name = _volume_of(store, namespace, name)
    elif kind == "DataVolume":
        store.get(DataVolume, namespace, name)
    else:
        raise InvalidObjectError(f"A {kind} has no file", hint="name a DataSource or a DataVolume")
    volume = HostVolumes(state).find_now(namespace, name)
    if volume is None:
        raise TransientError(
            f"{kind} {arguments.namespace}/{named} has no file: volume {namespace}/{name} is not complete, "
            "or its file is gone",
            hint=f"dataimportcron describe datavolume {name} -n {namespace} says more",
        )
    print(volume.location)
    return 0


def _volume_of(store: Store, namespace: str, name: str) -> tuple[str, str]:
    """Namespace and name of the volume that a DataSource leads to; one level of pointer is followed.

    Raises:
        ObjectNotFoundError: there is no such DataSource.
        InvalidObjectError: it leads to something that is no volume of a host.
        TransientError: it leads nowhere yet.
    """
    first = _data_source(store, namespace, name)
    found, source = first, first.spec.source
    if source.data_source is not None:
        found = _data_source(store, source.data_source.namespace or namespace, source.data_source.name)
        source = found.spec.source
    if source.pvc is not None:
        return source.pvc.namespace or found.metadata.namespace, source.pvc.name
    if source.data_source is not None or source.snapshot is not None:
        kind = "a DataSource that is a pointer itself" if source.data_source is not None else "a snapshot"
        raise InvalidObjectError(f"DataSource {namespace}/{name} leads to {kind}, expected a volume")
    ready = next((condition for condition in found.status.conditions if condition.type == "Ready"), None)
    said = f": {ready.message}" if ready is not None and ready.message else ""
    raise TransientError(
        f"DataSource {found.metadata.namespace}/{found.metadata.name} has no volume yet{said}",
        hint="dataimportcron get dataimportcron -A says how far its import is",
    )


def _data_source(store: Store, namespace: str, name: str) -> DataSource:
    try:
        return store.get(DataSource, namespace, name)
    except ObjectNotFoundError as error:
        elsewhere = [one.metadata.namespace for one in store.list(DataSource) if one.metadata.name == name]
        hint = f"there is one in the namespace {' and in '.join(elsewhere)}; name it with -n" if elsewhere else ""
        raise ObjectNotFoundError(error.message, hint=hint) from error
