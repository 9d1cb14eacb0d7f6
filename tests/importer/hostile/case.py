"""One hostile input, how it is made, and what the program says to it."""

from __future__ import annotations

import gzip
import json
import re
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.fault_registry import FaultRegistry, Reply, fault_registry
from tests.support.layout import MANIFEST, ImageLayout, sha256, write_tar
from tests.support.measured import Measured, measured

MIB = 1 << 20
MOST_MEMORY = 120 * 1024
"""KiB, whatever comes."""
LONGEST_MESSAGE = 1000
"""Characters; a message becomes a condition, an event and a line in a terminal."""
_PROGRAM = ("-m", "dataimportcron.importer")
# The same program with lower limits: to reach its own would take minutes.
_LOW_LIMITS = (
    "-c",
    """
import sys
from dataimportcron.importer import __main__, decompress, run
run._BESIDE_DISK = 32 << 20
decompress._MOST_MEMBERS = 10_000
sys.exit(__main__.main())
""",
)

Source = Callable[[Path, FaultRegistry], str]
"""Makes the input in a folder or at a registry; returns the program's --source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An input, and the refusal that is expected.

    Attributes:
        name: says what is wrong with it.
        source: makes it.
        says: a regular expression that the message holds.
        reason: the CamelCase word of the refusal.
        size: bytes of the volume.
        cpu: seconds of processor time that the refusal may take: three times what it takes on a busy machine, since
            what it guards against takes hours.
        low_limits: for what a layer has beside its disk, and of the members that it is packed in.
    """

    name: str
    source: Source
    says: str
    reason: str = "InvalidImage"
    size: int = MIB
    cpu: float = 6.0
    low_limits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What the program did."""

    case: Case
    ended: Measured
    result: dict[str, Any]
    complete: bool

    @property
    def line(self) -> str:
        """For the list."""
        return f"{self.case.name}: {self.result.get('reason')}, {self.result.get('message')}"

    @property
    def faults(self) -> list[str]:
        """How it differs from a refusal as it should be; empty if it does not."""
        message = str(self.result.get("message"))
        checks = {
            f"exit code {self.ended.code}, expected 2": self.ended.code != 2,
            f"reason {self.result.get('reason')}, expected {self.case.reason}": self.result.get("reason")
            != self.case.reason,
            f"message {message[:300]!r}, expected {self.case.says!r}": not re.search(self.case.says, message),
            f"a message of {len(message)} characters": len(message) > LONGEST_MESSAGE,
            "a message that a terminal would obey": not message.isprintable(),
            f"a peak of {self.ended.peak} KiB": self.ended.peak > MOST_MEMORY,
            f"{self.ended.cpu:.1f} s of processor time": self.ended.cpu > self.case.cpu,
            "a traceback": "Traceback" in self.ended.complaint,
            "a target that counts as complete": self.complete,
        }
        return [fault for fault, found in checks.items() if found]


def attempt(case: Case, folder: Path, registry: FaultRegistry) -> Refusal:
    """Give an input to the program.

    Args:
        case: the input.
        folder: an empty one.
        registry: for inputs that come from one.
    """
    target = folder / "disk.img"
    arguments = ["--source", case.source(folder, registry), "--target", str(target), "--size", str(case.size)]
    options = ["--platform", "linux/amd64", "--insecure-registry", registry.host]
    program = _LOW_LIMITS if case.low_limits else _PROGRAM
    ended = measured([sys.executable, *program, *arguments, *options])
    lines = ended.output.splitlines()
    result = json.loads(lines[-1]) if lines else {}
    return Refusal(case=case, ended=ended, result=result, complete=target.with_name("disk.img.complete").exists())


@contextmanager
def registry_for_cases() -> Iterator[FaultRegistry]:
    """The registry that `attempt` needs."""
    with fault_registry() as running:
        yield running


# -- sources -------------------------------------------------------------------------------------------------------


def disk(data: bytes) -> Source:
    """An image whose disk is this file."""
    header = tarfile.TarInfo("disk/disk.img")
    header.size = len(data)
    tar = header.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512 + 1024)
    # Packed, as tables are mostly zeros.
    return layer(gzip.compress(tar, 1, mtime=0), tar)


def layer(stored: bytes, tar: bytes | None = None) -> Source:
    """An image of one layer, `stored` byte by byte; `tar` is what it should unpack to."""
    return image((stored, stored if tar is None else tar))


def image(*layers: tuple[bytes, bytes], manifest: Any = None, config: Any = None) -> Source:
    """An image; see `ImageLayout.image`."""

    def make(folder: Path, _: FaultRegistry) -> str:
        layout = ImageLayout()
        layout.image(*layers, manifest=manifest, config=config)
        return _archived(layout.files(), folder)

    return make


def archive(change: Callable[[dict[str, bytes]], dict[str, bytes]]) -> Source:
    """An OCI archive with other files than a good one has."""

    def make(folder: Path, _: FaultRegistry) -> str:
        layout = ImageLayout()
        layout.image((good := good_tar(), good))
        return _archived(change(layout.files()), folder)

    return make


def archive_bytes(data: bytes) -> Source:
    """A file that should be an OCI archive."""

    def make(folder: Path, _: FaultRegistry) -> str:
        (folder / "image.tar").write_bytes(data)
        return f"oci-archive:{folder / 'image.tar'}"

    return make


def served(body: bytes, media_type: str = MANIFEST, **more: Reply) -> Source:
    """A manifest as a registry answers it; `more` are answers at other paths below its repository."""

    def make(folder: Path, registry: FaultRegistry) -> str:
        name = sha256(str(folder).encode())[7:23]
        root = f"/v2/{name}"
        reply = Reply(body=body, headers={"Content-Type": media_type, "Docker-Content-Digest": sha256(body)})
        registry.answer(f"{root}/manifests/latest", reply)
        registry.answer(f"{root}/manifests/{sha256(body)}", reply)
        for path, other in more.items():
            registry.answer(f"{root}/{path}", other)
        return f"docker://{registry.host}/{name}"

    return make


def good_tar() -> bytes:
    """A layer that is a container disk."""
    header = tarfile.TarInfo("disk/disk.img")
    header.size = 512
    return header.tobuf(tarfile.USTAR_FORMAT) + b"golden".ljust(512, b"\1") + bytes(1024)


def _archived(files: dict[str, bytes], folder: Path) -> str:
    write_tar(folder / "image.tar", files)
    return f"oci-archive:{folder / 'image.tar'}"
