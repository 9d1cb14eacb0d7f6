"""What hosts.toml gives one host: headers and client certificates, and that nobody else ever gets them."""

import threading

import pytest

from dataimportcron.errors import (
    InvalidObjectError,
    MissingDependencyError,
    RegistryUnavailableError,
    UnauthorizedError,
)
from dataimportcron.oci.endpoints import endpoints_of
from dataimportcron.oci.registry import Access, Registry
from dataimportcron.reference import Reference
from demo.push import OCI_MANIFEST
from demo.registry import make_certificates
from tests.support.fault_registry import Reply, fault_registry
from tests.support.stocked import AMD64

REGISTRY = "127.0.0.1:1"
PATH = "/v2/disk/manifests/latest"
FOUND = Reply(headers={"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": f"sha256:{'1' * 64}"})


@pytest.fixture
def hosts(tmp_path):
    folder = tmp_path / "certs.d" / REGISTRY
    folder.mkdir(parents=True)

    def write(text):
        (folder / "hosts.toml").write_text(text)
        return folder

    return write


@pytest.fixture
def lookup(tmp_path):
    def resolve(**members):
        with Registry(Access(certs_dirs=(tmp_path / "certs.d",), **members)) as client:
            return client.resolve(Reference.parse(f"{REGISTRY}/disk"), AMD64)

    return resolve


# -- headers -----------------------------------------------------------------------------------------------------------


def test_headers_are_sent_to_their_host(hosts, lookup, faults):
    faults.answer(PATH, FOUND)
    hosts(f'server = "{faults.url}"\n[header]\nX-One = "1"\nX-Many = ["a", "b"]\nUser-Agent = "mine"\n')
    lookup()
    sent = faults.requests[0].headers
    assert (sent["X-One"], sent["X-Many"], sent["User-Agent"]) == ("1", "a, b", "mine")


def test_headers_are_for_nobody_else(hosts, lookup, faults):
    """Not for the next host, not for where a redirect leads, not for a token server."""
    with fault_registry() as storage, fault_registry() as origin:
        faults.answer(PATH, Reply(status=307, headers={"Location": f"{storage.url}/there"}))
        storage.answer("/there", Reply(status=500))
        challenge = {"WWW-Authenticate": f'Bearer realm="{storage.url}/token"'}
        origin.answer(PATH, Reply(status=401, headers=challenge))
        storage.answer("/token", Reply(body=b'{"token":"t"}'))
        hosts(f'server = "{origin.url}"\n[host."{faults.url}".header]\nX-Secret = "s3cret"\nAuthorization = "s3cret"\n')
        with pytest.raises(RegistryUnavailableError, match="status 500"):
            lookup()
        assert [one.headers["X-Secret"] for one in faults.requests] == ["s3cret"]
        assert [one.headers["Authorization"] for one in faults.requests] == ["s3cret"]
        assert storage.seen(path="/there")
        assert storage.seen(path="/token")
        assert all("s3cret" not in str(one.headers) for one in (*storage.requests, *origin.requests))


def test_headers_come_back_with_the_redirect(hosts, lookup, faults):
    faults.answer(PATH, Reply(status=307, headers={"Location": "/elsewhere"}))
    faults.answer("/elsewhere", FOUND)
    hosts(f'server = "{faults.url}"\n[header]\nX-One = "1"\n')
    lookup()
    assert [one.headers["X-One"] for one in faults.requests] == ["1", "1"]


@pytest.mark.parametrize(
    "header",
    ['X-A = "s3cret\\n"', "X-A = 3", 'X-A = ["s3cret", 3]', '"X A" = "s3cret"', 'Host = "s3cret"', 'range = "s3cret"'],
)
def test_a_wrong_header_is_named_and_not_told(hosts, tmp_path, header):
    path = hosts(f'[host."https://m".header]\n{header}\n') / "hosts.toml"
    with pytest.raises(InvalidObjectError) as caught:
        endpoints_of(REGISTRY, (tmp_path / "certs.d",), frozenset())
    assert str(path) in caught.value.message
    assert "s3cret" not in str(caught.value)


# -- client certificates -----------------------------------------------------------------------------------------------


@pytest.fixture
def demanding(tmp_path):
    """A server that wants a certificate of its own CA; its own pair serves as the client's."""
    with fault_registry(tmp_path / "pki", demanding=True) as server:
        server.answer(PATH, FOUND)
        yield server, *make_certificates(tmp_path / "pki")


@pytest.mark.parametrize("form", ["pair", "one file", "list of files"])
def test_a_client_certificate(hosts, lookup, demanding, form):
    server, certificate, key = demanding
    folder = hosts("")
    (folder / "both.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
    client = {"pair": f'[["{certificate}", "{key}"]]', "one file": '"both.pem"', "list of files": '["both.pem"]'}[form]
    hosts(f'server = "{server.url}"\nca = "{server.ca}"\nclient = {client}\n')
    assert lookup().digest == f"sha256:{'1' * 64}"


def test_without_the_certificate_it_is_refused(hosts, lookup, demanding):
    server, *_ = demanding
    hosts(f'server = "{server.url}"\nca = "{server.ca}"\n')
    # Whether the alert is read before the connection is reset is the kernel's to decide.
    with pytest.raises((UnauthorizedError, RegistryUnavailableError), match=server.host):
        lookup()
    assert not server.requests


def test_a_client_certificate_is_not_shown_to_others(hosts, lookup, demanding, secure_faults):
    """A redirect to a host that would take it."""
    server, certificate, key = demanding
    secure_faults.answer(PATH, Reply(status=307, headers={"Location": f"{server.url}{PATH}"}))
    text = f'server = "{secure_faults.url}"\nca = ["{server.ca}", "{secure_faults.ca}"]\n'
    hosts(f'{text}client = [["{certificate}", "{key}"]]\n')
    with pytest.raises((UnauthorizedError, RegistryUnavailableError)):
        lookup()
    assert secure_faults.requests
    assert not server.requests


@pytest.mark.parametrize("what", ["absent", "no certificate", "key of another"])
def test_a_client_certificate_that_cannot_be_used(hosts, lookup, demanding, secure_faults, what):
    server, certificate, key = demanding
    folder = hosts("")
    other = folder / "other.key"
    if what != "absent":
        other.write_bytes(
            b"words" if what == "no certificate" else (secure_faults.ca.parent / "server.key").read_bytes()
        )
    hosts(f'server = "{server.url}"\nca = "{server.ca}"\nclient = [["{certificate}", "other.key"]]\n')
    with pytest.raises(MissingDependencyError, match=str(other)):
        lookup()
    assert key.exists()


@pytest.mark.parametrize("value", ["3", "[3]", '[["a", "b", "c"]]', "[[]]", '""'])
def test_a_wrong_client_is_named(hosts, tmp_path, value):
    path = hosts(f'server = "https://m"\nclient = {value}\n') / "hosts.toml"
    with pytest.raises(InvalidObjectError, match="must name files or pairs") as caught:
        endpoints_of(REGISTRY, (tmp_path / "certs.d",), frozenset())
    assert str(path) in caught.value.message


def test_a_certificate_that_is_renewed_is_used_at_once(hosts, tmp_path, demanding):
    """By the same client, which keeps its connections otherwise."""
    server, certificate, key = demanding
    folder = hosts(f'server = "{server.url}"\nca = "{server.ca}"\nclient = "mine.pem"\n')
    (folder / "mine.pem").write_bytes(b"not yet")
    with Registry(Access(certs_dirs=(tmp_path / "certs.d",))) as client:
        reference = Reference.parse(f"{REGISTRY}/disk")
        with pytest.raises(MissingDependencyError):
            client.resolve(reference, AMD64)
        (folder / "mine.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
        assert client.resolve(reference, AMD64)


def test_one_client_serves_many_threads(secure):
    results = []
    with Registry(secure.access()) as client:

        def work():
            results.extend(client.resolve(secure.reference(), AMD64).digest for _ in range(5))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [secure.index] * 40
