"""What the other tests with a cluster rely on."""

import io
import tarfile
import time
from http.server import BaseHTTPRequestHandler

import pytest

from dataimportcron.errors import TransientError
from tests.cluster.images import busybox, write_image
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


def test_a_clone_and_a_restored_snapshot_have_the_sources_bytes_and_may_be_larger(cluster, namespace):
    made = {"files": False, "device": True}
    sources = {"/files": "files", "/dev/device": "device"}
    cluster.apply(*(claim(name, namespace, "csi", block=block) for name, block in made.items()))
    script = "echo golden > /files/disk.img; echo golden > /dev/device"
    run_pod(cluster, pod(cluster, "writer", namespace, script, volumes=sources))
    for name, block in made.items():
        clone = {"kind": "PersistentVolumeClaim", "name": name}
        restore = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name}
        cluster.apply(
            {
                "apiVersion": "snapshot.storage.k8s.io/v1",
                "kind": "VolumeSnapshot",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {"source": {"persistentVolumeClaimName": name}},
            },
            claim(f"{name}-clone", namespace, "csi", block=block, size="96Mi", dataSource=clone),
            claim(f"{name}-restored", namespace, "csi-wait", block=block, dataSource=restore),
        )
    copies = ("files-clone", "files-restored", "device-clone", "device-restored")
    volumes = {f"/dev/{name}" if "device" in name else f"/{name}": name for name in copies}
    script = """
        head -n 1 /files-clone/disk.img; head -n 1 /files-restored/disk.img
        head -n 1 /dev/device-clone; head -n 1 /dev/device-restored
        df -m /files-clone | tail -n 1; df -m /files-restored | tail -n 1
        wc -c < /dev/device-clone; wc -c < /dev/device-restored
    """
    printed = run_pod(cluster, pod(cluster, "reader", namespace, script, volumes=volumes)).splitlines()
    assert printed[:4] == ["golden"] * 4
    larger, same = (int(line.split()[1]) for line in printed[4:6])
    assert same < 64 < larger < 96
    assert [int(line) >> 20 for line in printed[6:]] == [96, 64]


def test_a_class_that_cannot_clone_leaves_the_claim_pending_and_says_why(cluster, namespace):
    source = {"kind": "PersistentVolumeClaim", "name": "source"}
    cluster.apply(claim("source", namespace, "no-clone"), claim("clone", namespace, "no-clone", dataSource=source))
    cluster.wait("jsonpath={.status.phase}=Bound", "pvc/source", "-n", namespace)
    _wait_for_event(cluster, namespace, "clone", "CSI driver does not support clone operations")
    assert cluster.get("pvc", "clone", "-n", namespace)["status"]["phase"] == "Pending"


def test_a_class_that_waits_binds_at_the_first_pod(cluster, namespace):
    cluster.apply(claim("waiting", namespace, "csi-wait"))
    _wait_for_event(cluster, namespace, "waiting", "waiting for first consumer to be created before binding")
    assert cluster.get("pvc", "waiting", "-n", namespace)["status"]["phase"] == "Pending"
    run_pod(cluster, pod(cluster, "consumer", namespace, "true", volumes={"/disk": "waiting"}))
    assert cluster.get("pvc", "waiting", "-n", namespace)["status"]["phase"] == "Bound"


def test_namespaces_with_rules_refuse_what_breaks_them(cluster):
    privileged = pod(cluster, "privileged", "golden-images", "true", securityContext={})
    privileged["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    with pytest.raises(TransientError, match='violates PodSecurity "restricted:latest"'):
        cluster.apply(privileged)
    with pytest.raises(TransientError, match=r"exceeded quota: little, requested: requests\.storage=2Gi"):
        cluster.apply(claim("large", "limited", "csi", size="2Gi"))


def test_a_user_without_rights_may_not_list_secrets(cluster):
    with pytest.raises(TransientError, match='User "alice" cannot list resource "secrets"'):
        cluster.kubectl("get", "secrets", "-n", "golden-images", user=True)


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


def test_the_node_pulls_by_its_mirror_and_pods_mount_images(cluster, namespace, tmp_path):
    disk = b"golden image" * 1000
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        member = tarfile.TarInfo("disk/disk.img")
        member.size, member.uid, member.gid, member.mode = len(disk), 107, 107, 0o440
        archive.addfile(member, io.BytesIO(disk))
    made = write_image(tmp_path / "disk.tar", "localhost/disk:1", layer.getvalue())
    assert cluster.push(tmp_path / "disk.tar", "containerdisks/fedora:43") == made
    reference = f"quay.io/containerdisks/fedora@{made}"
    reader = pod(cluster, "reader", namespace, "wc -c < /image/disk/disk.img; ! touch /image/x")
    reader["spec"]["volumes"] = [{"name": "image", "image": {"reference": reference, "pullPolicy": "Always"}}]
    reader["spec"]["containers"][0]["volumeMounts"] = [{"name": "image", "mountPath": "/image"}]
    assert str(len(disk)) in run_pod(cluster, reader)
    found = cluster.get("pod", "reader", "-n", namespace)["status"]["containerStatuses"][0]["imageID"]
    assert found.startswith(f"{cluster.registry}/busybox@sha256:")


def test_an_image_that_is_loaded_is_not_pulled(cluster, namespace, tmp_path):
    # Another image than the one in the registry: the kubelet asks for the credentials of images that it has pulled.
    busybox(tmp_path / "loaded.tar", Labels={"loaded": "yes"})
    cluster.load(tmp_path / "loaded.tar")
    loaded = pod(cluster, "loaded", namespace, "echo here")
    loaded["spec"]["containers"][0] |= {"image": "localhost/busybox:1", "imagePullPolicy": "Never"}
    assert run_pod(cluster, loaded) == "here\n"


def test_a_killed_api_server_comes_back_with_its_objects(cluster, namespace):
    cluster.kill("kube-apiserver")
    deadline = time.monotonic() + 60
    while not cluster.answers("get", "namespace", namespace):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _wait_for_event(cluster, namespace, name, words, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        events = cluster.get("events", "-n", namespace, f"--field-selector=involvedObject.name={name}")["items"]
        if any(words in event["message"] for event in events):
            return
        assert time.monotonic() < deadline, [event["message"] for event in events]
        time.sleep(0.2)
