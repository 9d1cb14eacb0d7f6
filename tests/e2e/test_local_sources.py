"""Disks that need no registry, on one running host: from the file to the DataSource, and to overlays on it."""

from __future__ import annotations

import io
import tarfile

import pytest
import yaml

from demo.host import host, wait_for
from demo.story import NAMESPACE, same_bytes
from tests.support.layout import ImageLayout, write_tar

MIB = 1 << 20


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with host(tmp_path_factory.mktemp("local") / "state") as running:
        running.start()
        yield running


@pytest.fixture
def apply(home, tmp_path):
    def make(kind, name, annotations=None, **spec):
        document = {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": kind,
            "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations or {}},
            "spec": spec,
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(document))
        home.run("apply", "-f", str(path))
        return name

    return make


def storage(size="4Mi"):
    return {"storage": {"resources": {"requests": {"storage": size}}}}


def template(url):
    return {"spec": {"source": {"registry": {"url": url, "pullMethod": "node"}}} | storage()}


def write_archive(path, disk):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.add(disk, "disk/disk.img")
    layout = ImageLayout()
    layout.image((tar.getvalue(), tar.getvalue()))
    write_tar(path, layout.files())


def points_elsewhere(home, data_source, than=""):
    return wait_for(
        f"{data_source} points to an import",
        60,
        lambda: (name := home.points_to(NAMESPACE, data_source)) != than and name,
    )


@pytest.mark.parametrize("kind", ["archive", "file"])
def test_a_cron_and_a_data_volume_follow_a_file(home, apply, tmp_path, kind):
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"one" * 100_000)
    archive = tmp_path / "image.tar"
    write_archive(archive, disk)
    url = f"oci-archive:{archive}" if kind == "archive" else f"file://{disk}"
    cron = apply(
        "DataImportCron",
        f"{kind}-cron",
        template=template(url),
        schedule="0 0 1 1 *",
        managedDataSource=kind,
        importsToKeep=1,
    )
    first = points_elsewhere(home, kind)
    assert same_bytes(disk, home.file(NAMESPACE, first))
    user = apply("DataVolume", f"{kind}-of-mine", source={"registry": {"url": url}}, **storage("8Mi"))
    wait_for("it is imported", 60, lambda: home.volume(NAMESPACE, user).status.phase == "Succeeded")
    assert same_bytes(disk, home.file(NAMESPACE, user))

    overlay = apply(
        "DataVolume",
        f"{kind}-vm",
        {"dataimportcron.io/clone": "overlay"},
        sourceRef={"kind": "DataSource", "name": kind},
        **storage("8Mi"),
    )
    wait_for("the overlay", 60, lambda: home.volume(NAMESPACE, overlay).status.phase == "Succeeded")
    file = home.file(NAMESPACE, overlay).with_suffix(".qcow2")
    disk.write_bytes(b"two" * 200_000)
    write_archive(archive, disk)
    home.run("poll", cron, "-n", NAMESPACE)
    second = points_elsewhere(home, kind, first)
    assert same_bytes(disk, home.file(NAMESPACE, second))
    said = f"Import {first} is kept: {file} has it as its backing file"
    wait_for(said, 30, lambda: said in home.run("describe", "dic", cron, "-n", NAMESPACE).stdout)
    home.run("delete", "dv", overlay, "-n", NAMESPACE)
    wait_for("the overlay goes", 30, lambda: not file.exists())
    home.run("poll", cron, "-n", NAMESPACE)
    wait_for("its base goes", 30, lambda: not home.file(NAMESPACE, first).exists())
