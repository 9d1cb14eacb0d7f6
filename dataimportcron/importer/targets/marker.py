"""What a complete target holds, written last and in a file of its own: without it, whatever is there is no disk."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dataimportcron.importer.targets.storage import sync_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """What a complete target holds.

    Attributes:
        digest: the source's, as it was asked for.
        manifest_digest: of the platform's manifest.
        platform: that was asked for, "" for the source's default.
        size: of the volume, in bytes; a file is as large.
        virtual_size: of the disk in it, in bytes.
        written: bytes of data, without holes.
        format: that the disk had in the image.
        env: the environment of the image's configuration.
        head: what a block device began with, see `BlockTarget`; "" for a file.
    """

    digest: str
    manifest_digest: str
    platform: str
    size: int
    virtual_size: int
    written: int
    format: str
    env: Mapping[str, str] = field(default_factory=dict)
    head: str = ""

    def to_json(self) -> str:
        """The marker file's content."""
        return json.dumps(
            {
                "digest": self.digest,
                "manifestDigest": self.manifest_digest,
                "platform": self.platform,
                "size": self.size,
                "virtualSize": self.virtual_size,
                "bytes": self.written,
                "format": self.format,
                "env": dict(self.env),
                "head": self.head,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Marker | None:
        """Read a marker file; None for one that is not whole, which is as good as none."""
        try:
            document = json.loads(text)
            return cls(
                digest=str(document["digest"]),
                manifest_digest=str(document["manifestDigest"]),
                platform=str(document["platform"]),
                size=int(document["size"]),
                virtual_size=int(document["virtualSize"]),
                written=int(document["bytes"]),
                format=str(document["format"]),
                env={str(key): str(value) for key, value in document["env"].items()},
                head=str(document.get("head", "")),
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


class MarkerFile:
    """The file of a marker.

    Args:
        path: of it; None for a target of which nothing is recorded, which is never found complete.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self) -> Marker | None:
        """The marker, None if there is none."""
        try:
            return Marker.from_json(self._path.read_text(encoding="utf-8")) if self._path else None
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def remove(self) -> None:
        """Take it away, durably.

        Raises:
            OSError: it cannot be removed.
        """
        if self._path:
            self._path.unlink(missing_ok=True)
            sync_folder(self._path.parent)

    def write(self, marker: Marker) -> None:
        """Write it in one step, durably.

        Raises:
            OSError: it cannot be written.
        """
        if not self._path:
            return
        draft = self._path.with_name(f"{self._path.name}.new")
        with draft.open("w", encoding="utf-8") as file:
            file.write(marker.to_json())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        sync_folder(self._path.parent)
