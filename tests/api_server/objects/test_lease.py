"""Who leads, with real processes that are killed, stopped and woken up."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from dataimportcron.cluster.client.resources import CONFIG_MAPS, LEASES
from dataimportcron.cluster.lease import LeaseElection, Terms
from dataimportcron.errors import ObjectNotFoundError
from tests.api_server.objects.conftest import now, until, until_async
from tests.support.running import running

CANDIDATE = """
import asyncio, sys
from tests.api_server.objects.test_lease import candidate
asyncio.run(candidate(*sys.argv[1:]))
"""
SHORT = Terms(duration=3, deadline=2, retry=0.3)


async def candidate(kubeconfig, identity):
    """Leads, and says so in a ConfigMap twenty times a second, by writes that any leader could make."""
    from dataimportcron.cluster.client.kubeconfig import connected  # noqa: PLC0415 -- of the process, not of the test

    async with connected(kubeconfig=kubeconfig) as connection:
        election = election_of(connection, identity)

        async def work():
            number = 0
            while True:
                if election.is_leading:
                    number += 1
                    said = {"data": {identity: str(number), "last": identity}}
                    await connection.patch(CONFIG_MAPS, "said", "golden", said)
                await asyncio.sleep(0.05)

        await election.lead(work)


def election_of(connection, identity, name="leader"):
    return LeaseElection(connection, namespace="golden", name=name, identity=identity, now=now, terms=SHORT)


@contextmanager
def process(plane, identity):
    started = subprocess.Popen([sys.executable, "-c", CANDIDATE, str(plane.kubeconfig), identity])
    try:
        yield started
    finally:
        os.kill(started.pid, signal.SIGCONT)
        started.kill()
        started.wait()


@pytest.fixture
async def said(connection):
    await connection.create(CONFIG_MAPS, {"metadata": {"name": "said", "namespace": "golden"}})

    async def read():
        return (await connection.get(CONFIG_MAPS, "said", "golden")).get("data") or {}

    yield read
    for lease in await connection.list(LEASES, "golden"):
        await connection.delete(LEASES, lease["metadata"]["name"], "golden")


async def test_one_leads_and_another_takes_over_when_it_is_killed(alone, said):
    with process(alone, "first") as first:
        await until_async(lambda: is_last(said, "first"))
        with process(alone, "second"), process(alone, "third"):
            await asyncio.sleep(1)
            assert set(await said()) == {"first", "last"}
            first.kill()
            await until_async(lambda: is_another(said, "first"))
            leaders = set(await said()) - {"first", "last"}
            assert len(leaders) == 1


async def is_last(said, identity):
    return (await said()).get("last") == identity


async def is_another(said, identity):
    return (await said()).get("last") != identity


async def test_a_leader_that_is_stopped_and_wakes_up_writes_nothing_more(alone, said):
    with process(alone, "first") as first:
        await until_async(lambda: is_last(said, "first"))
        with process(alone, "second"):
            os.kill(first.pid, signal.SIGSTOP)
            await until_async(lambda: is_last(said, "second"))
            before = (await said())["first"]
            os.kill(first.pid, signal.SIGCONT)
            count = int((await said())["second"])
            await until_async(lambda: has_said(said, "second", count + 40))
            # One write may have been on its way when it was stopped.
            assert int((await said())["first"]) <= int(before) + 1
            assert first.poll() is None


async def has_said(said, identity, count):
    return int((await said())[identity]) >= count


async def test_a_leader_that_ends_gives_the_lease_back(connection, said):
    assert await said() == {}
    first, second = election_of(connection, "first"), election_of(connection, "second")
    started = asyncio.Event()

    async def work():
        started.set()
        await asyncio.Event().wait()

    async with running(first.lead(work)):
        await asyncio.wait_for(started.wait(), 10)
        assert first.is_leading
        assert not second.is_leading
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(second.lead(work), 1)
    assert not first.is_leading
    lease = await connection.get(LEASES, "leader", "golden")
    assert not lease["spec"].get("holderIdentity")
    async with running(second.lead(work)):
        await until(lambda: second.is_leading, 2)
        lease = await connection.get(LEASES, "leader", "golden")
        assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("second", 1)


async def test_work_is_cancelled_when_another_has_taken_the_lease(connection, said):
    assert await said() == {}
    election = election_of(connection, "first")
    cancelled = asyncio.Event()

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with running(election.lead(work)):
        await until(lambda: election.is_leading)
        await connection.patch(LEASES, "leader", "golden", {"spec": {"holderIdentity": "thief"}})
        await asyncio.wait_for(cancelled.wait(), 10)
        assert not election.is_leading


async def test_what_fails_in_the_work_ends_the_leadership(connection, said):
    assert await said() == {}

    async def work():
        raise ObjectNotFoundError("gone")

    with pytest.raises(ObjectNotFoundError, match="gone"):
        await election_of(connection, "first").lead(work)
    assert not (await connection.get(LEASES, "leader", "golden"))["spec"].get("holderIdentity")
