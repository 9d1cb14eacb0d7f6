"""Temporal away in mid-life: nothing ends, it is said once, and one poll catches up when it is back."""

import asyncio
import logging
import signal
import subprocess
import time
from contextlib import contextmanager
from datetime import timedelta

from dataimportcron.host import dev_server
from dataimportcron.host.state.folder import StateFolder
from tests.support.temporal import eventually
from worker import engine
from worker.binding import outage
from worker.engine import await_engine, saying_outages
from worker.run import serve
from worker.temporal import Endpoint

SITE = "test-host"
EVERY = 3.0
"""Seconds between two polls."""


@contextmanager
def server(state, endpoint):
    process = subprocess.Popen(
        dev_server.command(state, endpoint), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_an_outage_is_said_and_healed_by_one_poll(home, caplog, monkeypatch):
    monkeypatch.setattr(outage, "_PERIOD", 0.5)
    monkeypatch.setattr(engine, "_LONGEST_DELAY", 1.0)
    monkeypatch.setattr(outage, "GRACE", timedelta(seconds=1))
    caplog.set_level(logging.INFO)
    state = StateFolder(home.folder)
    place = dev_server.choose_endpoint(state)
    endpoint = Endpoint(address=place.address)
    polls = []
    resolve = home.source.resolve

    async def noted(image, *, fresh=False):
        polls.append(time.monotonic())
        return await resolve(image, fresh=fresh)

    monkeypatch.setattr(home.source, "resolve", noted)
    home.release(b"one")
    home.apply(schedule=f"@every {EVERY:.0f}s")
    stop = asyncio.Event()

    async def work():
        async with saying_outages(home.home, endpoint):
            client = await await_engine(endpoint, stop)
            await serve(client, home.home, site=SITE, machine="machine-1", stop=stop)

    # Nothing answers at the start: it is waited for, and said.
    worker = asyncio.create_task(work())
    await eventually(lambda: "waiting: Temporal does not answer" in caplog.text)
    await eventually(lambda: home.condition("UpToDate")[:2] == ("Unknown", "EngineUnavailable"))
    assert polls == []
    with server(state, place) as process:
        await eventually(lambda: home.condition("UpToDate")[0] == "True", 60)
        assert "EngineUnavailable" in [event["reason"] for event in home.events()]
        process.send_signal(signal.SIGKILL)
        process.wait()
        # Away for several ticks, in mid-life this time.
        await eventually(lambda: home.condition("UpToDate")[:2] == ("Unknown", "EngineUnavailable"), 60)
        made = len(polls)
        caplog.clear()
        await asyncio.sleep(3 * EVERY)
        assert len(polls) == made
        assert len(caplog.records) <= 3, caplog.text
    with server(state, place):
        await eventually(lambda: home.condition("UpToDate")[0] == "True", 60)
        await eventually(lambda: len(polls) >= made + 3, 60)
        catch_up, following, third = polls[made : made + 3]
        assert min(following - catch_up, third - following) > EVERY / 2
        assert not worker.done()
        stop.set()
        await worker
