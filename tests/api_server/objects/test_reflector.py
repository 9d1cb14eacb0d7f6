"""A copy of the server's objects stays right, whatever happens between the two."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import httpx

from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.client.resources import DATA_SOURCES, ResourceType
from dataimportcron.cluster.watching.reflector import Reflector
from dataimportcron.cluster.watching.streams import KindStream
from tests.api_server.objects import definitions
from tests.api_server.objects.conftest import until
from tests.cluster.control_plane import API_SERVER
from tests.support.running import running


class Told:
    """What a reflector tells, as (event, name, value) in order."""

    def __init__(self):
        self.changes = []

    def __call__(self, change):
        self.changes.append((change.old, change.new))

    def take(self):
        taken, self.changes = self.changes, []
        return taken


def source(name, value="1"):
    return {"metadata": {"name": name, "namespace": "golden"}, "spec": {"value": value}}


def parsed(document):
    if document["spec"]["value"] == "odd":
        raise ValueError("odd")
    return (document["metadata"]["name"], document["spec"]["value"])


@asynccontextmanager
async def following(connection, timeout=290.0):  # noqa: ASYNC109 -- of the server's
    told = Told()
    stream = KindStream(connection=connection, resource=DATA_SOURCES, timeout=timeout)
    reflector = Reflector("datasources", stream, parsed, told)
    async with running(reflector.run()):
        await asyncio.wait_for(reflector.wait_synced(), 30)
        yield reflector, told


async def set_value(connection, name, value):
    return await connection.patch(DATA_SOURCES, name, "golden", {"spec": {"value": value}})


async def test_changes_come_in_order_and_end_with_the_last_known_object(connection):
    await connection.create(DATA_SOURCES, source("a"))
    async with following(connection) as (reflector, told):
        assert told.take() == [(None, ("a", "1"))]
        await set_value(connection, "a", "2")
        await connection.create(DATA_SOURCES, source("b"))
        await connection.delete(DATA_SOURCES, "a", "golden")
        await until(lambda: len(told.changes) == 3)
        assert told.take() == [(("a", "1"), ("a", "2")), (None, ("b", "1")), (("a", "2"), None)]
        assert reflector.list() == [("b", "1")]
        assert reflector.lists == 1


async def test_an_object_of_another_life_ends_the_one_before(connection):
    await connection.create(DATA_SOURCES, source("a"))
    async with following(connection) as (reflector, told):
        told.take()
        await connection.delete(DATA_SOURCES, "a", "golden")
        await connection.create(DATA_SOURCES, source("a", "2"))
        await until(lambda: reflector.get("golden", "a") == ("a", "2"))
        assert told.take() == [(("a", "1"), None), (None, ("a", "2"))]


async def test_watches_that_the_server_ends_go_on_without_a_list(connection, monkeypatch):
    await connection.create(DATA_SOURCES, source("a"))
    watch, begun = connection.watch, []

    def counting(*arguments, **options):
        begun.append(options["resource_version"])
        return watch(*arguments, **options)

    monkeypatch.setattr(connection, "watch", counting)
    async with following(connection, timeout=1) as (reflector, told):
        told.take()
        await until(lambda: len(begun) == 4)
        assert (reflector.lists, told.changes) == (1, [])
        await set_value(connection, "a", "2")
        await until(lambda: told.changes)
        assert reflector.lists == 1


async def test_a_restart_of_the_server_in_mid_watch_tells_only_what_changed(alone, connection):
    await connection.create(DATA_SOURCES, source("a"))
    await connection.create(DATA_SOURCES, source("b"))
    async with following(connection) as (reflector, told):
        told.take()
        alone.processes.restart(API_SERVER)
        await asyncio.to_thread(alone.wait_ready)
        await set_value(connection, "a", "2")
        await until(lambda: reflector.get("golden", "a") == ("a", "2"), 90)
        assert told.take() == [(("a", "1"), ("a", "2"))]
        assert reflector.list() == [("a", "2"), ("b", "1")]


async def test_an_expired_version_leads_to_a_list_that_tells_the_difference(alone, connection):
    for name in ("changed", "deleted", "kept"):
        await connection.create(DATA_SOURCES, source(name))
    told = Told()
    reflector = Reflector("datasources", KindStream(connection=connection, resource=DATA_SOURCES), parsed, told)
    async with running(reflector.run()):
        await reflector.wait_synced()
    told.take()
    await set_value(connection, "changed", "2")
    await connection.delete(DATA_SOURCES, "deleted", "golden")
    await connection.create(DATA_SOURCES, source("new"))
    await compact(alone)
    alone.processes.restart(API_SERVER)  # its own memory of what happened is gone too
    await asyncio.to_thread(alone.wait_ready)
    async with running(reflector.run()):
        await until(lambda: reflector.lists == 2)
        await until(lambda: reflector.get("golden", "new"))
        changes = told.take()
    assert sorted(changes, key=str) == sorted(
        [(("changed", "1"), ("changed", "2")), (("deleted", "1"), None), (None, ("new", "1"))], key=str
    )


async def compact(plane):
    """Let etcd forget all but the present."""
    etcd = f"http://127.0.0.1:{plane.addresses.etcd[0]}/v3/kv"
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{etcd}/range", json={"key": "AA=="})
        revision = answer.json()["header"]["revision"]
        (await client.post(f"{etcd}/compaction", json={"revision": revision, "physical": True})).raise_for_status()


class Wire:
    """A way to the API server that can be cut."""

    def __init__(self, port):
        self._port = port
        self._writers = set()

    async def carry(self, reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, back}
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))

    async def _pump(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def cut(self):
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


async def test_cut_connections_cost_neither_a_list_nor_a_change(alone, connection, tmp_path):
    wire = Wire(alone.addresses.port)
    server = await asyncio.start_server(wire.carry, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(alone.kubeconfig.read_text().replace(f":{alone.addresses.port}", f":{port}"))
    async with server, connected(kubeconfig=str(kubeconfig)) as through:
        await connection.create(DATA_SOURCES, source("a", "0"))
        async with following(through) as (reflector, told):
            told.take()
            for value in range(1, 6):
                wire.cut()
                await set_value(connection, "a", str(value))
                await until(lambda wanted=str(value): reflector.get("golden", "a") == ("a", wanted))
            assert told.take() == [(("a", str(value - 1)), ("a", str(value))) for value in range(1, 6)]
            assert reflector.lists == 1


async def test_one_that_cannot_be_read_stops_no_other(connection, caplog):
    await connection.create(DATA_SOURCES, source("strange", "odd"))
    await connection.create(DATA_SOURCES, source("a"))
    async with following(connection) as (reflector, told):
        assert reflector.list() == [("a", "1")]
        assert reflector.unreadable == 1
        await set_value(connection, "a", "odd")
        await until(lambda: reflector.unreadable == 2)
        assert reflector.get("golden", "a") == ("a", "1"), "it is as it was last read, and not gone"
        await set_value(connection, "strange", "2")
        await until(lambda: reflector.unreadable == 1)
        assert told.take() == [(None, ("a", "1")), (None, ("strange", "2"))]
    assert sum("cannot be read" in record.message for record in caplog.records) == 2


async def test_own_writes_are_there_at_once_and_told_once(connection):
    async with following(connection) as (reflector, told):
        reflector.saw(await connection.create(DATA_SOURCES, source("a")))
        assert reflector.get("golden", "a") == ("a", "1")
        reflector.saw(await set_value(connection, "a", "2"))
        assert reflector.get("golden", "a") == ("a", "2")
        old = await connection.get(DATA_SOURCES, "a", "golden")
        await set_value(connection, "a", "3")
        await until(lambda: reflector.get("golden", "a") == ("a", "3"))
        reflector.saw(old)
        assert reflector.get("golden", "a") == ("a", "3"), "an old answer undoes nothing"
        await connection.delete(DATA_SOURCES, "a", "golden")
        reflector.saw_deleted("golden", "a", old["metadata"]["uid"])
        assert reflector.get("golden", "a") is None
        await connection.create(DATA_SOURCES, source("b"))
        await until(lambda: reflector.get("golden", "b"))
        reflector.saw(old)
        assert reflector.get("golden", "a") is None, "an old answer makes nothing live again"
        assert told.take() == [
            (None, ("a", "1")),
            (("a", "1"), ("a", "2")),
            (("a", "2"), ("a", "3")),
            (("a", "3"), None),
            (None, ("b", "1")),
        ]


async def test_a_kind_that_comes_later_is_followed_then(alone, connection):
    late = definitions.definition("late.example", "lates", "Late", status=False)
    resource = ResourceType("late.example", "v1beta1", "lates", "Late")
    reflector = Reflector("lates", KindStream(connection=connection, resource=resource), parsed)
    async with running(reflector.run()):
        await until(lambda: reflector.problem.startswith("NotServed"))
        await asyncio.to_thread(alone.apply, late)
        await until(lambda: reflector.is_synced)
        await connection.create(resource, source("a"))
        await until(lambda: reflector.get("golden", "a"))
