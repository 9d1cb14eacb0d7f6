"""How often a reflector asks a server that has nothing for it."""

from __future__ import annotations

import asyncio

import pytest

from dataimportcron.cluster.watching import reflector
from dataimportcron.cluster.watching.reflector import Reflector
from dataimportcron.errors import ApiUnavailableError, NotServedError


class Failing:
    """A stream whose server always answers with the same error."""

    def __init__(self, error):
        self.error = error

    async def snapshot(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "most"), [(NotServedError("no such kind"), 5.0), (ApiUnavailableError("nobody there"), 30.0)]
)
async def test_it_asks_less_and_less_often_and_never_more_again(error, most, monkeypatch):
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)
        if len(pauses) == 2000:
            raise asyncio.CancelledError

    monkeypatch.setattr(reflector.asyncio, "sleep", pause)
    monkeypatch.setattr(reflector.random, "uniform", lambda _, high: high)
    with pytest.raises(asyncio.CancelledError):
        await Reflector("things", Failing(error), dict).run()
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.4, most)
