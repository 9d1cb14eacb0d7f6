"""Compressed clusters of a qcow2 image: byte ranges of any length, packed one behind the other.

Ranges that tables have named are unpacked as soon as their last byte has come. The bytes between them belong to nobody
yet: they are spilled while a table is missing. How long a range really is only its own data says (its entry counts
sectors), so what lies between is known to the byte, and nothing is kept twice.

Memory: 12 bytes per range that is named and has not come.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable

from dataimportcron.errors import InvalidImageError
from dataimportcron.importer.decompress import inflate
from dataimportcron.importer.disk import qcow2
from dataimportcron.importer.disk.writer import Disk, Spill

_MOST_PENDING = 1 << 22
"""Ranges that are named and have not come. qemu-img puts each table in front of its own clusters, so this would be
256 GiB of usual clusters with all tables in front."""


class Ranges:
    """Ranges as entries of one table name them: the entries themselves, and whose cluster of the guest each is."""

    def __init__(self) -> None:
        self.entries = array("Q")
        self.guests = array("I")

    def __len__(self) -> int:
        return len(self.entries)

    def append(self, entry: int, guest: int) -> None:
        """Add one."""
        self.entries.append(entry)
        self.guests.append(guest)


class PendingRanges:
    """Ranges that have not come, of any number of tables, in the order in which they will."""

    def __init__(self, header: qcow2.Header) -> None:
        self._header = header
        self._tables: list[tuple[int, int, int, Ranges]] = []
        self._added = 0
        self._waiting = 0

    def add(self, ranges: Ranges) -> None:
        """Add those of one table, in the order in which they come.

        Raises:
            InvalidImageError: there are too many.
        """
        if not ranges:
            return
        self._waiting += len(ranges)
        if self._waiting > _MOST_PENDING:
            raise InvalidImageError(
                f"the qcow2 image names more than {_MOST_PENDING} compressed clusters ahead of their data",
                hint="make it again: qemu-img convert -c -O qcow2 OLD NEW",
            )
        self._added += 1
        offset = qcow2.compressed_offset(ranges.entries[0], self._header)
        heapq.heappush(self._tables, (offset, self._added, 0, ranges))

    def next(self) -> tuple[int, int, int] | None:
        """Offset in the file, length at most and guest cluster of the first; None where there is none."""
        if not self._tables:
            return None
        _, _, at, ranges = self._tables[0]
        return *qcow2.parse_compressed(ranges.entries[at], self._header), ranges.guests[at]

    def pop(self) -> None:
        """The first has come."""
        _, table, at, ranges = self._tables[0]
        self._waiting -= 1
        at += 1
        if at == len(ranges):
            heapq.heappop(self._tables)
            return
        offset = qcow2.compressed_offset(ranges.entries[at], self._header)
        heapq.heapreplace(self._tables, (offset, table, at, ranges))


class CompressedClusters:
    """The ranges of one image."""

    def __init__(self, header: qcow2.Header, disk: Disk, spill: Spill) -> None:
        self._header = header
        self._unpack = _decoder(header)
        self._disk = disk
        self._spill = spill
        self._pending = PendingRanges(header)
        self._next: tuple[int, int, int] | None = None
        self._window = b""
        self._window_at = 0
        self._settled = 0
        self._taken = bytearray(header.clusters // 8 + 1)

    def expect(self, ranges: Ranges, passed: int) -> None:
        """Note ranges that a table names, and place those that have passed.

        Args:
            ranges: from one table.
            passed: bytes of the file that have been fed, or were something else.

        Raises:
            InvalidImageError: a range is no compressed cluster, or there are too many.
        """
        if not ranges:
            return
        ahead = Ranges()
        offsets = [qcow2.parse_compressed(entry, self._header)[0] for entry in ranges.entries]
        for number in sorted(range(len(ranges)), key=offsets.__getitem__):
            entry, guest = ranges.entries[number], ranges.guests[number]
            if offsets[number] >= passed:
                ahead.append(entry, guest)
            else:
                offset, length = qcow2.parse_compressed(entry, self._header)
                self._place(self._spill.read(min(length, passed - offset), offset), offset, guest)
        self._pending.add(ahead)
        self._next = self._pending.next()

    def feed(self, data: bytes, offset: int, *, keep: bool) -> None:
        """Take a cluster that is neither a table nor plain data.

        Args:
            data: the cluster.
            offset: of it in the file.
            keep: a table is still missing: spill what no range claims.
        """
        self._window = self._window[self._settled - self._window_at :] + data if self._window else data
        self._window_at = self._settled = offset + len(data) - len(self._window)
        self._settle(keep=keep, final=False)

    def flush(self, *, keep: bool) -> None:
        """What follows is not compressed data: settle all that has come."""
        self._settle(keep=keep, final=True)

    def finish(self) -> None:
        """The file has ended.

        Raises:
            InvalidImageError: a range is where something else was.
        """
        self._settle(keep=False, final=True)
        if self._next is not None:
            raise InvalidImageError(f"the qcow2 image uses byte {self._next[0]} twice")

    def check_unused(self, cluster: int) -> None:
        """Make sure that no range had bytes in a cluster of the file.

        Raises:
            InvalidImageError: one had.
        """
        if self._taken[cluster // 8] >> cluster % 8 & 1:
            raise InvalidImageError(f"the qcow2 image uses its cluster {cluster} twice")

    def _settle(self, *, keep: bool, final: bool) -> None:
        """Unpack what is complete, spill or drop what is between, keep the rest in the window."""
        end = self._window_at + len(self._window)
        while self._settled < end:
            offset, length, guest = self._next or (end, 0, 0)
            if offset > self._settled:
                until = min(offset, end)
                if keep:
                    between = self._window[self._settled - self._window_at : until - self._window_at]
                    self._spill.write(between, self._settled)
                self._settled = until
                continue
            if offset < self._settled:
                raise InvalidImageError(f"the qcow2 image uses byte {offset} twice")
            if offset + length > end and not final:
                return
            start = offset - self._window_at
            self._pending.pop()
            self._next = self._pending.next()
            self._settled += self._place(self._window[start : start + length], offset, guest)
            for cluster in {offset >> self._header.cluster_bits, (self._settled - 1) >> self._header.cluster_bits}:
                self._taken[cluster // 8] |= 1 << cluster % 8
        self._window = b""

    def _place(self, data: bytes, offset: int, guest: int) -> int:
        """Unpack a cluster to the disk; returns how many bytes it took."""
        unpacked = self._unpack(data, self._header.cluster_size)
        if unpacked is None:
            raise InvalidImageError(
                f"the qcow2 image has no compressed cluster at byte {offset}, though a table says so"
            )
        self._disk.write(unpacked[0], guest << self._header.cluster_bits)
        return unpacked[1]


def _decoder(header: qcow2.Header) -> Callable[[bytes, int], tuple[bytes, int] | None]:
    if not header.zstd:
        return inflate
    from dataimportcron.importer.zstd import unpack_cluster  # noqa: PLC0415 -- few images need it

    return unpack_cluster
