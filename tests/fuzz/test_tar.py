"""The tar reader against Python's tarfile, and against archives that are damaged."""

import io
import tarfile

from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.checks import check_tar, damaged, tar_members
from tests.fuzz.examples import examples

# NUL ends a name, and . and .. are not names of members.
_part = st.text(st.characters(blacklist_characters="/\0", codec="utf-8"), min_size=1, max_size=60).filter(
    lambda part: part not in {".", ".."}
)
_name = st.lists(_part, min_size=1, max_size=6).map("/".join)
_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.CONTTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symbolic link",
    tarfile.LNKTYPE: "hard link",
    tarfile.FIFOTYPE: "FIFO",
    tarfile.CHRTYPE: "character device",
}


@st.composite
def members(draw):
    info = tarfile.TarInfo(draw(_name))
    info.type = draw(st.sampled_from(list(_KINDS)))
    if info.type == tarfile.AREGTYPE and len(info.name.encode()) > tarfile.LENGTH_NAME:
        # Python would take the plain header's part of the name for the whole, and a file for a folder if that ends so.
        info.type = tarfile.REGTYPE
    info.mtime = draw(st.sampled_from([0, 1_600_000_000, 1.5, -3]))
    info.uid = draw(st.sampled_from([0, 107, 1 << 22]))
    info.uname = draw(st.sampled_from(["", "qemu", "größe"]))
    if info.type in {tarfile.SYMTYPE, tarfile.LNKTYPE}:
        info.linkname = draw(_name)
    data = draw(st.binary(max_size=1500)) if _KINDS[info.type] == "file" else b""
    info.size = len(data)
    return info, data


def archive(chosen, form, **options):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, **options) as tar:
        for info, data in chosen:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def by_python(data):
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", errors="surrogateescape") as tar:
        return [
            (
                "/".join(part for part in info.name.split("/") if part),
                _KINDS[info.type],
                tar.extractfile(info).read() if info.isreg() else b"",
            )
            for info in tar
        ]


@examples(120)
@given(
    st.lists(members(), min_size=1, max_size=5),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.booleans(),
)
def test_what_python_writes_reads_as_python_reads_it(chosen, form, comment):
    options = {"pax_headers": {"comment": "größe"}} if comment and form == tarfile.PAX_FORMAT else {}
    data = archive(chosen, form, **options)
    found = tar_members(data, 1000)
    assert found == by_python(data)
    assert [(kind, body) for _, kind, body in found] == [(_KINDS[info.type], body) for info, body in chosen]


@examples(60)
@given(st.lists(members(), min_size=1, max_size=3), st.sampled_from([512, 1000, 1024]))
def test_what_python_writes_reads_the_same_in_chunks_of_any_size(chosen, length):
    data = archive(chosen, tarfile.PAX_FORMAT)
    assert tar_members(data, length) == tar_members(data, 37)


_damage = st.lists(st.tuples(st.integers(0, 6000), st.binary(min_size=1, max_size=12)), min_size=1, max_size=4)


@examples(250)
@given(st.lists(members(), min_size=1, max_size=3), st.sampled_from([0, 1, 2]), _damage, st.booleans())
def test_a_damaged_archive_is_read_or_refused(chosen, form, damage, mend):
    data = archive([(_ascii(info), body) for info, body in chosen] if form == tarfile.USTAR_FORMAT else chosen, form)
    data = damaged(data, damage)
    check_tar(with_checksums(data) if mend else data)


@examples(100)
@given(st.binary(max_size=2000), st.booleans())
def test_noise_is_refused_or_read(noise, header):
    front = tarfile.TarInfo("disk/x").tobuf() if header else b""
    check_tar(front + noise)
    check_tar(with_checksums(front + noise))


def _ascii(info):
    """The member with a name that ustar can hold."""
    info.name, info.linkname, info.uname = "disk/" + info.name.encode("unicode_escape").decode()[:90], "", ""
    info.mtime, info.uid = 0, 0
    return info


def with_checksums(data):
    """The archive with a right checksum in each block that says that it is a header."""
    data = bytearray(data)
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    return bytes(data)
