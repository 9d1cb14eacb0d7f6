"""`dataimportcron suspend`: no polls by schedule until `resume`. A running import goes on, and `poll` still polls."""

from __future__ import annotations

import argparse

from dataimportcron import naming
from dataimportcron.api.types import DataImportCron
from dataimportcron.errors import ConflictError
from dataimportcron.host.store import Store
from dataimportcron.manifests import with_annotations
from dataimportcron.polling import suspended
from worker.cli.common import namespace_option, open_state, state_option


def configure(parser: argparse.ArgumentParser) -> None:
    """Which cron."""
    parser.add_argument("name", help="the DataImportCron")
    namespace_option(parser)
    state_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Suspend it; no error if it is suspended already."""
    changed = _set(arguments, suspend=True)
    print(f"dataimportcron/{arguments.name} {'suspended' if changed else 'is suspended already'}")
    return 0


def resume(arguments: argparse.Namespace) -> int:
    """Resume it; no error if it is not suspended."""
    changed = _set(arguments, suspend=False)
    print(f"dataimportcron/{arguments.name} {'resumed' if changed else 'is not suspended'}")
    return 0


def _set(arguments: argparse.Namespace, *, suspend: bool) -> bool:
    """Whether anything had to be changed."""
    store = Store(open_state(arguments))
    while True:
        cron = store.get(DataImportCron, arguments.namespace, arguments.name)
        if suspended(cron) is suspend:
            return False
        try:
            store.patch(cron, with_annotations(cron, {naming.ANNOTATION_SUSPEND: "true" if suspend else None}))
        except ConflictError:  # the worker has written meanwhile
            continue
        return True
