"""A state folder that an older version has written: made by that version's own code, out of the git history."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from dataimportcron.api.types import KINDS, DataImportCron
from dataimportcron.host.state.folder import LAYOUT, StateFolder
from dataimportcron.host.state.scan import Scanner
from dataimportcron.host.state.store import Store
from tests.support.home import NAME, NAMESPACE, cron_document

ROOT = Path(__file__).parents[2]
OLDER = "586d9e95dc1d06427ff44e96e8430fd50e64bbdc"
"""The last commit with layout 1."""

_LIVE = """
import json
import sys
from pathlib import Path
from dataimportcron.api.meta import Condition, with_condition
from dataimportcron.host import clock
from dataimportcron.host.state import LAYOUT, StateFolder
from dataimportcron.host.store import Store
from dataimportcron.manifests import data_source_of, with_annotations, with_status
document = json.loads(sys.argv[2])
assert LAYOUT == 1
state = StateFolder(Path(sys.argv[1]))
state.prepare()
state.identity()
store = Store(state)
cron, _ = store.apply(document)
ready = with_condition([], Condition(type="UpToDate", status="True", reason="UpToDate", message="m"), clock.now())
store.patch(cron, with_status(with_annotations(cron, {"ours": "yes"}), conditions=ready))
store.add_event(cron, "Normal", "ImportStarted", "once")
store.create(data_source_of(cron))
gone, _ = store.apply(document | {"metadata": document["metadata"] | {"name": "gone"}})
store.delete(gone)
"""

_PREPARE = """
import os, signal, sys
from pathlib import Path
from dataimportcron.host.state.folder import StateFolder
left = int(sys.argv[2])
def counted(call):
    def wrapper(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return wrapper
for name in ("open", "fsync", "replace", "mkdir"):
    setattr(os, name, counted(getattr(os, name)))
StateFolder(Path(sys.argv[1])).prepare()
"""


@pytest.fixture
def older(tmp_path):
    """Where the older version's code is."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), "archive", OLDER, "dataimportcron"], capture_output=True, check=False
    )
    assert done.returncode == 0, f"the git history is not here, git fetch --unshallow brings it: {done.stderr.decode()}"
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(tmp_path / "older", filter="data")
    return tmp_path / "older"


@pytest.fixture
def state(tmp_path, older):
    """A state folder with a life behind it."""
    folder = tmp_path / "state"
    python(older, _LIVE, folder, json.dumps(cron_document()))
    return StateFolder(folder)


def python(code, script, *arguments, check=True):
    environment = os.environ | {"PYTHONPATH": str(code)}
    command = [sys.executable, "-P", "-c", script, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=check)


def life(state):
    store = Store(state)
    objects = [resource.document() for kind in KINDS.values() for resource in store.list(kind)]
    return objects, [gone.document() for gone in store.deletions()], state.identity()


def test_it_is_upgraded_and_nothing_is_news(state, older):
    assert state.check() == 1
    before = life(state)
    state.prepare()
    assert state.check() == LAYOUT
    scanner = Scanner(Store(state))
    assert [scanner.scan(1000.0 + second) for second in range(6)] == [[]] * 6
    assert life(state) == before
    assert [event["reason"] for event in Store(state).record(DataImportCron, NAMESPACE, NAME).events] == [
        "ImportStarted"
    ]
    refused = python(older, _LIVE, state.path, json.dumps(cron_document()), check=False)
    assert f"has layout '{LAYOUT}', this version knows 1" in refused.stderr


def test_kill_9_at_any_moment_leaves_the_one_or_the_other(state):
    before = life(state)
    for moment in range(100):
        (state.path / "VERSION").write_text("1\n")
        done = python(ROOT, _PREPARE, state.path, moment, check=False)
        assert state.check() in {1, LAYOUT}
        assert life(state) == before
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        state.prepare()
        assert state.check() == LAYOUT
    assert 3 < moment < 50


def test_several_at_a_time(state):
    before = life(state)
    command = [sys.executable, "-c", _PREPARE, str(state.path), "1000"]
    racing = [subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT) for _ in range(5)]
    assert [process.communicate()[1] for process in racing] == [b""] * 5
    assert state.check() == LAYOUT
    assert life(state) == before
    assert sorted(path.name for path in state.path.glob(".*")) == []
