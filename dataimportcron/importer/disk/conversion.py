"""A qcow2 image becomes a raw disk while it streams by: no copy of it is made, except of what comes too early.

An image is a row of clusters. Where the tables come before the clusters that they describe, as qemu-img writes them,
each cluster goes straight to its place. A cluster that comes while a table is still missing and that no table has named
yet is set aside in a spill file, at its own offset, and placed as soon as its table has come; so any order works. Each
cluster is used once: an image that uses one twice, or its own tables as data, is refused.

Where L2 entries are extended, a cluster is read as a whole, and its subclusters that hold no data are blanked before
it is written: what is zero is left out anyway.

Memory: a map of the clusters that are named and have not come (4 bytes each, 8 where only a part of their data counts),
one bit per cluster, and a window of a few clusters.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence

from dataimportcron.errors import InvalidImageError
from dataimportcron.importer.disk import qcow2
from dataimportcron.importer.disk.compressed import CompressedClusters, Ranges
from dataimportcron.importer.disk.writer import Disk, Spill
from dataimportcron.oci.streams import ByteStream

_RUN = 1 << 20
"""Bytes that are read, written or copied at once, where clusters follow each other."""
_PART = 8192
"""Clusters of one part of the map."""
_TABLE = 1 << 31
"""Marks a cluster in the map that is an L2 table; the rest is its number."""


class ClusterMap:
    """What the clusters of the file are for, as far as tables say: data of a guest cluster, or an L2 table."""

    def __init__(self, clusters: int) -> None:
        self._parts: dict[int, array[int]] = {}
        self._blanks: dict[int, array[int]] = {}
        self._used = bytearray(clusters // 8 + 1)

    def expect(self, cluster: int, purpose: int) -> None:
        """Note what a cluster is for.

        Raises:
            InvalidImageError: it is for something else already.
        """
        self.use(cluster)
        part = self._parts.get(cluster // _PART)
        if part is None:
            part = self._parts[cluster // _PART] = array("I", bytes(4 * _PART))
        part[cluster % _PART] = purpose + 1

    def purpose(self, cluster: int) -> int | None:
        """What it is for, None if that is not known."""
        part = self._parts.get(cluster // _PART)
        return part[cluster % _PART] - 1 if part is not None and part[cluster % _PART] else None

    def expect_blanks(self, cluster: int, mask: int) -> None:
        """Note which subclusters of a cluster that will come hold no data: a bit each."""
        part = self._blanks.get(cluster // _PART)
        if part is None:
            part = self._blanks[cluster // _PART] = array("I", bytes(4 * _PART))
        part[cluster % _PART] = mask

    def blanks(self, cluster: int, count: int) -> dict[int, int]:
        """Which of `count` clusters from this one on hold no data in some subclusters: their masks, by number."""
        found = {}
        for number in range(cluster, cluster + count) if self._blanks else ():
            part = self._blanks.get(number // _PART)
            if part is not None and part[number % _PART]:
                found[number] = part[number % _PART]
        return found

    def forget_before(self, cluster: int) -> None:
        """Clusters before this one have come."""
        self._parts.pop(cluster // _PART - 1, None)
        if self._blanks:
            self._blanks.pop(cluster // _PART - 1, None)

    def use(self, cluster: int) -> None:
        """Take a cluster.

        Raises:
            InvalidImageError: it is taken.
        """
        if self.used(cluster):
            raise InvalidImageError(f"the qcow2 image uses its cluster {cluster} twice")
        self._used[cluster // 8] |= 1 << cluster % 8

    def used(self, cluster: int) -> bool:
        """Whether it is taken."""
        return bool(self._used[cluster // 8] >> cluster % 8 & 1)


class Conversion:
    """One image on its way to one disk.

    Args:
        stream: stands at the first byte of the image.
        length: of the image, in bytes.
        disk: gets the result.
    """

    def __init__(self, stream: ByteStream, length: int, disk: Disk) -> None:
        self._stream = stream
        self._disk = disk
        self._header = qcow2.parse_header(stream.peek(min(length, qcow2.HEADER_LENGTH)), length)
        disk.begin(self._header.virtual_size, "qcow2")
        self._map = ClusterMap(self._header.clusters)
        self._spill = Spill(disk.folder, disk.spill_limit)
        self._compressed = CompressedClusters(self._header, disk, self._spill)
        self._at = 0
        self._missing_tables = 1

    @property
    def spilled(self) -> int:
        """Bytes that had to be set aside."""
        return self._spill.written

    def run(self) -> None:
        """Convert.

        Raises:
            InvalidImageError: the image contradicts itself.
        """
        header = self._header
        l1_end = -(-(header.l1_offset + 8 * header.l1_entries) // header.cluster_size)
        try:
            if header.l1_entries:
                self._pass(min(l1_end, header.clusters))
                self._read_l1(l1_end)
            else:
                self._missing_tables -= 1
            self._pass(header.clusters)
            self._compressed.finish()
        finally:
            self._spill.close()

    def _pass(self, end: int) -> None:
        """Pass all clusters up to this one."""
        while self._at < end:
            self._step(end)
            self._map.forget_before(self._at)

    def _step(self, end: int) -> None:
        """Pass the next cluster, or the next few that belong together, none of them behind `end`."""
        most = min(max(_RUN >> self._header.cluster_bits, 1), end - self._at)
        count = 1
        purpose = self._map.purpose(self._at)
        if purpose is None:
            while count < most and self._map.purpose(self._at + count) is None:
                count += 1
            first = self._at
            data = self._read(count)
            self._compressed.feed(data, first << self._header.cluster_bits, keep=self._missing_tables > 0)
            return
        self._compressed.flush(keep=self._missing_tables > 0)
        if purpose & _TABLE:
            data = self._read(1)
            self._missing_tables -= 1
            self._read_l2(purpose ^ _TABLE, data)
            return
        while count < most and self._map.purpose(self._at + count) == purpose + count:
            count += 1
        first = self._at
        self._place(self._read(count), first, purpose, self._map.blanks(first, count))

    def _place(self, data: bytes, first: int, guest: int, blanks: dict[int, int]) -> None:
        """Write clusters from `first` on to where `guest` begins, without the subclusters that `blanks` names."""
        if blanks:
            data = _without(data, first, blanks, self._header.cluster_size)
        self._disk.write(data, guest << self._header.cluster_bits)

    def _read(self, clusters: int) -> bytes:
        start = self._at << self._header.cluster_bits
        self._at += clusters
        return self._stream.read(min(clusters << self._header.cluster_bits, self._header.length - start))

    def _read_l1(self, end: int) -> None:
        """Take the L1 table, which has been spilled as everything before it."""
        header = self._header
        for cluster in range(header.l1_offset >> header.cluster_bits, end):
            self._map.use(cluster)
        table = array("Q", self._spill.read(8 * header.l1_entries, header.l1_offset))
        table.byteswap()
        self._missing_tables -= 1
        early = array("I")
        for number, entry in enumerate(table):
            if not entry & qcow2.OFFSET_MASK:
                continue
            cluster = qcow2.parse_offset(entry, header)
            if cluster >= self._at:
                self._map.expect(cluster, _TABLE | number)
                self._missing_tables += 1
            else:
                self._map.use(cluster)
                early.append(number)
        for number in early:
            offset = qcow2.parse_offset(table[number], header) << header.cluster_bits
            self._read_l2(number, self._spill.read(header.cluster_size, offset))

    def _read_l2(self, number: int, data: bytes) -> None:
        """Take an L2 table: name the clusters that will come, place those that have come."""
        header = self._header
        late: list[tuple[int, int]] = []
        compressed = Ranges()
        first = number * header.l2_entries
        table: Sequence[int] = struct.unpack(f">{header.cluster_size // 8}Q", data.ljust(header.cluster_size, b"\0"))
        blanks: dict[int, int] = {}
        late_blanks: dict[int, int] = {}
        if header.extended:
            table, blanks = qcow2.split_extended(table, first)
        for guest, entry in enumerate(table[: header.guest_clusters - first], first):
            if not entry:
                continue
            kind = qcow2.kind_of(entry, header)
            if kind is qcow2.Kind.COMPRESSED:
                compressed.append(entry, guest)
            elif kind is qcow2.Kind.DATA:
                cluster = qcow2.parse_offset(entry, header)
                if cluster >= self._at:
                    self._map.expect(cluster, guest)
                    if guest in blanks:
                        self._map.expect_blanks(cluster, blanks[guest])
                else:
                    self._compressed.check_unused(cluster)
                    self._map.use(cluster)
                    late.append((cluster, guest))
                    if guest in blanks:
                        late_blanks[cluster] = blanks[guest]
        for cluster, guest, count in _runs(late, max(_RUN >> header.cluster_bits, 1)):
            data = self._spill.read(count << header.cluster_bits, cluster << header.cluster_bits)
            self._place(data, cluster, guest, late_blanks)
        self._compressed.expect(compressed, self._at << header.cluster_bits)


def _without(data: bytes, first: int, blanks: dict[int, int], cluster_size: int) -> bytes:
    """Clusters from `first` on with zeros for the subclusters that hold no data."""
    blanked = bytearray(data)
    part = cluster_size // qcow2.SUBCLUSTERS
    for number in range(len(data) // cluster_size + 1):
        mask = blanks.get(first + number, 0)
        for subcluster in range(qcow2.SUBCLUSTERS) if mask else ():
            start = number * cluster_size + subcluster * part
            end = min(start + part, len(data))
            if mask >> subcluster & 1 and start < end:
                blanked[start:end] = bytes(end - start)
    return bytes(blanked)


def _runs(pairs: list[tuple[int, int]], most: int) -> Iterator[tuple[int, int, int]]:
    """Join pairs (cluster, guest) that follow each other in both: (cluster, guest, count), count at most `most`."""
    at = 0
    while at < len(pairs):
        cluster, guest = pairs[at]
        count = 1
        while count < most and at + count < len(pairs) and pairs[at + count] == (cluster + count, guest + count):
            count += 1
        yield cluster, guest, count
        at += count
