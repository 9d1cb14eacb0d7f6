"""A stream of chunks, read as a file is read: exactly so many bytes, or a piece at a time, always forwards.

Everything between the decompressor and the disk is read through it. It keeps one chunk, and never more than the
caller asks for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dataimportcron.errors import InvalidImageError


class ByteStream:
    """Bytes that come in chunks of any size.

    Args:
        chunks: the bytes; empty chunks are allowed.
        name: what is read, for messages.
    """

    def __init__(self, chunks: Iterable[bytes], name: str) -> None:
        self._chunks = iter(chunks)
        self._name = name
        self._chunk = b""
        self._at = 0
        self.position = 0

    def at_end(self) -> bool:
        """Whether nothing is left."""
        return not self._fill()

    def peek(self, length: int) -> bytes:
        """The next bytes, at most `length`, which stay unread; fewer only where the stream ends."""
        # Most often it is there, and must not be put together anew for each of many small files.
        if self._fill() and len(self._chunk) - self._at >= length:
            return self._chunk[self._at : self._at + length]
        parts = [self._take(length)]
        have = len(parts[0])
        while have < length and self._fill():
            parts.append(self._take(length - have))
            have += len(parts[-1])
        head = b"".join(parts)
        rest = self._chunk[self._at :]
        self._chunk, self._at = head + rest, 0
        self.position -= len(head)
        return head

    def read(self, length: int) -> bytes:
        """Exactly `length` bytes.

        Raises:
            InvalidImageError: the stream ends before.
        """
        if self._at == 0 and len(self._chunk) == length:
            return self._take(length)
        return b"".join(self.pieces(length))

    def pieces(self, length: int) -> Iterator[bytes]:
        """Exactly `length` bytes, in pieces as they come, not copied where a whole chunk is wanted.

        Raises:
            InvalidImageError: the stream ends before.
        """
        while length:
            if not self._fill():
                raise InvalidImageError(f"{self._name} ends {length} bytes too early: it is truncated")
            piece = self._take(length)
            length -= len(piece)
            yield piece

    def skip(self, length: int) -> None:
        """Pass over exactly `length` bytes.

        Raises:
            InvalidImageError: the stream ends before.
        """
        for _ in self.pieces(length):
            pass

    def drain(self) -> None:
        """Pass over all that is left."""
        while self._fill():
            self._take(len(self._chunk))

    def _fill(self) -> bool:
        while self._at >= len(self._chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._chunk, self._at = chunk, 0
        return True

    def _take(self, length: int) -> bytes:
        if self._at == 0 and length >= len(self._chunk):
            taken, self._chunk = self._chunk, b""
        else:
            taken = self._chunk[self._at : self._at + length]
            self._at += len(taken)
        self.position += len(taken)
        return taken
