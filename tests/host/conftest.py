"""A state folder, and the store and scanner over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.scan import Scanner
from dataimportcron.host.state.store import Store
from tests.support.home import cron_document, keep_volumes_inside


@pytest.fixture
def state(tmp_path):
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    keep_volumes_inside(folder)
    return folder


@pytest.fixture
def store(state):
    return Store(state)


class Clock:
    """Scans one second apart, as the worker does."""

    def __init__(self, store: Store, folders: Callable[[], Sequence[Path]] = tuple) -> None:
        self._scanner = Scanner(store, folders)
        self._seconds = 1000.0

    def scans(self, count: int = 1) -> list[str]:
        """Scan so many times; returns the problems of the last one."""
        problems = []
        for _ in range(count):
            problems = [problem.message for problem in self._scanner.scan(self._seconds)]
            self._seconds += 1.0
        return problems


@pytest.fixture
def clock(store):
    return Clock(store)


@pytest.fixture
def document():
    return cron_document()
