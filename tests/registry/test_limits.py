"""What a registry asks of its clients is heard by all of them."""

import time

import pytest

from dataimportcron.errors import TooManyRequestsError
from dataimportcron.oci.limits import Limits
from dataimportcron.oci.registry import Access, Registry
from dataimportcron.reference import Reference
from demo.push import OCI_MANIFEST
from tests.support.fault_registry import Reply, fault_registry
from tests.support.stocked import AMD64, ROBOT

PATH = "/v2/disk/manifests/latest"
FOUND = Reply(headers={"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": f"sha256:{'1' * 64}"})
BUSY = Reply(status=429, headers={"Retry-After": "40"})


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limits(clock):
    return Limits(clock)


def lookup(running, limits, **members):
    access = Access(insecure_registries=frozenset({running.host}), **members)
    with Registry(access, limits=limits) as client:
        return client.resolve(Reference.parse(f"{running.host}/disk"), AMD64)


def wait(running, limits, **members):
    with pytest.raises(TooManyRequestsError) as caught:
        lookup(running, limits, **members)
    return caught.value


@pytest.mark.parametrize("status", [429, 503])
def test_a_host_is_left_alone_by_all_clients_until_its_time(faults, limits, clock, status):
    faults.answer(PATH, Reply(status=status, headers={"Retry-After": "40"}))
    assert wait(faults, limits).retry_after == 40
    asked = len(faults.requests)

    clock.now += 15
    found = wait(faults, limits, credentials={faults.host: ROBOT})
    assert found.retry_after == 25
    assert f"{faults.host} has asked to wait; it is not asked again for 25 s" in found.message
    assert len(faults.requests) == asked

    clock.now += 26
    faults.answer(PATH, FOUND)
    assert lookup(faults, limits).digest == f"sha256:{'1' * 64}"


def test_a_storm_asks_once(faults, limits):
    faults.answer(PATH, BUSY)
    started = time.monotonic()
    for _ in range(50):
        wait(faults, limits)
    assert len(faults.requests) == 1
    assert time.monotonic() - started < 5


def test_others_are_asked_meanwhile(faults, limits):
    faults.answer(PATH, BUSY)
    wait(faults, limits)
    with fault_registry() as other:
        other.answer(PATH, FOUND)
        assert lookup(other, limits)


def test_an_answer_without_a_time_stops_nobody(faults, limits):
    faults.answer(PATH, Reply(status=429))
    assert wait(faults, limits).retry_after is None
    faults.answer(PATH, FOUND)
    assert lookup(faults, limits)


def test_a_mirror_that_waits_is_passed_over(faults, limits, tmp_path):
    with fault_registry() as mirror:
        folder = tmp_path / faults.host
        folder.mkdir()
        (folder / "hosts.toml").write_text(f'server = "{faults.url}"\n[host."{mirror.url}"]\n')
        mirror.answer(PATH, BUSY)
        faults.answer(PATH, FOUND)
        for _ in range(3):
            assert lookup(faults, limits, certs_dirs=(tmp_path,))
        assert len(mirror.requests) == 1
    assert len(faults.requests) == 3


def test_where_a_redirect_leads_does_not_speak_for_the_registry(faults, limits):
    with fault_registry() as storage:
        faults.answer(PATH, Reply(status=307, headers={"Location": f"{storage.url}/there"}))
        storage.answer("/there", BUSY)
        wait(faults, limits)
    faults.answer(PATH, FOUND)
    assert lookup(faults, limits)


def test_a_token_server_is_left_alone_too(secure_faults, limits):
    challenge = {"WWW-Authenticate": f'Bearer realm="{secure_faults.url}/token"'}
    secure_faults.answer(PATH, Reply(status=401, headers=challenge))
    secure_faults.answer("/token", BUSY)
    access = Access(ca_certificates=(secure_faults.ca.read_text(),))
    for _ in range(3):
        with Registry(access, limits=limits) as client, pytest.raises(TooManyRequestsError):
            client.resolve(Reference.parse(f"{secure_faults.host}/disk"), AMD64)
    assert len(secure_faults.seen("GET", "/token")) == 1


def test_the_longest_wait_counts(limits, clock):
    limits.note("h", TooManyRequestsError("", retry_after=40))
    limits.note("h", TooManyRequestsError("", retry_after=10))
    clock.now += 39
    with pytest.raises(TooManyRequestsError):
        limits.check("h")
    clock.now += 1
    limits.check("h")


def test_docker_hubs_words_are_told(faults, limits):
    faults.answer(
        PATH, Reply(status=429, headers={"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600"})
    )
    found = wait(faults, limits)
    assert "it allows 100 requests in 21600 s" in found.message
    assert "with credentials" in found.hint
