"""Which kind of disk a file is, by its first bytes, and how it becomes a raw disk.

raw and qcow2 are written. A format that is known and not read is refused rather than written as it is: a virtual
machine could not start from it, and nobody would know why.
"""

from __future__ import annotations

from dataimportcron.errors import InvalidImageError
from dataimportcron.importer.disk import qcow2
from dataimportcron.importer.disk.conversion import Conversion
from dataimportcron.importer.disk.writer import Disk
from dataimportcron.oci.streams import ByteStream

_FOREIGN = (
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vhd"),
    (0, b"QED\0", "qed"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
)
_ENOUGH = 0x44


def write_disk(stream: ByteStream, length: int, disk: Disk) -> None:
    """Write the file that begins here as a raw disk.

    Args:
        stream: stands at the file's first byte, and at its end afterwards.
        length: of the file, in bytes.
        disk: gets it.

    Raises:
        InvalidImageError: empty, or of a format that is not read.
        VolumeTooSmallError: it does not fit; nothing was written.
    """
    head = stream.peek(min(length, _ENOUGH))
    if not length:
        raise InvalidImageError("the disk is an empty file")
    if head.startswith(qcow2.MAGIC):
        Conversion(stream, length, disk).run()
        return
    for offset, magic, name in _FOREIGN:
        if head.startswith(magic, offset):
            raise InvalidImageError(
                f"the disk is a {name} file, expected raw or qcow2", hint="make it again by qemu-img convert -O qcow2"
            )
    disk.begin(length, "raw")
    position = 0
    for piece in stream.pieces(length):
        disk.write(piece, position)
        position += len(piece)
