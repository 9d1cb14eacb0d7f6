"""Container disks, built and pushed without any container tool: a layer with `disk/<name>`, a config, a manifest."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import httpx
from backports.zstd import ZstdFile

from demo.images import to_qcow2

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Content in a file: its digest, and its size in bytes."""

    path: Path
    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer as stored, with the digest of what it holds (diffID)."""

    blob: Blob
    diff_id: str
    media_type: str = LAYER_GZIP


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a container disk is made of, beside its layers."""

    layers: tuple[Layer, ...]
    architecture: str = "amd64"
    env: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


def disk_layer(
    disk: Path, folder: Path, *, name: str = "disk.img", level: int = 1, media_type: str = LAYER_GZIP
) -> Layer:
    """A layer with one disk, owned by qemu as KubeVirt wants it; a file in `folder`, see `layer`."""
    info = tarfile.TarInfo(f"disk/{name}")
    info.size, info.mode, info.uid, info.gid = disk.stat().st_size, 0o440, 107, 107
    root = tarfile.TarInfo("disk/")
    root.type, root.mode = tarfile.DIRTYPE, 0o555

    def write(stream: IO[bytes]) -> None:
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_CHUNK) as archive:
            archive.addfile(root)
            with disk.open("rb") as file:
                archive.addfile(info, file)

    return layer(write, folder, level=level, media_type=media_type)


def layer(write: Callable[[IO[bytes]], None], folder: Path, *, level: int = 1, media_type: str = LAYER_GZIP) -> Layer:
    """A layer of what `write` writes to a stream, compressed as its media type says."""
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".layer", delete=False) as file:
        plain = hashlib.sha256()
        target = _compressor(file, media_type, level)
        write(cast("IO[bytes]", _Tee(target, plain)))
        if target is not file:
            target.close()
    path = Path(file.name)
    return Layer(
        blob=blob_of(path),
        diff_id=f"sha256:{plain.hexdigest()}",
        media_type=media_type,
    )


def _compressor(file: IO[bytes], media_type: str, level: int) -> IO[bytes]:
    if media_type == LAYER_ZSTD:
        return cast("IO[bytes]", ZstdFile(file, "wb", level=level))
    if media_type == LAYER_GZIP:
        return cast("IO[bytes]", gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=level, mtime=0))
    return file


class _Tee(io.RawIOBase):
    """Writes on and hashes what it writes."""

    def __init__(self, target: IO[bytes], digest: Any) -> None:  # noqa: ANN401 -- hashlib's type has no name
        self._target = target
        self._digest = digest

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:  # noqa: ANN401 -- any buffer
        self._digest.update(data)
        self._target.write(data)
        return len(data)


def blob_of(path: Path) -> Blob:
    """A file as a blob."""
    digest = hashlib.sha256()
    for part in _parts(path):
        digest.update(part)
    return Blob(path=path, digest=f"sha256:{digest.hexdigest()}", size=path.stat().st_size)


def push(client: httpx.Client, repository: str, tag: str, image: Image) -> str:
    """Push an image under a tag; returns its manifest's digest."""
    for part in image.layers:
        push_blob(client, repository, part.blob.digest, _parts(part.blob.path))
    config = json.dumps(
        {
            "architecture": image.architecture,
            "os": "linux",
            "config": {"Env": list(image.env), "Labels": image.labels},
            "rootfs": {"type": "layers", "diff_ids": [part.diff_id for part in image.layers]},
        }
    ).encode()
    config_digest = sha256(config)
    push_blob(client, repository, config_digest, [config])
    return push_manifest(
        client,
        repository,
        tag,
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": config_digest, "size": len(config)},
            "layers": [
                {"mediaType": part.media_type, "digest": part.blob.digest, "size": part.blob.size}
                for part in image.layers
            ],
        },
    )


def push_index(client: httpx.Client, repository: str, tag: str, manifests: dict[str, str]) -> str:
    """Push an index of manifests that are there already, by architecture; returns its digest."""
    entries = []
    for architecture, digest in manifests.items():
        response = client.get(f"/v2/{repository}/manifests/{digest}", headers={"Accept": OCI_MANIFEST})
        response.raise_for_status()
        entries.append(
            {
                "mediaType": OCI_MANIFEST,
                "digest": digest,
                "size": len(response.content),
                "platform": {"architecture": architecture, "os": "linux"},
            }
        )
    return push_manifest(client, repository, tag, {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})


def push_manifest(client: httpx.Client, repository: str, tag: str, document: dict[str, Any]) -> str:
    """Push a manifest or index; returns its digest."""
    body = json.dumps(document).encode()
    response = client.put(
        f"/v2/{repository}/manifests/{tag}", content=body, headers={"Content-Type": document["mediaType"]}
    )
    response.raise_for_status()
    return sha256(body)


def push_blob(client: httpx.Client, repository: str, digest: str, parts: Iterable[bytes]) -> None:
    """Upload a blob in one request, unless it is there."""
    if client.head(f"/v2/{repository}/blobs/{digest}").is_success:
        return
    started = client.post(f"/v2/{repository}/blobs/uploads/")
    started.raise_for_status()
    location = httpx.URL(started.headers["Location"]).copy_merge_params({"digest": digest})
    client.put(location, content=iter(parts), headers={"Content-Type": "application/octet-stream"}).raise_for_status()


def delete_tag(client: httpx.Client, repository: str, tag: str) -> None:
    """Delete what a tag points to; it is no error if there is none."""
    response = client.head(f"/v2/{repository}/manifests/{tag}", headers={"Accept": f"{OCI_MANIFEST}, {OCI_INDEX}"})
    with suppress(KeyError):
        client.delete(f"/v2/{repository}/manifests/{response.headers['Docker-Content-Digest']}").raise_for_status()


def sha256(data: bytes) -> str:
    """The digest of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _parts(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(_CHUNK):
            yield part


def push_disk(client: httpx.Client, repository: str, raw: Path, *, qcow2: bool) -> str:
    """Push a raw disk as the only layer of `latest`, as it is or as a compressed qcow2; returns the image's digest."""
    disk = raw
    if qcow2:
        disk = raw.with_suffix(".qcow2")
        to_qcow2(raw, disk, compressed=True)
    return push(client, repository, "latest", Image(layers=(disk_layer(disk, raw.parent, name=disk.name),)))
