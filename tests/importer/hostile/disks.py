"""qcow2 images that lie: each is a good one of some kilobytes with one thing changed."""

from __future__ import annotations

import struct
from array import array
from typing import Any

from tests.importer.hostile.case import Case, disk
from tests.support.small_qcow2 import (
    CLUSTER,
    COMPRESSED,
    COPIED,
    DATA_AT,
    ENTRIES,
    L1_AT,
    L2_AT,
    changed,
    deflated,
    entry,
    packed_entry,
    small_qcow2,
    with_entry,
)

DISK = b"".join(f"cluster {number} ".encode().ljust(CLUSTER, b"%d" % (number % 10)) for number in range(20))
PLAIN, ZLIB, ZSTD = small_qcow2(DISK), small_qcow2(DISK, compression="zlib"), small_qcow2(DISK, compression="zstd")
MANY_TABLES = 1 << 14
"""L2 tables in front of all data, for `tables_bomb`."""


def l2(number: int, value: int, image: bytes = PLAIN) -> bytes:
    return with_entry(image, L2_AT, number, value)


def replaced(image: bytes, at: int, data: bytes) -> bytes:
    return image[:at] + data + image[at + len(data) :]


def repacked(packed: bytes, image: bytes) -> bytes:
    """The image with another compressed cluster in the room of its first one, which stays as large."""
    room = entry(image, L2_AT, 1) % (1 << 61) - DATA_AT
    return replaced(image, DATA_AT, packed.ljust(room, b"\0")[: max(room, len(packed))])


def with_extension(kind: int, length: int) -> bytes:
    return replaced(PLAIN, 112, struct.pack(">II", kind, length))


def tables_bomb() -> bytes:
    """More than a million compressed clusters, all named before the first byte of any."""
    tables = 3 * CLUSTER + (-(-8 * MANY_TABLES // CLUSTER)) * CLUSTER
    l1 = array("Q", (tables + number * CLUSTER for number in range(MANY_TABLES)))
    data = tables + MANY_TABLES * CLUSTER
    # Backwards, so that what is kept in order is worst off.
    last = data + MANY_TABLES * ENTRIES
    l2_entries = array("Q", (COMPRESSED | last - number for number in range(1, MANY_TABLES * ENTRIES + 1)))
    l1.byteswap()
    l2_entries.byteswap()
    head = changed(PLAIN, size=MANY_TABLES * ENTRIES * CLUSTER, l1_size=MANY_TABLES, l1_offset=3 * CLUSTER)
    front = head[: 3 * CLUSTER] + l1.tobytes()
    return front.ljust(tables, b"\0") + l2_entries.tobytes() + bytes(MANY_TABLES * ENTRIES + CLUSTER)


def qcow2(name: str, image: bytes, says: str, **more: Any) -> Case:
    return Case(name=f"qcow2: {name}", source=disk(image), says=says, **more)


HEADERS = [
    qcow2("version 1", changed(PLAIN, version=1), "version 1"),
    qcow2("version 4", changed(PLAIN, version=4), "version 4"),
    qcow2(
        "backing file /etc/shadow",
        replaced(changed(PLAIN, backing_offset=256, backing_size=11), 256, b"/etc/shadow"),
        "backing file",
    ),
    qcow2("backing file of no name", changed(PLAIN, backing_offset=256), "backing file"),
    qcow2("data file", changed(PLAIN, incompatible=4), "external data file"),
    qcow2("encryption by AES", changed(PLAIN, encryption=1), "encrypted"),
    qcow2("encryption by LUKS", changed(PLAIN, encryption=2), "encrypted"),
    qcow2("encryption of version 2", changed(small_qcow2(DISK, version=2), encryption=1), "encrypted"),
    qcow2("virtual size 2^63", changed(PLAIN, size=1 << 63), "L1 table|clusters"),
    qcow2("virtual size 2^64 - 1", changed(PLAIN, size=(1 << 64) - 1), "L1 table|clusters"),
    qcow2(
        "virtual size 1 TiB, tables for it",
        changed(PLAIN, size=1 << 37, l1_size=1 << 22),
        "L1 table at byte",
        size=1 << 40,
    ),
    qcow2("virtual size over the volume", PLAIN, "larger than", reason="VolumeTooSmall", size=8192),
    *(qcow2(f"cluster bits {bits}", changed(PLAIN, cluster_bits=bits), "clusters of") for bits in (0, 8, 22, 255)),
    qcow2("cluster bits 2^32 - 1", changed(PLAIN, cluster_bits=(1 << 32) - 1), "clusters of"),
    qcow2("cluster bits of another image", changed(PLAIN, cluster_bits=16), "L1 table"),
    qcow2("L1 table beyond the file", changed(PLAIN, l1_offset=1 << 40), "L1 table at byte"),
    qcow2("L1 table at 2^64 - 512", changed(PLAIN, l1_offset=(1 << 64) - 512), "L1 table at byte"),
    qcow2("L1 table in the header", changed(PLAIN, l1_offset=0), "L1 table at byte"),
    qcow2("L1 table not aligned", changed(PLAIN, l1_offset=L1_AT + 8), "L1 table at byte"),
    qcow2("L1 table of no entries", changed(PLAIN, l1_size=0), "L1 table of 0"),
    qcow2("L1 table of 2^32 - 1 entries", changed(PLAIN, l1_size=(1 << 32) - 1), "L1 table of 4294967295"),
    qcow2("L1 table at the L2 table", changed(PLAIN, l1_offset=L2_AT), "means nothing|twice|refers to byte"),
    qcow2("unknown incompatible feature", changed(PLAIN, incompatible=1 << 40), "unknown features"),
    qcow2("all incompatible features", changed(PLAIN, incompatible=(1 << 64) - 1), "data file|corrupt|features"),
    qcow2("corrupt bit", changed(PLAIN, incompatible=2), "marked corrupt"),
    qcow2("header of 0 bytes", changed(PLAIN, header_length=0), "header of 0"),
    qcow2("header of 103 bytes", changed(PLAIN, header_length=103), "header of 103"),
    qcow2("header larger than its cluster", changed(PLAIN, header_length=CLUSTER + 8), "header of 520"),
    qcow2("header of 2^32 - 1 bytes", changed(PLAIN, header_length=(1 << 32) - 1), "header of 4294967295"),
    qcow2("compression of no feature", changed(PLAIN, compression=1), "compression type 1"),
    qcow2("compression unknown", changed(PLAIN, compression=7, incompatible=8), "compression type 7"),
    qcow2("zstd named, zlib used", changed(ZLIB, compression=1, incompatible=8), "no compressed cluster"),
    qcow2("zlib named, zstd used", changed(ZSTD, compression=0, incompatible=0), "no compressed cluster"),
    qcow2("refcounts of 2^7 bits", changed(PLAIN, refcount_order=7), "refcount"),
    qcow2("refcounts of 2^(2^32 - 1) bits", changed(PLAIN, refcount_order=(1 << 32) - 1), "refcount"),
    qcow2("refcount table beyond the file", changed(PLAIN, refcount_offset=1 << 40), "refcount"),
    qcow2("refcount table not aligned", changed(PLAIN, refcount_offset=CLUSTER + 8), "refcount"),
    qcow2("refcount table of no clusters", changed(PLAIN, refcount_clusters=0), "refcount"),
    qcow2("refcount table of 2^32 - 1 clusters", changed(PLAIN, refcount_clusters=(1 << 32) - 1), "refcount"),
    qcow2("2^32 - 1 snapshots", changed(PLAIN, snapshots=(1 << 32) - 1, snapshots_offset=CLUSTER), "snapshots"),
    qcow2("snapshots not aligned", changed(PLAIN, snapshots=1, snapshots_offset=CLUSTER + 8), "snapshot"),
    qcow2("snapshots beyond the file", changed(PLAIN, snapshots=1, snapshots_offset=1 << 40), "snapshot"),
    qcow2("nothing but its magic", PLAIN[:4], "less than its header"),
    qcow2("half of its header", PLAIN[:90], "header"),
    qcow2("nothing behind its header", PLAIN[:112], "L1 table at byte|refcount"),
    qcow2("cut off before its data", PLAIN[:DATA_AT], "refers to byte"),
]

TABLES = [
    qcow2("L1 entry beyond the file", with_entry(PLAIN, L1_AT, 0, 1 << 40), "refers to byte"),
    qcow2("L1 entry not aligned", with_entry(PLAIN, L1_AT, 0, L2_AT + 512 - 8 | 1 << 9), "refers to byte|twice|means"),
    qcow2("L1 entry to the header", with_entry(PLAIN, L1_AT, 0, COPIED | 1 << 55), "refers to byte"),
    qcow2("L1 entry to the L1 table", with_entry(PLAIN, L1_AT, 0, L1_AT), "twice"),
    qcow2("L2 entry beyond the file", l2(3, 1 << 40), "refers to byte"),
    qcow2("L2 entry at 2^56 - 512", l2(3, (1 << 56) - 512), "refers to byte"),
    qcow2("L2 entry with reserved bits", l2(3, DATA_AT | 1 << 58), "means nothing"),
    qcow2("two guest clusters at one host cluster", l2(3, entry(PLAIN, L2_AT, 4)), "twice"),
    qcow2("L2 table as data", l2(3, L2_AT), "twice"),
    qcow2("L1 table as data", l2(3, L1_AT), "twice"),
    qcow2("zero flag in version 2", l2(3, 1, small_qcow2(DISK, version=2)), "means nothing"),
    qcow2("the same compressed cluster twice", l2(3, entry(ZLIB, L2_AT, 4), ZLIB), "twice"),
    qcow2(
        "compressed clusters overlap",
        l2(3, packed_entry(entry(ZLIB, L2_AT, 2) % (1 << 61) + 3, 40), ZLIB),
        "twice|no compressed cluster",
    ),
    qcow2("compressed cluster in a data cluster", l2(3, packed_entry(DATA_AT + 40, 100)), "twice|no compressed"),
    qcow2("compressed cluster in the L2 table", l2(3, packed_entry(L2_AT + 8, 100)), "no compressed cluster|twice"),
    qcow2("compressed cluster in the header", l2(3, packed_entry(8, 100), ZLIB), "no compressed cluster"),
    qcow2("compressed cluster beyond the file", l2(3, COMPRESSED | 1 << 40, ZLIB), "refers to byte"),
    qcow2("compressed cluster of noise", replaced(ZLIB, DATA_AT, b"\xff" * 20), "no compressed cluster"),
    qcow2("deflate that unpacks to less", repacked(deflated(DISK[:100]), ZLIB), "no compressed cluster"),
    qcow2("zstd that unpacks to noise", replaced(ZSTD, DATA_AT + 4, b"\xff" * 8), "no compressed cluster"),
    qcow2("a million compressed clusters before their data", tables_bomb(), "compressed", size=1 << 30, cpu=45.0),
]

CASES = [*HEADERS, *TABLES]
