"""Which kind of disk a file is, by its bytes, and how it becomes a raw disk.

raw, fixed vhd and qcow2 are written while they stream by. All else is set aside first, in a scratch file, and written
when its layers are verified: other formats by qemu-img, compressed files by what they hold. A format that is known and
not read is refused rather than written as it is: a virtual machine could not start from it, and nobody would know why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from dataimportcron.errors import InvalidImageError
from dataimportcron.importer.disk import qcow2
from dataimportcron.importer.disk.conversion import Conversion
from dataimportcron.importer.disk.foreign import DRIVERS, FOOTER_LENGTH, check_whole, is_fixed_vhd
from dataimportcron.importer.disk.writer import Disk, Scratch
from dataimportcron.oci.streams import ByteStream

_MAGICS = (
    (0, qcow2.MAGIC, "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vhd"),
    (0, b"QED\0", "qed"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"COWD", "vmdk of ESX, or a part of one"),
    (0, b"# Disk DescriptorFile", "vmdk descriptor, whose data is elsewhere"),
    (0, b"BZh91AY&SY", "bzip2"),
)
_ENOUGH = 0x44
_PACKED = ("gzip", "xz", "zstd")
_STEP = 1 << 20


class SetAside:
    """A disk in a scratch file, that is still to be written.

    Args:
        scratch: the file.
        length: of it, in bytes.
        disk: gets it.
    """

    def __init__(self, scratch: Scratch, length: int, disk: Disk) -> None:
        self._scratch = scratch
        self._length = length
        self._disk = disk

    def write(self, tick: Callable[[], None]) -> None:
        """Write it.

        Args:
            tick: called some times per second.

        Raises:
            DataImportCronError: as `write_disk` and `qemu_img.convert`.
        """
        kind = _kind(self._scratch.read(_ENOUGH, 0), self._length)
        if kind in _PACKED:
            raise InvalidImageError(f"the disk is compressed twice, inside by {kind}", hint="compress it once")
        if kind in DRIVERS:
            from dataimportcron.importer.disk import qemu_img  # noqa: PLC0415 -- few images need it

            check_whole(kind, self._scratch.read, self._length)
            source = qemu_img.ForeignDisk(descriptor=self._scratch.descriptor, length=self._length, name=kind)
            qemu_img.convert(source, self._disk, tick)
        else:
            _write_streamed(kind, ByteStream(self._chunks(tick), "the disk"), self._length, self._disk)

    def close(self) -> None:
        """Give its space back."""
        self._scratch.close()

    def _chunks(self, tick: Callable[[], None]) -> Iterator[bytes]:
        for start in range(0, self._length, _STEP):
            tick()
            yield self._scratch.read(min(_STEP, self._length - start), start)


def write_disk(stream: ByteStream, length: int, disk: Disk) -> SetAside | None:
    """Write the file that begins here as a raw disk, or set it aside.

    Args:
        stream: stands at the file's first byte, and at its end afterwards.
        length: of the file, in bytes.
        disk: gets it.

    Returns:
        What is still to be written and then closed, None where all is done.

    Raises:
        InvalidImageError: empty, of a format that is not read, or larger than any disk for this volume.
        MissingDependencyError: qemu-img is needed and not installed.
        NoSpaceError: there is no room for it.
        VolumeTooSmallError: it does not fit; nothing was written.
    """
    kind = _kind(stream.peek(min(length, _ENOUGH)), length)
    if kind in _PACKED:
        from dataimportcron.importer.disk.packed import unpack  # noqa: PLC0415 -- few images need it

        return _set_aside(unpack(stream, length), disk)
    if kind not in DRIVERS:
        _write_streamed(kind, stream, length, disk)
        return None
    from dataimportcron.importer.disk import qemu_img  # noqa: PLC0415 -- few images need it

    qemu_img.program(kind)
    _check_room(length, disk)
    return _set_aside(stream.pieces(length), disk)


def _kind(head: bytes, length: int) -> str:
    """What a file is that begins so: raw, or a name of `_MAGICS` that is read."""
    if not length:
        raise InvalidImageError("the disk is an empty file")
    kind = next((name for offset, magic, name in _MAGICS if head.startswith(magic, offset)), "raw")
    if kind not in ("raw", "qcow2", *_PACKED, *DRIVERS):
        raise InvalidImageError(f"the disk is a {kind}, expected a format that is read", hint=qcow2.TO_QCOW2)
    return kind


def _write_streamed(kind: str, stream: ByteStream, length: int, disk: Disk) -> None:
    if kind == "qcow2":
        Conversion(stream, length, disk).run()
    else:
        _write_raw(stream, length, disk)


def _write_raw(stream: ByteStream, length: int, disk: Disk) -> None:
    """Write a raw disk. Its last sector is held back: a footer there makes it a vhd, and is no part of the disk."""
    held = FOOTER_LENGTH if length > FOOTER_LENGTH and length % FOOTER_LENGTH == 0 else 0
    body = length - held
    # A disk that is too large by its last sector only is refused at its end, unless that is a footer.
    disk.begin(body if disk.fits(body) and not disk.fits(length) else length, "raw")
    position = 0
    for piece in stream.pieces(body):
        disk.write(piece, position)
        position += len(piece)
    last = stream.read(held)
    if held and is_fixed_vhd(last, body):
        disk.begin(body, "vhd")
        return
    disk.begin(length, "raw")
    disk.write(last, body)


def _set_aside(chunks: Iterable[bytes], disk: Disk) -> SetAside:
    scratch = Scratch(disk.folder)
    length = 0
    try:
        for chunk in chunks:
            _check_room(length + len(chunk), disk)
            scratch.write(chunk, length)
            length += len(chunk)
        scratch.extend(length)
    except BaseException:
        scratch.close()
        raise
    return SetAside(scratch, length, disk)


def _check_room(length: int, disk: Disk) -> None:
    """Refuse what is larger than any disk for this volume, whatever its format, would be."""
    if length > disk.spill_limit:
        raise InvalidImageError(
            f"the disk has more than {disk.spill_limit} bytes as a file, which none for this volume has",
            hint="it is made to exhaust its reader; if it is not, a larger volume is required",
        )
