"""Layers as an image in an OCI archive: an image layout in a tar, which skopeo, podman and containerd read.

Source: the OCI image specification 1.1. Documents are written with sorted keys, files in a fixed order and without
times, so that the same layers and the same commit give the same archive.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.image.debian import SUITE, USER
from deploy.image.layers import MEDIA_TYPE, Layer

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_TITLE = "dataimportcron"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What an image says of itself.

    Attributes:
        version: of our wheel; the image's tag.
        revision: the commit; "" where it is not known.
        created: seconds since 1970, of the commit.
        architecture: amd64, arm64, ...
        home: of the virtual environment, below the root.
    """

    version: str
    revision: str
    created: int
    architecture: str
    home: str

    @property
    def labels(self) -> dict[str, str]:
        """The labels that the OCI specifies."""
        labels = {
            "title": _TITLE,
            "description": "Keeps golden OS images fresh: worker, command line and importer",
            "version": self.version,
            "licenses": "Apache-2.0",
            "created": self.time,
            "base.name": f"docker.io/library/debian:{SUITE}",
        } | ({"revision": self.revision} if self.revision else {})
        return {f"org.opencontainers.image.{name}": value for name, value in labels.items()}

    @property
    def time(self) -> str:
        """`created` by RFC 3339."""
        return datetime.fromtimestamp(self.created, UTC).isoformat().replace("+00:00", "Z")


def write(path: Path, layers: tuple[Layer, ...], about: About) -> str:
    """Write the archive; returns the digest of the image's manifest."""
    config = _document(_configuration(layers, about))
    descriptors = [{"mediaType": MEDIA_TYPE, "digest": layer.digest, "size": layer.size} for layer in layers]
    manifest = _document(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": config.descriptor(_CONFIG),
            "layers": descriptors,
            "annotations": about.labels,
        }
    )
    names = {
        "org.opencontainers.image.ref.name": about.version,
        "io.containerd.image.name": f"localhost/{_TITLE}:{about.version}",  # what `ctr images import` calls it
    }
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest.descriptor(_MANIFEST) | {"annotations": names}],
    }
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "oci-layout", _document({"imageLayoutVersion": "1.0.0"}).data)
        _add(tar, "index.json", _document(index).data)
        for document in (manifest, config):
            _add(tar, document.place, document.data)
        for layer in layers:
            entry = tarfile.TarInfo(f"blobs/{layer.digest.replace(':', '/')}")
            entry.size = layer.size
            with layer.path.open("rb") as file:
                tar.addfile(entry, file)
    return manifest.digest


def _configuration(layers: tuple[Layer, ...], about: About) -> dict[str, Any]:
    home = f"/{about.home}/bin"
    made_by = (f"debian {SUITE}", "deploy/requirements.txt", f"{_TITLE} {about.version}")
    return {
        "architecture": about.architecture,
        "os": "linux",
        "created": about.time,
        "config": {
            "User": f"{USER}:{USER}",
            "Env": [
                f"PATH={home}:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8",
                "HOME=/tmp",  # the one folder that a container with a read-only root may write to
                "PYTHONDONTWRITEBYTECODE=1",
            ],
            "Entrypoint": ["dataimportcron"],
            "WorkingDir": "/",
            "Labels": about.labels,
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": about.time, "created_by": text} for text in made_by],
    }


@dataclass(frozen=True, slots=True)
class _Document:
    data: bytes

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    @property
    def place(self) -> str:
        return f"blobs/{self.digest.replace(':', '/')}"

    def descriptor(self, media_type: str) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": self.digest, "size": len(self.data)}


def _document(content: dict[str, Any]) -> _Document:
    return _Document(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
