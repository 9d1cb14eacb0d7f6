"""What disks of other programs say about themselves, as far as it must be known before qemu-img sees them.

A vmdk file may name other files as its data, and others may need a parent: such a disk is not all there, and a file
that it names is none of its business. Sources: VMware's Virtual Disk Format 5.0, Microsoft's Virtual Hard Disk Image
Format Specification.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from dataimportcron.errors import InvalidImageError
from dataimportcron.importer.disk.qcow2 import TO_QCOW2

FOOTER_LENGTH = 512
"""Of a vhd file, in bytes: at its end, and a copy at its start unless it is of the fixed kind."""

DRIVERS = {"vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx", "qed": "qed"}
"""The formats that qemu-img converts, and its own names of them."""

_VHD_COOKIE = b"conectix"
_FIXED, _DYNAMIC = 2, 3
_VDI_KINDS = (1, 2)
_SECTOR = 512
_LONGEST_DESCRIPTOR = 1 << 20
_CREATE_TYPE = re.compile(rb'^\s*createType\s*=\s*"([^"\n]*)"', re.MULTILINE | re.IGNORECASE)
_EXTENT = re.compile(rb"^\s*(?:RW|RDONLY|NOACCESS)\s+\d+\s+(\w+)", re.MULTILINE | re.IGNORECASE)
_PARENT = re.compile(rb"^\s*parentFileNameHint\s*=", re.MULTILINE | re.IGNORECASE)
_WHOLE = (b"monolithicsparse", b"streamoptimized")

Read = Callable[[int, int], bytes]
"""Reads so many bytes at an offset of the file; zeros behind its end."""


def is_fixed_vhd(footer: bytes, size: int) -> bool:
    """Whether the last bytes of a file make what is in front of them, `size` bytes, a fixed vhd."""
    if not footer.startswith(_VHD_COOKIE):
        return False
    given, kind, checksum = struct.unpack_from(">Q", footer, 48)[0], *struct.unpack_from(">II", footer, 60)
    found = ~(sum(footer) - sum(footer[64:68])) & 0xFFFF_FFFF
    return (given, kind, checksum) == (size, _FIXED, found)


def check_whole(name: str, read: Read, length: int) -> None:
    """Make sure that a disk is all there, as far as that is easily seen; the rest qemu-img says, or does not mind.

    Args:
        name: of its format.
        read: its bytes.
        length: of it, in bytes.

    Raises:
        InvalidImageError: it needs another file, or is truncated.
    """
    if name == "vmdk":
        _check_vmdk(read)
    elif name == "vhd":
        _check_vhd(read, length)
    elif name == "vdi":
        _check_vdi(read, length)


def _check_vdi(read: Read, length: int) -> None:
    header = read(_SECTOR, 0)
    (kind,) = struct.unpack_from("<I", header, 0x4C)
    if kind not in _VDI_KINDS:
        raise InvalidImageError(
            f"the vdi file is of type {kind}, expected 1 (dynamic) or 2 (static); others need a parent", hint=TO_QCOW2
        )
    (start,), (block_size,) = struct.unpack_from("<I", header, 0x158), struct.unpack_from("<I", header, 0x178)
    (allocated,) = struct.unpack_from("<I", header, 0x184)
    if length < start + allocated * block_size:
        raise InvalidImageError(
            f"the vdi file has {length} bytes, expected {start + allocated * block_size}: it is truncated"
        )


def _check_vhd(read: Read, length: int) -> None:
    head = read(FOOTER_LENGTH, 0)
    if read(FOOTER_LENGTH, length - FOOTER_LENGTH)[: len(_VHD_COOKIE)] != _VHD_COOKIE:
        raise InvalidImageError("the vhd file does not end with a footer: it is truncated")
    (kind,) = struct.unpack_from(">I", head, 60)
    if kind != _DYNAMIC:
        raise InvalidImageError(
            f"the vhd file is of type {kind}, expected 3 (dynamic) at its start; type 4 needs a parent", hint=TO_QCOW2
        )


def _check_vmdk(read: Read) -> None:
    capacity, _, offset, sectors = struct.unpack_from("<QQQQ", read(_SECTOR, 0), 12)
    # Without a capacity of its own it is what its descriptor says, which may name any file.
    if not capacity or not offset or not 0 < sectors * _SECTOR <= _LONGEST_DESCRIPTOR:
        raise InvalidImageError("the vmdk file is a part of a disk, expected a whole one", hint=TO_QCOW2)
    descriptor = read(sectors * _SECTOR, offset * _SECTOR).split(b"\0", 1)[0]
    kinds = [found.lower() for found in _CREATE_TYPE.findall(descriptor)]
    extents = [found.upper() for found in _EXTENT.findall(descriptor)]
    if len(kinds) != 1 or kinds[0] not in _WHOLE or extents != [b"SPARSE"]:
        shown = b", ".join(kinds).decode("ascii", "backslashreplace")[:100]
        raise InvalidImageError(
            f"the vmdk file is of the kind {shown!r} with {len(extents)} extents, "
            "expected monolithicSparse or streamOptimized with one",
            hint=TO_QCOW2,
        )
    if _PARENT.search(descriptor):
        raise InvalidImageError("the vmdk file needs a parent", hint=TO_QCOW2)
