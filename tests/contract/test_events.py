"""`ports.Events`, as every home keeps it."""

from __future__ import annotations

import pytest

from dataimportcron.api.types import DataSource, ObjectMeta


@pytest.fixture
async def data_source(bench):
    return await bench.home.objects.create(DataSource(metadata=ObjectMeta(name="fedora", namespace="golden")))


async def test_an_event_is_shown(bench, data_source):
    await bench.home.events.emit(data_source, "Warning", "InUse", "Import fedora-1 is kept")
    [event] = bench.events_of(data_source)
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "InUse", "Import fedora-1 is kept")
    assert event["count"] == 1
    assert event["first"] == event["last"]


async def test_the_same_again_only_counts(bench, data_source):
    for message in ("one", "two", "one", "one"):
        await bench.home.events.emit(data_source, "Normal", "Said", message)
    assert {event["message"]: event["count"] for event in bench.events_of(data_source)} == {"one": 3, "two": 1}


async def test_an_event_is_no_change_of_its_object(bench, data_source):
    await bench.home.events.emit(data_source, "Normal", "Said", "one")
    assert await bench.home.objects.get(DataSource, "golden", "fedora") == data_source


async def test_an_event_of_what_is_gone_is_no_error(bench, data_source):
    await bench.home.objects.delete(data_source)
    again = await bench.home.objects.create(DataSource(metadata=ObjectMeta(name="fedora", namespace="golden")))
    await bench.home.events.emit(data_source, "Normal", "Said", "of the old one")
    assert bench.events_of(again) == []
