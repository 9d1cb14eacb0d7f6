"""`dataimportcron describe`: an object with its conditions and events."""

from __future__ import annotations

import argparse
from typing import Any

import yaml

from dataimportcron.host.store import Store
from worker.cli.common import kind_of, namespace_option, open_state, state_option, table, target_of, tidy


def configure(parser: argparse.ArgumentParser) -> None:
    """Which object."""
    parser.add_argument("target", nargs="+", metavar="KIND NAME", help="an object, as KIND NAME or KIND/NAME")
    namespace_option(parser)
    state_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    kind, name = target_of(arguments.target)
    store = Store(open_state(arguments))
    record = store.record(kind_of(kind), arguments.namespace, name)
    document = tidy(record.resource().document())
    status: dict[str, Any] = document.pop("status", {})
    conditions = status.pop("conditions", [])
    if record.kind == "Secret":
        for member in ("data", "stringData"):
            document[member] = dict.fromkeys(document.get(member, {}), "<hidden>")
    print(yaml.safe_dump(document, sort_keys=False), end="")
    if record.problem:
        print(f"Problem: the file is not applied: {record.problem}")
    if status:
        print(yaml.safe_dump({"status": status}, sort_keys=False), end="")
    _section("Conditions", ["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"], conditions, _condition)
    _section("Events", ["TYPE", "REASON", "COUNT", "LAST", "MESSAGE"], record.events, _event)
    return 0


def _section(title: str, head: list[str], items: list[dict[str, Any]], row: Any) -> None:  # noqa: ANN401 -- a function
    print(f"\n{title}:")
    print(table([head, *(row(item) for item in items)]) if items else "  <none>")


def _condition(item: dict[str, Any]) -> list[str]:
    since = item.get("lastTransitionTime", "")
    return [item["type"], item["status"], item.get("reason", ""), since, item.get("message", "")]


def _event(item: dict[str, Any]) -> list[str]:
    return [item["type"], item["reason"], str(item["count"]), item["last"], item["message"]]
