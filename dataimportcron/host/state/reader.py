"""The objects of a state folder as they are read. It never takes a lock: files are replaced whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from dataimportcron.api.types import Resource
from dataimportcron.errors import ObjectNotFoundError
from dataimportcron.host.state.cache import RecordCache, folders_of, stamps_of
from dataimportcron.host.state.folder import StateFolder
from dataimportcron.host.state.records import Head, Record, Stamp

R = TypeVar("R", bound=Resource)

DEFAULT_NAMESPACE = "default"
"""Kubernetes' namespace of objects that name none."""


class Reader:
    """All objects of one state folder."""

    def __init__(self, state: StateFolder) -> None:
        self._state = state
        self._objects, self._status = str(state.objects), str(state.status)
        self._cache = RecordCache()

    def get(self, kind: type[R], namespace: str, name: str) -> R:
        """Read one object; it is the caller's own.

        Raises:
            ObjectNotFoundError: there is none.
        """
        cached = self._cache.load(self._record_path(kind.__name__, namespace, name))
        if cached is None:
            raise ObjectNotFoundError(f"{kind.__name__} {namespace}/{name} does not exist")
        return cached.resource.model_copy(deep=True)  # type: ignore[return-value]  # the kind chooses the model

    def record(self, kind: type[Resource], namespace: str, name: str) -> Record:
        """Read one object's record, from its file.

        Raises:
            ObjectNotFoundError: there is none.
        """
        record = self._read(self._record_path(kind.__name__, namespace, name))
        if record is None:
            raise ObjectNotFoundError(f"{kind.__name__} {namespace}/{name} does not exist")
        return record

    def known_list(self, kind: type[R], namespace: str) -> Sequence[R] | None:
        """`list` of one namespace, if that must neither read a file nor wait; else None."""
        found = self._cache.known_folder(self._state.status / kind.__name__.lower() / namespace)
        return found.resources if found is not None and found.is_read else None  # type: ignore[return-value]  # as get

    def list(self, kind: type[R], namespace: str | None = None) -> Sequence[R]:
        """Read all objects of a kind, ordered by namespace and name; shared, so nobody changes them."""
        folder = self._state.status / kind.__name__.lower()
        if namespace:
            return self._cache.folder(folder / namespace).resources  # type: ignore[return-value]  # as in get
        found = (self._cache.folder(path).resources for path in folders_of(folder))
        return list(chain.from_iterable(found))  # type: ignore[arg-type]  # as in get

    def known(self, kind: type[R], namespace: str, name: str) -> R | None:
        """`get`, if that must neither read a file nor wait; else None. It looks at the file's stamp and no more."""
        cached = self._cache.known(self._record_path(kind.__name__, namespace, name))
        return cached.resource if cached is not None and cached.is_read else None  # type: ignore[return-value]  # as get

    def heads(self) -> Iterator[Head]:
        """The heads of all records, of all kinds; shared."""
        for folder in self._folders():
            for cached in self._cache.folder(folder).records:
                yield cached.head

    def stamps(self) -> dict[str, Stamp]:
        """Stamps of the folders of records: two that differ mean that something was written in between.

        Where a folder was written just now, the next write may leave its stamp as it is; so its records' are there too.
        """
        return stamps_of(self._folders())

    def _folders(self) -> Iterator[Path]:
        for kind in folders_of(self._state.status):
            yield from folders_of(kind)

    def head_of(self, path: Path) -> Head | None:
        """The head of the record that belongs to a file in the objects folder, shared."""
        cached = self._cache.load(self._record_of(path))
        return cached.head if cached else None

    def deletions(self) -> Sequence[Resource]:
        """Objects that are gone, and whose end is not done yet."""
        return self._cache.folder(self._state.deleted).resources

    # -- files -------------------------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The objects folder, where people's files are."""
        return self._state.objects

    def path_of(self, kind: str, namespace: str, name: str) -> Path:
        """Where the file of an object belongs."""
        return Path(self.place_of(kind, namespace, name))

    def place_of(self, kind: str, namespace: str, name: str) -> str:
        """`path_of`, for whoever looks at thousands."""
        return f"{self._objects}/{kind.lower()}/{namespace or DEFAULT_NAMESPACE}/{name}.yaml"

    def file_of(self, head: Head) -> Path:
        """The file of an object: the one of a manifest folder that it comes from, or its own."""
        return Path(head.origin or self.path_of(head.kind, head.namespace, head.name))

    def _read(self, path: Path) -> Record | None:
        """The record as it surely is, for whoever holds the lock, who may change it.

        Not from the cache: stamps are coarse, and inodes are used again.
        """
        self._cache.drop(path)
        try:
            return Record.from_json(path.read_bytes())
        except FileNotFoundError:
            return None

    def _record_path(self, kind: str, namespace: str, name: str) -> Path:
        return Path(f"{self._status}/{kind.lower()}/{namespace or DEFAULT_NAMESPACE}/{name}.json")

    def _record_of(self, path: Path) -> Path:
        return self._state.status / path.parent.parent.name / path.parent.name / f"{path.stem}.json"
