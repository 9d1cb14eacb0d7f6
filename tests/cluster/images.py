"""The two images that the cluster itself needs: the pause container of every pod, and a busybox for tests."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any, Final

from demo.images import cache_folder
from tests.cluster.binaries import binaries
from tests.support.layout import MANIFEST, OCI, REF, ImageLayout, sha256, write_tar

_APPLETS: Final = (
    "cat chmod cp dd df echo env grep head httpd id ip ls mkdir mount mv nc nslookup od printf rm sed sh sha256sum "
    "sleep stat sync tail test touch tr true wc"
)

PAUSE: Final = "localhost/pause:1"


def write_image(path: Path, name: str, layer: bytes, **config: Any) -> str:
    """Write an image of one layer as an archive; returns its digest.

    Args:
        path: the archive.
        name: under which containerd imports it.
        layer: a tar.
        config: `Cmd`, `Entrypoint`, `User` and the like.
    """
    layout = ImageLayout()
    stored = layout.add(layer) | {"mediaType": f"{OCI}.layer.v1.tar"}
    described = layout.add({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"]} | config,
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer)]},
    }) | {"mediaType": f"{OCI}.config.v1+json"}  # fmt: skip
    manifest = layout.add({"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": [stored]})
    annotations = {REF: name, "io.containerd.image.name": name}
    layout.listed.append(manifest | {"mediaType": MANIFEST, "annotations": annotations})
    write_tar(path, layout.files())
    return str(manifest["digest"])


def pause(path: Path) -> str:
    """Write the pause image; returns its digest."""
    layer = _tar({"pause": (binaries("own") / "pause").read_bytes()})
    return write_image(path, PAUSE, layer, Entrypoint=["/pause"], User="65535:65535")


def busybox(path: Path, **config: Any) -> str:
    """Write an image with Debian's static busybox and a link per applet; returns its digest."""
    program = (cache_folder() / "boot" / "busybox").read_bytes()
    # By name, not by `busybox --list`: that one names busybox itself, and a link would replace it.
    layer = _tar({"bin/busybox": program}, {f"bin/{applet}": "busybox" for applet in _APPLETS.split()})
    return write_image(path, "localhost/busybox:1", layer, **config)


def _tar(programs: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as archive:
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(folder)
        for name, body in programs.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(body), 0o755
            archive.addfile(member, io.BytesIO(body))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return made.getvalue()
