"""The control plane that the other tests here rely on."""

import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from dataimportcron.errors import TransientError
from tests.cluster.access import Access

_RUN = """
import sys, time
from pathlib import Path
from tests.cluster.control_plane import control_plane

with control_plane(Path(sys.argv[1])) as running:
    pids = (running.processes.pid(name) for name in ("etcd", "kube-apiserver", "kube-scheduler"))
    print(running.url, *pids, flush=True)
    time.sleep(600)
"""


def _config_map(name):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


def test_the_admin_may_all_and_the_user_nothing(control_plane):
    assert control_plane.kubectl("auth", "can-i", "*", "*", "--all-namespaces").strip() == "yes"
    with pytest.raises(TransientError, match='User "alice" cannot list resource "secrets"'):
        control_plane.kubectl("get", "secrets", user=True)


def test_planes_side_by_side_are_apart_and_nothing_outlives_an_owner_that_is_killed(control_plane, tmp_path):
    with subprocess.Popen([sys.executable, "-c", _RUN, tmp_path], stdout=subprocess.PIPE, text=True) as owner:
        try:
            url, *pids = owner.stdout.readline().split()
            assert [_alive(pid) for pid in pids] == [True] * 3
            with closing(Access(tmp_path, url)) as other:
                other.apply(_config_map("other"))
                control_plane.apply(_config_map("first"))
                assert other.get("configmap", "other", "-n", "default")["metadata"]["name"] == "other"
            with pytest.raises(TransientError, match='configmaps "other" not found'):
                control_plane.get("configmap", "other", "-n", "default")
        finally:
            owner.kill()
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
