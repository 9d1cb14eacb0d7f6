"""What a qcow2 image says about itself: its header and the entries of its tables, as numbers that have been checked.

Nothing here reads or writes; `conversion` does. Versions 2 and 3 with zlib or zstd are read. Refused, with what to do
about it: backing files, external data files, encryption, extended L2 entries (not yet), other compressions, unknown
incompatible features, images marked corrupt, tables and sizes beyond reason. Source: docs/interop/qcow2.txt of QEMU.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum

from dataimportcron.errors import InvalidImageError

MAGIC = b"QFI\xfb"
HEADER_LENGTH = 112
"""Bytes from the start of the image that are enough to read the header."""

_V2_LENGTH = 72
_V3_LENGTH = 104
_CLUSTER_BITS = range(9, 22)
_MOST_CLUSTERS = 1 << 25
"""In the file; 2 TiB of the usual clusters of 64 KiB. Bounds what the map of clusters takes in memory."""
_MOST_L1_ENTRIES = 1 << 22
"""QEMU's own limit of 32 MiB."""
_MOST_GUEST_CLUSTERS = 1 << 31

_INCOMPATIBLE_CORRUPT = 1 << 1
_INCOMPATIBLE_DATA_FILE = 1 << 2
_INCOMPATIBLE_COMPRESSION = 1 << 3
_INCOMPATIBLE_EXTENDED_L2 = 1 << 4
_INCOMPATIBLE_KNOWN = 0x1F
_COMPRESSION_ZLIB, _COMPRESSION_ZSTD = 0, 1

OFFSET_MASK = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED = 1 << 62
_COPIED = 1 << 63
_READS_AS_ZERO = 1
_TO_QCOW2 = "make it again: qemu-img convert -O qcow2 OLD NEW"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The header, checked; offsets and sizes are in bytes.

    Attributes:
        version: 2 or 3.
        cluster_bits: a cluster has 2 to the power of it bytes.
        virtual_size: of the disk, rounded up to sectors of 512 bytes.
        l1_offset: of the active L1 table.
        l1_entries: of it that the virtual size needs.
        clusters: of the file, the last one perhaps cut off.
        length: of the file.
        zstd: compressed clusters are zstd frames, not raw deflate.
    """

    version: int
    cluster_bits: int
    virtual_size: int
    l1_offset: int
    l1_entries: int
    clusters: int
    length: int
    zstd: bool = False

    @property
    def cluster_size(self) -> int:
        """Bytes of a cluster."""
        return 1 << self.cluster_bits

    @property
    def l2_entries(self) -> int:
        """Of one L2 table."""
        return self.cluster_size // 8

    @property
    def guest_clusters(self) -> int:
        """Of the disk."""
        return -(-self.virtual_size // self.cluster_size)


class Kind(Enum):
    """What an L2 entry means."""

    ZERO = "zero"
    DATA = "data"
    COMPRESSED = "compressed"


def parse_header(data: bytes, length: int) -> Header:
    """Read and check a header.

    Args:
        data: the first `HEADER_LENGTH` bytes of the image, fewer only where it has fewer.
        length: of the whole image, in bytes.

    Raises:
        InvalidImageError: see the module.
    """
    if len(data) < _V2_LENGTH:
        raise InvalidImageError(f"the qcow2 image has {length} bytes, which is less than its header")
    (_, version, backing, _, cluster_bits, size, encryption, l1_size, l1_offset) = struct.unpack_from(
        ">4sIQIIQIIQ", data
    )
    if version not in (2, 3):
        raise InvalidImageError(f"the qcow2 image has version {version}, expected 2 or 3", hint=_TO_QCOW2)
    if backing:
        raise InvalidImageError("the qcow2 image needs a backing file", hint=_TO_QCOW2)
    if encryption:
        raise InvalidImageError("the qcow2 image is encrypted", hint="decrypt it by qemu-img convert")
    if cluster_bits not in _CLUSTER_BITS:
        raise InvalidImageError(f"the qcow2 image has clusters of 2^{cluster_bits} bytes, expected 2^9 to 2^21")
    zstd = _check_features(data) == _COMPRESSION_ZSTD if version > 2 else False  # noqa: PLR2004 -- version 2 ends before
    header = Header(
        version=version,
        cluster_bits=cluster_bits,
        virtual_size=-(-size // 512) * 512,
        l1_offset=l1_offset,
        l1_entries=-(-size // ((1 << cluster_bits) * ((1 << cluster_bits) // 8))),
        clusters=-(-length // (1 << cluster_bits)),
        length=length,
        zstd=zstd,
    )
    _check_sizes(header, l1_size)
    return header


def parse_compressed(entry: int, header: Header) -> tuple[int, int]:
    """Where the data of a compressed cluster begins and how many bytes it has at most.

    Raises:
        InvalidImageError: outside the file.
    """
    shift = 62 - (header.cluster_bits - 8)
    offset = entry & ((1 << shift) - 1)
    sectors = (entry >> shift & ((1 << (header.cluster_bits - 8)) - 1)) + 1
    if offset >= header.length:
        raise InvalidImageError(f"the qcow2 image refers to byte {offset}, but has {header.length}")
    return offset, min(sectors * 512 - offset % 512, header.length - offset)


def parse_offset(entry: int, header: Header) -> int:
    """The number of the cluster in the file that an L1 or L2 entry refers to.

    Raises:
        InvalidImageError: in the middle of a cluster, in the first one, or outside the file.
    """
    offset = entry & OFFSET_MASK
    cluster, rest = divmod(offset, header.cluster_size)
    if rest or not 0 < cluster < header.clusters:
        raise InvalidImageError(
            f"the qcow2 image refers to byte {offset}, expected the start of one of its {header.clusters} clusters"
        )
    return cluster


def kind_of(entry: int, header: Header) -> Kind:
    """What an L2 entry means.

    Raises:
        InvalidImageError: bits are set that mean nothing.
    """
    if entry & _COMPRESSED:
        return Kind.COMPRESSED
    if entry & ~(OFFSET_MASK | _COPIED | _READS_AS_ZERO) or (entry & _READS_AS_ZERO and header.version == 2):  # noqa: PLR2004
        raise InvalidImageError(f"the qcow2 image has an L2 entry {entry:#x} that means nothing")
    if entry & _READS_AS_ZERO or not entry & OFFSET_MASK:
        return Kind.ZERO
    return Kind.DATA


def _check_features(data: bytes) -> int:
    """Refuse what is not read; returns the compression type."""
    if len(data) < _V3_LENGTH:
        raise InvalidImageError("the qcow2 image is shorter than its header")
    (features,) = struct.unpack_from(">Q", data, 72)
    (header_length,) = struct.unpack_from(">I", data, 100)
    if features & _INCOMPATIBLE_DATA_FILE:
        raise InvalidImageError("the qcow2 image needs an external data file", hint=_TO_QCOW2)
    if features & _INCOMPATIBLE_CORRUPT:
        raise InvalidImageError("the qcow2 image is marked corrupt", hint="repair it: qemu-img check -r all")
    if features & _INCOMPATIBLE_EXTENDED_L2:
        raise InvalidImageError("the qcow2 image has extended L2 entries, which are not read", hint=_TO_QCOW2)
    if features & ~_INCOMPATIBLE_KNOWN:
        raise InvalidImageError(f"the qcow2 image has unknown features {features:#x}", hint=_TO_QCOW2)
    if header_length < _V3_LENGTH:
        raise InvalidImageError(
            f"the qcow2 image has a header of {header_length} bytes, at least {_V3_LENGTH} expected"
        )
    compression = data[104] if header_length > _V3_LENGTH and len(data) > _V3_LENGTH else 0
    if compression not in (_COMPRESSION_ZLIB, _COMPRESSION_ZSTD):
        raise InvalidImageError(
            f"the qcow2 image has the compression type {compression}, expected 0 (zlib) or 1 (zstd)", hint=_TO_QCOW2
        )
    if bool(features & _INCOMPATIBLE_COMPRESSION) != (compression != _COMPRESSION_ZLIB):
        raise InvalidImageError(
            f"the qcow2 image has the compression type {compression}, and a feature bit that says otherwise",
            hint=_TO_QCOW2,
        )
    return compression


def _check_sizes(header: Header, l1_size: int) -> None:
    if header.clusters > _MOST_CLUSTERS or header.guest_clusters > _MOST_GUEST_CLUSTERS:
        raise InvalidImageError(
            f"the qcow2 image has {header.clusters} clusters of {header.cluster_size} bytes, more than are read",
            hint=f"make its clusters larger: {_TO_QCOW2} -o cluster_size=64k",
        )
    if not header.l1_entries <= l1_size <= _MOST_L1_ENTRIES:
        raise InvalidImageError(
            f"the qcow2 image has an L1 table of {l1_size} entries, expected {header.l1_entries} for its virtual size"
        )
    end = header.l1_offset + header.l1_entries * 8
    if header.l1_entries and (header.l1_offset % header.cluster_size or not header.l1_offset or end > header.length):
        raise InvalidImageError(f"the qcow2 image has its L1 table at byte {header.l1_offset}, which cannot be")
