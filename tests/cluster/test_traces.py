"""Nothing of a cluster is left on the machine, however it ends; the fixture `cluster` looks after its own end."""

import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from tests.cluster.full import Cluster, down, start_keeper
from tests.cluster.images import busybox
from tests.cluster.keeper import ROOT, folder, owner
from tests.cluster.objects import claim, pod
from tests.cluster.traces import assert_no_new_traces, attached, traces

_START = "from tests.cluster.full import start_keeper; start_keeper()"


def test_after_a_killed_keeper_the_kernel_ends_the_cluster_and_the_next_start_or_down_cleans_up():
    before = traces()
    with start_keeper() as keeper, closing(Cluster()) as running:
        busybox(running.folder / "busybox.tar")
        running.push(running.folder / "busybox.tar", "busybox:1")
        running.apply(
            claim("device", "golden-images", "csi", block=True),
            claim("files", "golden-images", "csi"),
            pod(running, "busy", "golden-images", "exec sleep 600", volumes={"/dev/d": "device", "/f": "files"}),
        )
        running.wait("condition=Ready", "pod/busy", "-n", "golden-images")
        devices = attached()
        keeper.kill()
    # Three: the driver's two, and the one that the kubelet puts over a device.
    assert len(devices - before["loop devices"]) == 3
    down()
    assert_no_new_traces(before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_start_whose_caller_ends_leaves_nothing(number):
    before = traces()
    starting = subprocess.Popen([sys.executable, "-c", _START], cwd=ROOT, stderr=subprocess.PIPE)
    while not _starts_ours():
        assert starting.poll() is None, starting.communicate()[1]
        time.sleep(0.02)
    starting.send_signal(number)
    starting.communicate()
    assert starting.returncode == -number
    assert_no_new_traces(before)


def _starts_ours():
    found = owner()
    log = folder() / "logs" / "kube-apiserver.log"
    return found is not None and found.get("checkout") == str(ROOT) and log.exists()
