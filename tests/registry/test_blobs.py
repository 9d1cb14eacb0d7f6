"""Downloads: bytes as they are stored, continued where they were cut, and never more than was promised."""

import hashlib
import time

import httpx
import pytest

from dataimportcron.errors import (
    DigestMismatchError,
    ImageNotFoundError,
    NotARegistryError,
    RegistryUnavailableError,
    TooManyRequestsError,
)
from dataimportcron.oci import registry as module
from dataimportcron.oci.manifest import Descriptor
from dataimportcron.oci.registry import Access, Registry
from dataimportcron.reference import Reference
from demo.push import sha256
from tests.support.fault_registry import Reply, fault_registry
from tests.support.stocked import AMD64, ROBOT

BODY = b"".join(f"{number:015}\n".encode() for number in range(100_000))
DIGEST = sha256(BODY)
PATH = f"/v2/disk/blobs/{DIGEST}"
BLOB = Descriptor(media_type="", digest=DIGEST, size=len(BODY))


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(module, "_PAUSES", (0.01, 0.01, 0.01))


@pytest.fixture
def reference(faults):
    return Reference.parse(f"{faults.host}/disk")


@pytest.fixture
def lying(faults):
    access = Access(insecure_registries=frozenset({faults.host}), credentials={faults.host: ROBOT})
    with Registry(access, timeout=httpx.Timeout(5.0)) as client:
        yield client


def read(client, reference, descriptor=BLOB):
    return b"".join(client.blob(reference, descriptor))


def ranges(faults):
    return [request.headers.get("Range") for request in faults.seen("GET", PATH)]


def test_a_real_blob(secure):
    with Registry(secure.access()) as client:
        (layer,) = client.manifest(secure.reference(), AMD64).layers
        body = read(client, secure.reference(), layer)
    assert (len(body), sha256(body)) == (layer.size, layer.digest)


def test_a_real_registry_continues_after_a_cut(secure, monkeypatch):
    """The cut is made on our side: the connection's read fails once, in the middle."""
    with Registry(secure.access()) as client:
        (layer,) = client.manifest(secure.reference(), AMD64).layers
        asked, came = [], []
        read_raw = httpx.Response.iter_raw

        def cut(response, size=None):
            asked.append((response.status_code, response.request.headers.get("Range")))
            for part in read_raw(response, size):
                if len(asked) == 1 and len(came) == 2:
                    raise httpx.ReadError("cut")
                came.append(len(part))
                yield part

        monkeypatch.setattr(httpx.Response, "iter_raw", cut)
        body = read(client, secure.reference(), layer)

    assert sha256(body) == layer.digest
    assert asked == [(200, None), (206, f"bytes={came[0] + came[1]}-{layer.size - 1}")]
    assert sum(came) == layer.size


def test_a_cut_is_continued_by_range(lying, faults, reference):
    faults.answer(
        PATH,
        Reply(body=BODY, headers={"ETag": '"one"'}, cut=700_000),
        Reply(body=BODY, headers={"ETag": '"one"'}, ranges=True),
    )
    assert read(lying, reference) == BODY
    first, second = faults.seen("GET", PATH)
    assert first.headers["Range"] is None
    assert second.headers["If-Range"] == '"one"'
    start = int(second.headers["Range"].removeprefix("bytes=").partition("-")[0])
    assert 0 < start <= 700_000


def test_a_weak_tag_proves_nothing(lying, faults, reference):
    weak = {"ETag": 'W/"one"'}
    faults.answer(PATH, Reply(body=BODY, headers=weak, cut=700_000), Reply(body=BODY, headers=weak, ranges=True))
    assert read(lying, reference) == BODY
    assert faults.requests[1].headers["If-Range"] is None


def test_a_server_that_ignores_ranges_is_read_again(lying, faults, reference):
    faults.answer(PATH, Reply(body=BODY, cut=700_000), Reply(body=BODY, cut=1_200_000), Reply(body=BODY))
    assert read(lying, reference) == BODY
    assert len(faults.requests) == 3


def test_a_body_that_ends_early_without_a_word_is_continued(lying, faults, reference):
    faults.answer(PATH, Reply(body=BODY, chunked=True, cut=600_000), Reply(body=BODY, ranges=True))
    assert read(lying, reference) == BODY
    assert ranges(faults)[1] == f"bytes=600000-{len(BODY) - 1}"


def test_each_bit_of_progress_earns_new_tries(lying, faults, reference):
    step = module._CHUNK
    replies = [Reply(body=BODY, ranges=True, cut=step + 1000) for _ in range(len(BODY) // step + 1)]
    faults.answer(PATH, *replies)
    assert read(lying, reference) == BODY
    assert len(faults.requests) > len(module._PAUSES)


def test_a_download_that_gets_no_further_ends(lying, faults, reference):
    faults.answer(PATH, Reply(body=BODY, cut=600_000), Reply(body=BODY, cut=0))
    with pytest.raises(RegistryUnavailableError) as caught:
        read(lying, reference)
    assert faults.host in caught.value.message
    assert len(faults.requests) == 2 + len(module._PAUSES)


def test_an_outage_in_the_middle_is_waited_out(lying, faults, reference):
    busy = Reply(status=502)
    faults.answer(PATH, Reply(body=BODY, cut=600_000), busy, busy, Reply(body=BODY, ranges=True))
    assert read(lying, reference) == BODY


def test_what_cannot_be_opened_is_the_callers_to_retry(lying, faults, reference):
    faults.answer(PATH, Reply(status=502))
    with pytest.raises(RegistryUnavailableError, match="status 502"):
        read(lying, reference)
    assert len(faults.requests) == 1


def test_a_limit_in_the_middle_is_told_at_once(lying, faults, reference):
    faults.answer(PATH, Reply(body=BODY, cut=600_000), Reply(status=429, headers={"Retry-After": "7"}))
    with pytest.raises(TooManyRequestsError) as caught:
        read(lying, reference)
    assert caught.value.retry_after == 7
    assert len(faults.requests) == 2


def test_another_range_than_asked_for_is_refused(lying, faults, reference):
    wrong = Reply(status=206, body=BODY[5:], headers={"Content-Range": f"bytes 5-{len(BODY) - 1}/{len(BODY)}"})
    faults.answer(PATH, Reply(body=BODY, cut=600_000), wrong)
    with pytest.raises(NotARegistryError, match="Content-Range 'bytes 5-"):
        read(lying, reference)


def test_more_bytes_than_promised_are_never_handed_on(lying, faults, reference):
    faults.answer(PATH, Reply(body=BODY + bytes(1 << 20), chunked=True))
    got = 0
    with pytest.raises(DigestMismatchError, match="more than"):  # noqa: PT012 -- what came before the error counts
        for part in lying.blob(reference, BLOB):
            got += len(part)
    assert got <= len(BODY)


@pytest.mark.parametrize("body", [BODY[:-1], BODY + b"x", b""], ids=["short", "long", "empty"])
def test_another_size_is_seen_before_the_first_byte(lying, faults, reference, body):
    faults.answer(PATH, Reply(body=body))
    with pytest.raises(DigestMismatchError, match=f"has {len(body)} bytes as the blob .* {len(BODY)} were expected"):
        next(lying.blob(reference, BLOB))
    assert len(faults.requests) == 1


def test_a_blob_is_never_decoded(lying, faults, reference):
    faults.answer(PATH, Reply(body=BODY, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(NotARegistryError, match="encodes it with 'gzip'"):
        read(lying, reference)
    assert faults.requests[0].headers["Accept-Encoding"] == "identity"


def test_bytes_are_the_callers_to_verify(lying, faults, reference):
    wrong = bytes(len(BODY))
    faults.answer(PATH, Reply(body=wrong))
    assert hashlib.sha256(read(lying, reference)).hexdigest() not in DIGEST


def test_nothing_is_asked_for_an_empty_blob(lying, faults, reference):
    assert read(lying, reference, Descriptor(media_type="", digest=sha256(b""), size=0)) == b""
    assert not faults.requests


def test_a_missing_blob(lying, reference):
    with pytest.raises(ImageNotFoundError, match=DIGEST):
        read(lying, reference)


# -- redirects ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def storage():
    """Another host, as a registry's content delivery network is."""
    with fault_registry() as running:
        yield running


def test_a_redirect_is_followed_without_credentials(lying, faults, storage, reference):
    challenge = Reply(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    faults.answer(PATH, challenge, Reply(status=307, headers={"Location": f"{storage.url}/signed?key=1"}))
    storage.answer("/signed", Reply(body=BODY))

    assert read(lying, reference) == BODY

    assert faults.requests[-1].headers["Authorization"] == ROBOT.basic
    assert [request.headers["Authorization"] for request in storage.requests] == [None]


def test_a_redirected_download_is_continued_through_the_registry(lying, faults, storage, reference):
    faults.answer(PATH, Reply(status=307, headers={"Location": f"{storage.url}/signed"}))
    storage.answer("/signed", Reply(body=BODY, cut=600_000), Reply(body=BODY, ranges=True))
    assert read(lying, reference) == BODY
    assert len(faults.requests) == len(storage.requests) == 2


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
def test_a_challenge_of_another_host_is_not_answered(lying, faults, storage, reference, scheme):
    """It could name its own token server and be given the registry's credentials."""
    faults.answer(PATH, Reply(status=307, headers={"Location": f"{storage.url}/signed"}))
    challenge = {"WWW-Authenticate": f'{scheme} realm="{storage.url}/token",service="x"'}
    storage.answer("/signed", Reply(status=401, headers=challenge))
    storage.answer("/token", Reply(body=b'{"token":"x"}'))

    with pytest.raises(Exception, match=f"127.0.0.1, where {faults.host} sends us, refuses"):
        read(lying, reference)

    assert not storage.seen(path="/token")
    assert all(request.headers["Authorization"] is None for request in (*storage.requests, *faults.requests))


@pytest.mark.parametrize("location", ["/v2/disk/blobs/loop", "ftp://127.0.0.1/x", "https://[", "http://:0"])
def test_redirects_to_nowhere(lying, faults, reference, location):
    reply = Reply(status=302, headers={"Location": location})
    faults.answer(PATH, reply)
    faults.answer("/v2/disk/blobs/loop", reply)
    with pytest.raises((NotARegistryError, RegistryUnavailableError)):
        read(lying, reference)


def test_an_abandoned_download_closes_its_connection(lying, faults, reference):
    faults.answer(PATH, Reply(body=BODY))
    parts = lying.blob(reference, BLOB)
    assert BODY.startswith(next(parts))
    started = time.monotonic()
    parts.close()
    assert time.monotonic() - started < 5
    assert read(lying, reference) == BODY
