import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dataimportcron.importer.layer.stages import DEPTH, Stages, StoppedError


def test_items_pass_in_order():
    stages = Stages()
    channel = stages.channel()
    got = []

    def produce():
        for number in range(5 * DEPTH):
            channel.put(bytes([number]))
        channel.close()

    stages.start("produce", produce)
    stages.start("consume", lambda: got.extend(channel))
    stages.wait(lambda: None, 0.01)
    assert got == [bytes([number]) for number in range(5 * DEPTH)]


def test_a_channel_is_bounded():
    stages = Stages()
    channel = stages.channel()
    put = []

    def produce():
        for number in range(100):
            channel.put(b"x")
            put.append(number)

    def fail_later():
        time.sleep(0.2)
        raise ValueError("enough")

    stages.start("produce", produce)
    stages.start("fail", fail_later)
    with pytest.raises(ValueError, match="enough"):
        stages.wait(lambda: None, 0.01)
    assert len(put) == DEPTH


@pytest.mark.parametrize("waiting", ["put", "get", "pause"])
def test_a_failure_ends_a_stage_wherever_it_waits(waiting):
    stages = Stages()
    channel = stages.channel()
    ended = threading.Event()

    def wait():
        try:
            if waiting == "put":
                while True:
                    channel.put(b"x")
            elif waiting == "get":
                list(channel)
            else:
                stages.pause(60)
        except StoppedError:
            ended.set()
            raise

    def fail():
        time.sleep(0.1)
        raise ValueError("broken")

    stages.start("wait", wait)
    stages.start("fail", fail)
    began = time.monotonic()
    with pytest.raises(ValueError, match="broken"):
        stages.wait(lambda: None, 0.01)
    assert time.monotonic() - began < 30
    assert ended.is_set()


def test_no_stage_runs_on_when_the_error_is_told():
    """It may be writing to what is closed next."""
    stages = Stages()
    channel = stages.channel()
    ended = threading.Event()

    def write():
        try:
            list(channel)
        finally:
            time.sleep(0.3)
            ended.set()

    def fail():
        raise ValueError("broken")

    stages.start("write", write)
    stages.start("fail", fail)
    with pytest.raises(ValueError, match="broken"):
        stages.wait(lambda: None, 0.01)
    assert ended.is_set()


def test_the_first_error_counts():
    stages = Stages()
    channel = stages.channel()

    def fail_second():
        try:
            list(channel)
        except StoppedError as error:
            raise ValueError("second") from error

    def fail_first():
        raise KeyError("first")

    stages.start("second", fail_second)
    stages.start("first", fail_first)
    with pytest.raises(KeyError, match="first"):
        stages.wait(lambda: None, 0.01)


def test_an_error_of_the_tick_ends_the_stages():
    stages = Stages()
    channel = stages.channel()
    stages.start("consume", lambda: list(channel))

    def tick():
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        stages.wait(tick, 0.01)


def test_ticks_come_while_stages_run():
    stages = Stages()
    ticks = []
    stages.start("sleep", lambda: time.sleep(0.3))
    stages.wait(lambda: ticks.append(1), 0.05)
    assert 2 <= len(ticks) <= 6


STUCK = """
import sys, threading
from dataimportcron.importer.layer import stages
stages._GRACE = 0.1
group = stages.Stages()
group.start("stuck", threading.Event().wait)
group.start("fail", lambda: 1 / 0)
try:
    group.wait(lambda: None, 0.01)
except ZeroDivisionError:
    sys.exit(3)
"""


def test_a_stage_that_waits_for_a_dead_network_keeps_neither_the_error_nor_the_process():
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", STUCK], cwd=root, timeout=30, check=False).returncode == 3
