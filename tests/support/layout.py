"""OCI image layouts in a tar, made of whatever a test wants to have in them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image"
MANIFEST = f"{OCI}.manifest.v1+json"
INDEX = f"{OCI}.index.v1+json"
REF = "org.opencontainers.image.ref.name"


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class ImageLayout:
    """The files of a layout.

    Attributes:
        blobs: by digest; the digest may lie.
        listed: the images of index.json.
    """

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.listed: list[Any] = []

    def add(self, data: Any) -> dict[str, Any]:
        """Add a blob, or a document as JSON; returns its descriptor."""
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.blobs[sha256(body)] = body
        return {"digest": sha256(body), "size": len(body)}

    def image(self, *layers: tuple[bytes, bytes], manifest: Any = None, config: Any = None) -> dict[str, Any]:
        """Add an image for linux/amd64; returns its descriptor.

        Args:
            layers: each as it is stored, and its tar.
            manifest: changes what the manifest says, or what it is if it is no dict.
            config: the same of the configuration.
        """
        stored = [self.add(layer) for layer, _ in layers]
        described = self.add(_changed({
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [sha256(tar) for _, tar in layers]},
        }, config))  # fmt: skip
        found = self.add(
            _changed({"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": stored}, manifest)
        )
        self.listed.append(found)
        return found

    def files(self) -> dict[str, bytes]:
        """The layout's files by their names."""
        return {f"blobs/{digest.replace(':', '/')}": body for digest, body in self.blobs.items()} | {
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
            "index.json": json.dumps({"schemaVersion": 2, "manifests": self.listed}).encode(),
        }


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    """Write a tar of files."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))


def _changed(document: dict[str, Any], change: Any) -> Any:
    return document | change if isinstance(change, dict) else document if change is None else change
