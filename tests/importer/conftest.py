"""Images in memory, made with Python's own tarfile and gzip, and disks made with the real qemu-img."""

import gzip
import hashlib
import io
import os
import random
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dataimportcron.importer.report import Progress, Result
from dataimportcron.importer.run import Request, run_import
from dataimportcron.importer.source.image import Image, Layer


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def tar_of(*members: tuple[str, bytes] | tarfile.TarInfo, format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002 -- tarfile's own word
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                # Whoever unpacks it, as skopeo does, may give files to nobody else.
                info.uid, info.gid = os.getuid(), os.getgid()
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def zipped(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


@dataclass
class MemoryImage:
    """An `ImageReader`; each layer is (as stored, its tar)."""

    layers: Sequence[tuple[bytes, bytes]]
    known: bool = True
    chunk: int = 100_000
    env: Mapping[str, str] = field(default_factory=dict)
    loads: int = 0
    opens: int = 0

    @classmethod
    def of(cls, *tars: bytes, **options: object) -> "MemoryImage":
        return cls([(zipped(tar), tar) for tar in tars], **options)

    @property
    def image(self) -> Image:
        layers = [Layer(digest=sha256(stored), size=len(stored), diff_id=sha256(tar)) for stored, tar in self.layers]
        digest = sha256("".join(layer.digest for layer in layers).encode())
        return Image(digest=digest, manifest_digest=digest, layers=tuple(layers), env=self.env)

    @property
    def digest(self) -> str:
        return self.image.digest if self.known else ""

    def load(self) -> Image:
        self.loads += 1
        return self.image

    def open(self, layer: Layer) -> Iterator[bytes]:
        self.opens += 1
        data = next(stored for stored, _ in self.layers if sha256(stored) == layer.digest)
        for start in range(0, len(data), self.chunk):
            yield data[start : start + self.chunk]


@dataclass
class Workbench:
    """A folder with a target."""

    folder: Path
    progress: list[Progress] = field(default_factory=list)

    @property
    def target(self) -> Path:
        return self.folder / "disk.img"

    @property
    def marker(self) -> Path:
        return self.folder / "disk.img.complete"

    def run(self, image: object, size: int, **options: object) -> Result:
        request = Request(target=self.target, marker=self.marker, size=size, **options)
        return run_import(request, image, self.progress.append)

    def disk(self, data: bytes, size: int, **options: object) -> bytes:
        """What the target holds after the import of one file `data`."""
        self.run(MemoryImage.of(tar_of(("disk/disk.img", data)), **options), size)
        return self.target.read_bytes()


@pytest.fixture
def bench(tmp_path):
    folder = tmp_path / "pool"
    folder.mkdir()
    return Workbench(folder)


def qemu_img(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def qcow2_of(raw: bytes, folder: Path, *options: str, compress: bool = False) -> Path:
    """A qcow2 image of `raw`, which has whole sectors."""
    source, image = folder / "source.raw", folder / "image.qcow2"
    source.write_bytes(raw)
    chosen = [part for option in options for part in ("-o", option)]
    qemu_img("convert", "-f", "raw", "-O", "qcow2", *(["-c"] if compress else []), *chosen, source, image)
    return image


def raw_of(image: Path) -> bytes:
    """What qemu-img makes of a qcow2 image."""
    out = image.with_suffix(".oracle")
    qemu_img("convert", "-f", "qcow2", "-O", "raw", image, out)
    return out.read_bytes()


def set_aside(folder: Path) -> list[str]:
    """Files without a name that this process has open in a folder."""
    links = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return [link for link in links if link.startswith(f"{folder}/") and link.endswith(" (deleted)")]


def patchwork(size: int, seed: int) -> bytes:
    """Noise, text and zeros in pieces of odd lengths, the same for a seed."""
    generator = random.Random(seed)  # noqa: S311 -- test data
    disk = bytearray(size)
    for _ in range(generator.randrange(1, 14)):
        start = generator.randrange(size)
        length = generator.randrange(1, min(size - start, 300_000) + 1)
        kind = generator.randrange(3)
        piece = generator.randbytes(length) if kind == 0 else b"golden image " * (length // 13 + 1)
        disk[start : start + length] = bytes(length) if kind == 1 else piece[:length]
    return bytes(disk)
