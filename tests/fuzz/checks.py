"""What must hold for any input of a kind, however it was made: of the corpus and of hypothesis alike.

Each check takes bytes. An input may be refused by an error of ours; any other error, and a hang, fails the test.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dataimportcron.errors import DataImportCronError, InvalidImageError, InvalidReferenceError, VolumeTooSmallError
from dataimportcron.importer.disk.formats import write_disk
from dataimportcron.importer.disk.writer import Disk
from dataimportcron.importer.source.image import build_image
from dataimportcron.oci.auth import parse_challenges
from dataimportcron.oci.manifest import Platform, choose, is_index, parse_document, parse_manifest
from dataimportcron.oci.streams import ByteStream
from dataimportcron.oci.tar import entries
from dataimportcron.reference import Reference

VOLUME = 1 << 20
"""Bytes; a disk of the corpus has less."""
SECTOR = 512
_LEAKS = 3
"""qemu-img check: there are clusters that nobody uses, which is no fault of the disk."""
LONGEST_MESSAGE = 1000
AMD64 = Platform.parse("linux/amd64")


def cut(data: bytes, length: int) -> ByteStream:
    """A stream in chunks of that length."""
    return ByteStream((data[at : at + length] for at in range(0, len(data), length)), "input")


def damaged(data: bytes, damage: list[tuple[int, bytes]]) -> bytes:
    """The data with other bytes at some places; its length stays."""
    found = bytearray(data)
    for place, value in damage:
        at = place % len(found)
        found[at : at + len(value)] = value
    return bytes(found[: len(data)])


def tar_members(data: bytes, chunk: int = 1 << 20) -> list[tuple[str, str, bytes]]:
    """Name, kind and bytes of all members."""
    stream = cut(data, chunk)
    return [("/".join(entry.path), entry.kind, stream.read(entry.size)) for entry in entries(stream, "input")]


def check_tar(data: bytes) -> None:
    """It is read or refused, and the same in chunks of any size."""
    outcomes = []
    for chunk in (1 << 20, 512, 100):
        try:
            outcomes.append(tar_members(data, chunk))
        except InvalidImageError as error:
            outcomes.append(_bounded(error))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def check_qcow2(data: bytes) -> None:
    """It is refused, or converted within bounds; and to QEMU's bytes where QEMU finds nothing wrong with it."""
    with tempfile.TemporaryDirectory() as folder:
        ours = converted(data, Path(folder), len(data) or 1)
        assert converted(data, Path(folder), 100) == ours
        if isinstance(ours, bytes) and (theirs := _by_qemu(data, Path(folder))) is not None:
            # QEMU drops what is less than a sector at the end, where we fill the sector up.
            assert (ours[: len(theirs)], len(ours) - len(theirs) <= SECTOR) == (theirs, True)


def converted(data: bytes, folder: Path, chunk: int) -> bytes | str:
    """The disk, or why there is none."""
    path = folder / "out.raw"
    with path.open("wb+") as file:
        disk = Disk(file.fileno(), VOLUME, folder)
        try:
            write_disk(cut(data, chunk), len(data), disk)
        except (InvalidImageError, VolumeTooSmallError) as error:
            return _bounded(error)
        finally:
            assert path.stat().st_size <= VOLUME
        assert disk.written <= disk.virtual_size <= VOLUME
        file.truncate(disk.virtual_size)
    return path.read_bytes()


def check_manifest(data: bytes) -> None:
    """As a manifest, as an index and as a configuration it is read or refused."""
    try:
        document = parse_document(data, "input")
    except DataImportCronError as error:
        _bounded(error)
        return
    for read in (
        lambda: is_index(document, "", "input"),
        lambda: parse_manifest(document, "digest", "", "input"),
        lambda: choose(document, AMD64, "input"),
        lambda: build_image("digest", "digest", [(f"sha256:{'0' * 64}", 1)], document),
    ):
        try:
            read()
        except DataImportCronError as error:
            _bounded(error)


def check_challenge(data: bytes) -> None:
    """Whatever a header holds, it is read."""
    text = data.decode("latin-1")
    for challenge in parse_challenges([text, text]):
        assert challenge.scheme == challenge.scheme.lower()
        assert all(name == name.lower() for name in challenge.parameters)


def check_reference(data: bytes) -> None:
    """It is refused, or its canonical form means the same."""
    with suppress(InvalidReferenceError):
        reference = Reference.parse(data.decode("utf-8", "replace"))
        assert Reference.parse(str(reference)) == reference


CHECKS: dict[str, Callable[[bytes], None]] = {
    "tar": check_tar,
    "qcow2": check_qcow2,
    "manifest": check_manifest,
    "challenge": check_challenge,
    "reference": check_reference,
}


def _bounded(error: DataImportCronError) -> str:
    assert error.permanent
    assert len(str(error)) <= LONGEST_MESSAGE
    return str(error)


def _by_qemu(data: bytes, folder: Path) -> bytes | None:
    """What qemu-img makes of a qcow2 image; None where it finds something wrong with it."""
    image, out = folder / "image", folder / "oracle.raw"
    image.write_bytes(data)
    check = ["qemu-img", "check", "-q", "-f", "qcow2", str(image)]
    convert = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(image), str(out)]
    if subprocess.run(check, capture_output=True, check=False, timeout=60).returncode not in {0, _LEAKS}:
        return None
    if subprocess.run(convert, capture_output=True, check=False, timeout=60).returncode:
        return None
    return out.read_bytes()
