"""DataVolumes that a person makes, on one running host: each source, and what is said where it cannot be served."""

import pytest
import yaml

from dataimportcron.api.types import DataVolume
from demo.host import host, wait_for
from demo.push import Image, disk_layer, push
from demo.registry import client, registry
from demo.story import NAMESPACE, same_bytes, trust

URL = "docker://quay.io/golden/disk"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A running host, and a registry with one disk under the tag v1."""
    work = tmp_path_factory.mktemp("data-volumes")
    disk = work / "disk.img"
    disk.write_bytes(b"a disk" * 1_000_000)
    with registry(work / "registry") as running, client(running) as http, host(work / "state") as home:
        push(http, "golden/disk", "v1", Image(layers=(disk_layer(disk, work),)))
        home.mirror("quay.io", running)
        home.start()
        trust(home, running.ca, work)
        yield home, disk, work


@pytest.fixture
def apply(world):
    home, _, work = world

    def make(name, size="16Mi", **spec):
        document = {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataVolume",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"storage": {"resources": {"requests": {"storage": size}}}} | spec,
        }
        path = work / f"{name}.yaml"
        path.write_text(yaml.safe_dump(document))
        home.run("apply", "-f", str(path))
        return name

    return make


def from_registry(url):
    return {"registry": {"url": url, "certConfigMap": "some-certs"}}


def phase(home, name, wanted, seconds=60):
    wait_for(f"{name} {wanted}", seconds, lambda: home.volume(NAMESPACE, name).status.phase == wanted)
    return home.file(NAMESPACE, name)


def running(home, name):
    conditions = home.volume(NAMESPACE, name).status.conditions
    return next(((c.status, c.reason, c.message) for c in conditions if c.type == "Running"), ("", "", ""))


def test_a_registry_source_by_tag(world, apply):
    home, disk, _ = world
    file = phase(home, apply("by-tag", source=from_registry(f"{URL}:v1")), "Succeeded")
    assert same_bytes(disk, file)
    assert file.stat().st_size == 16 << 20


def test_a_blank_volume(world, apply):
    home, _, _ = world
    file = phase(home, apply("blank", "32Mi", source={"blank": {}}), "Succeeded")
    assert (file.stat().st_size, file.stat().st_blocks) == (32 << 20, 0)


def test_a_clone_of_a_volume_that_comes_later(world, apply):
    home, disk, _ = world
    clone = apply("early-clone", "24Mi", source={"pvc": {"namespace": NAMESPACE, "name": "late"}})
    wait_for("it waits", 20, lambda: running(home, clone)[1] == "CloneWithoutSource")
    assert running(home, clone)[2] == "The source pvc late doesn't exist"
    apply("late", source=from_registry(f"{URL}:v1"))
    file = phase(home, clone, "Succeeded")
    assert same_bytes(disk, file)
    assert file.stat().st_size == 24 << 20


def test_a_volume_that_is_too_small_is_refused_with_both_sizes(world, apply):
    home, disk, _ = world
    name = apply("small", "1Mi", source=from_registry(f"{URL}:v1"))
    file = phase(home, name, "Failed")
    message = running(home, name)[2]
    assert str(1 << 20) in message
    assert str(-(-disk.stat().st_size // 512) * 512) in message
    assert not file.exists()


def test_a_missing_tag_is_said_on_the_data_volume(world, apply):
    home, _, _ = world
    name = apply("no-tag", source=from_registry(f"{URL}:nope"))
    phase(home, name, "Failed")
    assert "does not have the tag nope" in running(home, name)[2]
    assert "ImageNotFound" in home.run("describe", "dv", name, "-n", NAMESPACE).stdout


def test_a_source_of_cdis_waits_for_cdi_and_says_so(world, apply):
    home, _, _ = world
    name = apply("web", source={"http": {"url": "https://example.invalid/disk.img"}})
    wait_for("it says so", 20, lambda: running(home, name)[1] == "UnsupportedSource")
    assert "http is not served here; KubeVirt CDI serves it" in running(home, name)[2]
    assert home.volume(NAMESPACE, name).status.phase == "Pending"


def test_deletion_takes_the_file_and_the_name_is_free_again(world, apply):
    home, _, _ = world
    file = phase(home, apply("again", source={"blank": {}}), "Succeeded")
    before = home.volume(NAMESPACE, "again").metadata.uid
    home.run("delete", "dv", "again", "-n", NAMESPACE)
    wait_for("the file goes", 30, lambda: not file.exists() and not list(home.state.deleted.glob("*.json")))
    phase(home, apply("again", source={"blank": {}}), "Succeeded")
    assert home.volume(NAMESPACE, "again").metadata.uid != before
    assert [v.metadata.name for v in home.store.list(DataVolume, NAMESPACE)].count("again") == 1
