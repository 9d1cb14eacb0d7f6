"""Recorded histories replay with today's code, and nobody changes the command sequence unawares."""

import ast
import inspect
import json
from importlib import import_module

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tests.replay import record
from tests.replay.fingerprint import FINGERPRINT, fingerprint
from worker.run import WORKFLOWS, workflow_runner
from workflows import options

ALLOWED = {"workflow.now"}
"""The workflow's own clock."""
RECORDED = sorted(record.HISTORIES.glob("*.json"))


def test_there_are_recordings():
    assert {path.name.split(".")[-2] for path in RECORDED} == {"cron", "import"}


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
async def test_a_recorded_history_replays(path):
    replayer = Replayer(workflows=list(WORKFLOWS), workflow_runner=workflow_runner())
    await replayer.replay_workflow(WorkflowHistory.from_json(path.name, path.read_text()))


async def test_a_history_that_has_outgrown_its_bound_replays(monkeypatch):
    """It was recorded before there was one."""
    path = record.HISTORIES / "0.1.0.cron.json"
    monkeypatch.setattr(options, "LONGEST_HISTORY", 10)
    replayer = Replayer(workflows=list(WORKFLOWS), workflow_runner=workflow_runner())
    await replayer.replay_workflow(WorkflowHistory.from_json(path.name, path.read_text()))


async def test_a_recording_can_be_made(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "HISTORIES", tmp_path)
    await record.record("new")
    made = sorted(tmp_path.iterdir())
    assert [path.name for path in made] == ["new.cron.json", "new.import.json"]
    here = str(record.HISTORIES.parents[2])
    assert not any(here in path.read_text() for path in made), "a recording names the folder that it was made in"


async def test_a_changed_history_is_noticed():
    path = next(path for path in RECORDED if path.name.endswith("cron.json"))
    changed = path.read_text().replace('"look_up_digest"', '"another_activity"')
    replayer = Replayer(workflows=list(WORKFLOWS), workflow_runner=workflow_runner())
    with pytest.raises(Exception, match=r"another_activity|[Nn]ondeterminism"):
        await replayer.replay_workflow(WorkflowHistory.from_json(path.name, changed))


def test_the_sandbox_guards_what_defines_workflows_and_nothing_else_of_them_needs_it():
    passed = workflow_runner().restrictions.passthrough_modules
    assert not passed & {"workflows", *(workflow.__module__ for workflow in WORKFLOWS)}
    neighbours = [import_module(name) for name in sorted(passed) if name.startswith("workflows.")]
    assert neighbours
    for module in neighbours:
        tree = ast.parse(inspect.getsource(module))
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _name(node) not in ALLOWED}
        imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        assert not used & {"now", "utcnow", "today"}, f"{module.__name__} asks a clock"
        assert not imported & {"os", "random", "secrets", "time", "uuid"}, module.__name__


def _name(node):
    return f"{node.value.id}.{node.attr}" if isinstance(node.value, ast.Name) else node.attr


def test_the_command_sequence_is_the_recorded_one():
    assert fingerprint() == json.loads(FINGERPRINT.read_text()), (
        "The commands that a workflow issues have changed. Crons that sleep now must still replay: put the change "
        "behind workflow.patched(...) unless every recorded history replays without it. Then record anew: "
        "`python -m tests.replay.record <version>`, and keep the old recordings."
    )
