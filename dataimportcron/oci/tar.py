"""A layer's tar, read as a stream: entries in order, each with its bytes, nothing ever extracted.

Understood are ustar, GNU long names, PAX `path` and `size`. Refused, as no honest container disk has them: absolute
names and `..`, names that no file system takes, sparse files, wrong checksums, headers that are no numbers, extended
headers without end or that say a thing twice, folders with bytes, and more headers than any image has. What comes
behind the end of the archive is ignored, as tar does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dataimportcron.errors import InvalidImageError
from dataimportcron.oci.streams import ByteStream

_BLOCK = 512
_MOST_HEADERS = 500_000
"""Of one archive, extended ones too; a container disk needs a handful, and one built on a whole system some 100,000."""
_LONGEST_EXTENSION = 1 << 20
"""Bytes of a PAX header or a GNU long name; real ones have some hundreds."""
_MOST_EXTENDED = 16 << 20
"""Bytes of all such headers of one archive; they are read record by record, so they cost more than other bytes."""
_LONGEST_PATH = 4096
_LONGEST_NAME = 255
"""Bytes; Linux takes no more, of a path and of one part of it."""
_SHOWN = 200
"""Characters of a name that a message repeats."""
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
        return "/".join(self.path).encode("unicode_escape").decode("ascii")[:_SHOWN]


def entries(stream: ByteStream, name: str) -> Iterator[Entry]:
    """The members, in order. What the caller leaves unread of one is skipped before the next.

    Args:
        stream: the archive; an entry's bytes are read from it.
        name: of the layer, for messages.

    Raises:
        InvalidImageError: see the module.
    """
    extensions: dict[str, str] = {}
    headers = extended = 0
    while (header := _header(stream, name)) is not None:
        headers += 1
        if headers > _MOST_HEADERS:
            raise InvalidImageError(
                f"{name} has more than {_MOST_HEADERS} entries, which no container disk has",
                hint="build it as: FROM scratch / ADD disk.qcow2 /disk/",
            )
        type_flag = header[156:157]
        size = _number(header[124:136], "size", name)
        if type_flag in (b"x", b"g", b"L", b"K"):
            extended += size
            found = _extension(type_flag, _extension_data(stream, size, extended, name), name)
            if twice := extensions.keys() & found.keys():
                raise InvalidImageError(f"{name}: extended headers give the {min(twice)} of one entry twice")
            extensions |= found
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
    found = _number(header[148:156], "checksum", name)
    blanked = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if found != blanked and found != blanked - 256 * sum(byte > _SIGN for byte in header[:148] + header[156:]):
        raise InvalidImageError(f"{name}: the header at byte {stream.position - _BLOCK} is none of a tar")
    return header


def _entry(header: bytes, size: int, extensions: Mapping[str, str], name: str) -> Entry:
    type_flag = header[156:157]
    path = extensions.get("path")
    if path is None:
        path = _text(header[:100])
        prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
        path = f"{prefix}/{path}" if prefix else path
    if type_flag == b"S":
        raise _sparse(name, path)
    if "size" in extensions:
        size = _pax_size(extensions["size"], name)
    parts = _parts(path, name)
    if type_flag in _KINDS:
        return Entry(path=parts, kind=_KINDS[type_flag], size=0)
    if path.endswith("/"):
        # Readers differ on whether its bytes follow: some would see entries there that others do not.
        if size:
            raise InvalidImageError(f"{name}: the folder {path[:_SHOWN]!r} has {size} bytes")
        return Entry(path=parts, kind="directory", size=0)
    return Entry(path=parts, kind="file" if type_flag in _REGULAR else "unknown member", size=size)


def _parts(path: str, name: str) -> tuple[str, ...]:
    if path.startswith("/"):
        raise InvalidImageError(f"{name}: the name {path[:_SHOWN]!r} is absolute, expected one below the root")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts or "\0" in path:
        raise InvalidImageError(f"{name}: the name {path[:_SHOWN]!r} leads out of its folder")
    if _too_long(path, _LONGEST_PATH) or (
        len(path) > _LONGEST_NAME // 4 and any(_too_long(part, _LONGEST_NAME) for part in parts)
    ):
        raise InvalidImageError(f"{name}: the name {path[:_SHOWN]!r}… is longer than that of any file")
    return parts


def _too_long(text: str, most: int) -> bool:
    # A character has four bytes at most.
    return len(text) > most // 4 and len(text.encode("utf-8", "surrogateescape")) > most


def _extension_data(stream: ByteStream, size: int, extended: int, name: str) -> bytes:
    """The bytes of an extended header; `extended` is how many all of them have so far, this one too."""
    if size > _LONGEST_EXTENSION:
        raise InvalidImageError(f"{name}: an extended header of {size} bytes, at most {_LONGEST_EXTENSION} are read")
    if extended > _MOST_EXTENDED:
        raise InvalidImageError(f"{name}: more than {_MOST_EXTENDED} bytes of extended headers")
    data = stream.read(size)
    stream.skip(_padded(size) - size)
    return data


def _extension(type_flag: bytes, data: bytes, name: str) -> dict[str, str]:
    """What an extended header says of the next entry, as far as that matters: `path`, `size`, `linkpath`."""
    if type_flag in (b"L", b"K"):
        text = _text(data)
        return {"path" if type_flag == b"L" else "linkpath": text} if text else {}
    records = _pax(data, name)
    if type_flag == b"g" and records:
        raise InvalidImageError(f"{name}: a global PAX header sets {min(records)} for all entries")
    return records


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
        if key in (b"path", b"size", b"linkpath"):
            if (text := key.decode()) in records:
                raise InvalidImageError(f"{name}: a PAX header gives the {text} of one entry twice")
            # No value means: what the plain header says.
            if value:
                records[text] = value.decode("utf-8", "surrogateescape")
        elif key.startswith(b"GNU.sparse."):
            raise _sparse(name, records.get("path", ""))
        at = end
    return records


def _sparse(name: str, path: str) -> InvalidImageError:
    return InvalidImageError(
        f"{name}: {path[:_SHOWN]!r} is stored as a sparse file, which this importer does not read",
        hint="build the image without --sparse",
    )


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
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _padded(size: int) -> int:
    return (size + _BLOCK - 1) // _BLOCK * _BLOCK
