"""What the other tests with a cluster rely on, and do not prove themselves."""

import re
import time
from http.server import BaseHTTPRequestHandler

import pytest

from dataimportcron.errors import TransientError
from tests.cluster.full import up
from tests.cluster.keeper import ROOT, owner
from tests.cluster.objects import claim, pod, run_pod
from tests.support.loopback import serve


class _Found(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        """Of no interest."""


CLASSES = ["csi", "csi-wait", "no-clone", "hostpath-provisioner"]


def test_every_class_serves_a_pod_that_is_not_root_with_files_and_devices(cluster, namespace):
    paths = {f"/{name}": f"{name}-files" for name in CLASSES} | {f"/dev/{name}": f"{name}-device" for name in CLASSES}
    cluster.apply(
        *(claim(f"{name}-files", namespace, name) for name in CLASSES),
        *(claim(f"{name}-device", namespace, name, block=True) for name in CLASSES),
    )
    writes = [f"echo files > /{name}/disk.img; echo device > /dev/{name}; sync" for name in CLASSES]
    reads = [f"cat /{name}/disk.img; head -n 1 /dev/{name}; df -m /{name} | tail -n 1" for name in CLASSES]
    run_pod(cluster, pod(cluster, "writer", namespace, "\n".join(writes), volumes=paths))
    printed = run_pod(cluster, pod(cluster, "reader", namespace, "\n".join(reads), volumes=paths)).splitlines()
    assert printed.count("files") == len(CLASSES)
    assert printed.count("device") == len(CLASSES)
    # Real file systems, of the size that was asked for.
    sizes = [int(line.split()[1]) for line in printed if line.startswith("/dev/loop")]
    assert len(sizes) == len(CLASSES)
    assert all(40 < size < 64 for size in sizes)


def test_a_class_that_cannot_clone_leaves_the_claim_pending_and_says_why(cluster, namespace):
    source = {"kind": "PersistentVolumeClaim", "name": "source"}
    cluster.apply(claim("source", namespace, "no-clone"), claim("clone", namespace, "no-clone", dataSource=source))
    cluster.wait("jsonpath={.status.phase}=Bound", "pvc/source", "-n", namespace)
    _wait_for_event(cluster, namespace, "clone", "CSI driver does not support clone operations")
    assert cluster.get("pvc", "clone", "-n", namespace)["status"]["phase"] == "Pending"


def test_namespaces_with_rules_refuse_what_breaks_them(cluster):
    privileged = pod(cluster, "privileged", "golden-images", "true", securityContext={})
    privileged["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    with pytest.raises(TransientError, match='violates PodSecurity "restricted:latest"'):
        cluster.apply(privileged)
    with pytest.raises(TransientError, match=r"exceeded quota: little, requested: requests\.storage=2Gi"):
        cluster.apply(claim("large", "limited", "csi", size="2Gi"))


def test_pods_reach_services_by_name_and_the_machine_and_nothing_else(cluster, namespace):
    server = pod(cluster, "server", namespace, "echo found > /tmp/index.html; exec httpd -f -p 8080 -h /tmp")
    server["metadata"]["labels"] = {"app": "server"}
    server["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"port": 8080, "path": "/"}, "periodSeconds": 1}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server", "namespace": namespace},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    cluster.apply(server, service)
    cluster.wait("condition=Ready", "pod/server", "-n", namespace)
    with serve(_Found, address=cluster.host) as machine:
        script = f"""
            get() {{ printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 2 "$@"; }}
            until get server.{namespace}.svc.cluster.local 80 | grep found; do sleep 1; done
            ip route
            ! get 192.0.2.1 443
            ! nslookup quay.io
            get {machine.replace(":", " ")} | grep 204
        """
        printed = run_pod(cluster, pod(cluster, "client", namespace, script))
    assert "default" not in printed
    assert "default" not in cluster.on_node("ip", "route")


@pytest.mark.usefixtures("cluster")
def test_there_is_one_cluster_on_a_machine_and_a_second_is_told_whose():
    assert owner()["checkout"] == str(ROOT)
    with pytest.raises(TransientError, match=re.escape(f"runs on this machine already, of {owner()}")):
        up()


def test_a_killed_api_server_comes_back_with_its_objects(cluster, namespace):
    cluster.kill("kube-apiserver")
    deadline = time.monotonic() + 120
    while not cluster.answers("get", "namespace", namespace):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _wait_for_event(cluster, namespace, name, words, seconds=120):
    deadline = time.monotonic() + seconds
    while True:
        events = cluster.get("events", "-n", namespace, f"--field-selector=involvedObject.name={name}")["items"]
        if any(words in event["message"] for event in events):
            return
        assert time.monotonic() < deadline, [event["message"] for event in events]
        time.sleep(0.2)
