"""The control plane that the other tests here rely on."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataimportcron.errors import TransientError
from tests.cluster.control_plane import API_SERVER
from tests.cluster.control_plane import control_plane as run_control_plane

_RUN = """
import sys, time
from pathlib import Path
from tests.cluster.control_plane import control_plane

with control_plane(Path(sys.argv[1])) as running:
    print(*(running.processes.pid(name) for name in ("etcd", "kube-apiserver", "kube-scheduler")), flush=True)
    time.sleep(600)
"""


def _config_map(name):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


def test_planes_side_by_side_are_apart_and_keep_objects_over_a_restart(control_plane, tmp_path):
    with run_control_plane(tmp_path / "other") as other:
        other.apply(_config_map("other"))
        control_plane.apply(_config_map("first"))
        other.processes.restart(API_SERVER)
        other.wait_ready()
        assert other.get("configmap", "other", "-n", "default")["metadata"]["name"] == "other"
        with pytest.raises(TransientError, match='configmaps "other" not found'):
            control_plane.get("configmap", "other", "-n", "default")


def test_the_admin_may_all_and_the_user_nothing(control_plane):
    assert control_plane.kubectl("auth", "can-i", "*", "*", "--all-namespaces").strip() == "yes"
    with pytest.raises(TransientError, match='User "alice" cannot list resource "secrets"'):
        control_plane.kubectl("get", "secrets", user=True)


def test_nothing_outlives_an_owner_that_is_killed(tmp_path):
    owner = subprocess.Popen([sys.executable, "-c", _RUN, tmp_path], stdout=subprocess.PIPE)
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    assert len(pids) == 3
    assert all(_alive(pid) for pid in pids)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
