"""When what clones have left is looked for."""

from __future__ import annotations

import asyncio

import pytest

from dataimportcron.api.conditions import Phase
from dataimportcron.api.types import DataSource, DataVolume
from dataimportcron.cluster.clones import temporaries as module
from dataimportcron.cluster.clones.temporaries import Temporaries
from dataimportcron.cluster.watching.reflector import Change
from dataimportcron.errors import ApiUnavailableError


def volume(phase=""):
    metadata = {"name": "clone", "namespace": "vms"}
    return DataVolume.model_validate({"metadata": metadata, "spec": {}, "status": {"phase": phase}})


@pytest.fixture
async def sweeps(monkeypatch):
    """Temporaries whose sweeps are counted, and a way to let a period pass."""
    monkeypatch.setattr(module, "PERIOD", 0)
    made = Temporaries(None)
    counted = []

    async def sweep(namespace):
        counted.append(namespace)
        if len(counted) == 1:
            raise ApiUnavailableError("nobody there")

    monkeypatch.setattr(made, "sweep", sweep)
    task = asyncio.create_task(made.keep_swept("vms"))

    async def settled():
        for _ in range(10):
            await asyncio.sleep(0)
        return len(counted)

    yield made, settled
    task.cancel()


async def test_a_sweep_is_made_at_the_start_until_it_succeeds_and_then_not_at_rest(sweeps):
    _, settled = sweeps
    assert await settled() == 2
    assert await settled() == 2


@pytest.mark.parametrize(
    ("change", "more"),
    [
        (Change(volume(), None), 1),
        (Change(volume(), volume(Phase.SUCCEEDED)), 1),
        (Change(volume(), volume(Phase.FAILED)), 1),
        (Change(None, volume(Phase.PENDING)), 0),
        (Change(volume(), volume(Phase.IMPORT_IN_PROGRESS)), 0),
        (Change(DataSource.model_validate({"metadata": {"name": "a", "namespace": "b"}, "spec": {}}), None), 0),
        (Change(None, None), 0),
    ],
)
async def test_and_then_when_a_data_volume_has_ended_or_is_gone(sweeps, change, more):
    made, settled = sweeps
    before = await settled()
    made.hear(change)
    assert await settled() == before + more
