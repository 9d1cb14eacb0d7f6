import io
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataimportcron.errors import InvalidImageError
from dataimportcron.oci import tar
from dataimportcron.oci.streams import ByteStream
from dataimportcron.oci.tar import entries
from tests.importer.conftest import tar_of

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def read(data, chunk=1000):
    stream = ByteStream((data[at : at + chunk] for at in range(0, len(data), chunk)), "layer")
    return [("/".join(entry.path), entry.kind, stream.read(entry.size)) for entry in entries(stream, "layer")]


def link(name, type_flag, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type_flag, target
    return info


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("chunk", [1, 511, 512, 1 << 20])
def test_files_of_every_format(format_, chunk):
    data = tar_of(("./disk/a", b"x" * 1000), ("b", b""), ("c/d", b"y" * 512), format=format_)
    assert read(data, chunk) == [("disk/a", "file", b"x" * 1000), ("b", "file", b""), ("c/d", "file", b"y" * 512)]


@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["disk/" + "n" * 250, "disk/größe-" + "ü" * 120 + ".img", "d/" * 200 + "f"])
def test_long_names(format_, name):
    assert read(tar_of((name, b"x"), ("after", b"y"), format=format_)) == [
        (name, "file", b"x"),
        ("after", "file", b"y"),
    ]


def test_the_prefix_of_ustar():
    name = "p" * 120 + "/" + "n" * 90
    assert read(tar_of((name, b"x"), format=tarfile.USTAR_FORMAT)) == [(name, "file", b"x")]


@pytest.mark.parametrize(
    ("type_flag", "kind"),
    [
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.CHRTYPE, "character device"),
        (tarfile.BLKTYPE, "block device"),
        (tarfile.DIRTYPE, "directory"),
        (tarfile.FIFOTYPE, "FIFO"),
    ],
)
def test_what_is_no_file(type_flag, kind):
    assert read(tar_of(link("disk/x", type_flag, "target"), ("b", b"1"))) == [
        ("disk/x", kind, b""),
        ("b", "file", b"1"),
    ]


def test_a_size_in_a_pax_header_counts():
    info = tarfile.TarInfo("disk/a")
    info.pax_headers = {"size": "5"}
    data = bytearray(tar_of(info, format=tarfile.PAX_FORMAT))
    at = data.index(b"disk/a\0")
    data[at + 512 : at + 512] = b"hello".ljust(512, b"\0")
    assert read(bytes(data)) == [("disk/a", "file", b"hello")]


@pytest.mark.parametrize(("type_flag", "data"), [(b"x", b"8 path=\n"), (b"x", b"8 size=\n"), (b"L", b"\0")])
def test_an_extended_header_without_a_value_leaves_the_plain_one(type_flag, data):
    header = tarfile.TarInfo("extended")
    header.type, header.size = type_flag, len(data)
    extended = header.tobuf(tarfile.USTAR_FORMAT) + data.ljust(512, b"\0")
    assert read(extended + tar_of(("disk/a", b"hello"))) == [("disk/a", "file", b"hello")]


def test_each_extended_header_is_for_one_entry_alone():
    name = "disk/" + "n" * 150
    data = tar_of((name, b"x"), format=tarfile.GNU_FORMAT)[: 4 * 512] + pax(b"9 path=b\n") + tar_of(("c", b"y"))
    assert [found for found, _, _ in read(data)][:2] == [name, "b"]


def test_the_longest_names_of_linux():
    for name in ("n" * 255, "ü" * 127 + "n", "/".join(["d" * 200] * 20)):
        assert read(tar_of((name, b"x"))) == [(name, "file", b"x")]


def test_as_many_headers_as_may_be(monkeypatch):
    monkeypatch.setattr(tar, "_MOST_HEADERS", 3)
    assert len(read(tar_of(("a", b""), ("b", b""), ("c", b"")))) == 3
    with pytest.raises(InvalidImageError, match="more than 3 entries"):
        read(tar_of(("a", b""), ("b", b""), ("c", b""), ("d", b"")))


def test_a_size_in_base_256():
    data = bytearray(tar_of(("a", b"hello")))
    data[124:136] = b"\x80" + (5).to_bytes(11, "big")
    assert read(with_checksum(data)) == [("a", "file", b"hello")]


def test_thousands_of_entries():
    assert len(read(tar_of(*((f"usr/{number}", b"x") for number in range(3000))), 1 << 20)) == 3000


@pytest.mark.parametrize("cut", [0, 512])
def test_an_archive_without_the_blocks_at_its_end(cut):
    data = tar_of(("a", b"x" * 512))[: 1024 + cut]
    assert [name for name, _, _ in read(data)] == ["a"]


def test_what_is_behind_the_end_is_ignored():
    assert [name for name, _, _ in read(tar_of(("a", b"")) + b"garbage" * 100)] == ["a"]


def with_checksum(data):
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


def changed(at, value):
    data = bytearray(tar_of(("disk/a", b"hello"), format=tarfile.USTAR_FORMAT))
    data[at : at + len(value)] = value
    return with_checksum(data)


def pax(records):
    header = tarfile.TarInfo("pax")
    header.type, header.size = b"x", len(records)
    return header.tobuf(tarfile.USTAR_FORMAT) + records.ljust(512, b"\0") + tar_of(("disk/a", b"x"))


REFUSED = {
    "absolute": (changed(0, b"/isk/a"), "absolute"),
    "out of its folder": (changed(0, b"a/../b"), "leads out"),
    "size is text": (changed(124, b"00000000abc\0"), "no number"),
    "size is negative": (changed(124, b"-0000000005\0"), "no number"),
    "size is negative in base 256": (changed(124, b"\xff" * 12), "no number"),
    "size with an underscore": (changed(124, b"0000000_005\0"), "no number"),
    "old sparse file": (changed(156, b"S"), "sparse"),
    "longer than the archive": (changed(124, b"00007777777\0"), "truncated"),
    "no header": (b"\x7fELF" + bytes(1020), "none of a tar"),
    "half a header": (tar_of(("a", b""))[:300], "truncated"),
    "pax sparse file": (pax(b"22 GNU.sparse.major=1\n"), "sparse"),
    "pax length lies": (pax(b"99 path=x\n"), "PAX"),
    "pax length is zero": (pax(b"0 path=x\n"), "PAX"),
    "pax length is negative": (pax(b"-5 path=x\n"), "PAX"),
    "pax without equals": (pax(b"9 path x\n"), "PAX"),
    "pax path leads out": (pax(b"19 path=../../etc\n\n"[:18].replace(b"19", b"18")), "leads out"),
    "pax size is text": (pax(b"12 size=1e3\n"), "no number"),
    "pax size is negative": (pax(b"11 size=-1\n"), "no number"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    data, complaint = REFUSED[case]
    with pytest.raises(InvalidImageError, match=complaint):
        read(data)


def test_an_extended_header_without_end_is_not_read():
    header = tarfile.TarInfo("pax")
    header.type, header.size = b"x", 1 << 40
    with pytest.raises(InvalidImageError, match="extended header"):
        read(header.tobuf(tarfile.GNU_FORMAT) + bytes(4096))


def test_a_global_header_may_not_rename_everything():
    header = tarfile.TarInfo("pax")
    header.type, header.size = b"g", 17
    with pytest.raises(InvalidImageError, match="global"):
        read(header.tobuf(tarfile.USTAR_FORMAT) + b"17 path=disk/abc\n".ljust(512, b"\0") + tar_of(("x", b"")))


def test_a_global_comment_is_harmless():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "git hash"}) as archive:
        archive.addfile(tarfile.TarInfo("a"))
    assert read(out.getvalue()) == [("a", "file", b"")]


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 1535), value=st.binary(min_size=1, max_size=16), fix=st.booleans())
def test_a_damaged_archive_is_read_or_refused(at, value, fix):
    data = bytearray(tar_of(("disk/" + "n" * 120, b"hello"), format=tarfile.GNU_FORMAT))
    data[at : at + len(value)] = value
    # Any other error, and a hang, fails the test.
    with suppress(InvalidImageError):
        assert len(read(with_checksum(data) if fix else bytes(data))) <= 2
