"""Who is told what: credentials, tokens and challenges, with a real registry and really signed tokens."""

import base64
import json
import time

import pytest

from dataimportcron.errors import InvalidObjectError, NotARegistryError, UnauthorizedError
from dataimportcron.oci.auth import Challenge, parse_challenges
from dataimportcron.oci.credentials import Credentials, from_secret
from dataimportcron.oci.registry import Access, Registry
from dataimportcron.reference import Reference
from demo.push import Image, push
from tests.support.fault_registry import Reply, document, fault_registry
from tests.support.stocked import AMD64, ROBOT, Bearer, stocked
from tests.support.token_server import token_server

WRONG = Credentials(username=ROBOT.username, password="wrong")
PATH = "/v2/disk/manifests/latest"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
FOUND = Reply(headers={"Content-Type": MANIFEST, "Docker-Content-Digest": f"sha256:{'1' * 64}"})


def trusting(*running, **members):
    """Access with the CAs of servers."""
    return Access(ca_certificates=tuple(one.read_text() for one in running), **members)


# -- Basic -------------------------------------------------------------------------------------------------------------


def test_basic(basic):
    with Registry(basic.access(credentials={basic.running.host: ROBOT})) as client:
        assert client.resolve(basic.reference(), AMD64).digest == basic.index
        (layer,) = client.manifest(basic.reference(), AMD64).layers
        assert len(b"".join(client.blob(basic.reference(), layer))) == layer.size


def test_basic_without_credentials(basic):
    with Registry(basic.access()) as client, pytest.raises(UnauthorizedError) as caught:
        client.resolve(basic.reference(), AMD64)
    assert basic.running.host in caught.value.message
    assert str(basic.reference()) in caught.value.message
    assert "no credentials were given" in caught.value.message
    assert "secretRef" in caught.value.hint


def test_basic_with_wrong_credentials(basic):
    with Registry(basic.access(credentials={basic.running.host: WRONG})) as client:
        with pytest.raises(UnauthorizedError, match="the given credentials may not read it"):
            client.resolve(basic.reference(), AMD64)
        with pytest.raises(UnauthorizedError) as caught:
            client.resolve(basic.reference(), AMD64)
    assert "wrong" not in str(caught.value)


def test_after_the_first_challenge_no_other_is_needed(faults):
    challenge = Reply(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    faults.answer(PATH, challenge, FOUND)
    access = Access(insecure_registries=frozenset({faults.host}), credentials={faults.host: ROBOT})
    with Registry(access) as client:
        for _ in range(3):
            client.resolve(Reference.parse(f"{faults.host}/disk"), AMD64)
    sent = [request.headers["Authorization"] for request in faults.requests]
    assert sent == [None, ROBOT.basic, ROBOT.basic, ROBOT.basic]


# -- tokens ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def access(guarded, tokens):
    def make(**members):
        return trusting(guarded.running.ca, tokens.certificates / "ca.crt", **members)

    tokens.requests.clear()
    return make


def test_one_token_serves_a_whole_import(guarded, tokens, access):
    with Registry(access(credentials={guarded.running.host: ROBOT})) as client:
        assert client.resolve(guarded.reference(), AMD64).manifest_digest == guarded.amd64
        manifest = client.manifest(guarded.reference(), AMD64)
        client.config(guarded.reference(), manifest)
        assert len(b"".join(client.blob(guarded.reference(), manifest.layers[0]))) == manifest.layers[0].size
    assert tokens.requests == [("repository:private/disk:pull", ROBOT.basic)]


def test_a_private_image_without_credentials(guarded, tokens, access):
    with Registry(access()) as client, pytest.raises(UnauthorizedError, match="no credentials were given"):
        client.resolve(guarded.reference(), AMD64)
    assert {authorization for _, authorization in tokens.requests} == {""}


def test_a_public_image_needs_no_credentials(guarded, tokens, access):
    with demo_client(guarded, tokens, "public/disk") as http:
        digest = push(http, "public/disk", "latest", Image(layers=(guarded.layer,)))
    with Registry(access()) as client:
        assert client.resolve(Reference.parse(f"{guarded.running.host}/public/disk"), AMD64).digest == digest
    assert tokens.requests == [("repository:public/disk:pull", "")]


def demo_client(guarded, tokens, repository):
    from demo.registry import client  # noqa: PLC0415 -- another `client` than the tests' variable

    return client(guarded.running, auth=Bearer(tokens, repository))


def test_the_token_servers_refusal_names_it(guarded, access):
    known = access(credentials={guarded.running.host: WRONG})
    with Registry(known) as client, pytest.raises(UnauthorizedError) as caught:
        client.resolve(guarded.reference(), AMD64)
    assert "the token server 127.0.0.1:" in caught.value.message
    assert "repository:private/disk:pull with the given credentials" in caught.value.message
    assert "wrong" not in str(caught.value)


def test_a_token_that_expires_is_renewed(tmp_path):
    with token_server(tmp_path / "tokens", {ROBOT.username: ROBOT.password}, life=1) as server:
        auth = Bearer(server, "disk")
        with stocked(tmp_path, registry_auth=server.registry_auth, auth=auth) as found:
            access = trusting(found.running.ca, server.certificates / "ca.crt", credentials={found.running.host: ROBOT})
            with Registry(access) as client:
                client.resolve(found.reference(":amd64"), AMD64)
                time.sleep(0.6)  # half of its life is margin
                # The real registry must refuse the old one, for the client does not ask before it is told to.
                client._transport._authorization = dict.fromkeys(client._transport._authorization, "Bearer old")
                client.resolve(found.reference(":amd64"), AMD64)
    assert server.requests == [("repository:disk:pull", ROBOT.basic)] * 2


def test_a_token_that_is_refused_is_fetched_anew(secure_faults):
    realm = f"{secure_faults.url}/token"
    challenge = Reply(status=401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'})
    secure_faults.answer("/token", *[document({"token": f"t{number}"}, "application/json") for number in range(9)])
    secure_faults.answer(PATH, challenge, FOUND, challenge, FOUND)
    with Registry(trusting(secure_faults.ca)) as client:
        for _ in range(2):
            client.resolve(Reference.parse(f"{secure_faults.host}/disk"), AMD64)
    sent = [request.headers["Authorization"] for request in secure_faults.seen("HEAD", PATH)]
    assert sent == [None, "Bearer t0", "Bearer t0", "Bearer t1"]


def test_a_registry_that_refuses_every_token_is_asked_twice_only(secure_faults):
    challenge = Reply(status=401, headers={"WWW-Authenticate": f'Bearer realm="{secure_faults.url}/token"'})
    secure_faults.answer("/token", document({"access_token": "t", "expires_in": 9}, "application/json"))
    secure_faults.answer(PATH, challenge)
    with Registry(trusting(secure_faults.ca)) as client, pytest.raises(UnauthorizedError):
        client.resolve(Reference.parse(f"{secure_faults.host}/disk"), AMD64)
    assert len(secure_faults.seen("HEAD", PATH)) == 2


def test_a_realm_without_https_gets_nothing_from_an_https_registry(secure_faults, faults):
    secure_faults.answer(PATH, Reply(status=401, headers={"WWW-Authenticate": f'Bearer realm="{faults.url}/token"'}))
    access = trusting(secure_faults.ca, credentials={secure_faults.host: ROBOT})
    with Registry(access) as client, pytest.raises(UnauthorizedError, match="which is not https"):
        client.resolve(Reference.parse(f"{secure_faults.host}/disk"), AMD64)
    assert not faults.requests


def test_a_realm_that_redirects_is_not_followed(secure_faults):
    challenge = {"WWW-Authenticate": f'Bearer realm="{secure_faults.url}/token"'}
    secure_faults.answer(PATH, Reply(status=401, headers=challenge))
    secure_faults.answer("/token", Reply(status=302, headers={"Location": "/elsewhere"}))
    access = trusting(secure_faults.ca, credentials={secure_faults.host: ROBOT})
    with Registry(access) as client, pytest.raises(NotARegistryError, match=r"token server .* status 302"):
        client.resolve(Reference.parse(f"{secure_faults.host}/disk"), AMD64)
    assert not secure_faults.seen(path="/elsewhere")


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"token":5}', b'{"token":"a\\nb"}', b'{"token":"\\u00e9"}', b"<html>", b"0" * (1 << 19)],
)
def test_what_is_no_token_is_not_sent(secure_faults, answer):
    secure_faults.answer("/token", Reply(body=answer))
    challenge = {"WWW-Authenticate": f'Bearer realm="{secure_faults.url}/token"'}
    secure_faults.answer(PATH, Reply(status=401, headers=challenge))
    with Registry(trusting(secure_faults.ca)) as client, pytest.raises(NotARegistryError, match="token server"):
        client.resolve(Reference.parse(f"{secure_faults.host}/disk"), AMD64)
    assert len(secure_faults.seen("HEAD", PATH)) == 1


@pytest.mark.parametrize("challenge", ["", "Negotiate", 'Digest realm="x"', 'Bearer service="no realm"'])
def test_a_challenge_that_cannot_be_answered(secure_faults, challenge):
    secure_faults.answer(PATH, Reply(status=401, headers={"WWW-Authenticate": challenge}))
    access = trusting(secure_faults.ca, credentials={secure_faults.host: ROBOT})
    with Registry(access) as client, pytest.raises(UnauthorizedError):
        client.resolve(Reference.parse(f"{secure_faults.host}/disk"), AMD64)
    assert [request.headers["Authorization"] for request in secure_faults.requests] == [None]


def test_credentials_are_for_their_registry_alone(secure_faults, tmp_path):
    """Not for a mirror of it, and not for another registry."""
    challenge = Reply(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    with fault_registry(tmp_path / "mirror") as mirror:
        mirror.answer(PATH, challenge)
        secure_faults.answer(PATH, challenge, FOUND)
        folder = tmp_path / "certs.d" / secure_faults.host
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(f'[host."{mirror.url}"]\n')
        access = trusting(
            mirror.ca, secure_faults.ca, credentials={secure_faults.host: ROBOT}, certs_dirs=(tmp_path / "certs.d",)
        )
        with Registry(access) as client:
            client.resolve(Reference.parse(f"{secure_faults.host}/disk"), AMD64)
        assert [request.headers["Authorization"] for request in mirror.requests] == [None]
    assert secure_faults.requests[-1].headers["Authorization"] == ROBOT.basic


# -- challenges --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], []),
        (["Basic"], [("basic", {})]),
        (['BASIC Realm="a b"'], [("basic", {"realm": "a b"})]),
        (["Basic realm=plain"], [("basic", {"realm": "plain"})]),
        (
            ['Bearer realm="https://x/token?a=b,c",service="s",scope="repository:a/b:pull,push"'],
            [("bearer", {"realm": "https://x/token?a=b,c", "service": "s", "scope": "repository:a/b:pull,push"})],
        ),
        (['Bearer realm="a \\"quoted\\" \\\\ b" , x=1'], [("bearer", {"realm": 'a "quoted" \\ b', "x": "1"})]),
        (['Basic realm="a", Bearer realm="b"'], [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        (["Negotiate, Basic, Bearer realm=b"], [("negotiate", {}), ("basic", {}), ("bearer", {"realm": "b"})]),
        (["Negotiate YWJj==, Bearer realm=b"], [("negotiate", {"ywjj": "="}), ("bearer", {"realm": "b"})]),
        (["Basic realm=a", "Bearer realm=b"], [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        (['Bearer realm="never closed'], [("bearer", {})]),
        (["=,="], []),
        ([",, ,"], []),
    ],
)
def test_challenges(headers, expected):
    assert parse_challenges(headers) == [Challenge(scheme=scheme, parameters=found) for scheme, found in expected]


def test_a_long_challenge_takes_no_time():
    for text in ("Bearer " + "a" * 50_000, 'Bearer x="' + "\\" * 50_000, "," * 50_000, "a " * 20_000):
        assert isinstance(parse_challenges([text]), list)


# -- Secrets -----------------------------------------------------------------------------------------------------------


def docker_config(auths):
    return {".dockerconfigjson": json.dumps({"auths": auths}).encode()}


def auth(text):
    return {"auth": base64.b64encode(text.encode()).decode()}


def test_cdis_keys_are_for_the_registry_of_the_reference():
    secret = {"accessKeyId": b"robot\n", "secretKey": b"correct horse\n"}
    assert from_secret(secret, "quay.io") == {"quay.io": ROBOT}


def test_docker_configuration():
    found = from_secret(
        docker_config(
            {
                "https://index.docker.io/v1/": auth("hub:a:b"),
                "quay.io/team": auth("team:1"),
                "https://quay.io": auth("all:2"),
                "ghcr.io": {"username": "u", "password": "p", "auth": ""},
                "localhost:5000": auth("only:name"),
            }
        ),
        "quay.io",
    )
    assert {host: (one.username, one.password) for host, one in found.items()} == {
        "docker.io": ("hub", "a:b"),
        "quay.io": ("all", "2"),
        "quay.io/team": ("team", "1"),
        "ghcr.io": ("u", "p"),
        "localhost:5000": ("only", "name"),
    }


@pytest.mark.parametrize(
    "secret",
    [
        {},
        {"accessKeyId": b"a"},
        {"accessKeyId": b"a", "secretKey": b"s3cret\xff"},
        {".dockerconfigjson": b"s3cret"},
        {".dockerconfigjson": b"[]"},
        {".dockerconfigjson": b'{"auths": {"a": {"auth": "s3cret!"}}}'},
        {".dockerconfigjson": b'{"auths": {"a": {"username": "s3cret"}}}'},
        {".dockerconfigjson": b'{"auths": {"a": "s3cret"}}'},
    ],
)
def test_a_wrong_secret_is_refused_without_being_told(secret):
    with pytest.raises(InvalidObjectError) as caught:
        from_secret(secret, "quay.io")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_password_is_never_shown():
    access = Access(credentials={"quay.io": ROBOT})
    assert ROBOT.password not in repr(access)
    assert ROBOT.password not in str(ROBOT)
