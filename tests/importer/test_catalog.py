import pytest

from dataimportcron.errors import InvalidImageError
from dataimportcron.importer.layer.catalog import Catalog, Place
from dataimportcron.oci.tar import Entry


def laid(*layers):
    catalog = Catalog()
    for number, names in enumerate(layers):
        for name in names:
            path, _, kind = name.partition(":")
            catalog.add(number, Entry(path=tuple(path.split("/")), kind=kind or "file", size=0))
        catalog.end_layer()
    return catalog


@pytest.mark.parametrize(
    ("layers", "place"),
    [
        ([["disk:directory", "disk/a.img"]], Place(0, "a.img")),
        ([["usr/x"], ["disk/a"], ["etc/y", "diskette/z"]], Place(1, "a")),
        ([["disk/a"], ["disk/a"]], Place(1, "a")),
        ([["disk/a", "disk/b"], ["disk/.wh.a"]], Place(0, "b")),
        ([["disk/a"], ["disk/b", "disk/.wh.a"]], Place(1, "b")),
        ([["disk/a"], ["disk/.wh.a", "disk/a"]], Place(1, "a")),
        ([["disk/a"], ["disk/.wh..wh..opq", "disk/b"]], Place(1, "b")),
        ([["disk/a"], [".wh.disk"], ["disk/b"]], Place(2, "b")),
        ([["disk/a"], [".wh..wh..opq"], ["disk/b"]], Place(2, "b")),
        ([["disk/a"], ["disk/b"], ["disk/.wh.b"]], Place(0, "a")),
        ([["disk/a"], ["disk/.wh.a"], ["disk/a"], ["etc/x"]], Place(2, "a")),
        ([["disk/a"], ["disk/.wh..wh.plnk"]], Place(0, "a")),
        ([["disk:symbolic link"], ["disk:directory", "disk/a"]], Place(1, "a")),
    ],
)
def test_one_file(layers, place):
    assert laid(*layers).only_file() == place


@pytest.mark.parametrize(
    ("layers", "complaint"),
    [
        ([], "nothing"),
        ([["usr/x", "disk:directory"]], "nothing"),
        ([["disk/a"], ["disk/.wh.a"]], "nothing"),
        ([["disk/b", "disk/a"]], r"a \(file\), b \(file\)"),
        ([["disk/a"], ["disk/b"]], r"a \(file\), b \(file\)"),
        ([["disk/a:symbolic link"]], r"a \(symbolic link\)"),
        ([["disk/a:hard link"]], r"a \(hard link\)"),
        ([["disk/a:block device"]], r"a \(block device\)"),
        ([["disk/sub:directory"]], r"sub \(directory\)"),
        ([["disk/sub/a"]], r"sub \(directory\)"),
        ([["disk/a"], ["disk:symbolic link"]], "/disk is a symbolic link"),
        ([["disk:file"]], "/disk is a file"),
        ([[f"disk/{number:02}" for number in range(12)]], r"09 \(file\) and 2 more"),
        ([["disk/a", "disk/\x1b[31m"]], r"\\x1b"),
    ],
)
def test_refused_by_name(layers, complaint):
    with pytest.raises(InvalidImageError, match=f"Invalid container image.*{complaint}"):
        laid(*layers).only_file()


def test_no_more_names_than_anybody_gives_whatever_becomes_of_them():
    below, hidden, here = ([f"disk/{kind}{number}" for number in range(3334)] for kind in ("a", ".wh.b", "c"))
    laid(below, [*hidden, *here[:-2]])
    with pytest.raises(InvalidImageError, match="found more than 10000 names"):
        laid(below, [*hidden, *here])
