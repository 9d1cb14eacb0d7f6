"""Lookups of the host's worker: shared where they are the same, bounded where they are not, and in whose name."""

from __future__ import annotations

import asyncio
import base64
import json
import stat
import time

import pytest

from dataimportcron.api.types import KINDS
from dataimportcron.errors import (
    ImageNotFoundError,
    InvalidObjectError,
    MissingDependencyError,
    RegistryUnavailableError,
    TooManyRequestsError,
)
from dataimportcron.host.access import HostAccess
from dataimportcron.host.source import HostSource
from dataimportcron.oci import lookups as module
from dataimportcron.reference import Reference
from dataimportcron.values import ImageSource
from demo.push import OCI_MANIFEST
from tests.support.fault_registry import Reply, fault_registry

NAMESPACE = "golden"
PATH = "/v2/disk/manifests/latest"


def found(digit="1", **members):
    headers = {"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": f"sha256:{digit * 64}"}
    return Reply(headers=headers, **members)


@pytest.fixture(autouse=True)
def user(monkeypatch, tmp_path):
    """A user without docker's or podman's files, and no proxy."""
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def faults():
    with fault_registry() as running:
        running.answer(PATH, found())
        yield running


@pytest.fixture
def configure(state, faults):
    """Write the settings and the registry's hosts.toml, which allows plain http."""

    def write(text="", running=faults):
        folder = state.path / "certs.d" / running.host
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts.toml").write_text(f'server = "{running.url}"\n')
        (state.path / "settings.toml").write_text(text)

    return write


@pytest.fixture
def access(store, state):
    return HostAccess(store, state)


@pytest.fixture
def make(access, state, configure):
    """A source with the settings as they are now; closed at the end."""
    configure()
    made = []

    def start():
        made.append(HostSource(access, state))
        return made[-1]

    yield start
    for source in made:
        source.close()


@pytest.fixture
def source(make):
    return make()


@pytest.fixture
def image(faults):
    return ImageSource(namespace=NAMESPACE, url=f"docker://{faults.host}/disk:latest")


def arrived(faults, count):
    """Wait until so many requests have come."""
    deadline = time.monotonic() + 5
    while len(faults.requests) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def apply(store, kind, name, namespace=NAMESPACE, **members):
    store.create(KINDS[kind].model_validate({"metadata": {"name": name, "namespace": namespace}, **members}))


# -- shared ------------------------------------------------------------------------------------------------------------


async def test_polls_at_one_time_share_one_lookup(source, faults, image):
    faults.answer(PATH, found(delay=0.2))
    others = [ImageSource(namespace=f"other-{number}", url=image.url) for number in range(20)]
    resolved = await asyncio.gather(*(source.resolve(one) for one in (image, *others)))
    assert {one.digest for one in resolved} == {f"sha256:{'1' * 64}"}
    assert len(faults.requests) == 1


async def test_a_lookup_serves_for_the_jitter_window_from_its_start(source, faults, image, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    faults.answer(PATH, found("1"), found("2"))
    assert (await source.resolve(image)).digest == f"sha256:{'1' * 64}"
    now += 9.9
    assert (await source.resolve(image)).digest == f"sha256:{'1' * 64}"
    now += 0.2
    assert (await source.resolve(image)).digest == f"sha256:{'2' * 64}"


async def test_without_jitter_nothing_is_kept(configure, make, faults, image):
    configure("poll_jitter = 0\n")
    source = make()
    for _ in range(2):
        await source.resolve(image)
    assert len(faults.requests) == 2


async def test_a_forced_poll_asks_for_itself(source, faults, image):
    faults.answer(PATH, found("1"), found("2"), found("3"))
    await source.resolve(image)
    assert (await source.resolve(image, fresh=True)).digest == f"sha256:{'2' * 64}"
    assert (await source.resolve(image)).digest == f"sha256:{'2' * 64}", "what it found serves others"
    faults.answer(PATH, found("4", delay=0.2), found("5"))
    both = await asyncio.gather(*(source.resolve(image, fresh=True) for _ in range(2)))
    assert {one.digest[-1] for one in both} == {"4", "5"}


async def test_a_failure_is_shared_by_those_who_wait_and_by_nobody_after_them(source, faults, image):
    faults.answer(PATH, Reply(status=404, delay=0.2))
    failures = await asyncio.gather(*(source.resolve(image) for _ in range(5)), return_exceptions=True)
    assert {type(one) for one in failures} == {ImageNotFoundError}
    assert [request.method for request in faults.requests] == ["HEAD", "GET"]
    faults.answer(PATH, found())
    assert await source.resolve(image)


async def test_other_access_is_another_lookup(source, faults, image, store):
    """Equal Secrets of two namespaces are one access; another Secret, other CAs, another architecture are not."""
    for namespace, password in (("one", "a"), ("two", "a"), ("three", "b")):
        apply(store, "Secret", "pull", namespace, stringData={"accessKeyId": "me", "secretKey": password})
    for namespace in ("one", "two", "three"):
        await source.resolve(ImageSource(namespace=namespace, url=image.url, secret="pull"))
    assert len(faults.requests) == 2
    await source.resolve(image)
    assert len(faults.requests) == 3


async def test_who_stops_waiting_takes_nothing_from_the_others(source, faults, image):
    faults.answer(PATH, found(delay=0.3))
    first, second = (asyncio.create_task(source.resolve(image)) for _ in range(2))
    await asyncio.to_thread(arrived, faults, 1)
    first.cancel()
    assert await second
    assert first.cancelled()
    assert len(faults.requests) == 1


# -- bounded -----------------------------------------------------------------------------------------------------------


async def test_a_slow_registry_holds_up_nobody_else(configure, source, faults):
    """Twenty lookups, four at a time, of half a second each; the other registry's is done before the first of them."""
    for number in range(20):
        faults.answer(f"/v2/slow-{number}/manifests/latest", found(delay=0.5))
    with fault_registry() as other:
        configure(running=other)
        other.answer(PATH, found())
        slow = [
            asyncio.create_task(source.resolve(ImageSource(namespace="x", url=f"docker://{faults.host}/slow-{number}")))
            for number in range(20)
        ]
        await asyncio.to_thread(arrived, faults, 4)
        await source.resolve(ImageSource(namespace="x", url=f"docker://{other.host}/disk"))
        assert not any(task.done() for task in slow)
        assert len(faults.requests) == 4
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_the_setting_bounds_lookups_at_one_registry(configure, make, faults):
    configure("concurrent_lookups = 1\n")
    source = make()
    for name in "ab":
        faults.answer(f"/v2/{name}/manifests/latest", found(delay=0.2))
    started = time.monotonic()
    images = [ImageSource(namespace="x", url=f"docker://{faults.host}/{name}") for name in "ab"]
    await asyncio.gather(*(source.resolve(one) for one in images))
    assert time.monotonic() - started >= 0.4


async def test_the_setting_bounds_lookups_per_second_at_one_registry(configure, make, faults):
    configure("lookup_rate = 10\n")
    source = make()
    names = [f"image-{number}" for number in range(5)]
    for name in names:
        faults.answer(f"/v2/{name}/manifests/latest", found())
    started = time.monotonic()
    with fault_registry() as other:
        configure("lookup_rate = 10\n", other)
        other.answer(PATH, found())
        images = [ImageSource(namespace="x", url=f"docker://{faults.host}/{name}") for name in names]
        slow = asyncio.gather(*(source.resolve(one) for one in images))
        await source.resolve(ImageSource(namespace="x", url=f"docker://{other.host}/disk"))
        assert not slow.done()
        await slow
    assert time.monotonic() - started >= 0.4


async def test_nobody_waits_for_ever_for_a_turn(configure, make, faults, image, monkeypatch):
    configure("concurrent_lookups = 1\n")
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    source = make()
    faults.answer(PATH, found(delay=0.5))
    first = asyncio.create_task(source.resolve(image))
    await asyncio.sleep(0)
    with pytest.raises(RegistryUnavailableError, match=f"{faults.host} is slow") as caught:
        await source.resolve(image, fresh=True)
    assert "concurrent_lookups" in caught.value.hint
    assert await first


async def test_a_limit_speaks_to_all_crons(source, faults, image, store):
    apply(store, "Secret", "pull", stringData={"accessKeyId": "me", "secretKey": "pa55"})
    faults.answer(PATH, Reply(status=429, headers={"Retry-After": "100"}))
    with pytest.raises(TooManyRequestsError):
        await source.resolve(image)
    asked = len(faults.requests)
    for one in (image, ImageSource(namespace=NAMESPACE, url=image.url, secret="pull")):
        with pytest.raises(TooManyRequestsError, match="it is not asked again for") as caught:
            await source.resolve(one, fresh=True)
        assert 90 < caught.value.retry_after <= 100
    assert len(faults.requests) == asked


@pytest.mark.parametrize(
    "text", ["concurrent_lookups = 0\n", "lookup_rate = -1\n", 'registry_auth_file = "auth.json"\n']
)
def test_settings_that_cannot_be(configure, state, text):
    configure(text)
    with pytest.raises(InvalidObjectError, match=text.partition(" ")[0]):
        state.settings()


# -- the user's own credentials ----------------------------------------------------------------------------------------


def login(path, host, username):
    path.parent.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"{username}:pa55".encode()).decode()
    path.write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return path


def name_of(access, image):
    reference = Reference.parse(image.url)
    found = access.registry_access(image, reference).credentials.get(reference.registry)
    return found.username if found else None


def test_without_a_secret_it_is_the_users_credentials(access, configure, user, image):
    host, tmp_path = Reference.parse(image.url).registry, user.parent
    assert name_of(access, image) is None
    login(user / ".docker/config.json", host, "own")
    assert name_of(access, image) == "own"
    configure(f'registry_auth_file = "{login(tmp_path / "other.json", host, "named")}"\n')
    assert name_of(access, image) == "named"
    configure('registry_auth_file = "/dev/null"\n')
    assert name_of(access, image) is None
    configure(f'registry_auth_file = "{tmp_path}/absent.json"\n')
    with pytest.raises(MissingDependencyError, match=r"absent\.json"):
        name_of(access, image)


def test_a_secret_stands_alone(access, store, user, faults, image):
    """Even if it knows another registry only."""
    login(user / ".docker/config.json", faults.host, "own")
    config = json.dumps({"auths": {"elsewhere.example": {"username": "me", "password": "pa55"}}})
    apply(store, "Secret", "pull", stringData={".dockerconfigjson": config})
    assert name_of(access, ImageSource(namespace=NAMESPACE, url=image.url, secret="pull")) is None


def test_a_mirror_gets_its_own(access, state, user, image):
    reference = Reference.parse(image.url)
    folder = state.path / "certs.d" / reference.registry
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hosts.toml").write_text('[host."https://mirror.example"]\n')
    login(user / ".docker/config.json", "mirror.example", "for-mirror")
    found = access.registry_access(image, reference).credentials
    assert {host: one.username for host, one in found.items()} == {"mirror.example": "for-mirror"}


@pytest.mark.parametrize("known", [True, False])
def test_the_importer_is_handed_what_the_poll_uses(access, user, faults, image, known):
    """And where there is nothing, a folder that says so: it must not look for itself."""
    login(user / ".docker/config.json", faults.host if known else "elsewhere.example", "own")
    with access.folder(image) as (options, folder):
        secret = folder / "secret-dir" / ".dockerconfigjson"
        assert options[:2] == ["--secret-dir", str(secret.parent)]
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        auths = json.loads(secret.read_text())["auths"]
        assert auths == ({faults.host: {"username": "own", "password": "pa55"}} if known else {})
        assert not any("pa55" in option for option in options)
