"""A layer's tar, read as a stream: entries in order, each with its bytes, nothing ever extracted.

Understood are ustar, GNU long names, PAX `path` and `size`. Refused, as no honest container disk has them: absolute
names and `..`, sparse files, wrong checksums, headers that are no numbers, extended headers without end. What
comes behind the end of the archive is ignored, as tar does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dataimportcron.errors import InvalidImageError
from dataimportcron.oci.streams import ByteStream

_BLOCK = 512
_LONGEST_EXTENSION = 1 << 20
"""Bytes of a PAX header or a GNU long name; real ones have some hundreds."""
_ZERO_BLOCK = bytes(_BLOCK)
_SIGN = 0x7F
"""Old tars summed signed bytes."""
_REGULAR = frozenset({b"0", b"\0", b"7"})
_KINDS = {
    b"1": "hard link",
    b"2": "symbolic link",
    b"3": "character device",
    b"4": "block device",
    b"5": "directory",
    b"6": "FIFO",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One member of the archive.

    Attributes:
        path: its name's parts, without `.`; empty for the root itself.
        kind: `file`, or in words what else it is.
        size: bytes that follow in the stream; 0 for what is not a file.
    """

    path: tuple[str, ...]
    kind: str
    size: int

    @property
    def name(self) -> str:
        """For messages: nothing that a terminal would obey."""
        return "/".join(self.path).encode("unicode_escape").decode("ascii")[:200]


def entries(stream: ByteStream, name: str) -> Iterator[Entry]:
    """The members, in order. What the caller leaves unread of one is skipped before the next.

    Args:
        stream: the archive; an entry's bytes are read from it.
        name: of the layer, for messages.

    Raises:
        InvalidImageError: see the module.
    """
    extensions: dict[str, str] = {}
    while (header := _header(stream, name)) is not None:
        type_flag = header[156:157]
        size = _number(header[124:136], "size", name)
        if type_flag in (b"x", b"L", b"K"):
            extensions |= _extension(type_flag, _extension_data(stream, size, name), name)
            continue
        if type_flag == b"g":
            _check_global(_extension_data(stream, size, name), name)
            continue
        entry = _entry(header, size, extensions, name)
        extensions = {}
        end = stream.position + _padded(entry.size)
        yield entry
        if stream.position < end:
            stream.skip(end - stream.position)


def _header(stream: ByteStream, name: str) -> bytes | None:
    """The next header, None at the end of the archive."""
    if stream.at_end():
        return None
    header = stream.read(_BLOCK)
    if header == _ZERO_BLOCK:
        return None
    blanked = header[:148] + b" " * 8 + header[156:]
    found = _number(header[148:156], "checksum", name)
    if found != sum(blanked) and found != sum(blanked) - 256 * sum(byte > _SIGN for byte in blanked):
        raise InvalidImageError(f"{name}: the header at byte {stream.position - _BLOCK} is none of a tar")
    return header


def _entry(header: bytes, size: int, extensions: Mapping[str, str], name: str) -> Entry:
    type_flag = header[156:157]
    if "path" in extensions:
        path = extensions["path"]
    else:
        path = _text(header[:100])
        prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
        path = f"{prefix}/{path}" if prefix else path
    if type_flag == b"S" or any(key.startswith("GNU.sparse.") for key in extensions):
        raise InvalidImageError(
            f"{name}: {path[:200]!r} is stored as a sparse file, which this importer does not read",
            hint="build the image without --sparse",
        )
    if "size" in extensions:
        size = _pax_size(extensions["size"], name)
    regular = type_flag in _REGULAR and not path.endswith("/")
    kind = "file" if regular else _KINDS.get(type_flag, "directory" if path.endswith("/") else "unknown member")
    return Entry(path=_parts(path, name), kind=kind, size=0 if type_flag in _KINDS else size)


def _parts(path: str, name: str) -> tuple[str, ...]:
    if path.startswith("/"):
        raise InvalidImageError(f"{name}: the name {path[:200]!r} is absolute, expected one below the root")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts or "\0" in path:
        raise InvalidImageError(f"{name}: the name {path[:200]!r} leads out of its folder")
    return parts


def _extension_data(stream: ByteStream, size: int, name: str) -> bytes:
    if size > _LONGEST_EXTENSION:
        raise InvalidImageError(f"{name}: an extended header of {size} bytes, at most {_LONGEST_EXTENSION} are read")
    data = stream.read(size)
    stream.skip(_padded(size) - size)
    return data


def _extension(type_flag: bytes, data: bytes, name: str) -> dict[str, str]:
    if type_flag == b"x":
        return _pax(data, name)
    return {"path" if type_flag == b"L" else "linkpath": _text(data)}


def _pax(data: bytes, name: str) -> dict[str, str]:
    """The records of a PAX header: `LENGTH KEY=VALUE` and the end of the line, which LENGTH counts too."""
    records: dict[str, str] = {}
    at = 0
    while at < len(data) and data[at]:
        space = data.find(b" ", at, at + 20)
        digits = data[at:space] if space > at else b""
        length = int(digits) if digits.isdigit() else 0
        end = at + length
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or end > len(data) or data[end - 1 : end] != b"\n":
            raise InvalidImageError(f"{name}: a PAX header that is none, at its byte {at}")
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        at = end
    return records


def _check_global(data: bytes, name: str) -> None:
    for key in _pax(data, name):
        if key in ("path", "size", "linkpath") or key.startswith("GNU.sparse."):
            raise InvalidImageError(f"{name}: a global PAX header sets {key} for all entries")


def _pax_size(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004 -- digits of 2**63
        raise InvalidImageError(f"{name}: the size {text[:40]!r} in a PAX header is no number")
    return int(text)


def _number(field: bytes, what: str, name: str) -> int:
    """A number as octal digits or, with the first bit set, in base 256."""
    if field[0] == 0x80:  # noqa: PLR2004 -- GNU's mark of a positive number in base 256
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise InvalidImageError(f"{name}: a tar header whose {what} {field!r} is no number")
    return int(digits or b"0", 8)


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return (size + _BLOCK - 1) // _BLOCK * _BLOCK
