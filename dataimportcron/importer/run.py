"""One import from beginning to end: lock, resolve, write, verify, sync, marker.

Layers are read lowest first. The first file that turns up in /disk is written at once; where another layer replaces or
removes it, or the whole turns out to be another file, that one is written anew. So a file that cannot be written fails
the import only if it stays. Nothing is complete before all layers are verified; a disk that had to be set aside is
written then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dataimportcron.errors import InvalidImageError, MissingDependencyError, VolumeTooSmallError
from dataimportcron.importer.disk.formats import SetAside, write_disk
from dataimportcron.importer.disk.writer import Disk
from dataimportcron.importer.layer.catalog import Catalog, Place
from dataimportcron.importer.layer.pipeline import TICK, Meter, copy_layer
from dataimportcron.importer.libc import keep_freed_memory
from dataimportcron.importer.report import SUCCEEDED, Phase, Progress, Result
from dataimportcron.importer.source.image import Image, ImageReader
from dataimportcron.importer.targets.kinds import Target
from dataimportcron.importer.targets.lock import lock
from dataimportcron.importer.targets.marker import Marker
from dataimportcron.oci.streams import ByteStream
from dataimportcron.oci.tar import entries

_BESIDE_DISK = 16 << 30
"""Bytes that all layers may have beside a disk of the volume's size; the largest operating systems need less."""

_Refusal = InvalidImageError | MissingDependencyError | VolumeTooSmallError
_REFUSALS = (InvalidImageError, MissingDependencyError, VolumeTooSmallError)
"""Of a disk, for what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be made.

    Attributes:
        target: the file or block device.
        marker: the file that says that the target is complete; None for no record, so that it is always written.
        size: of the volume, in bytes; a file is as large afterwards.
        platform: as it was asked for, "" for the source's default; a complete target for another one is no match.
        rate: bytes per second at most, 0 for no limit.
        preallocate: a file shall have no holes; a device is left to its driver.
    """

    target: Path
    marker: Path | None
    size: int
    platform: str = ""
    rate: int = 0
    preallocate: bool = False


def run_import(request: Request, reader: ImageReader, report: Callable[[Progress], None]) -> Result:
    """Import an image; the same call again does nothing.

    Args:
        request: what is to be made.
        reader: the source.
        report: called at most some times per second, from the calling thread.

    Returns:
        The result of a success.

    Raises:
        DataImportCronError: there is no complete target.
    """
    with lock(request.target, request.marker) as target:
        if reader.digest and (done := _completed(target, request, reader.digest)):
            return _finished(done, 0, report)
        report(Progress(phase=Phase.RESOLVING))
        image = reader.load()
        if done := _completed(target, request, image.digest):
            return _finished(done, 0, report)
        target.start_over()
        keep_freed_memory()
        try:
            return _Import(request, reader, image, target, report).run()
        except BaseException:
            target.abandon()
            raise


class _Import:
    """The state of one import."""

    def __init__(
        self,
        request: Request,
        reader: ImageReader,
        image: Image,
        target: Target,
        report: Callable[[Progress], None],
    ) -> None:
        self._request = request
        self._reader = reader
        self._image = image
        self._target = target
        self._report = report
        self._disk = Disk(target.descriptor, target.room(request.size), target.folder)
        self._catalog = Catalog()
        self._meter = Meter(request.rate, request.size + _BESIDE_DISK)
        self._total = sum(layer.size for layer in image.layers)
        self._written: Place | None = None
        self._aside: SetAside | None = None
        self._refusal: _Refusal | None = None
        self._last_tick = 0.0

    def run(self) -> Result:
        try:
            self._read_layers()
        finally:
            self._put_down()
        self._tick(Phase.SYNCING)
        if self._request.preallocate:
            self._target.preallocate(self._request.size)
        marker = Marker(
            digest=self._image.digest,
            manifest_digest=self._image.manifest_digest,
            platform=self._request.platform,
            size=self._request.size,
            virtual_size=self._disk.virtual_size,
            written=self._disk.written,
            format=self._disk.format,
            env=self._image.env,
        )
        self._target.complete(marker)
        return _finished(marker, self._meter.read, self._report)

    def _read_layers(self) -> None:
        """Read all layers, and write the disk."""
        for number in range(len(self._image.layers)):
            self._read_layer(number)
        place = self._catalog.only_file()
        if place != self._written:
            self._total += self._image.layers[place.layer].size
            self._read_again(place)
        if self._refusal is not None:
            raise self._refusal
        if self._aside is not None:
            self._aside.write(self._convert_tick)

    def _read_layer(self, number: int) -> None:
        """Write the first file of /disk in a layer, and learn what else there is."""
        name = f"the layer {self._image.layers[number].digest}"
        mine: str | None = None

        def use(stream: ByteStream) -> None:
            nonlocal mine
            for entry in entries(stream, name):
                found = self._catalog.add(number, entry)
                if found is not None and mine in (None, found):
                    mine = found
                    self._write(Place(number, found), stream, entry.size)

        self._copy(number, use)
        self._catalog.end_layer()

    def _read_again(self, place: Place) -> None:
        """Write a file that was passed over, or overwritten by one that a later layer took away."""
        name = f"the layer {self._image.layers[place.layer].digest}"

        def use(stream: ByteStream) -> None:
            for entry in entries(stream, name):
                if entry.path == ("disk", place.name) and entry.kind == "file":
                    self._write(place, stream, entry.size)

        # It had room among all the others.
        self._meter.room = None
        self._copy(place.layer, use)

    def _write(self, place: Place, stream: ByteStream, size: int) -> None:
        if self._written is not None:
            self._put_down()
            self._disk.clear()
        self._written = place
        try:
            self._aside = write_disk(stream, size, self._disk)
        except _REFUSALS as error:
            # A layer above may take this file away, and then nobody minds.
            if place.layer == len(self._image.layers) - 1:
                raise
            self._refusal = error

    def _put_down(self) -> None:
        """Forget what was set aside, or refused."""
        self._refusal = None
        if self._aside is not None:
            self._aside.close()
            self._aside = None

    def _copy(self, number: int, use: Callable[[ByteStream], None]) -> None:
        layer = self._image.layers[number]
        copy_layer(self._reader, layer, use, self._meter, lambda: self._tick(Phase.DOWNLOADING))

    def _convert_tick(self) -> None:
        now = time.monotonic()
        if now - self._last_tick >= TICK:
            self._last_tick = now
            self._tick(Phase.CONVERTING)

    def _tick(self, phase: str) -> None:
        self._report(
            Progress(
                phase=phase,
                bytes_read=self._meter.read,
                bytes_total=self._total,
                bytes_written=self._disk.written,
                virtual_size=self._disk.virtual_size,
            )
        )


def _completed(target: Target, request: Request, digest: str) -> Marker | None:
    """The marker, if the target holds what is asked for."""
    marker = target.completed()
    if marker is None or (marker.size, marker.platform) != (request.size, request.platform):
        return None
    return marker if digest in (marker.digest, marker.manifest_digest) else None


def _finished(marker: Marker, bytes_read: int, report: Callable[[Progress], None]) -> Result:
    report(
        Progress(
            phase=Phase.COMPLETE,
            bytes_read=bytes_read,
            bytes_total=bytes_read,
            bytes_written=marker.written,
            virtual_size=marker.virtual_size,
        )
    )
    return Result(
        phase=SUCCEEDED,
        digest=marker.digest,
        manifest_digest=marker.manifest_digest,
        bytes_read=bytes_read,
        bytes_written=marker.written,
        virtual_size=marker.virtual_size,
        format=marker.format,
        env=marker.env,
    )
