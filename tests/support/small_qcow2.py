"""qcow2 images of some kilobytes, built by hand, so that a test can change each byte of them and know what it is.

cluster 0  header          cluster 3  L1 table
cluster 1  refcount table  cluster 4  L2 table
cluster 2  refcount block  cluster 5… data, or compressed clusters one behind the other
"""

from __future__ import annotations

import struct
import zlib

from backports import zstd

BITS = 9
CLUSTER = 1 << BITS
L1_AT, L2_AT, DATA_AT = 3 * CLUSTER, 4 * CLUSTER, 5 * CLUSTER
ENTRIES = CLUSTER // 8
"""Of a table; a disk has at most as many clusters."""
COPIED, COMPRESSED = 1 << 63, 1 << 62

FIELDS = {
    "version": (4, ">I"),
    "backing_offset": (8, ">Q"),
    "backing_size": (16, ">I"),
    "cluster_bits": (20, ">I"),
    "size": (24, ">Q"),
    "encryption": (32, ">I"),
    "l1_size": (36, ">I"),
    "l1_offset": (40, ">Q"),
    "refcount_offset": (48, ">Q"),
    "refcount_clusters": (56, ">I"),
    "snapshots": (60, ">I"),
    "snapshots_offset": (64, ">Q"),
    "incompatible": (72, ">Q"),
    "compatible": (80, ">Q"),
    "refcount_order": (96, ">I"),
    "header_length": (100, ">I"),
    "compression": (104, ">B"),
}
"""Of the header: where, and as what."""


def small_qcow2(disk: bytes, *, version: int = 3, compression: str = "") -> bytes:
    """A valid image.

    Args:
        disk: whole clusters, at most `ENTRIES` of them; those of zeros are left out.
        version: 2 or 3.
        compression: zlib or zstd; "" for none.
    """
    entries, data, counts = [], bytearray(), [1] * 5
    for at in range(0, len(disk), CLUSTER):
        cluster = disk[at : at + CLUSTER]
        if not cluster.strip(b"\0"):
            entries.append(0)
            continue
        offset = DATA_AT + len(data)
        packed = _packed(cluster, compression)
        if packed is None:
            offset += -offset % CLUSTER
            data += bytes(offset - DATA_AT - len(data)) + cluster
            entries.append(offset | COPIED)
        else:
            entries.append(packed_entry(offset, len(packed)))
            data += packed
        for number in range(offset // CLUSTER, (DATA_AT + len(data) - 1) // CLUSTER + 1):
            counts += [0] * (number + 1 - len(counts))
            counts[number] += 1
    data += bytes(-len(data) % CLUSTER)
    header = bytearray(CLUSTER)
    header[:4] = b"QFI\xfb"
    values = {"version": version, "cluster_bits": BITS, "size": len(disk), "l1_size": 1, "l1_offset": L1_AT}
    values |= {"refcount_offset": CLUSTER, "refcount_clusters": 1}
    if version > 2:
        values |= {"refcount_order": 4, "header_length": 112}
        values |= {"incompatible": 8, "compression": 1} if compression == "zstd" else {}
    tables = [(2 * CLUSTER,), (L2_AT | COPIED,), tuple(entries)]
    first, l1, l2 = (struct.pack(f">{len(table)}Q", *table).ljust(CLUSTER, b"\0") for table in tables)
    block = struct.pack(f">{len(counts)}H", *counts).ljust(CLUSTER, b"\0")
    return changed(bytes(header) + first + block + l1 + l2 + bytes(data), **values)


def changed(image: bytes, **fields: int) -> bytes:
    """The image with other values in its header."""
    found = bytearray(image)
    for name, value in fields.items():
        at, form = FIELDS[name]
        struct.pack_into(form, found, at, value)
    return bytes(found)


def with_entry(image: bytes, at: int, number: int, value: int) -> bytes:
    """The image with another entry in the table at byte `at`."""
    start = at + 8 * number
    return image[:start] + value.to_bytes(8, "big") + image[start + 8 :]


def entry(image: bytes, at: int, number: int) -> int:
    """An entry of the table at byte `at`."""
    return int.from_bytes(image[at + 8 * number : at + 8 * number + 8], "big")


def packed_entry(offset: int, length: int) -> int:
    """The L2 entry of a compressed cluster: where it is and how many bytes it has."""
    sectors = (offset + length - 1) // 512 - offset // 512
    return COMPRESSED | sectors << (62 - (BITS - 8)) | offset


def deflated(data: bytes) -> bytes:
    """Raw deflate, with a window of 4 KiB as QEMU has it."""
    packer = zlib.compressobj(wbits=-12)
    return packer.compress(data) + packer.flush()


def _packed(cluster: bytes, compression: str) -> bytes | None:
    if not compression:
        return None
    packed = deflated(cluster) if compression == "zlib" else zstd.compress(cluster)
    return packed if len(packed) < CLUSTER else None
