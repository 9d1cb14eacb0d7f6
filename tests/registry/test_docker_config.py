"""Credentials of the user of a host: which file and which entry count, and real helper programs."""

import base64
import json
import os
import time
from contextlib import closing

import pytest

from dataimportcron.errors import (
    InvalidObjectError,
    MissingDependencyError,
    RegistryUnavailableError,
    UnauthorizedError,
)
from dataimportcron.importer.source.registry_image import RegistryImage, RegistryOptions
from dataimportcron.oci import docker_config
from dataimportcron.oci.credentials import Credentials, from_secret, to_docker_config
from dataimportcron.oci.docker_config import find_credentials
from dataimportcron.oci.registry import Access, Registry
from dataimportcron.reference import Reference
from tests.support.fault_registry import Reply, document
from tests.support.stocked import AMD64, ROBOT

HOST = "quay.io"
PASSWORD = "pa55"


@pytest.fixture(autouse=True)
def user(monkeypatch, tmp_path):
    """A user without any file; returns the home."""
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    docker_config._helpers.forget()
    yield tmp_path / "home"
    docker_config._helpers.forget()


def entry(username, password=PASSWORD):
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def write(path, **members):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(members))
    return path


@pytest.fixture
def docker(user):
    """Write docker's own file."""
    return lambda **members: write(user / ".docker/config.json", **members)


@pytest.fixture
def helper(tmp_path):
    """Install a helper, a shell script; returns the file that each call adds a line to, what it was given."""

    def install(name, script):
        calls = tmp_path / f"{name}.calls"
        program = tmp_path / "bin" / f"docker-credential-{name}"
        program.write_text(f'#!/bin/sh\nread server\necho "$1 $server" >> {calls}\n{script}\n')
        program.chmod(0o755)
        return calls

    return install


def answer(username, secret=PASSWORD):
    return f"echo '{json.dumps({'ServerURL': HOST, 'Username': username, 'Secret': secret})}'"


def who(host=HOST, repository="disk", file=None):
    found = find_credentials([host], repository, file)
    return found[host].username if host in found else None


# -- which file --------------------------------------------------------------------------------------------------------


def test_a_user_without_files():
    assert find_credentials([HOST], "disk") == {}


def test_the_order_of_the_files(user, monkeypatch, tmp_path, docker):
    docker(auths={HOST: entry("docker"), "ghcr.io": entry("only-docker")})
    assert who() == "docker"
    write(user / ".config/containers/auth.json", auths={HOST: entry("config")})
    assert who() == "config"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    write(tmp_path / "run/containers/auth.json", auths={HOST: entry("podman")})
    assert who() == "podman"
    assert who("ghcr.io") == "only-docker"
    named = write(tmp_path / "named.json", auths={HOST: entry("named")})
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(named))
    assert who() == "named"
    assert who("ghcr.io") is None
    assert who(file=write(tmp_path / "settings.json", auths={HOST: entry("settings")})) == "settings"


def test_docker_config_is_a_folder(monkeypatch, tmp_path, docker):
    docker(auths={HOST: entry("home")})
    write(tmp_path / "elsewhere/config.json", auths={HOST: entry("elsewhere")})
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "elsewhere"))
    assert who() == "elsewhere"


@pytest.mark.parametrize("how", ["setting", "variable"])
def test_a_file_that_is_named_must_be_there(monkeypatch, tmp_path, how):
    path = tmp_path / "absent.json"
    if how == "variable":
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))
    with pytest.raises(MissingDependencyError, match=str(path)):
        who(file=path if how == "setting" else None)


def test_an_empty_file_means_nobody(tmp_path, docker):
    docker(auths={HOST: entry("home")})
    assert who(file=tmp_path.joinpath("/dev/null")) is None


@pytest.mark.parametrize(
    "text", ["pa55", "[]", '{"auths": 5}', '{"auths": {"quay.io": "pa55"}}', '{"credHelpers": [1]}']
)
def test_a_wrong_file_is_named_and_not_told(docker, text):
    path = docker()
    path.write_text(text)
    with pytest.raises(InvalidObjectError) as caught:
        who()
    assert str(path) in caught.value.message
    assert "pa55" not in str(caught.value)
    assert caught.value.__cause__ is None


# -- which entry -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repository", "username"),
    [
        ("team/disks/fedora", "exact"),
        ("team/disks/debian", "disks"),
        ("team/disks", "disks"),
        ("team/other", "team"),
        ("teams/other", "host"),
        ("disk", "host"),
    ],
)
def test_the_narrowest_path_counts(docker, repository, username):
    docker(
        auths={
            HOST: entry("host"),
            f"{HOST}/team": entry("team"),
            f"{HOST}/team/disks": entry("disks"),
            f"{HOST}/team/disks/fedora": entry("exact"),
        }
    )
    assert who(repository=repository) == username


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_by_all_its_names(docker, key):
    docker(auths={key: entry("hub")})
    assert who("docker.io", "library/fedora") == "hub"


def test_an_entry_of_login_alone_has_no_credentials(docker):
    docker(auths={HOST: {}})
    assert who() is None


def test_narrow_credentials_reach_their_repositories_alone(faults):
    """By the client itself, with credentials of a Secret."""
    challenge = Reply(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    for name in ("team/disk", "other/disk"):
        faults.answer(f"/v2/{name}/manifests/latest", challenge)
    found = {f"{faults.host}/team": Credentials(username="t", password="p")}
    with Registry(Access(insecure_registries=frozenset({faults.host}), credentials=found)) as client:
        for name, sent in (("team/disk", 2), ("other/disk", 1)):
            with pytest.raises(UnauthorizedError):
                client.resolve(Reference.parse(f"{faults.host}/{name}"), AMD64)
            assert len(faults.seen("HEAD", f"/v2/{name}/manifests/latest")) == sent


def test_what_is_handed_to_the_importer_is_read_the_same():
    found = {
        "quay.io": Credentials(username="me", password="a:b\u00e9"),
        "acr.example/team": Credentials(username="", password="", identity_token="t"),
    }
    assert from_secret({".dockerconfigjson": to_docker_config(found)}, "x") == found


# -- helpers -----------------------------------------------------------------------------------------------------------


def test_a_helper_is_asked_for_its_registry(docker, helper):
    calls = helper("one", answer("from-helper"))
    docker(credHelpers={HOST: "one"}, auths={HOST: entry("written")})
    assert who() == "from-helper"
    assert calls.read_text() == "get quay.io\n"


def test_the_store_is_asked_for_all_others(docker, helper):
    calls = helper("store", answer("from-store"))
    docker(credsStore="store", auths={"ghcr.io": entry("written"), HOST: {}})
    assert who("ghcr.io") == "written"
    assert who() == "from-store"
    assert who("docker.io") == "from-store"
    assert calls.read_text() == "get quay.io\nget https://index.docker.io/v1/\n"


def test_a_helper_that_has_none(docker, helper):
    helper("store", "echo 'credentials not found in native keychain'; exit 1")
    docker(credsStore="store")
    assert who() is None


def test_a_helpers_answer_serves_for_a_while(docker, helper):
    calls = helper("one", answer("me"))
    docker(credHelpers={HOST: "one"})
    for _ in range(3):
        assert who() == "me"
    assert len(calls.read_text().splitlines()) == 1


def test_a_helper_that_is_not_installed(docker):
    path = docker(credsStore="desktop")
    with pytest.raises(MissingDependencyError) as caught:
        who()
    assert f"docker-credential-desktop, named by {path}, cannot be run" in caught.value.message


@pytest.mark.parametrize("name", ["../evil", "a b", "/bin/sh"])
def test_a_helper_is_a_name_and_no_path(docker, name):
    docker(credsStore=name)
    with pytest.raises(InvalidObjectError, match="no program's name"):
        who()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'keychain is locked'; exit 1", "fails for quay.io (status 1): keychain is locked"),
        ("exit 3", "(status 3): it does not say why"),
        ('echo \'{"Username":"me","Secret":"pa55"\'; exit 1', "it does not say why"),
        ("echo pa55", "gives no Username and Secret"),
        ('echo \'{"Username":"me","Secret":["pa55"]}\'', "gives no Username and Secret"),
        ("echo '[\"pa55\"]'", "gives no Username and Secret"),
        ("yes pa55", "fails for quay.io (status -9)"),
    ],
)
def test_a_helper_that_fails(docker, helper, script, words):
    helper("one", script)
    docker(credHelpers={HOST: "one"})
    with pytest.raises(UnauthorizedError) as caught:
        who()
    assert words in caught.value.message
    if "yes" not in script:
        assert "pa55" not in str(caught.value)


def test_a_helper_that_does_not_end_is_ended_with_its_children(docker, helper, monkeypatch):
    monkeypatch.setattr(docker_config, "_PATIENCE", 0.3)
    helper("one", "sleep 600 & sleep 600")
    docker(credHelpers={HOST: "one"})
    started = time.monotonic()
    with pytest.raises(RegistryUnavailableError, match=r"docker-credential-one gives no credentials for quay.io in"):
        who()
    assert time.monotonic() - started < 5


# -- the importer, alone -----------------------------------------------------------------------------------------------


def test_the_importer_reads_the_users_files_unless_it_is_given_a_folder(docker, basic, tmp_path):
    docker(auths={basic.running.host: entry(ROBOT.username, ROBOT.password)})
    certificates, secret = tmp_path / "certificates", tmp_path / "secret"
    certificates.mkdir()
    (certificates / "ca.crt").write_bytes(basic.running.ca.read_bytes())

    def reader(**options):
        image = RegistryImage(f"docker://{basic.reference()}", "linux/amd64", RegistryOptions(**options))
        image.close = image._registry.close
        return image

    with closing(reader(cert_dir=certificates)) as image:
        assert image.load().digest == basic.index

    secret.mkdir()
    (secret / ".dockerconfigjson").write_bytes(to_docker_config({}))
    with (
        closing(reader(cert_dir=certificates, secret_dir=secret)) as image,
        pytest.raises(UnauthorizedError, match="no credentials were given"),
    ):
        image.load()


# -- identity tokens ---------------------------------------------------------------------------------------------------


def test_an_identity_token_is_exchanged_at_the_token_server(docker, helper, secure_faults):
    path = "/v2/disk/manifests/latest"
    challenge = {"WWW-Authenticate": f'Bearer realm="{secure_faults.url}/oauth2/token",service="acr"'}
    found = Reply(
        headers={
            "Content-Type": "application/vnd.oci.image.manifest.v1+json",
            "Docker-Content-Digest": f"sha256:{'1' * 64}",
        }
    )
    secure_faults.answer(path, Reply(status=401, headers=challenge), found)
    secure_faults.answer("/oauth2/token", document({"access_token": "short"}, "application/json"))
    helper("one", answer("<token>", "long+lived/token"))
    docker(credHelpers={secure_faults.host: "one"})

    access = Access(
        ca_certificates=(secure_faults.ca.read_text(),), credentials=find_credentials([secure_faults.host], "disk")
    )
    assert "long+lived" not in repr(access)
    with Registry(access) as client:
        client.resolve(Reference.parse(f"{secure_faults.host}/disk"), AMD64)

    (post,) = secure_faults.seen("POST", "/oauth2/token")
    assert post.headers["Authorization"] is None
    assert post.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert sorted(post.body.decode().split("&")) == [
        "client_id=dataimportcron",
        "grant_type=refresh_token",
        "refresh_token=long%2Blived%2Ftoken",
        "scope=repository%3Adisk%3Apull",
        "service=acr",
    ]
    assert secure_faults.requests[-1].headers["Authorization"] == "Bearer short"


def test_an_identity_token_is_in_the_file_too(docker):
    docker(auths={HOST: entry("00000000", "") | {"identitytoken": "long"}})
    assert find_credentials([HOST], "disk")[HOST].identity_token == "long"


def test_an_identity_token_answers_no_basic_challenge(faults):
    faults.answer("/v2/disk/manifests/latest", Reply(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'}))
    known = {faults.host: Credentials(username="", password="", identity_token="long")}
    access = Access(insecure_registries=frozenset({faults.host}), credentials=known)
    with Registry(access) as client, pytest.raises(UnauthorizedError):
        client.resolve(Reference.parse(f"{faults.host}/disk"), AMD64)
    assert [request.headers["Authorization"] for request in faults.requests] == [None]
