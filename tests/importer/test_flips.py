"""One byte that is another is never an accepted disk: in a layer, a manifest or a configuration."""

import gzip
import random
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from backports import zstd

from dataimportcron.errors import DigestMismatchError, InvalidImageError, PermanentError
from dataimportcron.importer.report import SUCCEEDED
from dataimportcron.importer.source.image import Image
from dataimportcron.importer.source.local_image import ArchiveImage
from dataimportcron.importer.source.registry_image import RegistryImage, RegistryOptions
from dataimportcron.oci.manifest import Platform
from dataimportcron.oci.registry import Access, Registry
from dataimportcron.reference import Reference
from demo.push import Image as PushedImage
from demo.push import disk_layer, push
from demo.registry import client, registry
from tests.importer.conftest import MemoryImage, patchwork, qcow2_of
from tests.support.fault_registry import Reply, fault_registry
from tests.support.layout import MANIFEST, ImageLayout, sha256, write_tar
from tests.support.small_qcow2 import small_qcow2

MIB = 1 << 20
TEXT = b"golden image ".ljust(512, b".")
SAMPLES = 40


def tar(disk):
    """As short as one may be: without the blocks at its end."""
    header = tarfile.TarInfo("disk/disk.img")
    header.size = len(disk)
    return header.tobuf() + disk


LAYERS = {
    "raw, not packed": (tar(TEXT), tar(TEXT)),
    "raw in zstd": (zstd.compress(tar(TEXT)), tar(TEXT)),
    "qcow2 in gzip": (gzip.compress(tar(small_qcow2(TEXT * 3)), mtime=0), tar(small_qcow2(TEXT * 3))),
    "compressed qcow2 in zstd": (
        zstd.compress(tar(small_qcow2(TEXT * 3, compression="zlib"))),
        tar(small_qcow2(TEXT * 3, compression="zlib")),
    ),
}


def flips(data):
    """The data with each of its bytes changed in turn, by one bit."""
    for at in range(len(data)):
        yield data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


@dataclass
class Served:
    """What the manifest says, and what comes."""

    image: Image
    data: bytes

    @property
    def digest(self):
        return self.image.digest

    def load(self):
        return self.image

    def open(self, _):
        yield self.data


@pytest.mark.parametrize("kind", LAYERS)
def test_each_byte_of_a_small_layer(bench, kind):
    stored, plain = LAYERS[kind]
    good = MemoryImage([(stored, plain)]).image
    assert len(stored) <= 4096
    for bad in flips(stored):
        with pytest.raises((DigestMismatchError, InvalidImageError)):
            bench.run(Served(good, bad), 4096)
        assert not bench.marker.exists()
        assert bench.target.stat().st_size == 0
    assert bench.run(Served(good, stored), 4096).phase == SUCCEEDED


@pytest.fixture
def layout():
    found = ImageLayout()
    found.image((tar(TEXT), tar(TEXT)))
    return found


@pytest.mark.parametrize("document", ["config", "manifest"])
def test_each_byte_of_a_document_in_an_archive(tmp_path, layout, document):
    _, config, manifest = layout.blobs
    digest = {"config": config, "manifest": manifest}[document]
    body = layout.blobs[digest]
    for bad in flips(body):
        layout.blobs[digest] = bad
        write_tar(tmp_path / "a.tar", layout.files())
        with pytest.raises(DigestMismatchError):
            ArchiveImage(f"oci-archive:{tmp_path / 'a.tar'}", "linux/amd64").load()


def test_each_byte_of_an_archives_index_is_refused_or_means_the_same(tmp_path, layout):
    files = layout.files()
    write_tar(tmp_path / "a.tar", files)
    source = f"oci-archive:{tmp_path / 'a.tar'}"
    good = ArchiveImage(source, "linux/amd64").load()
    refused = 0
    for bad in flips(files["index.json"]):
        write_tar(tmp_path / "a.tar", files | {"index.json": bad})
        found = None
        with suppress(PermanentError):
            found = ArchiveImage(source, "linux/amd64").load()
        assert found in (None, good)
        refused += found is None
    assert refused > 64


@pytest.mark.parametrize("document", ["config", "manifest"])
def test_some_bytes_of_a_document_from_a_registry(layout, document):
    _, config, manifest = layout.blobs
    headers = {"Content-Type": MANIFEST}
    with fault_registry() as faults, Registry(Access(insecure_registries=frozenset({faults.host}))) as http:
        reference = Reference.parse(f"{faults.host}/disk@{manifest}")
        paths = {"config": f"/v2/disk/blobs/{config}", "manifest": f"/v2/disk/manifests/{manifest}"}
        for name, digest in (("config", config), ("manifest", manifest)):
            faults.answer(paths[name], Reply(body=layout.blobs[digest], headers=headers))
        found = http.manifest(reference, Platform.parse("linux/amd64"))
        assert http.config(reference, found)["architecture"] == "amd64"
        # Each costs requests; what verifies them is the same as for an archive, where all bytes have their turn.
        for bad in list(flips(layout.blobs[{"config": config, "manifest": manifest}[document]]))[::12]:
            faults.answer(paths[document], Reply(body=bad, headers=headers))
            with pytest.raises(DigestMismatchError):
                http.config(reference, http.manifest(reference, Platform.parse("linux/amd64")))


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """A real registry with a large image: its reference, its CA's folder, and the file that its layer is stored in."""
    folder = tmp_path_factory.mktemp("stocked")
    disk = qcow2_of(patchwork(3 * MIB, 5), folder, compress=True)
    with registry(folder / "server") as running, client(running) as http:
        layer = disk_layer(disk, folder)
        digest = push(http, "disks/large", "latest", PushedImage(layers=(layer,)))
        hexadecimal = layer.blob.digest.partition(":")[2]
        blobs = folder / "server/content/docker/registry/v2/blobs/sha256"
        stored = blobs / hexadecimal[:2] / hexadecimal / "data"
        assert sha256(stored.read_bytes()) == layer.blob.digest
        certs = folder / "certs"
        certs.mkdir()
        (certs / "ca.crt").write_bytes(running.ca.read_bytes())
        yield f"docker://{running.host}/disks/large@{digest}", certs, stored


def test_sampled_bytes_of_a_large_layer_in_a_real_registry(bench, stocked):
    source, certs, file = stocked
    size = file.stat().st_size
    places = random.Random(7).sample(range(size), SAMPLES - 2)  # noqa: S311 -- test data
    for at in [0, size - 1, *places]:
        flip(file, at)
        with pytest.raises((DigestMismatchError, InvalidImageError)):
            import_from(source, certs, bench)
        assert not bench.marker.exists()
        assert bench.target.stat().st_size == 0
        flip(file, at)
    assert import_from(source, certs, bench).phase == SUCCEEDED


def import_from(source, certs, bench):
    reader = RegistryImage(source, "linux/amd64", RegistryOptions(cert_dir=certs))
    try:
        return bench.run(reader, 4 * MIB)
    finally:
        reader._registry.close()


def flip(file: Path, at: int) -> None:
    with file.open("rb+") as stream:
        stream.seek(at)
        (byte,) = stream.read(1)
        stream.seek(at)
        stream.write(bytes([byte ^ 1 << at % 8]))
