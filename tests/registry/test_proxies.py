"""Proxies of the environment: which is used for what, and who is blamed when something is wrong."""

import pytest

from dataimportcron.errors import (
    InvalidObjectError,
    RegistryUnavailableError,
    UnauthorizedError,
    UntrustedCertificateError,
)
from dataimportcron.oci.proxies import Proxies
from dataimportcron.oci.registry import Access, Registry
from dataimportcron.reference import Reference
from demo.push import OCI_MANIFEST
from tests.support.fault_registry import Reply, fault_registry
from tests.support.forward_proxy import forward_proxy
from tests.support.stocked import AMD64

NAME = "registry.example"
DIGEST = f"sha256:{'1' * 64}"
PATH = "/v2/disk/manifests/latest"
FOUND = Reply(headers={"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": DIGEST})


@pytest.fixture
def proxy(monkeypatch):
    with forward_proxy() as running:
        monkeypatch.setenv("HTTPS_PROXY", running.url)
        monkeypatch.setenv("HTTP_PROXY", running.url)
        yield running


def lookup(*, name=NAME, **members):
    members = {"insecure_registries": frozenset({name})} | members
    with Registry(Access(**members)) as client:
        return client.resolve(Reference.parse(f"{name}/disk"), AMD64).digest


def refused(error, **options):
    with pytest.raises(error) as caught:
        lookup(**options)
    assert "pa55" not in str(caught.value)
    return caught.value


# -- real requests -----------------------------------------------------------------------------------------------------


def test_https_goes_through_a_tunnel(proxy, secure_faults):
    proxy.routes[f"{NAME}:443"] = secure_faults.host
    secure_faults.answer(PATH, FOUND)
    assert lookup() == DIGEST
    assert [(method, target) for method, target, _ in proxy.requests] == [("CONNECT", f"{NAME}:443")]
    assert [request.method for request in secure_faults.requests] == ["HEAD"]


def test_http_is_forwarded(proxy, faults):
    proxy.routes[f"{NAME}:80"] = faults.host
    faults.answer(PATH, FOUND)
    assert lookup() == DIGEST
    assert [(method, target) for method, target, _ in proxy.requests][-1] == ("HEAD", f"{NAME}:80")


def test_a_real_registry_through_a_tunnel(proxy, secure):
    proxy.routes[f"{NAME}:443"] = secure.running.host
    with Registry(Access(insecure_registries=frozenset({NAME}))) as client:
        reference = secure.reference(registry=NAME)
        (layer,) = client.manifest(reference, AMD64).layers
        assert sum(len(part) for part in client.blob(reference, layer)) == layer.size
    assert len(proxy.requests) == 1


def test_the_registrys_certificate_is_checked_through_the_tunnel(proxy, secure_faults):
    proxy.routes[f"{NAME}:443"] = secure_faults.host
    found = refused(
        UntrustedCertificateError, insecure_registries=frozenset(), ca_certificates=(secure_faults.ca.read_text(),)
    )
    assert found.message.startswith(f"The certificate of {NAME} is not trusted")
    assert not secure_faults.requests


def test_credentials_of_the_proxy_stay_with_it(proxy, monkeypatch, secure_faults):
    proxy.login = "me@home:pa55/word"
    proxy.routes[f"{NAME}:443"] = secure_faults.host
    monkeypatch.setenv("HTTPS_PROXY", f"http://me%40home:pa55%2Fword@{proxy.host}")
    secure_faults.answer(PATH, FOUND)
    assert lookup() == DIGEST
    assert secure_faults.requests[0].headers["Proxy-Authorization"] is None


def test_a_redirect_chooses_its_own_way(proxy, faults):
    """The registry is behind the proxy; where it sends us is loopback, which is reached directly."""
    proxy.routes[f"{NAME}:80"] = faults.host
    with fault_registry() as storage:
        faults.answer(PATH, Reply(status=307, headers={"Location": f"{storage.url}/there"}))
        storage.answer("/there", FOUND)
        assert lookup() == DIGEST
        assert len(storage.requests) == 1
    assert all(NAME in target for _, target, _ in proxy.requests)


# -- whose fault it is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["", "me:pa55-wrong@"])
def test_a_proxy_that_wants_credentials(proxy, monkeypatch, login):
    proxy.login = "me:pa55"
    monkeypatch.setenv("HTTPS_PROXY", f"http://{login}{proxy.host}")
    found = refused(UnauthorizedError, insecure_registries=frozenset())
    assert f"The proxy {proxy.url} wants to be given credentials (status 407)" in found.message
    assert NAME in found.message
    assert "proxy's URL" in found.hint


def test_a_proxy_that_wants_credentials_for_plain_http(proxy, monkeypatch, tmp_path):
    proxy.login = "me:pa55"
    monkeypatch.setenv("HTTPS_PROXY", "")
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / "hosts.toml").write_text(f'server = "http://{NAME}"\n')
    found = refused(UnauthorizedError, certs_dirs=(tmp_path,))
    assert f"The proxy {proxy.url} wants to be given credentials" in found.message


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (403, UnauthorizedError, "does not let us through"),
        (502, RegistryUnavailableError, "cannot get through"),
        (504, RegistryUnavailableError, "cannot get through"),
    ],
)
def test_a_proxy_that_refuses(proxy, status, error, words):
    proxy.refusal = status
    found = refused(error, insecure_registries=frozenset())
    assert f"The proxy {proxy.url} {words}, asked for {NAME}/disk:latest from {NAME}: {status}" in found.message
    assert "NO_PROXY" in found.hint


def test_a_proxy_that_is_not_there(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pa55@127.0.0.1:1")
    found = refused(RegistryUnavailableError, insecure_registries=frozenset())
    assert "The proxy http://127.0.0.1:1 refuses connections" in found.message


@pytest.mark.parametrize("value", ["socks5://me:pa55@127.0.0.1:1", "http://", "http://me:pa55@[x", "http://a:pa55"])
def test_what_is_no_proxy_is_refused_without_being_told(monkeypatch, value):
    monkeypatch.setenv("HTTPS_PROXY", value)
    assert "HTTPS_PROXY is no http or https proxy's URL" in refused(InvalidObjectError).message


# -- the environment ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "scheme", "expected"),
    [
        ({}, "https", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p:3128"}, "http", None),
        ({"https_proxy": "p:3128"}, "https", "http://p:3128"),
        ({"HTTPS_PROXY": "http://a", "https_proxy": "http://b"}, "https", "http://a"),
        ({"HTTPS_PROXY": " ", "https_proxy": "http://b/"}, "https", "http://b"),
        ({"http_proxy": "https://p"}, "http", "https://p"),
        ({"all_proxy": "http://p"}, "http", "http://p"),
        ({"ALL_PROXY": "http://p", "HTTPS_PROXY": "http://[::1]:8"}, "https", "http://[::1]:8"),
    ],
)
def test_variables(environment, scheme, expected):
    found = Proxies(environment).of(scheme, "quay.io", None)
    assert (str(found) if found else None) == expected


@pytest.mark.parametrize(
    ("exceptions", "host", "port", "direct"),
    [
        ("", "quay.io", None, False),
        ("", "localhost", 5000, True),
        ("", "127.0.0.2", 5000, True),
        ("", "::1", 5000, True),
        ("*", "quay.io", None, True),
        ("quay.io", "quay.io", None, True),
        ("quay.io", "cdn.quay.io", None, True),
        ("quay.io", "notquay.io", None, False),
        (".quay.io", "cdn.quay.io", None, True),
        (".quay.io", "quay.io", None, False),
        ("*.quay.io", "cdn.quay.io", None, True),
        ("QUAY.io", "quay.IO", None, True),
        ("quay.io:5000", "quay.io", 5000, True),
        ("quay.io:5000", "quay.io", None, False),
        ("quay.io:443", "quay.io", None, True),
        ("10.1.2.3", "10.1.2.3", 5000, True),
        ("10.0.0.0/8", "10.1.2.3", 5000, True),
        ("10.0.0.0/8", "11.1.2.3", 5000, False),
        ("10.0.0.0/8", "10.example", None, False),
        ("fd00::/8", "fd12::1", 5000, True),
        ("[fd12::1]:5000", "fd12::1", 5000, True),
        ("[fd12::1]:5000", "fd12::1", 5001, False),
        (" a.example , quay.io ,", "quay.io", None, True),
        ("a.example quay.io", "quay.io", None, True),
    ],
)
def test_exceptions(exceptions, host, port, direct):
    proxies = Proxies({"HTTPS_PROXY": "http://p", "no_proxy": exceptions})
    assert (proxies.of("https", host, port) is None) is direct


def test_a_password_is_never_shown():
    proxy = Proxies({"HTTPS_PROXY": "http://me:pa55@p"}).of("https", "quay.io", None)
    assert proxy.auth == ("me", "pa55")
    assert "pa55" not in f"{proxy} {proxy!r}"
