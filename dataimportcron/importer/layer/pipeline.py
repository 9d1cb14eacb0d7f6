"""One layer on its way: download with its digest, decompression, digest of the tar, and whoever reads the tar.

Each is a thread; all of them see every byte once. A layer counts only when this returns: its size, its digest and the
digest of its tar are then what manifest and configuration say.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator

from dataimportcron.errors import DigestMismatchError
from dataimportcron.importer.decompress import decompress
from dataimportcron.importer.layer.stages import Channel, Stages
from dataimportcron.importer.source.image import ImageReader, Layer
from dataimportcron.oci.streams import ByteStream

TICK = 0.25
"""Seconds between two looks at the progress."""
_HINT = "the registry, or something on the way to it, changes content; push the image again"


class Meter:
    """Counts bytes that come from the source, and keeps them to a rate. Written by one thread, read by others.

    Args:
        rate: bytes per second at most, 0 for no limit.
        room: bytes that layers may have unpacked, all together; None for any number. What has been read is taken off.
    """

    def __init__(self, rate: int = 0, room: int | None = None) -> None:
        self.read = 0
        self.room = room
        self._rate = rate
        self._began = 0.0

    def count(self, length: int) -> float:
        """Count bytes that have come; returns for how many seconds to pause before the next ones."""
        now = time.monotonic()
        self._began = self._began or now
        self.read += length
        return max(self._began + self.read / self._rate - now, 0.0) if self._rate else 0.0


def copy_layer(
    reader: ImageReader, layer: Layer, use: Callable[[ByteStream], None], meter: Meter, tick: Callable[[], None]
) -> None:
    """Read a layer once, verified.

    Args:
        reader: the source.
        layer: which one.
        use: reads the tar, as much of it as it likes, in a thread of its own.
        meter: counts and bounds what is read.
        tick: called every `TICK` seconds.

    Raises:
        DigestMismatchError: size, digest or diff_id are others.
        InvalidImageError: it cannot be decompressed, is too large, or `use` does not like it.
    """
    name = f"the layer {layer.digest}"
    stages = Stages()
    stored, plain, tar = (stages.channel() for _ in range(3))
    downloaded = _verified(_download(reader, layer, meter, stages), layer.digest, f"{name} has the digest")
    unpacked = _verified(plain, layer.diff_id, f"{name} unpacks to the diff_id")
    stages.start("download", lambda: _spread(downloaded, (stored,)))
    stages.start("decompress", lambda: _spread(decompress(stored, name, meter.room), (plain, tar)))
    # A thread of its own: beside decompression and writing, this is the third of the long ones.
    stages.start("diff-id", lambda: _spread(unpacked, ()))
    stream = ByteStream(tar, name)
    stages.start("disk", lambda: _use(stream, use))
    stages.wait(tick, TICK)
    if meter.room is not None:
        meter.room -= stream.position


def _download(reader: ImageReader, layer: Layer, meter: Meter, stages: Stages) -> Iterator[bytes]:
    have = 0
    for chunk in reader.open(layer):
        have += len(chunk)
        if have > layer.size:
            break
        stages.pause(meter.count(len(chunk)))
        yield chunk
    if have != layer.size:
        found = "more" if have > layer.size else have
        raise DigestMismatchError(f"the layer {layer.digest} has {found} bytes, {layer.size} were expected", hint=_HINT)


def _spread(chunks: Iterable[bytes], channels: tuple[Channel, ...]) -> None:
    for chunk in chunks:
        for channel in channels:
            channel.put(chunk)
    for channel in channels:
        channel.close()


def _verified(chunks: Iterable[bytes], digest: str, what: str) -> Iterator[bytes]:
    """Pass chunks on; at their end, refuse them if they have another digest."""
    algorithm, _, wanted = digest.partition(":")
    state = hashlib.new(algorithm)
    for chunk in chunks:
        state.update(chunk)
        yield chunk
    if (found := state.hexdigest()) != wanted:
        raise DigestMismatchError(f"{what} {algorithm}:{found}, {digest} was expected", hint=_HINT)


def _use(stream: ByteStream, use: Callable[[ByteStream], None]) -> None:
    use(stream)
    stream.drain()
