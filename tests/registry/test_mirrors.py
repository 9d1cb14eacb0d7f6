"""containerd's hosts.toml: whom it lets us ask, in which order, and which failure counts."""

from functools import partial
from pathlib import Path

import pytest

from dataimportcron.errors import (
    DigestMismatchError,
    ImageNotFoundError,
    InvalidObjectError,
    RegistryUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
    UntrustedCertificateError,
)
from dataimportcron.oci.endpoints import Endpoint, endpoints_of
from dataimportcron.oci.registry import Access, Registry
from dataimportcron.reference import Reference
from demo.push import OCI_MANIFEST, sha256
from tests.support.fault_registry import Reply, fault_registry
from tests.support.stocked import AMD64

NOWHERE = "127.0.0.1:1"
"""A port where nobody listens: what is written in its name can come from a mirror only."""
PATH = "/v2/disk/manifests/latest"
FOUND = Reply(headers={"Content-Type": OCI_MANIFEST, "Docker-Content-Digest": f"sha256:{'1' * 64}"})


@pytest.fixture
def certs(tmp_path):
    return tmp_path / "certs.d"


@pytest.fixture
def hosts(certs):
    """Write a hosts.toml; returns its folder."""

    def write(text, registry=NOWHERE):
        folder = certs / registry
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "hosts.toml").write_text(text)
        return folder

    return write


def endpoints(certs, registry="quay.io", insecure=()):
    return endpoints_of(registry, (certs,), frozenset(insecure))


def bases(certs, registry="quay.io", insecure=()):
    return [endpoint.base for endpoint in endpoints(certs, registry, insecure)]


def resolve(certs, access=None, registry=NOWHERE, **members):
    """Look up an image of a registry by its mirrors."""
    members = {"certs_dirs": (certs,), **members}
    with Registry(access(**members) if access else Access(**members)) as client:
        return client.resolve(Reference.parse(f"{registry}/disk"), AMD64)


@pytest.fixture
def look(certs):
    return partial(resolve, certs)


# -- real mirrors ------------------------------------------------------------------------------------------------------


def test_poll_and_import_use_the_mirror(certs, hosts, secure):
    hosts(f'[host."{secure.running.url}"]\n')
    reference = secure.reference(registry=NOWHERE)
    with Registry(secure.access(certs_dirs=(certs,))) as client:
        assert client.resolve(reference, AMD64).digest == secure.index
        manifest = client.manifest(reference, AMD64)
        assert client.config(reference, manifest)["architecture"] == "amd64"
        body = b"".join(client.blob(reference, manifest.layers[0]))
    assert sha256(body) == secure.layer.blob.digest


def test_a_mirrors_ca_stands_beside_its_file(certs, hosts, secure):
    folder = hosts(f'[host."{secure.running.url}"]\nca = "mirror.crt"\n')
    (folder / "mirror.crt").write_bytes(secure.running.ca.read_bytes())
    assert resolve(certs).digest == secure.index

    hosts(f'[host."{secure.running.url}"]\nca = ["{secure.running.ca}"]\n')
    assert resolve(certs).digest == secure.index


def test_a_ca_that_is_replaced_is_read_anew(certs, hosts, secure, secure_faults):
    folder = hosts(f'server = "{secure.running.url}"\nca = "mirror.crt"\n')
    (folder / "mirror.crt").write_bytes(secure_faults.ca.read_bytes())
    with pytest.raises(UntrustedCertificateError):
        resolve(certs)
    (folder / "mirror.crt").write_bytes(secure.running.ca.read_bytes())
    assert resolve(certs).digest == secure.index


@pytest.mark.parametrize("content", [None, "", "no certificate", b"\xff"])
def test_a_ca_that_cannot_be_used_is_named(certs, hosts, secure, content):
    folder = hosts(f'server = "{secure.running.url}"\nca = "mirror.crt"\n')
    if content is not None:
        (folder / "mirror.crt").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UntrustedCertificateError) as caught:
        resolve(certs)
    assert str(folder / "mirror.crt") in caught.value.message


def test_an_untrusted_mirror(certs, hosts, secure):
    hosts(f'server = "{secure.running.url}"\n[host."{secure.running.url}"]\n')
    with pytest.raises(UntrustedCertificateError) as caught:
        resolve(certs)
    assert secure.running.host in caught.value.message
    assert "certConfigMap" in caught.value.hint

    hosts(f'server = "{secure.running.url}"\n[host."{secure.running.url}"]\nskip_verify = true\n')
    assert resolve(certs).digest == secure.index


def test_a_mirror_without_tls(certs, hosts, plain):
    hosts(f'[host."{plain.running.url}"]\n')
    assert resolve(certs).digest == plain.index


def test_the_origin_is_asked_last(certs, hosts, secure, faults):
    hosts(f'[host."{faults.url}"]\n', registry=secure.running.host)
    assert resolve(certs, secure.access, secure.running.host).digest == secure.index
    assert [request.method for request in faults.requests] == ["HEAD", "GET", "GET"]


def test_no_origin_where_server_names_the_mirror(certs, hosts, secure, faults):
    """An air-gapped host asks nobody else, and what the mirror says counts."""
    hosts(f'server = "{faults.url}"\n[host."{faults.url}"]\n', registry=secure.running.host)
    with pytest.raises(ImageNotFoundError) as caught:
        resolve(certs, secure.access, secure.running.host)
    assert caught.value.message.startswith(f"{faults.host}, a mirror of {secure.running.host}, ")
    assert faults.requests


def test_a_mirror_with_other_content_is_passed_over(certs, hosts, secure, faults):
    hosts(f'[host."{faults.url}"]\n', registry=secure.running.host)
    faults.answer(f"/v2/disk/manifests/{secure.amd64}", Reply(body=b"{}", headers={"Content-Type": OCI_MANIFEST}))
    with Registry(secure.access(certs_dirs=(certs,))) as client:
        assert client.manifest(secure.reference(f"@{secure.amd64}"), AMD64).digest == secure.amd64
    assert faults.requests


def test_a_blob_continues_at_the_next_host(certs, hosts, secure, faults):
    hosts(f'[host."{faults.url}"]\n', registry=secure.running.host)
    body = secure.layer.blob.path.read_bytes()
    faults.answer(f"/v2/disk/blobs/{secure.layer.blob.digest}", Reply(body=body, cut=600_000), Reply(status=503))
    with Registry(secure.access(certs_dirs=(certs,))) as client:
        (layer,) = client.manifest(secure.reference(f"@{secure.amd64}"), AMD64).layers
        assert b"".join(client.blob(secure.reference(), layer)) == body


def test_a_mirror_with_a_blob_of_another_size_is_passed_over(certs, hosts, secure, faults):
    hosts(f'[host."{faults.url}"]\n', registry=secure.running.host)
    body = secure.layer.blob.path.read_bytes()
    faults.answer(f"/v2/disk/blobs/{secure.layer.blob.digest}", Reply(body=body[:-1]))
    with Registry(secure.access(certs_dirs=(certs,))) as client:
        (layer,) = client.manifest(secure.reference(f"@{secure.amd64}"), AMD64).layers
        assert b"".join(client.blob(secure.reference(), layer)) == body
    assert faults.requests


# -- which failure counts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mirror", "origin", "error"),
    [
        (Reply(status=404), None, ImageNotFoundError),
        (Reply(status=404), Reply(status=404), ImageNotFoundError),
        (Reply(status=404), Reply(status=401), UnauthorizedError),
        (Reply(status=404), Reply(status=429), TooManyRequestsError),
        (Reply(status=404), Reply(status=500), RegistryUnavailableError),
        (Reply(status=502), Reply(status=404), RegistryUnavailableError),
        (Reply(status=403), None, UnauthorizedError),
        (Reply(status=500), None, RegistryUnavailableError),
    ],
)
def test_the_failure_that_says_most(hosts, look, mirror, origin, error):
    with fault_registry() as first, fault_registry() as second:
        first.answer(PATH, mirror)
        if origin is not None:
            second.answer(PATH, origin)
        server = second.url if origin is not None else f"http://{NOWHERE}"
        hosts(f'server = "{server}"\n[host."{first.url}"]\n')
        with pytest.raises(error) as caught:
            look()
    assert "also asked: http://127.0.0.1:" in caught.value.message


def test_all_hosts_out_of_reach(certs, hosts):
    hosts(f'[host."http://{NOWHERE}"]\n')
    with pytest.raises(RegistryUnavailableError) as caught:
        resolve(certs)
    assert f"also asked: https://{NOWHERE}/v2 (RegistryUnavailable)" in caught.value.message


def test_two_different_digests_of_one_reference(certs, hosts, faults):
    wanted = f"sha256:{'2' * 64}"
    faults.answer(f"/v2/disk/manifests/{wanted}", FOUND)
    hosts(f'server = "{faults.url}"\n')
    with Registry(Access(certs_dirs=(certs,))) as client, pytest.raises(DigestMismatchError):
        client.resolve(Reference.parse(f"{NOWHERE}/disk@{wanted}"), AMD64)


# -- hosts.toml --------------------------------------------------------------------------------------------------------


def test_without_a_file_the_origin_alone(certs):
    assert endpoints(certs) == [Endpoint(base="https://quay.io/v2", host="quay.io")]
    assert endpoints(certs, "docker.io") == [Endpoint(base="https://registry-1.docker.io/v2", host="docker.io")]
    assert endpoints(certs, "h:5000", {"h:5000"}) == [
        Endpoint(base="https://h:5000/v2", host="h:5000", verify=False),
        Endpoint(base="http://h:5000/v2", host="h:5000", verify=False),
    ]


def test_the_order_is_the_files(certs, hosts):
    hosts('[host."https://z"]\n[host."https://a"]\n[host."https://m"]\n', "quay.io")
    assert bases(certs) == ["https://z/v2", "https://a/v2", "https://m/v2", "https://quay.io/v2"]


def test_members_of_a_host(certs, hosts):
    folder = hosts(
        """
        server = "https://origin.example"

        [host."https://resolve-not.example"]
        capabilities = ["pull"]
        client = ["a.pem", "b.pem"]

        [host."https://push-only.example"]
        capabilities = ["push"]

        [host."http://path.example:5000/registry/v2/"]
        override_path = true

        [host."https://prefix.example/cache"]
        ca = ["one.crt", "/two.crt"]
        skip_verify = true

        [host."bare.example"]
        """,
        "quay.io",
    )
    assert endpoints(certs, insecure={"bare.example"}) == [
        Endpoint(
            base="https://resolve-not.example/v2",
            host="resolve-not.example",
            resolve=False,
            client=((folder / "a.pem", None), (folder / "b.pem", None)),
        ),
        Endpoint(base="http://path.example:5000/registry/v2", host="path.example:5000"),
        Endpoint(
            base="https://prefix.example/cache/v2",
            host="prefix.example",
            ca_files=(folder / "one.crt", Path("/two.crt")),
            verify=False,
        ),
        Endpoint(base="https://bare.example/v2", host="bare.example", verify=False),
        Endpoint(base="https://origin.example/v2", host="origin.example"),
    ]


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://m", "https://m/v2"),
        ("https://m/", "https://m/v2"),
        ("https://m/v2", "https://m/v2"),
        ("https://m/v2/", "https://m/v2"),
        ("https://m/v2/proxy", "https://m/v2/proxy/v2"),
        ("https://m/a/v2", "https://m/a/v2"),
        ("https://[::1]:5000", "https://[::1]:5000/v2"),
    ],
)
def test_paths(certs, hosts, url, base):
    hosts(f'server = "{url}"\n', "quay.io")
    assert bases(certs) == [base]


def test_a_host_that_is_asked_once_is_not_asked_again(certs, hosts):
    hosts('server = "https://m"\n[host."https://m"]\ncapabilities = ["pull"]\n', "quay.io")
    assert [(one.base, one.resolve) for one in endpoints(certs)] == [("https://m/v2", False)]


def test_docker_hub_is_one_place_by_all_its_names(certs, hosts):
    hosts('server = "https://registry-1.docker.io"\n', "docker.io")
    assert [one.host for one in endpoints(certs, "docker.io")] == ["docker.io"]


def test_the_default_folder_and_ports(certs, hosts):
    hosts('[host."https://for-all"]\n', "_default")
    assert bases(certs, "h:5000") == ["https://for-all/v2", "https://h:5000/v2"]
    hosts('[host."https://for-one"]\n', "h:5000")
    assert bases(certs, "h:5000")[0] == "https://for-one/v2"
    hosts('[host."https://portable"]\n', "h_5000_")
    assert bases(certs, "h:5000")[0] == "https://portable/v2"
    assert bases(certs, "other")[0] == "https://for-all/v2"


def test_the_first_folder_that_knows_a_registry_decides(tmp_path):
    for name, url in (("one", "https://first"), ("two", "https://second")):
        (tmp_path / name / "quay.io").mkdir(parents=True)
        (tmp_path / name / "quay.io" / "hosts.toml").write_text(f'[host."{url}"]\n')
    folders = (tmp_path / "none", tmp_path / "one", tmp_path / "two")
    assert endpoints_of("quay.io", folders, frozenset())[0].host == "first"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('server = "https://a"\nhost = = 3\n', "at line 2"),
        ("host = 3", "`host` must be a table of tables"),
        ("host.x = 3", "`host` must be a table of tables"),
        ("server = 3", "3 is no URL"),
        ('server = ""', "no http or https URL"),
        ('server = "ftp://a"', "no http or https URL"),
        ('server = "https://[x"', "no http or https URL"),
        ('server = "https://a:0"', "no http or https URL"),
        ('server = "https://a:99999"', "no http or https URL"),
        ('server = "https://me:s3cret@a"', "no http or https URL"),
        ('server = "https://a"\ncapabilities = 3', "capabilities of https://a must be"),
        ('server = "https://a"\nca = [3]', "ca of https://a must be"),
        ('server = "https://a"\ncapabilities = []', "nobody to ask"),
    ],
)
def test_a_wrong_file_is_named(certs, hosts, text, words):
    path = hosts(text, "quay.io") / "hosts.toml"
    with pytest.raises(InvalidObjectError) as caught:
        endpoints(certs)
    assert str(path) in caught.value.message
    assert words in caught.value.message
    assert "s3cret" not in str(caught.value)


def test_a_file_in_another_encoding_is_named(certs, hosts):
    path = hosts("", "quay.io") / "hosts.toml"
    path.write_bytes(b"server = '\xff'")
    with pytest.raises(InvalidObjectError, match="is no TOML"):
        endpoints(certs)


def test_a_tag_needs_a_host_that_may_resolve(certs, hosts, secure):
    hosts(f'server = "{secure.running.url}"\ncapabilities = ["pull"]\n')
    with Registry(secure.access(certs_dirs=(certs,))) as client:
        with pytest.raises(InvalidObjectError, match=f"No host of {NOWHERE} may look up tags"):
            client.resolve(secure.reference(registry=NOWHERE), AMD64)
        by_digest = secure.reference(f"@{secure.index}", registry=NOWHERE)
        assert client.resolve(by_digest, AMD64).manifest_digest == secure.amd64
