"""Which other files a qcow2 file is made of: its backing file and its external data file, from its header alone.

Only names are read here; whether such a file could be opened is QEMU's business. Every version is read that keeps them
where version 2 and 3 do. Source: docs/interop/qcow2.txt of QEMU.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

MAGIC = b"QFI\xfb"

_HEAD = struct.Struct(">4sIQIIQ")
"""Magic, version, offset and length of the backing file's name, cluster bits, virtual size."""
_HEAD_V3 = struct.Struct(">QQQII")
"""From byte 72: incompatible, compatible and autoclear features, refcount order, length of the header."""
_V2_LENGTH, _V3_LENGTH = 72, 104
_VERSIONS = range(1, 4)
_LONGEST_NAME = 1023
"""QEMU's own limit."""
_LARGEST_CLUSTER = 2 << 20
_DATA_FILE_FEATURE = 1 << 2
_DATA_FILE_NAME = 0x44415441
_MOST_EXTENSIONS = 64


class UnreadableHeaderError(Exception):
    """It begins like a qcow2 file, and what else it says is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a qcow2 file is made of besides itself, as it spells it; "" for nothing. `size` is the disk's, in bytes."""

    size: int = 0
    backing: str = ""
    data: str = ""


def read_names(descriptor: int) -> Names | None:
    """Names in the header of an open file; None for a file that is no qcow2.

    Raises:
        UnreadableHeaderError: it is one, and cannot be understood.
        OSError: it cannot be read.
    """
    head = os.pread(descriptor, _V3_LENGTH, 0)
    if not head.startswith(MAGIC):
        return None
    if len(head) < _V2_LENGTH:
        raise UnreadableHeaderError("its header is cut off")
    _, version, offset, length, cluster_bits, size = _HEAD.unpack_from(head)
    if version not in _VERSIONS:
        raise UnreadableHeaderError(f"it is of version {version}, which is not known")
    if version == 1:
        # Its sizes lie elsewhere; the backing file's name is where it always was.
        return Names(backing=_name(descriptor, offset, length))
    return Names(
        size=size,
        backing=_name(descriptor, offset, length),
        data=_data_file(descriptor, head, version, cluster_bits),
    )


def _name(descriptor: int, offset: int, length: int) -> str:
    if not offset:
        return ""
    if length > _LONGEST_NAME or offset > _LARGEST_CLUSTER:
        raise UnreadableHeaderError(f"the name of its backing file has {length} bytes at {offset}")
    name = os.pread(descriptor, length, offset)
    if len(name) < length:
        raise UnreadableHeaderError("the name of its backing file is cut off")
    return os.fsdecode(name)


def _data_file(descriptor: int, head: bytes, version: int, cluster_bits: int) -> str:
    """The name in the header extension for an external data file, where the features say that there is one."""
    if version == 2 or len(head) < _V3_LENGTH:  # noqa: PLR2004 -- it has no features
        return ""
    features, _, _, _, at = _HEAD_V3.unpack_from(head, _V2_LENGTH)
    if not features & _DATA_FILE_FEATURE:
        return ""
    end = min(1 << min(cluster_bits, 21), _LARGEST_CLUSTER)
    for _ in range(_MOST_EXTENSIONS):
        extension = os.pread(descriptor, 8, at)
        if at >= end or len(extension) < 8:  # noqa: PLR2004 -- kind and length
            break
        kind, length = struct.unpack(">II", extension)
        if kind == _DATA_FILE_NAME:
            return _name(descriptor, at + 8, length)
        if not kind:
            break
        at += 8 + -(-length // 8) * 8
    raise UnreadableHeaderError("it does not name its external data file")
