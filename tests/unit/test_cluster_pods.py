"""The Job of an import, and of a look at an image by a node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataimportcron.cluster.jobs.attempt_job import Attempt, files_of, import_job
from dataimportcron.cluster.jobs.node_pull import digest_of, has_image_volumes, lookup_job
from dataimportcron.cluster.jobs.pods import PodSettings
from dataimportcron.cluster.registries.cdi_config import CdiConfig, effective, preallocates, read_cdi_config
from dataimportcron.errors import InvalidImageError
from dataimportcron.values import ImageSource

DIGEST = f"sha256:{'1' * 64}"
SETTINGS = PodSettings(image="registry.example/dataimportcron@sha256:0")
ATTEMPT = Attempt(
    namespace="golden",
    claim="fedora-1",
    claim_uid="0000-1111",
    number=3,
    url=f"docker://quay.io/fedora@{DIGEST}",
    size=1 << 30,
)
NODE = replace(ATTEMPT, node_pull=True, secret="pull")


def pod_of(attempt, settings=SETTINGS):
    return import_job(attempt, settings)["spec"]["template"]["spec"]


def main_of(attempt, settings=SETTINGS):
    [main] = pod_of(attempt, settings)["containers"]
    return main


def option(container, name):
    arguments = container["args"]
    return arguments[arguments.index(name) + 1]


def every_container(pod):
    return [*pod.get("initContainers", ()), *pod["containers"]]


@pytest.mark.parametrize("attempt", [ATTEMPT, NODE, replace(NODE, image_volume=True), replace(ATTEMPT, block=True)])
def test_it_fits_where_pods_are_restricted(attempt):
    pod = pod_of(attempt)
    context = pod["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"], context["runAsNonRoot"]) == (
        107,
        107,
        107,
        True,
    )
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["restartPolicy"] == "Never"
    for container in every_container(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert {"cpu", "memory"} == set(container["resources"]["limits"])


def test_the_job_is_that_of_one_attempt():
    job = import_job(ATTEMPT, SETTINGS)
    assert job["metadata"]["name"] == "import-0000-1111-3"
    assert (job["spec"]["backoffLimit"], job["spec"]["suspend"]) == (0, True)
    [owner] = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("PersistentVolumeClaim", "fedora-1", "0000-1111")
    assert job["metadata"]["labels"]["dataimportcron.io/volume-uid"] == "0000-1111"


def test_a_long_name_is_cut_for_its_label():
    labels = import_job(replace(ATTEMPT, claim="a" * 62 + "-" + "b" * 12), SETTINGS)["metadata"]["labels"]
    assert labels["dataimportcron.io/data-volume"] == "a" * 62


def test_a_file_system_and_a_device():
    main = main_of(ATTEMPT)
    assert option(main, "--target") in [mount["mountPath"] for mount in main["volumeMounts"]]
    assert "volumeDevices" not in main
    block = main_of(replace(ATTEMPT, block=True))
    assert option(block, "--target") == block["volumeDevices"][0]["devicePath"]
    assert "disk" not in [mount["name"] for mount in block["volumeMounts"]]


@pytest.mark.parametrize("block", [False, True], ids=["file system", "device"])
def test_a_copy_reads_one_claim_and_writes_another(block):
    copy = replace(ATTEMPT, url="", verb="clone", source_claim="golden", source_block=block)
    assert import_job(copy, SETTINGS)["metadata"]["name"] == "clone-0000-1111-3"
    main, volumes = main_of(copy), pod_of(copy)["volumes"]
    assert {"name": "source", "persistentVolumeClaim": {"claimName": "golden"}} in volumes
    assert option(main, "--source") == ("volume:/dev/source-image" if block else "volume:/source")
    if block:
        assert main["volumeDevices"] == [{"name": "source", "devicePath": "/dev/source-image"}]
    else:
        assert {"name": "source", "mountPath": "/source", "readOnly": True} in main["volumeMounts"]
    assert {"name": "disk", "mountPath": "/data"} in main["volumeMounts"]


def test_a_claim_that_is_its_own_source_is_mounted_once():
    grown = replace(ATTEMPT, url="", verb="clone", source_claim=ATTEMPT.claim)
    assert option(main_of(grown), "--source") == "volume:/data"
    assert [it["name"] for it in pod_of(grown)["volumes"]] == ["disk", "scratch"]


def test_secret_and_certificates_are_files_of_the_namespace():
    attempt = replace(ATTEMPT, secret="login", cert_config_map="certs")
    pod, main = pod_of(attempt), main_of(attempt)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["secret"]["secret"]["secretName"] == "login"
    assert volumes["certs"]["projected"]["sources"] == [{"configMap": {"name": "certs"}}]
    mounts = {mount["name"]: mount["mountPath"] for mount in main["volumeMounts"]}
    assert (option(main, "--secret-dir"), option(main, "--cert-dir")) == (mounts["secret"], mounts["certs"])
    assert "imagePullSecrets" not in pod


def test_mirrors_and_certificates_of_the_settings():
    settings = replace(
        SETTINGS,
        mirrors={"quay.io/hosts.toml": "server"},
        certificates={"proxy.crt": "PEM"},
        rate=7,
        architecture="s390x",
    )
    data = files_of(ATTEMPT, settings, "job-uid")["data"]
    volumes = {volume["name"]: volume for volume in pod_of(ATTEMPT, settings)["volumes"]}
    [mirror] = volumes["mirrors"]["configMap"]["items"]
    assert (data[mirror["key"]], mirror["path"]) == ("server", "quay.io/hosts.toml")
    [source] = volumes["certs"]["projected"]["sources"]
    [certificate] = source["configMap"]["items"]
    assert (data[certificate["key"]], certificate["path"]) == ("PEM", "proxy.crt")
    main = main_of(ATTEMPT, settings)
    assert (option(main, "--rate"), option(main, "--platform")) == ("7", "linux/s390x")
    assert option(main_of(replace(ATTEMPT, architecture="arm64"), settings), "--platform") == "linux/arm64"
    assert files_of(ATTEMPT, SETTINGS, "job-uid") is None


def test_a_proxys_password_is_no_argument():
    settings = replace(SETTINGS, environment={"HTTPS_PROXY": "http://u:geheim@proxy"}, insecure_registries=("a", "b"))
    main = main_of(ATTEMPT, settings)
    assert "geheim" not in " ".join(main["args"])
    assert {"name": "HTTPS_PROXY", "value": "http://u:geheim@proxy"} in main["env"]
    assert main["args"].count("--insecure-registry") == 2
    assert "geheim" not in repr(settings)


def test_placement_and_priority():
    settings = replace(
        SETTINGS,
        node_selector={"disk": "fast"},
        tolerations=({"operator": "Exists"},),
        annotations={"sidecar.istio.io/inject": "true", "team": "images"},
        image_pull_secrets=("own",),
    )
    attempt = replace(ATTEMPT, priority_class="low", service_account="importer")
    template = import_job(attempt, settings)["spec"]["template"]
    pod, annotations = template["spec"], template["metadata"]["annotations"]
    assert (pod["nodeSelector"], pod["tolerations"]) == ({"disk": "fast"}, [{"operator": "Exists"}])
    assert (pod["priorityClassName"], pod["serviceAccountName"]) == ("low", "importer")
    assert pod["imagePullSecrets"] == [{"name": "own"}]
    assert (annotations["sidecar.istio.io/inject"], annotations["team"]) == ("true", "images")
    assert annotations["linkerd.io/inject"] == "disabled"


def test_a_node_pulls_into_an_image_volume():
    attempt = replace(NODE, image_volume=True, architecture="arm64")
    pod, main = pod_of(attempt), main_of(attempt)
    [image] = [volume["image"] for volume in pod["volumes"] if "image" in volume]
    assert image == {"reference": f"quay.io/fedora@{DIGEST}", "pullPolicy": "IfNotPresent"}
    assert option(main, "--source") in [mount["mountPath"] for mount in main["volumeMounts"]]
    tools, asked = pod["initContainers"]
    assert (tools["image"], asked["image"]) == (SETTINGS.image, f"quay.io/fedora@{DIGEST}")
    assert asked["command"][-1].endswith(f">{Path(option(main, '--source')).with_name('environ')}")
    assert {"restartPolicy", "startupProbe"}.isdisjoint(asked)
    assert "shareProcessNamespace" not in pod
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "arm64"}
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert {"--secret-dir", "--platform"}.isdisjoint(main["args"])


def test_a_node_pulls_into_the_images_own_container():
    pod = pod_of(NODE)
    tools, image = pod["initContainers"]
    assert tools["image"] == SETTINGS.image
    assert (image["image"], image["restartPolicy"]) == (f"quay.io/fedora@{DIGEST}", "Always")
    assert image["command"][0] == tools["command"][-1] == "/shared/busybox"
    assert pod["shareProcessNamespace"] is True
    assert option(main_of(NODE), "--source") == "/shared/root"


def test_a_look_at_an_image_by_a_node():
    image = ImageSource(namespace="golden", url="docker://quay.io/fedora:40", architecture="arm64", secret="pull")
    job = lookup_job(image, SETTINGS)
    pod = job["spec"]["template"]["spec"]
    [main] = pod["containers"]
    assert (main["image"], main["imagePullPolicy"]) == ("quay.io/fedora:40", "Always")
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "arm64"}
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert "fsGroup" not in pod["securityContext"]
    assert lookup_job(image, SETTINGS)["metadata"]["name"] == job["metadata"]["name"]
    assert (
        lookup_job(replace(image, url="docker://quay.io/fedora:41"), SETTINGS)["metadata"]["name"]
        != (job["metadata"]["name"])
    )


def looked(image_id, state):
    return {"status": {"containerStatuses": [{"name": "image", "image": "x:1", "imageID": image_id, "state": state}]}}


def test_the_digest_is_that_of_what_ran():
    ended = {"terminated": {"exitCode": 0}}
    assert digest_of(looked(f"quay.io/x@{DIGEST}", ended)) == DIGEST
    assert digest_of(looked("", {"waiting": {}})) == ""
    assert digest_of({"status": {}}) == ""
    with pytest.raises(InvalidImageError, match="tells no digest of image x:1"):
        digest_of(looked("", ended))


@pytest.mark.parametrize(
    ("kubelet", "runtime", "expected"),
    [
        ("v1.36.3", "containerd://2.3.7", True),
        ("v1.35.0", "cri-o://1.35.1", True),
        ("v1.34.9", "containerd://2.3.7", False),
        ("v1.36.3", "containerd://1.7.30", False),
        ("v1.36.3", "odd://9.9", False),
    ],
)
def test_nodes_that_mount_images(kubelet, runtime, expected):
    node = {"status": {"nodeInfo": {"kubeletVersion": kubelet, "containerRuntimeVersion": runtime}}}
    new = {"status": {"nodeInfo": {"kubeletVersion": "v1.36.3", "containerRuntimeVersion": "containerd://2.3.7"}}}
    assert has_image_volumes([new, node]) is expected
    assert has_image_volumes([]) is False


def test_cdis_configuration_completes_ours():
    config = {
        "spec": {"insecureRegistries": ["a", "b"]},
        "status": {
            "importProxy": {"HTTPProxy": "http://p", "HTTPSProxy": "http://s", "noProxy": ".local"},
            "defaultPodResourceRequirements": {"limits": {"cpu": "1"}},
            "imagePullSecrets": [{"name": "cdi"}],
            "preallocation": True,
        },
    }
    settings = replace(
        SETTINGS, insecure_registries=("a",), environment={"HTTPS_PROXY": "http://mine", "ALL_PROXY": "http://all"}
    )
    made = effective(settings, read_cdi_config(config))
    assert made.insecure_registries == ("a", "b")
    assert made.environment == {
        "ALL_PROXY": "http://all",
        "HTTP_PROXY": "http://p",
        "HTTPS_PROXY": "http://s",
        "NO_PROXY": ".local",
    }
    assert (made.resources, made.image_pull_secrets) == ({"limits": {"cpu": "1"}}, ("cdi",))
    own = {"limits": {"cpu": "3"}}
    assert effective(replace(settings, resources=own), read_cdi_config(config)).resources == own
    assert effective(settings, CdiConfig()) == settings


@pytest.mark.parametrize(("own", "config", "expected"), [(None, True, True), (False, True, False), (True, False, True)])
def test_preallocation(own, config, expected):
    volume = {"spec": {} if own is None else {"preallocation": own}}
    assert preallocates(volume, CdiConfig(preallocation=config)) is expected
