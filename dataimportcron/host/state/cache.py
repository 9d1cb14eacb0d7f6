"""Records as they were last read, so that a look at a thousand objects reads what changed and no more.

Every write of a record is a rename into its folder, which moves the folder's time of modification: a folder that has
not moved needs no look at its files. What is returned is shared by all readers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dataimportcron.api.types import Resource
from dataimportcron.host.state.records import Head, Record, Stamp, has_stamp, stamp_from, stamp_of

_FINE, _COARSE = 100_000_000, 2_000_000_000
"""Nanoseconds. The clock of files stands still for milliseconds, on some file systems for a second or two: what was
modified so recently may be modified again without looking so."""

_WHOLE = 1_000_000
"""Nanoseconds of which a stamp of a coarse clock is a multiple; one of a fine clock almost never is."""


@dataclass(slots=True)
class Cached:
    """The head of a record, and its object; the record itself is kept only until somebody has asked for the object."""

    head: Head
    stamp: Stamp
    _record: Record | None = None
    _resource: Resource | None = None

    @property
    def is_read(self) -> bool:
        """Whether the object is there already."""
        return self._resource is not None

    @property
    def resource(self) -> Resource:
        """The object, shared: its models are immutable, and nobody changes the dictionaries and lists in them."""
        record = self._record  # read first: another thread gives it up as soon as it has made the object
        if self._resource is None:
            if record is None:
                raise AssertionError
            self._resource = record.resource()
            self._record = None
        return self._resource


@dataclass(slots=True)
class CachedFolder:
    """The records of a folder, ordered by name, and their objects once somebody has asked for all of them."""

    stamp: Stamp
    records: Sequence[Cached] = ()
    _resources: list[Resource] | None = None

    @property
    def is_read(self) -> bool:
        """Whether all objects are there already."""
        return self._resources is not None or all(cached.is_read for cached in self.records)

    @property
    def resources(self) -> list[Resource]:
        """The objects, shared, and the very same list each time."""
        if self._resources is None:
            self._resources = [cached.resource for cached in self.records]
        return self._resources


class RecordCache:
    """Records by file, and by folder."""

    def __init__(self) -> None:
        self._files: dict[str, Cached] = {}
        self._folders: dict[Path, CachedFolder] = {}

    def load(self, path: Path) -> Cached | None:
        """One record, None if it is not there."""
        try:
            return self._load(str(path), stamp_of(path))
        except FileNotFoundError:
            self.drop(path)
            return None

    def known(self, path: Path) -> Cached | None:
        """One record as `load` has it, if nothing must be read for it; else None."""
        cached = self._files.get(str(path))
        return cached if cached is not None and has_stamp(path, cached.stamp) else None

    def known_folder(self, path: Path) -> CachedFolder | None:
        """The records of a folder as `folder` has them, if nothing must be read for it; else None."""
        known = self._folders.get(path)
        return known if known is not None and has_stamp(path, known.stamp) else None

    def folder(self, path: Path) -> CachedFolder:
        """The records of a folder; none if it is not there."""
        moment = time.time_ns()
        try:
            stamp = stamp_of(path)
            known = self._folders.get(path)
            if known is not None and known.stamp == stamp:
                return known
            found = CachedFolder(stamp, self._read(path))
        except (FileNotFoundError, NotADirectoryError):
            return CachedFolder((0, 0, 0))
        if is_settled(stamp, moment):
            self._folders[path] = found
        else:
            self._folders.pop(path, None)
        return found

    def keep(self, path: Path, record: Record, resource: Resource) -> None:
        """A record that was just written, by the holder of the lock, and its object."""
        self._files[str(path)] = Cached(record.head(), stamp_of(path), None, resource)

    def drop(self, path: Path) -> None:
        """Forget one record: it is gone, or must surely be read."""
        self._files.pop(str(path), None)

    def _read(self, folder: Path) -> Sequence[Cached]:
        with os.scandir(folder) as entries:
            files = [(entry.name.removesuffix(".json"), entry) for entry in entries if entry.name.endswith(".json")]
        found = []
        for _, entry in sorted(files, key=lambda file: file[0]):
            # Paths would cost more than all the rest, for a thousand files.
            with suppress(FileNotFoundError):
                found.append(self._load(entry.path, stamp_from(entry.stat())))
        return found

    def _load(self, path: str, stamp: Stamp) -> Cached:
        cached = self._files.get(path)
        if cached is None or cached.stamp != stamp:
            record = Record.from_json(Path(path).read_bytes())
            cached = self._files[path] = Cached(record.head(), stamp, record)
        return cached


def is_settled(stamp: Stamp, moment: int) -> bool:
    """Whether what had this stamp at a moment, in nanoseconds, has another one when it is modified after that."""
    return moment - stamp[0] > (_FINE if stamp[0] % _WHOLE else _COARSE)


def folders_of(path: Path) -> Iterator[Path]:
    """The folders in a folder, ordered by name; none if it is not there."""
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return
    for name in names:
        yield path / name


def stamps_of(folders: Iterable[Path]) -> dict[str, Stamp]:
    """The stamps of folders of records, and where one was written just now those of its records: see `is_settled`."""
    moment = time.time_ns()
    stamps: dict[str, Stamp] = {}
    for folder in folders:
        with suppress(FileNotFoundError):
            stamps[str(folder)] = stamp = stamp_of(folder)
            if not is_settled(stamp, moment):
                stamps |= _stamps_in(folder)
    return stamps


def _stamps_in(folder: Path) -> Iterator[tuple[str, Stamp]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".json"):
                with suppress(FileNotFoundError):
                    yield entry.path, stamp_from(entry.stat())
