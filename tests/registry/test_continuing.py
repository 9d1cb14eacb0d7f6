"""A download that is cut again and again: what is fetched twice is hardly anything, whoever goes on with it."""

import random

import pytest

from dataimportcron.oci import registry as module
from dataimportcron.oci.manifest import Descriptor
from dataimportcron.oci.registry import Access, Registry
from dataimportcron.reference import Reference
from demo.push import sha256
from tests.support.fault_registry import Reply, fault_registry

_DRAW = random.Random(20)  # noqa: S311 -- the same in each run
BODY = _DRAW.randbytes(8 << 20)
DIGEST = sha256(BODY)
PATH = f"/v2/disk/blobs/{DIGEST}"
BLOB = Descriptor(media_type="", digest=DIGEST, size=len(BODY))
CUTS = sorted(_DRAW.sample(range(1, len(BODY)), 20))
TAG = {"ETag": '"one"'}
GONE = Reply(status=502)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(module, "_PAUSES", (0.01, 0.01, 0.01))


@pytest.fixture
def mirror():
    with fault_registry() as running:
        yield running


@pytest.fixture
def read(faults, mirror, tmp_path):
    """Read the blob, from the mirror first where `mirrored`."""

    def reading(*, mirrored=False):
        if mirrored:
            (tmp_path / faults.host).mkdir()
            text = f'server = "{faults.url}"\n[host."{mirror.url}"]\n'
            (tmp_path / faults.host / "hosts.toml").write_text(text)
        access = Access(insecure_registries=frozenset({faults.host}), certs_dirs=(tmp_path,))
        with Registry(access) as client:
            body = b"".join(client.blob(Reference.parse(f"{faults.host}/disk"), BLOB))
        assert sha256(body) == DIGEST

    return reading


def cut_at(points, headers=TAG):
    """Answers to one whole request and to ranges, each cut at the next point, the last whole."""
    lengths = [after - before for before, after in zip([0, *points], points, strict=False)]
    return [Reply(body=BODY, headers=headers, ranges=True, cut=length) for length in lengths] + [
        Reply(body=BODY, headers=headers, ranges=True)
    ]


def asked(*servers):
    return sum(len(one.seen("GET", PATH)) for one in servers)


def test_at_twenty_points(read, faults):
    faults.answer(PATH, *cut_at(CUTS))
    read()
    assert asked(faults) == 21
    assert faults.sent <= 1.01 * len(BODY)


def test_at_twenty_points_from_a_mirror(read, faults, mirror):
    mirror.answer(PATH, *cut_at(CUTS))
    read(mirrored=True)
    assert asked(mirror) == 21
    assert mirror.sent <= 1.01 * len(BODY)
    assert not faults.requests


def test_the_origin_goes_on_where_the_mirror_dies(read, faults, mirror):
    """Their entity tags differ, as they do between any two servers."""
    half = CUTS[:10]
    mirror.answer(PATH, *cut_at(half)[:-1], GONE)
    rest = [point - half[-1] for point in CUTS[10:]]
    faults.answer(PATH, *cut_at(rest, {"ETag": '"another"'}))
    read(mirrored=True)
    assert mirror.sent + faults.sent <= 1.01 * len(BODY)
    assert len(faults.seen("GET", PATH)) == 11
    first = faults.seen("GET", PATH)[0].headers
    assert (first["Range"], first["If-Range"]) == (f"bytes={half[-1]}-{len(BODY) - 1}", None)


def test_the_mirror_goes_on_where_the_origin_dies(read, faults, mirror):
    """The mirror is down at first, and comes back when the origin goes."""
    mirror.answer(PATH, *[GONE] * 10, *cut_at([point - CUTS[9] for point in CUTS[10:]], {"ETag": '"another"'}))
    faults.answer(PATH, *cut_at(CUTS[:10])[:-1], GONE)
    read(mirrored=True)
    assert mirror.sent + faults.sent <= 1.01 * len(BODY)
    assert len(faults.seen("GET", PATH)) == 10


def test_another_version_in_mid_download_is_read_from_its_start(read, faults):
    """A server that holds to If-Range sends it whole: the same bytes, as the digest shows in the end."""
    faults.answer(PATH, Reply(body=BODY, headers=TAG, cut=CUTS[0]), Reply(body=BODY, headers={"ETag": '"two"'}))
    read()
    assert faults.seen("GET", PATH)[1].headers["If-Range"] == '"one"'
    assert faults.sent == len(BODY) + CUTS[0]
