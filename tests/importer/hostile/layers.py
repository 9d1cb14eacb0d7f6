"""Layers that lie: what is no gzip, zstd or tar, and what is one to exhaust or to deceive its reader."""

from __future__ import annotations

import gzip
import struct
import tarfile
from collections.abc import Callable
from typing import Any

from backports import zstd

from tests.importer.hostile.case import MIB, Case, Source, good_tar, image, layer

END = bytes(1024)
GOOD = good_tar()


def member(name: str, kind: bytes = b"0", size: int = 0, data: bytes = b"", **more: Any) -> bytes:
    """A header and what follows it; `size` may lie."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size or len(data)
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def patched(at: int, value: bytes, tar: bytes = GOOD) -> bytes:
    """The tar with other bytes in its first header, whose checksum is right."""
    header = bytearray(tar[:512])
    header[at : at + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + tar[512:]


def pax(*records: tuple[str, str], kind: bytes = b"x") -> bytes:
    """An extended header of these records."""
    return member("pax", kind, data=b"".join(record(key, value) for key, value in records))


def record(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode()
    length = len(rest)
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return str(length).encode() + rest


def raw_pax(data: bytes) -> bytes:
    return member("pax", b"x", data=data)


def tar(name: str, data: bytes, says: str, **more: Any) -> Case:
    """A case of a tar as it is."""
    return Case(name=f"tar: {name}", source=layer(data), says=says, **more)


def packed_tar(name: str, make: Callable[[], bytes], says: str, **more: Any) -> Case:
    """A case of a tar that is large, but not packed; made when it is needed."""

    def source(*where: Any) -> str:
        data = make()
        return layer(gzip.compress(data, 1, mtime=0), data)(*where)

    return Case(name=f"tar: {name}", source=source, says=says, **more)


def wrapped(name: str, source: Source, says: str, **more: Any) -> Case:
    """A case of a compression."""
    return Case(name=f"layer: {name}", source=source, says=says, **more)


SMALL = "VolumeTooSmall"
# The beginning of a tar whose disk is of 1 TiB, and has only zeros as far as it goes.
ENDLESS = member("disk/disk.img", size=1 << 40) + bytes(MIB)
PACKED, FRAME = gzip.compress(GOOD, mtime=0), zstd.compress(GOOD)
# A window of 2^31 bytes; then one raw block, the last.
WIDE_FRAME = b"\x28\xb5\x2f\xfd\x00\xa8" + (1 | 16 << 3).to_bytes(3, "little") + bytes(16)
BESIDE = GOOD[:-1024] + member("etc/zeros", size=1 << 33)
# 64 MiB of zeros each.
ZEROS_GZIP = gzip.compress(bytes(64 * MIB), 6, mtime=0)
ZEROS_ZSTD = zstd.compress(bytes(64 * MIB))
NOTHING_GZIP, NOTHING_ZSTD = gzip.compress(b"", mtime=0), zstd.compress(b"")
SKIPPABLE = struct.pack("<II", 0x184D2A50, 0)

COMPRESSIONS = [
    wrapped("bzip2", layer(b"BZh9" + bytes(600), GOOD), "compressed by bzip2"),
    wrapped("xz", layer(b"\xfd7zXZ\0" + bytes(600), GOOD), "compressed by xz"),
    wrapped("lz4", layer(b"\x04\x22\x4d\x18" + bytes(600), GOOD), "compressed by lz4"),
    wrapped("gzip, truncated", layer(PACKED[:-9], GOOD), "truncated"),
    wrapped("gzip, nothing but a header", layer(PACKED[:10], GOOD), "truncated"),
    wrapped("gzip, garbage behind it", layer(PACKED + b"garbage", GOOD), "gzip"),
    wrapped("gzip, zeros behind it", layer(PACKED + bytes(512), GOOD), "gzip"),
    wrapped("gzip, wrong checksum", layer(PACKED[:-8] + bytes(4) + PACKED[-4:], GOOD), "checksum"),
    wrapped("gzip, wrong length", layer(PACKED[:-4] + bytes(4), GOOD), "gzip"),
    wrapped("gzip, reserved block type", layer(PACKED[:10] + b"\x07" + PACKED[11:], GOOD), "gzip"),
    wrapped("zstd, truncated", layer(FRAME[:-3], GOOD), "truncated"),
    wrapped("zstd, garbage behind it", layer(FRAME + b"garbage", GOOD), "zstd"),
    wrapped("zstd, a skippable frame without end", layer(FRAME + struct.pack("<II", 0x184D2A50, 99), GOOD), "trunc"),
    wrapped("zstd, a window of 2 GiB", layer(WIDE_FRAME, GOOD), "zstd"),
    wrapped("zstd, reserved bits", layer(FRAME[:4] + bytes([FRAME[4] | 8]) + FRAME[5:], GOOD), "zstd"),
    wrapped("another diff_id", layer(PACKED, GOOD + END), "diff_id", reason="DigestMismatch"),
    wrapped("gzip bomb as the disk", layer(gzip.compress(ENDLESS) + ZEROS_GZIP), "larger", reason=SMALL),
    wrapped("zstd bomb as the disk", layer(zstd.compress(ENDLESS) + ZEROS_ZSTD), "larger", reason=SMALL),
    wrapped("gzip bomb beside the disk", layer(gzip.compress(BESIDE) + ZEROS_GZIP), "more than", low_limits=True),
    wrapped("zstd bomb beside the disk", layer(zstd.compress(BESIDE) + ZEROS_ZSTD), "more than", low_limits=True),
    wrapped("gzip bomb behind the tar", layer(gzip.compress(GOOD) + ZEROS_GZIP), "more than", low_limits=True),
    wrapped(
        "gzip bomb of a hundred members",
        layer(gzip.compress(BESIDE) + gzip.compress(bytes(MIB), mtime=0) * 100),
        "more than",
        low_limits=True,
    ),
    wrapped(
        "zstd bomb of a hundred frames",
        layer(zstd.compress(BESIDE) + zstd.compress(bytes(MIB)) * 100),
        "more than",
        low_limits=True,
    ),
    wrapped("gzip, 200000 empty members", layer(NOTHING_GZIP * 200_000), "10000 gzip members", low_limits=True),
    wrapped("zstd, 200000 empty frames", layer(NOTHING_ZSTD * 200_000), "10000 zstd frames", low_limits=True),
    wrapped("zstd, 200000 skippable frames", layer(SKIPPABLE * 200_000), "10000 zstd frames", low_limits=True),
    wrapped("no layer", image(), "found nothing"),
    wrapped("no tar", layer(b"\x7fELF" + bytes(1020)), "none of a tar"),
    wrapped("nothing", layer(b""), "found nothing"),
]

LINK = {"linkname": "/etc/shadow"}
DISK = "disk/disk.img"
GONE = member("disk/.wh.disk.img") + END
NAMES = [
    tar("absolute name", member("/disk/disk.img", data=b"x") + END, "absolute"),
    tar("name with ..", member("disk/../../etc/x", data=b"x") + END, "leads out"),
    tar("absolute name in a PAX header", pax(("path", "/disk/x")) + GOOD, "absolute"),
    tar("name with .. in a PAX header", pax(("path", "disk/../../x")) + GOOD, "leads out"),
    tar("name with .. in a GNU header", member("x", b"L", data=b"disk/../x\0") + GOOD, "leads out"),
    tar("name with .. in its prefix", patched(345, b"../..", GOOD.replace(b"ustar  \0", b"ustar\x0000")), "leads out"),
    tar("name with a zero byte", pax(("path", "disk/a\0b")) + GOOD, "leads out"),
    tar(
        "two disks, a name with control characters",
        pax(("path", "disk/\x1b[2J\u202e\n")) + GOOD[:-1024] + GOOD,
        "exactly one file",
    ),
    tar("name of 5000 bytes", pax(("path", "d/" * 2500 + "x")) + GOOD, "longer than that of any file"),
    tar("name whose part has 256 bytes", pax(("path", "disk/" + "ü" * 128)) + GOOD, "longer than that of any file"),
    tar("name given by two headers", pax(("path", "disk/a")) + member("x", b"L", data=b"disk/b\0") + GOOD, "twice"),
    tar("name given twice by one header", pax(("path", "disk/a"), ("path", "disk/b")) + GOOD, "twice"),
    tar("symbolic link as the disk", member(DISK, b"2", **LINK) + END, "symbolic link"),
    tar("hard link as the disk", member(DISK, b"1", **LINK) + END, "hard link"),
    tar("symbolic link as the folder", member("disk", b"2", linkname="/etc") + GOOD, "symbolic link"),
    tar("character device as the disk", member(DISK, b"3", devmajor=1, devminor=1) + END, "character device"),
    tar("block device as the disk", member(DISK, b"4", devmajor=8) + END, "block device"),
    tar("FIFO as the disk", member(DISK, b"6") + END, "FIFO"),
    tar("folder as the disk", member(DISK, b"5") + END, "directory"),
    tar("folder with bytes", member("disk/disk.img/", b"0", data=b"x" * 512) + END, "folder .* has 512 bytes"),
    tar("file as the folder", member("disk", data=b"x") + END, "/disk is a file"),
    tar("unknown kind of member as the disk", member(DISK, b"V", data=b"x") + END, "unknown member"),
    tar("several disks", member("disk/a", data=b"x") + member("disk/b", data=b"x") + END, r"a \(file\), b \(file\)"),
    tar("no disk", member("etc/passwd", data=b"x") + END, "found nothing"),
    tar("empty disk", member(DISK) + END, "empty file"),
    tar("disk beside a folder", member("disk/sub/x", data=b"x") + GOOD, "sub .directory"),
    Case(
        name="tar: disk removed by a whiteout",
        source=image((GOOD, GOOD), (GONE, GONE)),
        says="found nothing",
    ),
]

SIZES = [
    tar("negative size", patched(124, b"-0000000005\0"), "no number"),
    tar("negative size in base 256", patched(124, b"\xff" * 12), "no number"),
    tar("size 2^88 - 1 of the disk", patched(124, b"\x80" + b"\xff" * 11), "larger", reason=SMALL),
    tar("size 2^88 - 1 beside the disk", patched(124, b"\x80" + b"\xff" * 11, member("x") + GOOD), "truncated"),
    tar("size that is text", patched(124, b"0x000000200\0"), "no number"),
    tar("size larger than the layer", member(DISK, size=MIB) + bytes(512), "truncated"),
    tar("size in a PAX header, larger", pax(("size", "99999")) + GOOD, "truncated"),
    tar("size in a PAX header, 0", pax(("size", "0")) + GOOD, "empty file"),
    tar("size in a PAX header, smaller", pax(("size", "1")) + member(DISK, data=b"x" * 999) + END, "no number|none of"),
    tar("size in a PAX header, negative", pax(("size", "-1")) + GOOD, "no number"),
    tar("size in a PAX header, a fraction", pax(("size", "512.5")) + GOOD, "no number"),
    tar("size in a PAX header, 2^64", pax(("size", str(1 << 64))) + GOOD, "no number"),
    tar("size in a PAX header, a billion digits", pax(("size", "9" * 4000)) + GOOD, "no number"),
    tar("size in other digits", pax(("size", "\uff15\uff11\uff12")) + GOOD, "no number"),
    tar("sizes of two PAX headers", pax(("size", "512")) + pax(("size", "0")) + GOOD, "twice"),
    tar("sparse file of old GNU tar", patched(156, b"S"), "sparse"),
    tar("sparse file of PAX 0.0", pax(("GNU.sparse.size", "9"), ("GNU.sparse.numblocks", "1")) + GOOD, "sparse"),
    tar("sparse file of PAX 0.1", pax(("GNU.sparse.map", "0,512"), ("GNU.sparse.size", "9")) + GOOD, "sparse"),
    tar("sparse file of PAX 1.0", pax(("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")) + GOOD, "sparse"),
    tar("wrong checksum", GOOD[:150] + b"7" + GOOD[151:], "none of a tar"),
    tar("checksum that is text", GOOD[:148] + b"checksum" + GOOD[156:], "no number"),
    tar("half a header", GOOD[:300], "truncated"),
    tar("half a disk", GOOD[:700], "truncated"),
]

LINK_IN_DISK = member("disk/" + "n" * 90, b"2")

EXTENSIONS = [
    tar("PAX header without end", member("pax", b"x", size=1 << 40), "extended header of"),
    tar("PAX header of more than 1 MiB", pax(("comment", "x" * MIB)) + GOOD, "extended header of"),
    tar("GNU name of more than 1 MiB", member("x", b"L", data=b"n" * (MIB + 1)) + GOOD, "extended header of"),
    tar("GNU name of 1 MiB", member("x", b"L", data=b"n" * MIB) + GOOD, "longer than that of any file"),
    tar("PAX header whose length lies", raw_pax(b"999 path=disk/x\n") + GOOD, "PAX header that is none"),
    tar("PAX header of length 0", raw_pax(b"0 path=disk/x\n") + GOOD, "PAX header that is none"),
    tar("PAX header of negative length", raw_pax(b"-9 path=disk/x\n") + GOOD, "PAX header that is none"),
    tar("PAX header of a huge length", raw_pax(b"9" * 19 + b" path=disk/x\n") + GOOD, "PAX header that is none"),
    tar("PAX header without =", raw_pax(b"9 path x\n") + GOOD, "PAX header that is none"),
    tar("PAX header of noise", raw_pax(b"\xff" * 512) + GOOD, "PAX header that is none"),
    tar("PAX header for all entries", pax(("path", "disk/x"), kind=b"g") + GOOD, "global PAX header"),
    packed_tar("a thousand PAX headers", lambda: pax(("path", "disk/x")) * 1000 + GOOD, "twice"),
    packed_tar(
        "a thousand PAX headers of 1 MiB",
        lambda: pax(*((f"key{number}", "x" * 90) for number in range(10_000))) * 64 + GOOD,
        "bytes of extended headers",
        cpu=12.0,
    ),
    packed_tar(
        "40 MiB of PAX records of five bytes", lambda: raw_pax(b"5 a=\n" * 200_000) * 40 + GOOD, "extended", cpu=45.0
    ),
    packed_tar("a million entries", lambda: member("usr/x") * 1_000_000 + GOOD, "entries", cpu=45.0),
    packed_tar(
        "a million names in /disk",
        lambda: b"".join(patched(5, b"%06d" % number, LINK_IN_DISK) for number in range(20_000)) * 50 + GOOD,
        "exactly one file, found more than",
    ),
]
CASES = [*COMPRESSIONS, *NAMES, *SIZES, *EXTENSIONS]
