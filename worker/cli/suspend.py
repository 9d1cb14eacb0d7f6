"""`dataimportcron suspend`: no polls by schedule until `resume`. A running import goes on, and `poll` still polls."""

from __future__ import annotations

import argparse

from dataimportcron import naming
from dataimportcron.api.types import DataImportCron
from dataimportcron.errors import ConflictError
from dataimportcron.manifests import with_annotations
from dataimportcron.polling import suspended
from worker.cli.common import context_option, namespace_option, state_option
from worker.cli.home import CommandHome, open_home


def configure(parser: argparse.ArgumentParser) -> None:
    """Which crons."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="the DataImportCron, or several")
    namespace_option(parser)
    state_option(parser)
    context_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Suspend them; no error if one is suspended already."""
    return _set_all(arguments, suspend=True, changed="suspended", same="is suspended already")


def resume(arguments: argparse.Namespace) -> int:
    """Resume them; no error if one is not suspended."""
    return _set_all(arguments, suspend=False, changed="resumed", same="is not suspended")


def _set_all(arguments: argparse.Namespace, *, suspend: bool, changed: str, same: str) -> int:
    home = open_home(arguments)
    for name in arguments.names:  # all are there, or nothing is changed
        home.get(DataImportCron, arguments.namespace, name)
    for name in arguments.names:
        done = _set(home, arguments.namespace, name, suspend=suspend)
        print(f"dataimportcron/{name} {changed if done else same}")
    return 0


def _set(home: CommandHome, namespace: str, name: str, *, suspend: bool) -> bool:
    """Whether anything had to be changed."""
    while True:
        cron = home.get(DataImportCron, namespace, name)
        if suspended(cron) is suspend:
            return False
        try:
            home.patch(cron, with_annotations(cron, {naming.ANNOTATION_SUSPEND: "true" if suspend else None}))
        except ConflictError:  # the worker has written meanwhile
            continue
        return True
