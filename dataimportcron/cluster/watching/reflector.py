"""A copy of a kind's objects that follows the API server.

It lists once and watches from there. A watch that ends goes on where it was; only a resourceVersion that the server no
longer knows makes it list anew, and then the difference is what is told, nothing else. What we write ourselves is in
the copy before the watch brings it.

resourceVersions of one kind are compared as integers, as Kubernetes guarantees since 1.35 (KEP-5504). A server whose
versions are no integers is believed in the order in which it speaks.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import Final, Generic, Protocol, TypeVar

from dataimportcron.cluster.client.connection import Listing
from dataimportcron.cluster.client.resources import Json
from dataimportcron.errors import DataImportCronError, ExpiredVersionError, NotServedError

T = TypeVar("T")

logger = logging.getLogger(__name__)

_BACKOFF: Final = (0.2, 30.0)
"""Seconds between two tries, first and most; each is drawn from the upper half."""
_UNSERVED: Final = 5.0
"""Seconds at most between two tries where the kind is not served: a CRD may come at any time."""
_BRIEF: Final = 1.0
"""Seconds; a watch that ends sooner counts as a failure, or a server that cuts each would be asked without end."""
_PATIENCE: Final = 10
"""Failures in a row after which all is listed anew: a server that was restored knows nothing of our version."""


class Stream(Protocol):
    """Where objects come from: one kind, of one namespace or of all."""

    async def snapshot(self) -> Listing:
        """All of them."""
        ...

    def watch(self, resource_version: str) -> AsyncGenerator[tuple[str, Json], None]:
        """What happens to them from then on."""
        ...


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """An object as it was and as it is; None where it was not, or is not any more."""

    old: T | None
    new: T | None


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    uid: str
    version: str
    value: T


class Reflector(Generic[T]):
    """The objects of one kind.

    Args:
        name: of the kind, for a person.
        stream: where they come from.
        parse: makes what is kept of an object; None leaves it out, ValueError says that it cannot be read.
        tell: is called with each change, in order, and must not wait.
    """

    def __init__(
        self,
        name: str,
        stream: Stream,
        parse: Callable[[Json], T | None],
        tell: Callable[[Change[T]], None] = lambda _: None,
    ) -> None:
        self._name = name
        self._stream = stream
        self._parse = parse
        self._tell = tell
        self._entries: dict[tuple[str, str], _Entry[T]] = {}
        self._unreadable: dict[tuple[str, str], str] = {}
        self._deleted: set[str] = set()
        self._version = ""
        self._outdated = True
        self._synced = asyncio.Event()
        self._answered = asyncio.Event()
        self._problem = ""
        self.lists = 0

    # -- reading -----------------------------------------------------------------------------------------------------

    def get(self, namespace: str, name: str) -> T | None:
        """One object, as far as it is known here."""
        entry = self._entries.get((namespace, name))
        return entry.value if entry else None

    def list(self, namespace: str | None = None) -> list[T]:
        """All objects of a namespace, or of all, ordered by namespace and name."""
        return [
            entry.value for place, entry in sorted(self._entries.items()) if namespace is None or place[0] == namespace
        ]

    @property
    def is_synced(self) -> bool:
        """Whether all objects have been read once."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Wait until all objects have been read once."""
        await self._synced.wait()

    async def wait_read(self) -> None:
        """Wait until all objects have been read once, or the server has said that it does not serve the kind."""
        await self._answered.wait()

    @property
    def problem(self) -> str:
        """What keeps the copy from being followed just now, in one sentence; "" for nothing."""
        return self._problem

    @property
    def unreadable(self) -> int:
        """Objects that are there and that we cannot read."""
        return len(self._unreadable)

    # -- our own writes ----------------------------------------------------------------------------------------------

    def saw(self, document: Json) -> None:
        """Take in an object as the server has just answered with it."""
        metadata = document["metadata"]
        place, version = _place(document), metadata["resourceVersion"]
        known = self._entries.get(place)
        if metadata["uid"] in self._deleted:
            return
        # What is not in the copy and not newer than what the watch has told is of an object that has gone meanwhile.
        newest = known.version if known else self._version
        if newest and _is_newer(newest, version) is False:
            return
        self._put(place, document)

    def saw_deleted(self, namespace: str, name: str, uid: str) -> None:
        """Take in that an object has been deleted, before the watch says so."""
        entry = self._entries.get((namespace, name))
        if entry is not None and entry.uid == uid:
            self._deleted.add(uid)
            self._drop((namespace, name))

    # -- following ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the server until cancelled."""
        failures = 0
        while True:
            began = monotonic()
            try:
                if self._outdated:
                    await self._list()
                    self._solved()
                await self._watch()
                failed = monotonic() - began < _BRIEF
            except ExpiredVersionError as error:
                logger.info("%s are listed anew: %s", self._name, error)
                self._outdated = failed = True
            except (DataImportCronError, ValueError, KeyError, TypeError) as error:
                failed = True
                if isinstance(error, NotServedError):
                    self._answered.set()
                self._complain(error)
            lasted = monotonic() - began > _BACKOFF[1]
            failures = 0 if not failed else 1 if lasted else failures + 1
            if failures and failures % _PATIENCE == 0:
                self._outdated = True
            if failures:
                await asyncio.sleep(self._delay(failures))

    async def _list(self) -> None:
        listing = await self._stream.snapshot()
        self.lists += 1
        uids = {item["metadata"]["uid"] for item in listing.items}
        self._deleted &= uids
        items = {_place(item): item for item in listing.items if item["metadata"]["uid"] not in self._deleted}
        # A server that was set back to an earlier state has lost what is newer; else our own writes may be newer.
        set_back = bool(self._version) and _is_newer(listing.resource_version, self._version) is True
        for place, entry in list(self._entries.items()):
            if place not in items and (set_back or _is_newer(listing.resource_version, entry.version) is not True):
                self._drop(place)
        for place, item in items.items():
            known = self._entries.get(place)
            if known is None or set_back or _is_newer(known.version, item["metadata"]["resourceVersion"]) is not False:
                self._put(place, item)
        self._unreadable = {place: version for place, version in self._unreadable.items() if place in items}
        self._version, self._outdated = listing.resource_version, False
        self._synced.set()
        self._answered.set()

    async def _watch(self) -> None:
        async with aclosing(self._stream.watch(self._version)) as events:
            async for event, document in events:
                self._solved()
                if event != "BOOKMARK":
                    self._take(event, document)
                self._version = document["metadata"]["resourceVersion"]

    def _take(self, event: str, document: Json) -> None:
        place, uid = _place(document), document["metadata"]["uid"]
        known = self._entries.get(place)
        if event == "DELETED":
            self._deleted.discard(uid)
            self._unreadable.pop(place, None)
            if known is not None and known.uid == uid:
                self._drop(place)
        elif uid not in self._deleted:
            version = document["metadata"]["resourceVersion"]
            if known is None or _is_newer(known.version, version) is not False:
                self._put(place, document)

    def _put(self, place: tuple[str, str], document: Json) -> None:
        metadata = document["metadata"]
        known = self._entries.get(place)
        try:
            value = self._parse(document)
        except ValueError as error:
            self._skip(place, metadata["resourceVersion"], error)
            return
        self._unreadable.pop(place, None)
        if value is None:
            self._drop(place)
            return
        if known is not None and known.version == metadata["resourceVersion"]:
            return
        self._entries[place] = _Entry(metadata["uid"], metadata["resourceVersion"], value)
        if known is not None and known.uid != metadata["uid"]:
            self._tell(Change(known.value, None))
            known = None
        self._tell(Change(known.value if known else None, value))

    def _drop(self, place: tuple[str, str]) -> None:
        entry = self._entries.pop(place, None)
        if entry is not None:
            self._tell(Change(entry.value, None))

    def _skip(self, place: tuple[str, str], version: str, error: ValueError) -> None:
        """One object that nobody can read must not stop the others; it stays as it was last read."""
        if self._unreadable.get(place) != version:
            logger.warning("%s %s cannot be read and is left alone: %s", self._name, "/".join(place), error)
        self._unreadable[place] = version

    # -- trouble -----------------------------------------------------------------------------------------------------

    def _delay(self, failures: int) -> float:
        first, most = _BACKOFF
        delay: float = min(most, first * 2 ** min(failures, _PATIENCE))
        if self._problem.startswith(NotServedError.reason):
            delay = min(delay, _UNSERVED)
        return delay * random.uniform(0.5, 1.0)  # noqa: S311 -- to spread load, not to keep a secret

    def _complain(self, error: Exception) -> None:
        problem = f"{getattr(error, 'reason', type(error).__name__)}: {error}"
        if problem != self._problem:
            logger.warning("%s are not followed just now: %s", self._name, error)
        self._problem = problem

    def _solved(self) -> None:
        if self._problem:
            logger.info("%s are followed again", self._name)
        self._problem = ""


def _place(document: Json) -> tuple[str, str]:
    metadata = document["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _is_newer(known: str, other: str) -> bool | None:
    """Whether `other` is newer than `known`; None where versions cannot be compared."""
    if not (known.isdecimal() and other.isdecimal()):
        return None
    return int(other) > int(known)
