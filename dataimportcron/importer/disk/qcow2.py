"""What a qcow2 image says about itself: its header and the entries of its tables, as numbers that have been checked.

Nothing here reads or writes; `conversion` does. Versions 2 and 3 with zlib or zstd are read, with subclusters
(extended L2 entries) or without. Refused, with what to do about it: backing files, external data files, encryption,
other compressions, unknown incompatible features, images marked corrupt, tables and sizes beyond reason. Source:
docs/interop/qcow2.txt of QEMU.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from dataimportcron.errors import InvalidImageError

MAGIC = b"QFI\xfb"
HEADER_LENGTH = 112
"""Bytes from the start of the image that are enough to read the header."""

_V2_LENGTH = 72
_V3_LENGTH = 104
_CLUSTER_BITS = range(9, 22)
_LEAST_EXTENDED_BITS = 14
"""A subcluster has a sector at least."""
_MOST_CLUSTERS = 1 << 25
"""In the file; 2 TiB of the usual clusters of 64 KiB. Bounds what the map of clusters takes in memory."""
_MOST_L1_ENTRIES = 1 << 22
"""QEMU's own limit of 32 MiB."""
_MOST_GUEST_CLUSTERS = 1 << 31
_MOST_REFCOUNT_BYTES = 8 << 20
_MOST_REFCOUNT_ORDER = 6
_MOST_SNAPSHOTS = 1 << 16
"""QEMU's own limits, these three."""

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
SUBCLUSTERS = 32
"""Of a cluster, where L2 entries are extended."""
_ALL_SUBCLUSTERS = (1 << SUBCLUSTERS) - 1
TO_QCOW2 = "make it again: qemu-img convert -O qcow2 OLD NEW"


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
        extended: L2 entries have a second half, which says what each subcluster is.
    """

    version: int
    cluster_bits: int
    virtual_size: int
    l1_offset: int
    l1_entries: int
    clusters: int
    length: int
    zstd: bool = False
    extended: bool = False

    @property
    def cluster_size(self) -> int:
        """Bytes of a cluster."""
        return 1 << self.cluster_bits

    @property
    def l2_entries(self) -> int:
        """Of one L2 table."""
        return self.cluster_size // (16 if self.extended else 8)

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
        raise InvalidImageError(f"the qcow2 image has version {version}, expected 2 or 3", hint=TO_QCOW2)
    if backing:
        raise InvalidImageError("the qcow2 image needs a backing file", hint=TO_QCOW2)
    if encryption:
        raise InvalidImageError("the qcow2 image is encrypted", hint="decrypt it by qemu-img convert")
    if cluster_bits not in _CLUSTER_BITS:
        raise InvalidImageError(f"the qcow2 image has clusters of 2^{cluster_bits} bytes, expected 2^9 to 2^21")
    zstd = extended = False
    if version > 2:  # noqa: PLR2004 -- version 2 ends before
        zstd, extended = _check_features(data)
    if extended and cluster_bits < _LEAST_EXTENDED_BITS:
        raise InvalidImageError(
            f"the qcow2 image has extended L2 entries and clusters of 2^{cluster_bits} bytes, expected 2^14 to 2^21"
        )
    entries = (1 << cluster_bits) // (16 if extended else 8)
    header = Header(
        version=version,
        cluster_bits=cluster_bits,
        virtual_size=-(-size // 512) * 512,
        l1_offset=l1_offset,
        l1_entries=-(-size // (entries << cluster_bits)),
        clusters=-(-length // (1 << cluster_bits)),
        length=length,
        zstd=zstd,
        extended=extended,
    )
    _check_sizes(header, l1_size)
    _check_unused(data, header)
    return header


def compressed_offset(entry: int, header: Header) -> int:
    """Where the data of a compressed cluster begins, in bytes of the file; not checked."""
    return entry & ((1 << (70 - header.cluster_bits)) - 1)


def parse_compressed(entry: int, header: Header) -> tuple[int, int]:
    """Where the data of a compressed cluster begins and how many bytes it has at most.

    Raises:
        InvalidImageError: outside the file.
    """
    shift = 62 - (header.cluster_bits - 8)
    offset = compressed_offset(entry, header)
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


def split_extended(table: Sequence[int], first: int) -> tuple[list[int], dict[int, int]]:
    """Read an L2 table of extended entries as a plain one and what that cannot say.

    Args:
        table: the halves of the entries, one behind the other.
        first: the guest cluster of the first entry.

    Returns:
        Plain entries, 0 for clusters without data; and per guest cluster that has data in some subclusters only: a mask
        of the others, bit 0 for the first.

    Raises:
        InvalidImageError: the halves contradict each other.
    """
    entries: list[int] = []
    blanks: dict[int, int] = {}
    for guest, (entry, bitmap) in enumerate(zip(table[::2], table[1::2], strict=True), first):
        allocated, zero = bitmap & _ALL_SUBCLUSTERS, bitmap >> SUBCLUSTERS
        if entry & _COMPRESSED:
            contradiction = bool(bitmap)
        else:
            lacking = bool(allocated) and not entry & OFFSET_MASK
            contradiction = bool(allocated & zero) or lacking or bool(entry & _READS_AS_ZERO)
        if contradiction:
            raise InvalidImageError(
                f"the qcow2 image has an extended L2 entry {entry:#x} that contradicts its subclusters {bitmap:#x}"
            )
        if entry & _COMPRESSED or allocated == _ALL_SUBCLUSTERS:
            entries.append(entry)
        elif allocated:
            entries.append(entry)
            blanks[guest] = allocated ^ _ALL_SUBCLUSTERS
        else:
            # Still looked at: bits that mean nothing are refused as in any entry.
            entries.append(entry & ~OFFSET_MASK & ~_COPIED)
    return entries, blanks


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


def _check_features(data: bytes) -> tuple[bool, bool]:
    """Refuse what is not read; returns whether clusters are compressed by zstd, and whether L2 entries are extended."""
    if len(data) < _V3_LENGTH:
        raise InvalidImageError("the qcow2 image is shorter than its header")
    (features,) = struct.unpack_from(">Q", data, 72)
    (header_length,) = struct.unpack_from(">I", data, 100)
    if features & _INCOMPATIBLE_DATA_FILE:
        raise InvalidImageError("the qcow2 image needs an external data file", hint=TO_QCOW2)
    if features & _INCOMPATIBLE_CORRUPT:
        raise InvalidImageError("the qcow2 image is marked corrupt", hint="repair it: qemu-img check -r all")
    if features & ~_INCOMPATIBLE_KNOWN:
        raise InvalidImageError(f"the qcow2 image has unknown features {features:#x}", hint=TO_QCOW2)
    if header_length < _V3_LENGTH:
        raise InvalidImageError(
            f"the qcow2 image has a header of {header_length} bytes, at least {_V3_LENGTH} expected"
        )
    compression = data[104] if header_length > _V3_LENGTH and len(data) > _V3_LENGTH else 0
    if compression not in (_COMPRESSION_ZLIB, _COMPRESSION_ZSTD):
        raise InvalidImageError(
            f"the qcow2 image has the compression type {compression}, expected 0 (zlib) or 1 (zstd)", hint=TO_QCOW2
        )
    if bool(features & _INCOMPATIBLE_COMPRESSION) != (compression != _COMPRESSION_ZLIB):
        raise InvalidImageError(
            f"the qcow2 image has the compression type {compression}, and a feature bit that says otherwise",
            hint=TO_QCOW2,
        )
    return compression == _COMPRESSION_ZSTD, bool(features & _INCOMPATIBLE_EXTENDED_L2)


def _check_sizes(header: Header, l1_size: int) -> None:
    for what, clusters, most in (
        ("a file", header.clusters, _MOST_CLUSTERS),
        ("a virtual size", header.guest_clusters, _MOST_GUEST_CLUSTERS),
    ):
        if clusters > most:
            raise InvalidImageError(
                f"the qcow2 image has {what} of {clusters} clusters of {header.cluster_size} bytes, at most {most} "
                "are read",
                hint="make it again with larger clusters: qemu-img convert -O qcow2 -o cluster_size=64k OLD NEW",
            )
    if not header.l1_entries <= l1_size <= _MOST_L1_ENTRIES:
        raise InvalidImageError(
            f"the qcow2 image has an L1 table of {l1_size} entries, expected {header.l1_entries} for its virtual size"
        )
    end = header.l1_offset + header.l1_entries * 8
    if header.l1_entries and (header.l1_offset % header.cluster_size or not header.l1_offset or end > header.length):
        raise InvalidImageError(f"the qcow2 image has its L1 table at byte {header.l1_offset}, which cannot be")


def _check_unused(data: bytes, header: Header) -> None:
    """Refuse what QEMU refuses of what nobody needs to read a disk: such an image was never one."""
    table, table_clusters, snapshots, snapshots_at = struct.unpack_from(">QIIQ", data, 48)
    order, header_length = struct.unpack_from(">II", data, 96) if header.version > 2 else (4, _V2_LENGTH)  # noqa: PLR2004
    if header_length > header.cluster_size:
        raise InvalidImageError(f"the qcow2 image has a header of {header_length} bytes, more than its first cluster")
    if order > _MOST_REFCOUNT_ORDER:
        raise InvalidImageError(f"the qcow2 image has refcounts of 2^{order} bits, expected 2^0 to 2^6")
    size = table_clusters << header.cluster_bits
    if not 0 < size <= _MOST_REFCOUNT_BYTES or table % header.cluster_size or not 0 < table < header.length:
        raise InvalidImageError(
            f"the qcow2 image has a refcount table of {size} bytes at byte {table}, which cannot be"
        )
    if snapshots > _MOST_SNAPSHOTS or (
        snapshots and (snapshots_at % header.cluster_size or not 0 < snapshots_at < header.length)
    ):
        raise InvalidImageError(f"the qcow2 image has {snapshots} snapshots at byte {snapshots_at}, which cannot be")
