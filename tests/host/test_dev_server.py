"""The embedded server: the real program takes our flags, keeps its log ahead, and its ports across restarts."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
from contextlib import contextmanager
from itertools import pairwise

import pytest
from temporalio.client import Client

from dataimportcron.errors import TransientError
from dataimportcron.host import dev_server
from worker.temporal import require_search_attributes


@contextmanager
def running(state):
    endpoint = dev_server.choose_endpoint(state)
    process = subprocess.Popen(dev_server.command(state, endpoint), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        dev_server.wait_ready(endpoint)
        yield endpoint, process
    finally:
        process.kill()
        process.communicate()


async def test_it_has_the_log_the_attributes_and_after_kill_9_the_same_ports_and_data(state):
    with running(state) as (endpoint, process):
        client = await Client.connect(endpoint.address)
        await require_search_attributes(client)
        handle = await client.start_workflow("Nobody", id="kept", task_queue="none")
        process.send_signal(signal.SIGKILL)
        process.wait()
        with sqlite3.connect(f"file:{state.path / 'temporal.db'}?mode=ro", uri=True) as database:
            assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        database.close()
    with running(state) as (again, _):
        assert again == endpoint == dev_server.endpoint_of(state)
        client = await Client.connect(again.address)
        described = await client.get_workflow_handle("kept").describe()
        assert described.run_id == handle.first_execution_run_id
        await require_search_attributes(client)


def test_it_listens_on_loopback_only(state):
    endpoint = dev_server.ServerEndpoint(port=1, ui_port=2)
    arguments = dev_server.command(state, endpoint)
    addresses = {option: value for option, value in pairwise(arguments) if option.endswith("ip")}
    assert addresses == {"--ip": "127.0.0.1", "--ui-ip": "127.0.0.1"}


def test_ports_that_somebody_took_are_given_up(state):
    first = dev_server.choose_endpoint(state)
    assert dev_server.choose_endpoint(state) == first
    with socket.socket() as somebody:
        somebody.bind((dev_server.HOST, first.port))
        somebody.listen()
        second = dev_server.choose_endpoint(state)
    assert second.port != first.port
    assert second.port != second.ui_port
    assert dev_server.endpoint_of(state) == second


def test_a_server_that_does_not_answer(state):
    with pytest.raises(TransientError, match=r"does not answer at 127\.0\.0\.1:\d+ after 0 s"):
        dev_server.wait_ready(dev_server.choose_endpoint(state), seconds=0.2)


def test_a_server_that_accepts_but_does_not_serve(state):
    endpoint = dev_server.choose_endpoint(state)
    with socket.create_server((dev_server.HOST, endpoint.port)), pytest.raises(TransientError, match="does not answer"):
        dev_server.wait_ready(endpoint, seconds=1.0)


def test_no_endpoint_before_the_first_start(state):
    assert dev_server.endpoint_of(state) is None
