"""What `deploy/` holds, on an API server: taken as it is, with no right too many; and what stays when it goes."""

import json
import os
import re
import ssl
import subprocess

import httpx
import pytest
import yaml

from deploy.image.build import CHECKOUT
from tests.cluster import rights
from tests.cluster.rights import Right
from tests.support.admission import ADMITTED

DEPLOY = CHECKOUT / "deploy"
OVERLAYS = ("beside", "standalone", "trial", "namespaced")
ACCOUNT = "system:serviceaccount:dataimportcron:dataimportcron"


@pytest.fixture(scope="module")
def cluster(api):
    api.kubectl("apply", "-f", str(DEPLOY / "namespace.yaml"))
    return api


def built(cluster, folder):
    """The documents of a kustomization."""
    return list(yaml.safe_load_all(cluster.kubectl("kustomize", str(DEPLOY / folder))))


def containers(documents):
    return [
        container
        for document in documents
        if document["kind"] in {"Deployment", "StatefulSet"}
        for container in document["spec"]["template"]["spec"]["containers"]
    ]


@pytest.mark.parametrize("folder", [*(f"overlays/{name}" for name in OVERLAYS), "samples/overlay"])
def test_an_overlay_is_taken_as_it_is(cluster, folder):
    said = cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-k", str(DEPLOY / folder)
    )
    assert said.count("serverside-applied (server dry run)") == len(built(cluster, folder))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_overlay_holds_what_an_uninstall_must_not_delete(cluster, overlay):
    kinds = {document["kind"] for document in built(cluster, f"overlays/{overlay}")}
    assert not kinds & {"CustomResourceDefinition", "Namespace", "PersistentVolume", "PersistentVolumeClaim"}


def test_an_older_server_gets_no_admission_policy(cluster, tmp_path):
    """As docs/operations.md says."""
    _, _, documented = (CHECKOUT / "docs/operations.md").read_text().partition("\n    patches:\n")
    patches = yaml.safe_load("patches:\n" + documented.partition("\n\n")[0])["patches"]
    overlay = {"resources": [_relative(tmp_path, DEPLOY / "overlays/standalone")], "patches": patches}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    left = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(tmp_path))))
    policies = [one for one in built(cluster, "overlays/standalone") if one["kind"].startswith("MutatingAdmission")]
    assert len(policies) == 2
    assert len(left) == len(built(cluster, "overlays/standalone")) - 2


def test_the_image_is_set_by_digest_in_one_place(cluster):
    [worker] = containers(built(cluster, "samples/overlay"))
    sample = yaml.safe_load((DEPLOY / "samples/overlay/kustomization.yaml").read_text())["images"][0]
    expected = f"{sample['newName']}@{sample['digest']}"
    assert worker["image"] == expected
    assert {entry["name"]: entry.get("value") for entry in worker["env"]}["DATAIMPORTCRON_IMAGE"] == expected


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_image_that_is_named_in_an_overlay_is_that_of_all_pods(cluster, overlay, tmp_path):
    copy = tmp_path / "deploy"
    subprocess.run(["cp", "-r", DEPLOY, copy], check=True)
    folder = copy / "overlays" / overlay
    digest = f"sha256:{'ab' * 32}"
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    kustomization["images"] = [{"name": "localhost/dataimportcron", "newName": "r.example/d", "digest": digest}]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    documents = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(folder))))
    found = {container["image"] for container in containers(documents)} | {
        entry["value"]
        for container in containers(documents)
        for entry in container.get("env", [])
        if entry["name"] == "DATAIMPORTCRON_IMAGE"
    }
    assert found == {f"r.example/d@{digest}"}


def test_the_image_has_the_version_of_this_release(cluster):
    version = re.search(r'^version = "(.*)"', (CHECKOUT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    for overlay in OVERLAYS:
        images = {container["image"] for container in containers(built(cluster, f"overlays/{overlay}"))}
        assert images == {f"localhost/dataimportcron:{version}"}


def test_your_own_temporal_is_named_by_a_secret(cluster, tmp_path):
    [worker] = containers(built(cluster, "samples/overlay"))
    [key] = [entry for entry in worker["env"] if entry["name"] == "TEMPORAL_API_KEY"]
    assert key["valueFrom"]["secretKeyRef"] == {"name": "dataimportcron-temporal-api-key", "key": "api-key"}

    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "resources": [_relative(tmp_path, DEPLOY / "overlays/beside")],
                "components": [_relative(tmp_path, DEPLOY / "components/temporal-tls")],
            }
        )
    )
    documents = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(tmp_path))))
    [worker] = containers(documents)
    [folder] = [mount["mountPath"] for mount in worker["volumeMounts"] if mount["name"] == "temporal-tls"]
    files = {entry["name"]: entry["value"] for entry in worker["env"] if entry["name"].startswith("TEMPORAL_TLS_")}
    assert files == {
        "TEMPORAL_TLS_CLIENT_CERT_PATH": f"{folder}/tls.crt",
        "TEMPORAL_TLS_CLIENT_KEY_PATH": f"{folder}/tls.key",
        "TEMPORAL_TLS_SERVER_CA_CERT_PATH": f"{folder}/ca.crt",
    }


def test_installed_and_uninstalled_with_all_volumes_still_there(cluster):
    cluster.apply(_data_volume())
    owner = cluster.get("datavolume", "fedora", "-n", "golden-images")["metadata"]
    cluster.apply(_claim(owner))
    trial = str(DEPLOY / "overlays/trial")

    cluster.kubectl("apply", "--server-side", "-k", trial)
    # Made under Pod Security `restricted`; without a node they stay pending.
    for component, count in {"worker": 2, "temporal": 1}.items():
        selector = f"app.kubernetes.io/name=dataimportcron,app.kubernetes.io/component={component}"
        cluster.processes.wait_until(
            f"{count} pods of {component}",
            lambda s=selector, n=count: len(cluster.get("pods", "-l", s, "-n", "dataimportcron")["items"]) == n,
        )
    [budget] = cluster.get("poddisruptionbudgets", "-n", "dataimportcron")["items"]
    assert budget["spec"]["maxUnavailable"] == 1

    cluster.kubectl("delete", "-k", trial)
    assert cluster.get("crd", "datavolumes.cdi.kubevirt.io")["spec"]["group"] == "cdi.kubevirt.io"
    assert cluster.get("datavolume", "fedora", "-n", "golden-images")["metadata"]["uid"] == owner["uid"]
    claim = cluster.get("pvc", "fedora", "-n", "golden-images")["metadata"]
    assert "deletionTimestamp" not in claim
    # The history of a trial is a volume too.
    assert len(cluster.get("pvc", "-n", "dataimportcron")["items"]) == 1
    assert not cluster.get("deployments", "-n", "dataimportcron")["items"]


def test_a_sync_after_a_poll_shows_no_diff(cluster):
    cron = yaml.safe_load((DEPLOY / "samples" / "fedora.yaml").read_text()) | {
        "apiVersion": "dataimportcron.io/v1beta1"
    }
    named = ("-n", cron["metadata"]["namespace"])
    as_git = ("--server-side", "--field-manager=argocd-controller", "-f", "-")
    cluster.kubectl("apply", *as_git, document=cron)

    digest = {"metadata": {"annotations": {"cdi.kubevirt.io/storage.import.sourceDesiredDigest": "sha256:0"}}}
    polled = {"status": {"lastExecutionTimestamp": "2026-11-24T12:00:00Z", "observedGeneration": 1}}
    where = ("dataimportcrons.dataimportcron.io", cron["metadata"]["name"], *named)
    cluster.kubectl("patch", *where, "--type=merge", "-p", json.dumps(digest))
    cluster.kubectl("patch", *where, "--type=merge", "--subresource=status", "-p", json.dumps(polled))
    assert cluster.get(*where)["status"]["observedGeneration"] == 1

    # It ends with 1 where there is a difference.
    assert not cluster.kubectl("diff", *as_git, document=cron)


@pytest.fixture(scope="module", params=("beside", "standalone"))
def mode(cluster, request):
    """How the worker is installed, without its pods."""
    cluster.kubectl("apply", "--server-side", "-k", str(DEPLOY / "overlays" / request.param))
    yield request.param
    cluster.kubectl("delete", "-k", str(DEPLOY / "overlays" / request.param))


def may(cluster, user, verb, resource, *where):
    """Whether the API server would let a user do this to PLURAL[/SUBRESOURCE][.GROUP], in a namespace, to one name."""
    namespace, name = (*where, "", "")[:2]
    plural, _, group = resource.partition(".")
    plural, _, subresource = plural.partition("/")
    what = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
    what |= {"namespace": namespace, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": ["system:authenticated"], "resourceAttributes": what},
    }
    answer = cluster.http.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review)
    return answer.raise_for_status().json()["status"]["allowed"]


def test_the_worker_may_what_it_needs_and_no_more(cluster, mode):
    group, other = {
        "beside": ("dataimportcron.io", "cdi.kubevirt.io"),
        "standalone": ("cdi.kubevirt.io", "dataimportcron.io"),
    }[mode]
    granted = [
        ("create", "jobs.batch", "golden-images"),
        ("get", "secrets", "golden-images"),
        ("patch", "leases.coordination.k8s.io", "dataimportcron", "dataimportcron"),
        ("patch", f"dataimportcrons.{group}", "golden-images"),
        ("patch", f"dataimportcrons/status.{group}", "golden-images"),
        ("create", "datasources.cdi.kubevirt.io", "golden-images"),
    ]
    denied = [
        ("list", "secrets", "golden-images"),
        ("create", "pods", "golden-images"),
        ("create", "pods/exec", "golden-images"),
        ("delete", "namespaces"),
        ("delete", "customresourcedefinitions.apiextensions.k8s.io"),
        ("patch", "leases.coordination.k8s.io", "golden-images", "dataimportcron"),
        # Beside CDI its crons are never written to.
        ("patch", f"dataimportcrons.{other}", "golden-images"),
    ]
    data_volumes = [("create", "datavolumes.cdi.kubevirt.io", "golden-images")]
    profiles = [("patch", "storageprofiles.cdi.kubevirt.io"), ("patch", "cdiconfigs.cdi.kubevirt.io")]
    (granted if mode == "standalone" else denied).extend((*data_volumes, *profiles))
    assert [what for what in granted if not may(cluster, ACCOUNT, *what)] == []
    assert [what for what in denied if may(cluster, ACCOUNT, *what)] == []


@pytest.mark.parametrize(("role", "writes"), [("admin", True), ("edit", True), ("view", False)])
def test_roles_of_people_are_aggregated(cluster, mode, role, writes):
    ours, cdis = "dataimportcrons.dataimportcron.io", "dataimportcrons.cdi.kubevirt.io"
    crons, others = (ours, cdis) if mode == "beside" else (cdis, ours)
    cluster.apply(_binding(role))
    who = (cluster, f"{role}-of-golden-images")
    # A controller does it: what another mode has installed is gone a moment later, too.
    cluster.processes.wait_until(
        f"{role} is aggregated",
        lambda: may(*who, "list", crons, "golden-images") and not may(*who, "list", others, "golden-images"),
    )
    assert may(*who, "create", crons, "golden-images") == writes
    assert not may(*who, "list", crons, "default")
    assert not may(*who, "patch", crons.replace(".", "/status.", 1), "golden-images")
    clones = may(*who, "create", "datavolumes/source.cdi.kubevirt.io", "golden-images")
    assert clones == (writes and mode == "standalone")


def test_a_namespaced_install_has_no_right_on_the_cluster(cluster):
    documents = built(cluster, "overlays/namespaced")
    assert not {document["kind"] for document in documents} & {"ClusterRole", "ClusterRoleBinding"}
    assert {document["metadata"]["namespace"] for document in documents} == {"dataimportcron"}
    beside = rights.granted(built(cluster, "overlays/beside"), "dataimportcron")
    within = rights.granted(documents, "dataimportcron")
    assert within < beside
    assert {right.resource for right in beside - within} == {
        "namespaces", "nodes", "storageclasses", "volumesnapshotclasses",
        "cdis", "cdiconfigs", "storageprofiles", "leases", "subjectaccessreviews",
    }  # fmt: skip


def test_what_the_worker_asks_for_is_on_record(cluster, mode):
    token = cluster.kubectl("create", "token", "dataimportcron", "-n", "dataimportcron").strip()
    trust = ssl.create_default_context(cafile=str(cluster.authority.certificate))
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=cluster.url, verify=trust, headers=headers) as client:
        assert client.get("/api/v1/persistentvolumeclaims").status_code == 200
        assert client.get("/api/v1/namespaces/default/secrets").status_code == 403
        assert client.get("/api/v1/namespaces/default/pods/none/log").status_code == 404
    done = rights.audited(cluster.audit_log, ACCOUNT)
    assert done.allowed == {Right("", "persistentvolumeclaims", "list"), Right("", "pods/log", "get")}
    assert done.refused == {Right("", "secrets", "list")}
    granted = rights.granted(built(cluster, f"overlays/{mode}"), "dataimportcron")
    assert done.allowed < granted
    assert not done.refused & granted


def _relative(start, path):
    """kustomize takes no absolute paths."""
    return os.path.relpath(path, start)


def _data_volume():
    return ADMITTED["k01"] | {"metadata": {"name": "fedora", "namespace": "golden-images"}}


def _claim(owner):
    reference = {"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "name": "fedora", "uid": owner["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "fedora", "namespace": "golden-images", "ownerReferences": [reference]},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def _binding(role):
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": role, "namespace": "golden-images"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": f"{role}-of-golden-images"}],
    }
