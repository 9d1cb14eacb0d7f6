"""What the importer is told and says, as another process needs it: on its standard output one JSON object per line.

The last line is the result, all others are progress. Both sides import this module, so it needs nothing but the
standard library, and it never fails on a line that is not ours: somebody else may write to the same pipe.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TypeVar

SUCCEEDED = "Succeeded"
FAILED = "Failed"
TERMINATED = "Terminated"
"""Reason of a failure: a signal has ended the importer."""

VOLUME = "volume:"
"""Begins a source that is a volume: a folder with a disk.img, a file or a block device."""
BLANK = "blank:"
"""A source that has no bytes."""


class Phase:
    """What the importer is busy with; constants, in the order in which they come."""

    RESOLVING = "Resolving"
    DOWNLOADING = "Downloading"
    CONVERTING = "Converting"
    COPYING = "Copying"
    SYNCING = "Syncing"
    COMPLETE = "Complete"


_PHASES = tuple(value for name, value in vars(Phase).items() if name.isupper())


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the import is; sizes are in bytes, 0 while unknown.

    Attributes:
        phase: one of `Phase`.
        bytes_read: compressed bytes that came from the source.
        bytes_total: compressed bytes that the image's layers have.
        bytes_written: bytes of data written to the target; holes do not count.
        virtual_size: size of the disk as a virtual machine sees it.
    """

    phase: str
    bytes_read: int = 0
    bytes_total: int = 0
    bytes_written: int = 0
    virtual_size: int = 0

    def to_json(self) -> str:
        """One line, without its end."""
        return _to_line({item.name: getattr(self, item.name) for item in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How the import ended; sizes are in bytes.

    Attributes:
        phase: `SUCCEEDED` or `FAILED`.
        digest: that of the source, as it was asked for or, for a tag, as it was resolved.
        manifest_digest: of the platform's manifest; the same as `digest` unless that is an index's.
        bytes_read: compressed bytes that came from the source; 0 where the target was complete already.
        bytes_written: bytes of data in the target, without its holes.
        virtual_size: size of the disk as a virtual machine sees it.
        format: of the disk inside the image: raw, qcow2, vmdk, vdi, vhd, vhdx or qed.
        env: the environment of the image's configuration.
        reason: of a failure: the CamelCase word of its class in `dataimportcron.errors`.
        message: of a failure: what was expected, what was found, and what to do.
        permanent: of a failure: the same call fails again until somebody changes something.
        retry_after: of a failure: seconds that the registry asked to wait, None where it did not.
    """

    phase: str
    digest: str = ""
    manifest_digest: str = ""
    bytes_read: int = 0
    bytes_written: int = 0
    virtual_size: int = 0
    format: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    message: str = ""
    permanent: bool = False
    retry_after: float | None = None

    @property
    def failed(self) -> bool:
        """Whether there is no usable target."""
        return self.phase != SUCCEEDED

    @property
    def exit_code(self) -> int:
        """0 done, 1 try again, 2 never."""
        if not self.failed:
            return 0
        return 2 if self.permanent else 1

    def to_json(self) -> str:
        """One line, without its end; only the members that belong to its phase."""
        names = _FAILURE_MEMBERS if self.failed else _SUCCESS_MEMBERS
        return _to_line({name: getattr(self, name) for name in names})


_SUCCESS_MEMBERS = (
    "phase",
    "digest",
    "manifest_digest",
    "bytes_read",
    "bytes_written",
    "virtual_size",
    "format",
    "env",
)
_FAILURE_MEMBERS = ("phase", "reason", "message", "permanent", "retry_after")

_T = TypeVar("_T", Progress, Result)


def parse_line(line: str) -> Progress | Result | None:
    """Read one line of the importer's output.

    Returns:
        None for a line that is neither progress nor a result. Unknown members are ignored: a newer importer may
        say more.
    """
    try:
        document = json.loads(line)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    phase = document.get("phase")
    if phase in (SUCCEEDED, FAILED):
        return _from_document(Result, document)
    if phase in _PHASES:
        return _from_document(Progress, document)
    return None


def _from_document(kind: type[_T], document: dict[str, object]) -> _T | None:
    values: dict[str, object] = {}
    for item in fields(kind):
        if (key := _key(item.name)) not in document:
            continue
        value = document[key]
        if not _is_like(item.name, value):
            return None
        values[item.name] = value
    return kind(**values)  # type: ignore[arg-type] # each value was checked by _is_like


def _is_like(name: str, value: object) -> bool:
    if name.startswith("bytes_") or name == "virtual_size":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if name == "env":
        return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
    if name == "permanent":
        return isinstance(value, bool)
    if name == "retry_after":
        return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
    return isinstance(value, str)


def _to_line(values: Mapping[str, object]) -> str:
    return json.dumps({_key(name): value for name, value in values.items()})


def _key(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
