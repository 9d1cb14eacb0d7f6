"""`dataimportcron migrate`: move crons from KubeVirt's CDI to us, or back, while their images stay where they are."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Final

from dataimportcron.errors import DataImportCronError, InvalidObjectError, MissingDependencyError
from worker.cli.common import context_option
from worker.cli.text import report, say

if TYPE_CHECKING:
    from dataimportcron.cluster.migration.mover import Mover, Plan
    from dataimportcron.cluster.migration.steps import Step

_DONE: Final = {
    "create": "created",
    "patch": "changed",
    "delete": "deleted",
    "orphan": "deleted, its claim stays",
    "adopt": "adopted",
    "release": "released",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Which crons, and which way."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="the DataImportCron, or several")
    parser.add_argument("--all", action="store_true", help="all that CDI has; with --undo all that came from CDI")
    parser.add_argument("-n", "--namespace", default="", help="namespace (default: default; with --all: every one)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--undo", action="store_true", help="give them back to CDI")
    context_option(parser)
    parser.epilog = "Without --context it is in the cluster of the kubeconfig's current context."


def run(arguments: argparse.Namespace) -> int:
    """Move one after the other; one that cannot be moved keeps none of the others."""
    if arguments.all == bool(arguments.names):
        raise InvalidObjectError(
            "expected the name of a DataImportCron, or --all", hint="dataimportcron migrate --all --dry-run shows all"
        )
    return asyncio.run(_run(arguments))


async def _run(arguments: argparse.Namespace) -> int:
    # Kubernetes' and Temporal's clients take a second each to import.
    from dataimportcron.cluster.client.kubeconfig import connected  # noqa: PLC0415 -- see above
    from dataimportcron.cluster.migration import steps as migration  # noqa: PLC0415 -- see above
    from dataimportcron.cluster.migration.mover import Mover  # noqa: PLC0415 -- see above
    from worker.cluster import dialect_of  # noqa: PLC0415 -- see above

    async with connected(context=arguments.context) as connection:
        dialect, cdi = await dialect_of(connection)
        if not cdi:
            raise MissingDependencyError(
                f"KubeVirt CDI does not run on {connection.server}",
                hint="without it the worker serves crons of cdi.kubevirt.io as they are, and nothing is to be moved",
            )
        mover, plan = Mover(connection, dialect), migration.to_cdi if arguments.undo else migration.to_us
        if arguments.all:
            crons = await mover.crons(arguments.namespace, undo=arguments.undo)
        else:
            crons = [(arguments.namespace or "default", name) for name in arguments.names]
        if not crons:
            print("No DataImportCron found.")
        codes = [await _move(mover, plan, *cron, dry_run=arguments.dry_run) for cron in crons]
    return max(codes, default=0)


async def _move(mover: Mover, plan: Plan, namespace: str, name: str, *, dry_run: bool) -> int:
    """Move one cron; returns its exit code."""
    print(f"{namespace}/{name}:{' (dry run)' if dry_run else ''}", flush=True)
    count = 0
    try:
        if dry_run:
            for step in await mover.steps(namespace, name, plan):
                count += 1
                say(f"  {step.action} {_told(step)}")
        else:
            async for step in mover.move(namespace, name, plan):
                count += 1
                say(f"  {_told(step, done=True)}")
    except DataImportCronError as error:
        return report(error)
    if not count:
        say("  nothing is left to be done")
    return 0


def _told(step: Step, *, done: bool = False) -> str:
    word = f" {_DONE[step.action]}" if done else ""
    return f"{step.resource}/{step.name}{word}: {step.why}"
