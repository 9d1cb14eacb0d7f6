"""What a person does to the files of the objects folder, taken in with care.

An object ends only when its file is absent in two scans two seconds apart, in the very folder that it was in, and that
folder can be read: an editor's rename or an unmounted folder is no deletion. A file is read only when two scans in a
row found it the same, so that one that is still being written is left alone; one that is no good leaves its object as
it was. No file stops a scan: what cannot be read is a problem, said and tried again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dataimportcron.api.documents import load_documents
from dataimportcron.api.validation import parse
from dataimportcron.errors import DataImportCronError, InvalidObjectError
from dataimportcron.host.records import Document, Record, Stamp, stamp_of
from dataimportcron.host.store import Store

ABSENT_FOR = timedelta(seconds=2)
"""How long a file must be absent before its object counts as deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A file or folder of objects that is no good; what was read from it before stays in force."""

    path: Path
    message: str


class Scanner:
    """Scans one state folder again and again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._absent: dict[Path, float] = {}
        self._seen: dict[Path, Stamp] = {}
        self._agreed: dict[Path, Stamp] = {}
        self._broken: dict[Path, tuple[Stamp, str]] = {}

    def scan(self, monotonic: float) -> Sequence[Problem]:
        """Take in what a person did since the last scan; returns what is no good, the same until it is mended.

        Args:
            monotonic: seconds of a clock that never jumps.
        """
        problems: dict[Path, str] = {}
        seen: dict[Path, Stamp] = {}
        for path in self._files(problems):
            try:
                seen[path] = stamp_of(path)
                if self._agreed.get(path) != seen[path]:
                    self._take_in(path, seen[path])
            except FileNotFoundError:
                continue
            except (OSError, DataImportCronError) as error:
                problems[path] = f"{path} cannot be taken in: {error}"
        self._seen = seen
        self._agreed = {path: stamp for path, stamp in self._agreed.items() if seen.get(path) == stamp}
        self._broken = {path: entry for path, entry in self._broken.items() if seen.get(path) == entry[0]}
        problems |= {path: message for path, (_, message) in self._broken.items()}
        self._look_for_absent(monotonic, problems)
        return [Problem(path=path, message=message) for path, message in sorted(problems.items())]

    def _files(self, problems: dict[Path, str]) -> list[Path]:
        try:
            return sorted(self._store.folder.glob("*/*/*.yaml"))
        except OSError as error:
            problems[self._store.folder] = f"{self._store.folder} cannot be read: {error.strerror}"
            return []

    def _take_in(self, path: Path, stamp: Stamp) -> None:
        known = self._store.record_of(path)
        if known is not None and tuple(known.stamp) == stamp:
            if known.problem:
                self._store.complain(path, "")
            self._agreed[path] = stamp
            return
        if self._seen.get(path) != stamp or path in self._broken:
            return
        try:
            document = self._read(path)
        except InvalidObjectError as error:
            self._broken[path] = (stamp, str(error))
            self._store.complain(path, str(error))
            return
        self._store.admit(path, document, stamp)

    def _read(self, path: Path) -> Document:
        try:
            documents = load_documents(path.read_text(encoding="utf-8"), source=str(path))
        except UnicodeDecodeError as error:
            raise InvalidObjectError(f"{path} is no UTF-8 text: {error.reason} at byte {error.start}") from error
        if len(documents) != 1:
            raise InvalidObjectError(f"{path} must hold one object, found {len(documents)}")
        resource = parse(documents[0], source=str(path))
        place = self._store.path_of(resource.kind, resource.metadata.namespace, resource.metadata.name)
        if place != path:
            raise InvalidObjectError(
                f"{path} holds {resource.kind} {resource.metadata.name}", hint=f"its place is {place}"
            )
        return documents[0]

    def _look_for_absent(self, monotonic: float, problems: dict[Path, str]) -> None:
        absent: dict[Path, float] = {}
        for record in self._store.records():
            path = self._store.file_of(record)
            if path in self._seen:
                continue
            try:
                if not _surely_absent(path, record):
                    continue
                absent[path] = self._absent.get(path, monotonic)
                if monotonic - absent[path] >= ABSENT_FOR.total_seconds():
                    self._store.end(record)
            except OSError as error:
                problems[path.parent] = f"{path.parent}: {error.strerror or error}; its objects are kept"
        self._absent = absent


def _surely_absent(path: Path, record: Record) -> bool:
    """Whether a file is not there.

    Raises:
        OSError: nobody can say: its folder cannot be read, or is another one than the file was in.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        # Perhaps it is the folder that is not there, which listing it says.
        absent = path.name not in os.listdir(path.parent)  # noqa: PTH208 -- names are all that is wanted
    else:
        return False
    if record.folder not in {0, path.parent.stat().st_ino}:
        raise OSError("the folder is another one than before, perhaps something is not mounted")
    return absent
