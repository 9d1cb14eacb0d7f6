"""The trial overlay, with a Temporal of its own on a volume: registries that are private, mirrored or behind a proxy.

Pods poll and pull here. What is secret is looked for wherever somebody could see it.
"""

import base64
import hashlib
import json
import os
from contextlib import ExitStack
from urllib.parse import quote

import httpx
import pytest

from dataimportcron.naming import import_name
from demo.cluster.__main__ import registry_client
from demo.cluster.installation import NAMESPACE, STANDALONE, Engine, Installation, condition
from demo.cluster.story import NAMESPACE as BUILDERS
from demo.cluster.story import SETTINGS
from demo.host import wait_for
from demo.push import Image, disk_layer, push
from demo.registry import client, registry
from deploy.image.build import CHECKOUT, build, cache
from tests.cluster.installed import certificates, cron, histories, leave_nothing, seen
from tests.cluster.objects import claim, pod, run_pod
from tests.support.forward_proxy import forward_proxy
from tests.support.stocked import HTPASSWD, ROBOT

TEMPORAL = "dataimportcron-temporal"
ELSEWHERE = "registry.example"
"""A name that only the proxy knows."""
DISK = os.urandom(16 << 20)
"""Some seconds of an import, at the rate of the settings."""


@pytest.fixture(scope="module")
def trial(cluster, tmp_path_factory):
    work = tmp_path_factory.mktemp("trial")
    place = Installation(cluster, work, STANDALONE, overlay="trial", engine=Engine(address=f"{TEMPORAL}:7233"))
    with ExitStack() as stack:
        stack.callback(leave_nothing, place)
        place.install(build(CHECKOUT, cache()), SETTINGS)
        find_temporal(place)
        yield place


def find_temporal(place):
    """Its pod's address, which this machine reaches too."""

    def look():
        pods = place.cluster.get("pods", "-l", "app.kubernetes.io/component=temporal", "-n", NAMESPACE)["items"]
        return next((pod["status"]["podIP"] for pod in pods if condition(pod, "Ready")[0] == "True"), "")

    place.temporal = f"{wait_for('a Temporal that is ready', 240, look)}:7233"


@pytest.fixture(scope="module")
def layer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disk")
    (folder / "disk.img").write_bytes(DISK)
    return disk_layer(folder / "disk.img", folder)


@pytest.fixture(scope="module")
def private(cluster, tmp_path_factory, layer):
    """A registry that wants a user, with the image `disk`."""
    folder = tmp_path_factory.mktemp("private")
    (folder / "htpasswd").write_text(HTPASSWD)
    auth = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    with registry(folder, auth=auth, host=cluster.host, names=(ELSEWHERE,)) as running:
        with client(running, auth=httpx.BasicAuth(ROBOT.username, ROBOT.password)) as http:
            push(http, "disk", "latest", Image(layers=(layer,)))
        yield running


@pytest.fixture
def mirrored(cluster, layer):
    """Makes an image `disk` of quay.io, by what the cluster's registry has of it."""

    def make(**labels):
        with registry_client(cluster) as http:
            return push(http, "mirrored/disk", "latest", Image(layers=(layer,), labels=labels))

    return make


def as_key(password):
    return {"stringData": {"accessKeyId": ROBOT.username, "secretKey": password}}


def as_docker_config(password, host):
    login = {"auth": base64.b64encode(f"{ROBOT.username}:{password}".encode()).decode()}
    config = json.dumps({"auths": {host: login}})
    return {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": config}}


def secret(namespace, content):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": namespace}} | content


def said(place, namespace, kind):
    return condition(place.cron(namespace, "golden"), kind)


def imported(place, namespace):
    """Wait until the disk is there; returns what could be seen meanwhile."""

    def look():
        found = seen(place.cluster, namespace)
        return found if "bytesWritten" in found and "--source" in found else ""

    meanwhile = wait_for("an importer that writes", 180, look)
    place.cluster.wait("condition=Ready", f"{place.mode.crons}/golden", "-n", namespace, seconds=240)
    claim = place.points_to(namespace, "golden")
    assert place.digest_of_disk(namespace, claim, len(DISK)) == hashlib.sha256(DISK).hexdigest()
    return meanwhile


def is_secret(place, namespace, password, meanwhile=""):
    """Nowhere to be seen: not in what was seen meanwhile, on the node, in objects, workers' logs and histories."""
    found = (meanwhile + seen(place.cluster, namespace) + place.logs(tail=-1)).encode() + histories(place.temporal)
    for shown in (password, quote(password), base64.b64encode(f"{ROBOT.username}:{password}".encode()).decode()):
        assert shown.encode() not in found


def built(cluster, text):
    """A claim `built` of somebody else's, with a disk that begins so; returns its uid."""
    made = claim("built", BUILDERS, "csi")
    cluster.apply(made)
    script = f"printf '{text}' > /disk/disk.img; truncate -s 32M /disk/disk.img; sync"
    run_pod(cluster, pod(cluster, "builder", BUILDERS, script, volumes={"/disk": "built"}))
    cluster.kubectl("delete", "pod", "builder", "-n", BUILDERS, "--now")
    return cluster.get("pvc", "built", "-n", BUILDERS)["metadata"]["uid"]


def may_clone(namespace):
    """Gives a namespace's crons the right to clone what is in the builders'."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cdi.kubevirt.io:clone-sourcer"}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": namespace, "namespace": BUILDERS},
        "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    }


def test_a_claim_of_another_namespace_that_is_made_anew(trial, namespace):
    cluster, following = trial.cluster, cron(trial, namespace, "")
    following["spec"]["template"]["spec"]["source"] = {"pvc": {"namespace": BUILDERS, "name": "built"}}
    cluster.apply(following)
    refused = ("False", "NotAuthorized")
    wait_for("a cron that is refused", 60, lambda: said(trial, namespace, "Progressing") == refused)
    cluster.apply(may_clone(namespace))

    def polled():
        return trial.dataimportcron("poll", "golden", "-n", namespace, check=False).stdout

    assert f"PersistentVolumeClaim {BUILDERS}/built was not found" in polled()
    try:
        for text in ("first", "second"):
            uid = built(cluster, text)
            assert f"uid:{uid}" in polled()
            made = import_name("golden", f"uid:{uid}")
            trial.eventually_points_to(namespace, "golden", made, 120)
            assert trial.digest_of_disk(namespace, made, len(text)) == hashlib.sha256(text.encode()).hexdigest()
            cluster.kubectl("delete", "pvc", "built", "-n", BUILDERS, "--timeout=120s")
    finally:
        cluster.kubectl("delete", "pvc/built", f"rolebinding/{namespace}", "-n", BUILDERS, "--ignore-not-found")


def test_a_private_registry_by_cdis_keys(trial, namespace, private):
    trial.cluster.apply(
        certificates(namespace, private.ca.read_text()),
        secret(namespace, as_key(ROBOT.password)),
        cron(trial, namespace, f"{private.host}/disk", secretRef="login", certConfigMap="certs"),
    )
    is_secret(trial, namespace, ROBOT.password, imported(trial, namespace))


def test_a_private_registry_by_dockers_file_that_is_wrong_at_first(trial, namespace, private):
    trial.cluster.apply(
        certificates(namespace, private.ca.read_text()),
        secret(namespace, as_docker_config("mistaken horse", private.host)),
        cron(trial, namespace, f"{private.host}/disk", secretRef="login", certConfigMap="certs"),
    )
    refused = ("False", "Unauthorized")
    wait_for("a condition that says so", 120, lambda: said(trial, namespace, "UpToDate") == refused)
    is_secret(trial, namespace, "mistaken horse")
    trial.cluster.apply(secret(namespace, as_docker_config(ROBOT.password, private.host)))
    is_secret(trial, namespace, ROBOT.password, imported(trial, namespace))


def test_a_registry_behind_a_proxy(trial, namespace, private):
    config = ("cdiconfigs.cdi.kubevirt.io", "config", "--type=merge", "-p")
    with forward_proxy(trial.cluster.host, login=f"{ROBOT.username}:{ROBOT.password}") as proxy:
        proxy.routes[f"{ELSEWHERE}:443"] = private.host
        url = f"http://{ROBOT.username}:{quote(ROBOT.password)}@{proxy.host}"
        trial.cluster.kubectl("patch", *config, json.dumps({"spec": {"importProxy": {"HTTPSProxy": url}}}))
        try:
            trial.cluster.apply(
                certificates(namespace, private.ca.read_text()),
                secret(namespace, as_key(ROBOT.password)),
                cron(trial, namespace, f"{ELSEWHERE}/disk", secretRef="login", certConfigMap="certs"),
            )
            meanwhile = imported(trial, namespace)
        finally:
            trial.cluster.kubectl("patch", *config, json.dumps({"spec": {"importProxy": None}}))
    assert {(method, target) for method, target, _ in proxy.requests} == {("CONNECT", f"{ELSEWHERE}:443")}
    # In the Job it stands as a variable, as in those of CDI's importers.
    shown = meanwhile.replace(f"value: {url}", "")
    is_secret(trial, namespace, ROBOT.password, shown)


def test_a_mirror_and_what_temporal_knows_after_its_pod_has_gone(trial, namespace, mirrored):
    digest = mirrored()
    trial.cluster.apply(cron(trial, namespace, "quay.io/mirrored/disk"))
    imported(trial, namespace)
    trial.kubectl("delete", "pod", f"{TEMPORAL}-0", "--now")
    find_temporal(trial)
    asked = ("golden", "-n", namespace)

    def remembered():
        return trial.dataimportcron("history", *asked, check=False).stdout

    known = wait_for("workers that have found it again", 180, remembered)
    assert digest.removeprefix("sha256:")[:12] in known
    newer = mirrored(version="2")
    assert newer in trial.dataimportcron("poll", *asked).stdout
    trial.eventually_points_to(namespace, "golden", f"golden-{newer.removeprefix('sha256:')[:12]}", 240)
