"""Fakes of two of our own ports; `tests/contract` holds them to the real adapters. All other parts are real."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from dataimportcron.errors import DataImportCronError, ImageNotFoundError
from dataimportcron.host.volumes import HostVolumes
from dataimportcron.values import ImageSource, ResolvedImage, Transfer, VolumeSpec


def digest_of(content: bytes) -> str:
    """The digest under which content is known."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class FakeSource:
    """`ports.Source` on a table."""

    def __init__(self) -> None:
        self.images: dict[str, ResolvedImage] = {}
        self.failure: DataImportCronError | None = None
        self.lookups = 0
        self.fresh: list[bool] = []

    def release(self, url: str, content: bytes) -> str:
        """Let a reference mean this content from now on."""
        digest = digest_of(content)
        self.images[url] = ResolvedImage(digest=digest, manifest_digest=digest)
        return digest

    async def resolve(self, image: ImageSource, *, fresh: bool = False) -> ResolvedImage:
        self.lookups += 1
        self.fresh.append(fresh)
        if self.failure is not None:
            raise self.failure
        if image.url not in self.images:
            raise ImageNotFoundError(f"the registry has no {image.url}")
        return self.images[image.url]

    def close(self) -> None:
        """There are no connections."""


class FakeImporter:
    """`ports.Importer` that knows contents by digest. `gate` closed keeps imports in their middle."""

    def __init__(self, volumes: HostVolumes) -> None:
        self._volumes = volumes
        self.contents: dict[str, bytes] = {}
        self.failure: DataImportCronError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.started: list[str] = []
        self.running = 0

    def add(self, content: bytes) -> str:
        """Make content importable."""
        digest = digest_of(content)
        self.contents[digest] = content
        return digest

    async def run(
        self, image: ImageSource, digest: str, volume: VolumeSpec, report: Callable[[Transfer], None]
    ) -> Transfer:
        found = await self._volumes.find(volume.namespace, volume.name)
        if found is not None and found.digest == digest:
            return Transfer(phase="Complete")
        self.started.append(digest)
        self.running += 1
        try:
            if digest not in self.contents:
                raise ImageNotFoundError(f"the registry has no {image.url}")
            content = self.contents[digest]
            report(Transfer(phase="Downloading", done=len(content) // 2, total=len(content)))
            await self.gate.wait()
            if self.failure is not None:
                raise self.failure
            place = self._volumes.prepare(volume)
            place.partial.write_bytes(content.ljust(volume.size, b"\0"))
            self._volumes.finish(volume, digest=digest, writable=False)
            return Transfer(phase="Complete", done=len(content), total=len(content), written=len(content))
        finally:
            self.running -= 1
