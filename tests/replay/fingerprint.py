"""The sequence of commands that workflow code can issue, read from the code itself."""

from __future__ import annotations

import ast
from pathlib import Path

WORKFLOWS = Path(__file__).parents[2] / "workflows"
FINGERPRINT = Path(__file__).parent / "fingerprint.json"

_COMMANDS = {
    "start_activity_method",
    "execute_activity_method",
    "start_child_workflow",
    "wait_condition",
    "sleep",
    "upsert_search_attributes",
    "upsert_memo",
    "continue_as_new",
    "get_external_workflow_handle",
    "patched",
    "signal",
    "cancel",
}


def fingerprint() -> dict[str, list[str]]:
    """By file and function, the calls that become commands, in the order of the code, with what they call."""
    found: dict[str, list[str]] = {}
    for path in sorted(WORKFLOWS.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                calls = [text for call in _calls(node) if (text := _command(call))]
                if calls:
                    found[f"{path.name}:{node.name}"] = calls
    return found


def _calls(function: ast.AST) -> list[ast.Call]:
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    return sorted(calls, key=lambda call: (call.lineno, call.col_offset))


def _command(call: ast.Call) -> str:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if name not in _COMMANDS:
        return ""
    timed = any(keyword.arg == "timeout" for keyword in call.keywords)
    if name == "wait_condition":
        return "timer" if timed else ""
    first = ast.unparse(call.args[0]) if call.args and name.endswith(("_method", "_workflow")) else ""
    return f"{name} {first}".strip()
