"""OCI archives, as skopeo makes them and as nobody should, and plain files; through the program's own command line."""

import hashlib
import json
import os
import subprocess
import tarfile

import pytest

from dataimportcron.errors import (
    DigestMismatchError,
    ImageNotFoundError,
    InvalidImageError,
    InvalidReferenceError,
    MissingDependencyError,
    PlatformNotFoundError,
)
from dataimportcron.importer.__main__ import _parser, _reader
from dataimportcron.importer.source.local_image import ArchiveImage
from tests.importer.conftest import patchwork, qcow2_of, sha256, tar_of, zipped

MIB = 1 << 20
DISK = patchwork(MIB, 7)
OCI = "application/vnd.oci.image"
MANIFEST = f"{OCI}.manifest.v1+json"
REF = "org.opencontainers.image.ref.name"


def reader(source, *options):
    arguments = ["--source", str(source), "--target", "unused", "--size", "1", "--platform", "linux/amd64"]
    return _reader(_parser().parse_args([*arguments, *options]))


def _folder(name):
    """Without it skopeo makes the folder for root, which others may not."""
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, 0o755, os.getuid(), os.getgid()
    return info


class Layout:
    """The files of an OCI layout."""

    def __init__(self):
        self.blobs, self.listed = {}, []

    def add(self, data):
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.blobs[sha256(body)] = body
        return {"digest": sha256(body), "size": len(body)}

    def image(self, disk, tag="", architecture="amd64"):
        tar = tar_of(("disk/disk.img", disk))
        layer = self.add(zipped(tar)) | {"mediaType": f"{OCI}.layer.v1.tar+gzip"}
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": ["A=b"]},
            "rootfs": {"type": "layers", "diff_ids": [sha256(tar)]},
        }
        described = self.add(config) | {"mediaType": f"{OCI}.config.v1+json"}
        entry = self.add({"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": [layer]})
        self.listed.append(entry | {"mediaType": MANIFEST} | ({"annotations": {REF: tag}} if tag else {}))
        return entry["digest"]

    def save(self, path):
        files = {f"blobs/{digest.replace(':', '/')}": body for digest, body in self.blobs.items()}
        files["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
        files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": self.listed}).encode()
        path.write_bytes(tar_of(_folder("blobs"), _folder("blobs/sha256"), *files.items()))
        return f"oci-archive:{path}"


@pytest.fixture
def layout():
    return Layout()


def test_an_archive_and_the_same_again(bench, tmp_path, layout):
    digest = layout.image(DISK)
    source = layout.save(tmp_path / "a.tar")
    result = bench.run(reader(source), 2 * MIB)
    assert (result.digest, result.manifest_digest, result.env) == (digest, digest, {"A": "b"})
    assert bench.target.read_bytes() == DISK.ljust(2 * MIB, b"\0")
    assert bench.run(reader(source, "--digest", digest), 2 * MIB).bytes_read == 0


def test_an_archive_of_skopeo(bench, tmp_path, layout):
    digest = layout.image(DISK, "one")
    source = layout.save(tmp_path / "a.tar")
    made = f"oci-archive:{tmp_path / 'made.tar'}:two"
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--insecure-policy", "--preserve-digests", f"{source}:one", made], check=True
    )
    assert bench.run(reader(made), 2 * MIB).digest == digest
    assert bench.target.read_bytes() == DISK.ljust(2 * MIB, b"\0")


def test_tags_and_digests_choose(bench, tmp_path, layout):
    digests = {tag: layout.image(tag.encode() * 200, tag) for tag in ("one", "two")}
    source = layout.save(tmp_path / "a.tar")
    for tag, digest in digests.items():
        assert bench.run(reader(f"{source}:{tag}"), MIB).digest == digest
        assert bench.run(reader(source, "--digest", digest), MIB).digest == digest
        assert bench.target.read_bytes().startswith(tag.encode())
    with pytest.raises(InvalidImageError, match="holds 2 images, expected one: one, two"):
        reader(source).load()
    with pytest.raises(ImageNotFoundError, match="'three'"):
        reader(f"{source}:three").load()
    with pytest.raises(ImageNotFoundError, match="holds no image with the tag 'one' and the digest"):
        reader(f"{source}:one", "--digest", digests["two"]).load()


def test_an_index_in_an_archive(bench, tmp_path, layout):
    layout.image(b"no" * 400, architecture="arm64")
    manifest = layout.image(DISK)
    arm, amd = (
        entry | {"platform": {"architecture": name, "os": "linux"}}
        for entry, name in zip(layout.listed, ("arm64", "amd64"), strict=True)
    )
    layout.listed = [index := layout.add({"schemaVersion": 2, "manifests": [arm, amd]})]
    source = layout.save(tmp_path / "a.tar")
    result = bench.run(reader(source), MIB)
    assert (result.digest, result.manifest_digest) == (index["digest"], manifest)
    assert bench.target.read_bytes() == DISK
    with pytest.raises(PlatformNotFoundError):
        reader(source, "--platform", "linux/s390x").load()


def test_a_document_that_is_another(tmp_path, layout):
    digest = layout.image(DISK)
    layout.blobs[digest] += b" "
    with pytest.raises(DigestMismatchError, match=f"{digest} was expected"):
        reader(layout.save(tmp_path / "a.tar")).load()


@pytest.mark.parametrize("change", ["flip", "longer", "shorter"])
def test_a_layer_that_is_another(bench, tmp_path, layout, change):
    layout.image(DISK)
    digest = next(iter(layout.blobs))
    data = layout.blobs[digest]
    flipped = data[:4] + bytes([data[4] ^ 1]) + data[5:]
    layout.blobs[digest] = {"flip": flipped, "longer": data + b"x", "shorter": data[:-1]}[change]
    with pytest.raises((DigestMismatchError, InvalidImageError)):
        bench.run(reader(layout.save(tmp_path / "a.tar")), MIB)
    assert not bench.marker.exists()


def test_an_image_that_is_no_index_must_be_for_the_platform(bench, tmp_path, layout):
    layout.image(DISK, architecture="arm64")
    source = layout.save(tmp_path / "a.tar")
    with pytest.raises(PlatformNotFoundError, match="architecture: arm64 doesn't match requested architecture: amd64"):
        bench.run(reader(source), MIB)
    bench.run(ArchiveImage(source, ""), MIB)
    assert bench.target.read_bytes() == DISK


def test_a_diff_id_that_is_another(bench, tmp_path, layout):
    layer = layout.add(zipped(tar_of(("disk/d", DISK))))
    config = layout.add({"architecture": "amd64", "rootfs": {"diff_ids": [sha256(b"other")]}})
    layout.listed = [layout.add({"config": config, "layers": [layer]})]
    with pytest.raises(DigestMismatchError, match="diff_id"):
        bench.run(reader(layout.save(tmp_path / "a.tar")), MIB)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_blob_that_is_missing(bench, tmp_path, layout, missing):
    layout.image(DISK)
    del layout.blobs[list(layout.blobs)[missing]]
    with pytest.raises(InvalidImageError, match="lacks the blob"):
        bench.run(reader(layout.save(tmp_path / "a.tar")), MIB)


DOCUMENTS = [b"no json", b"[]", b"{}", b'{"layers": 1}', b'{"manifests": [], "layers": []}']


@pytest.mark.parametrize("body", DOCUMENTS)
def test_a_manifest_that_is_none(tmp_path, layout, body):
    layout.listed = [layout.add(body)]
    with pytest.raises(InvalidImageError):
        reader(layout.save(tmp_path / "a.tar")).load()


@pytest.mark.parametrize("entry", [1, {}, {"digest": "sha256:short"}, {"digest": "../../etc/passwd"}])
def test_an_index_that_is_none(tmp_path, layout, entry):
    layout.listed = [entry]
    with pytest.raises(InvalidImageError, match="without a valid digest"):
        reader(layout.save(tmp_path / "a.tar")).load()


def test_huge_documents_and_lying_tars(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("index.json")
        info.size = 1 << 40
        archive.addfile(info)
    with pytest.raises(InvalidImageError, match="truncated"):
        reader(f"oci-archive:{path}").load()
    os.truncate(path, (1 << 40) + 2048)
    with pytest.raises(InvalidImageError, match="more than any such document"):
        reader(f"oci-archive:{path}").load()


def test_what_is_no_archive(tmp_path):
    path = tmp_path / "x"
    for data, match in (
        (zipped(tar_of(("a", b"x"))) * 9, "tar"),
        (tar_of(("a", b"x")), r"no index\.json"),
        (b"", "no"),
    ):
        path.write_bytes(data)
        with pytest.raises(InvalidImageError, match=match):
            reader(f"oci-archive:{path}").load()
    with pytest.raises(MissingDependencyError, match="does not exist"):
        reader(f"oci-archive:{path}.none").load()
    with pytest.raises(MissingDependencyError, match="no regular file"):
        reader(f"oci-archive:{tmp_path}").load()
    with pytest.raises(InvalidReferenceError):
        reader("oci-archive:")


@pytest.mark.parametrize("qcow2", [False, True])
def test_a_disk_in_a_file(bench, tmp_path, qcow2):
    path = tmp_path / "x.raw"
    path.write_bytes(DISK)
    file = qcow2_of(DISK, tmp_path, compress=True) if qcow2 else path
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    result = bench.run(reader(file, "--digest", digest), 2 * MIB)
    assert (result.digest, result.format) == (digest, "qcow2" if qcow2 else "raw")
    assert bench.target.read_bytes() == DISK.ljust(2 * MIB, b"\0")
    assert bench.run(reader(file), 2 * MIB).bytes_read == 0


def test_a_file_that_is_another_or_changes(bench, tmp_path):
    path = tmp_path / "x.raw"
    path.write_bytes(DISK)
    with pytest.raises(DigestMismatchError):
        bench.run(reader(path, "--digest", sha256(b"other")), MIB)
    image = reader(path)
    loaded = image.load()
    for changed in (DISK[:-1] + b"!", DISK + bytes(512), DISK[:-512]):
        path.write_bytes(changed)
        image.load = lambda: loaded
        with pytest.raises(DigestMismatchError):
            bench.run(image, 2 * MIB)
        assert not bench.marker.exists()


def test_a_file_that_is_longer_than_it_says():
    """As one is to which something writes meanwhile; files of the kernel are so at any time."""
    with pytest.raises(DigestMismatchError, match="0 were expected") as caught:
        reader("/proc/self/status").load()
    assert "import a copy" in caught.value.hint


def test_a_tar_is_no_disk(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar_of(("index.json", b"{}")))
    with pytest.raises(InvalidImageError, match="is a tar") as caught:
        reader(tmp_path / "a.tar").load()
    assert "oci-archive:" in caught.value.hint
