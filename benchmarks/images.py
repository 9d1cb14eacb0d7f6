"""The images that are imported: real programs and libraries of this machine as their data, made once and kept.

Data of a kind that operating systems consist of is what decompression is measured with; random bytes or repeated
phrases would flatter one side or the other.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import MIB
from demo.push import LAYER_GZIP, LAYER_ZSTD, Layer, blob_of, disk_layer

_STRETCH = 8 * MIB
"""Data lies on the disk in stretches of this size, with holes between."""
_LEVELS = {"gzip": 6, "zstd": 3}
"""Of compression, as image builders have them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One image.

    Attributes:
        name: of the case.
        folder: where all of it is.
        raw: the disk that must come out.
        data: bytes of it that are no holes.
        layer: of the image.
        qcow2: whether the disk in the layer is one.
    """

    name: str
    folder: Path
    raw: Path
    data: int
    layer: Layer
    qcow2: bool

    @property
    def zstd(self) -> bool:
        """Whether the layer is compressed by it."""
        return self.layer.media_type == LAYER_ZSTD


def cases(folder: Path) -> Iterator[Case]:
    """All images, made where they are not there yet.

    Args:
        folder: for them and what they are made from; some 7 GiB.
    """
    folder.mkdir(parents=True, exist_ok=True)
    one, four, small = folder / "1g.raw", folder / "4g.raw", folder / "256m.raw"
    _once(one, lambda path: _disk(path, 1024 * MIB, 1024 * MIB))
    _once(four, lambda path: _disk(path, 4096 * MIB, 1128 * MIB))
    _once(small, lambda path: _half_random(path, 256 * MIB))
    plain, packed = folder / "plain.qcow2", folder / "packed.qcow2"
    _once(plain, lambda path: _convert(four, path))
    _once(packed, lambda path: _convert(four, path, "-c"))
    yield _case("raw 1 GiB", folder, one, one)
    yield _case("qcow2", folder, four, plain)
    yield _case("qcow2 -c", folder, four, packed)
    yield _case("qcow2, zstd layer", folder, four, plain, media_type=LAYER_ZSTD)
    yield _case("raw 256 MiB", folder, small, small)


def _once(path: Path, make: Callable[[Path], None]) -> None:
    if not path.exists():
        print(f"making {path.name}", flush=True)
        draft = path.with_name(f"{path.name}.new")
        make(draft)
        draft.replace(path)


def _case(name: str, folder: Path, raw: Path, disk: Path, *, media_type: str = LAYER_GZIP) -> Case:
    kind = media_type.rpartition("+")[2]
    record = folder / f"{disk.name}.{kind}.json"

    def pack(draft: Path) -> None:
        layer = disk_layer(disk, folder, level=_LEVELS[kind], media_type=media_type)
        kept = layer.blob.path.replace(record.with_suffix(".layer"))
        draft.write_text(json.dumps({"path": kept.name, "diff_id": layer.diff_id}))

    _once(record, pack)
    known = json.loads(record.read_text())
    layer = Layer(blob=blob_of(folder / known["path"]), diff_id=known["diff_id"], media_type=media_type)
    data = raw.stat().st_blocks * 512
    return Case(name=name, folder=folder, raw=raw, data=data, layer=layer, qcow2=disk.suffix == ".qcow2")


def _disk(path: Path, size: int, data: int) -> None:
    """A disk of `size` bytes with `data` bytes of this machine's programs, spread over it."""
    gap = (size - data) // max(data // _STRETCH, 1) // MIB * MIB
    with path.open("wb") as file:
        pieces = _programs()
        while data > 0:
            for _ in range(_STRETCH // MIB):
                file.write(next(pieces))
            data -= _STRETCH
            file.seek(gap, os.SEEK_CUR)
        file.truncate(size)


def _half_random(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(size // (8 * MIB)):
            file.write(os.urandom(4 * MIB))
            file.seek(4 * MIB, os.SEEK_CUR)
        file.truncate(size)


def _programs() -> Iterator[bytes]:
    """Mebibytes of the files below /usr, over and over."""
    rest = b""
    while True:
        for folder, folders, files in os.walk("/usr"):
            folders.sort()
            for name in sorted(files):
                path = Path(folder, name)
                if path.is_symlink() or not path.is_file():
                    continue
                with path.open("rb") as file:
                    while part := file.read(MIB - len(rest)):
                        rest += part
                        if len(rest) == MIB:
                            yield rest
                            rest = b""


def _convert(raw: Path, path: Path, *options: str) -> None:
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", *options, raw, path], check=True)
