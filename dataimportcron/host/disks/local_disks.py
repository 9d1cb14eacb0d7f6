"""Disks that lie on the host as plain files: their digest is that of their bytes, read once for each change."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from dataimportcron.errors import MissingDependencyError, TransientError
from dataimportcron.oci.archive import open_file

FILE_SCHEME = "file://"
_CHUNK = 1 << 20


class LocalDisks:
    """Digests of files, kept for as long as a file keeps its stamp; safe for several threads at once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, ...], str]] = {}

    def digest_of(self, url: str) -> str:
        """The digest of the disk that `file:///path` names.

        Raises:
            MissingDependencyError: there is no such file, or it cannot be read.
            TransientError: something writes to it.
        """
        path = Path(url.removeprefix(FILE_SCHEME))
        try:
            with open_file(path) as file:
                stamp = _stamp(file.fileno())
                known = self._known.get(url)
                if known is not None and known[0] == stamp:
                    return known[1]
                digest = _sha256(file)
                if _stamp(file.fileno()) != stamp:
                    raise TransientError(f"{path} changes while it is read", hint="it is read again")
        except OSError as error:
            raise MissingDependencyError(f"{path} cannot be read: {error.strerror}") from error
        self._known[url] = (stamp, digest)
        return digest


def _sha256(file: BinaryIO) -> str:
    found = hashlib.sha256()
    while part := file.read(_CHUNK):
        found.update(part)
    return f"sha256:{found.hexdigest()}"


def _stamp(descriptor: int) -> tuple[int, ...]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
