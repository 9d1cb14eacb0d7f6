"""A folder as a layer of an image: sorted, owned by root, without times, so that equal content has an equal digest."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self, cast

MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"

_NO_SETUID = 0o1777
"""Nothing in the image may gain rights; the sticky bit of /tmp stays."""
_LEVEL = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A package inside a layer. `kind` is `deb` or `pypi`; `licence` is an SPDX expression or "" where none is said."""

    kind: str
    name: str
    version: str
    architecture: str = ""
    licence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A compressed tar on disk.

    Attributes:
        path: of the file.
        digest: of the file, which the manifest names.
        diff_id: of the tar, which the configuration names.
        size: bytes of the file.
        unpacked: bytes of the tar.
        components: what is inside.
    """

    path: Path
    digest: str
    diff_id: str
    size: int
    unpacked: int
    components: tuple[Component, ...]

    @classmethod
    def pack(cls, root: Path, path: Path, components: tuple[Component, ...]) -> Self:
        """Pack what is below `root`; devices and sockets are left out."""
        with path.open("wb") as file:
            digest = _Digest(file)
            with gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=digest.file, mtime=0) as packed:
                diff_id = _Digest(cast("IO[bytes]", packed))
                with tarfile.open(mode="w|", fileobj=diff_id.file, format=tarfile.PAX_FORMAT) as tar:
                    for entry in _walk(root):
                        _add(tar, root, entry)
        return cls(
            path=path,
            digest=digest.value,
            diff_id=diff_id.value,
            size=digest.size,
            unpacked=diff_id.size,
            components=components,
        )

    def save(self) -> None:
        """Keep what is known of it beside it."""
        facts = asdict(self) | {"path": self.path.name}
        self.path.with_suffix(".json").write_text(json.dumps(facts, indent=1))

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """A layer that was saved; None where there is none."""
        try:
            facts = json.loads(path.with_suffix(".json").read_bytes())
        except FileNotFoundError:
            return None
        components = tuple(Component(**component) for component in facts["components"])
        return cls(**facts | {"path": path, "components": components})


class _Digest:
    """Hashes and counts what passes through `file` on its way to another."""

    def __init__(self, below: IO[bytes]) -> None:
        self._below = below
        self._hash = hashlib.sha256()
        self.size = 0
        self.file = cast("IO[bytes]", self)

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._below.write(data)

    def flush(self) -> None:
        self._below.flush()

    @property
    def value(self) -> str:
        """As digests are written."""
        return f"sha256:{self._hash.hexdigest()}"


def _walk(folder: Path) -> Iterator[Path]:
    """What is below a folder, each folder before its content, in the order of names."""
    for entry in sorted(folder.iterdir()):
        yield entry
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry)


def _add(tar: tarfile.TarFile, root: Path, path: Path) -> None:
    entry = tar.gettarinfo(path, arcname=str(path.relative_to(root)))
    # A socket gives None. Devices are the container runtime's to make, and nobody but root could unpack them.
    if entry is None or entry.ischr() or entry.isblk() or entry.isfifo():
        return
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    entry.mode &= _NO_SETUID
    entry.pax_headers = {}
    if entry.isreg():
        with path.open("rb") as file:
            tar.addfile(entry, file)
    else:
        tar.addfile(entry)
