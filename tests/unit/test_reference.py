"""Expected values are those of github.com/distribution/reference v0.6.0, ParseNormalizedNamed and TagNameOnly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataimportcron.errors import InvalidReferenceError
from dataimportcron.reference import Reference, is_digest

SHA256 = f"sha256:{'a' * 64}"
SHA512 = f"sha512:{'b' * 128}"


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("fedora", "docker.io", "library/fedora", "latest", None),
        ("fedora:40", "docker.io", "library/fedora", "40", None),
        ("docker.io/fedora", "docker.io", "library/fedora", "latest", None),
        ("index.docker.io/fedora", "docker.io", "library/fedora", "latest", None),
        ("index.docker.io/a/b", "docker.io", "a/b", "latest", None),
        ("myhost/a", "docker.io", "myhost/a", "latest", None),
        ("localhost", "docker.io", "library/localhost", "latest", None),
        ("localhost:5000", "docker.io", "library/localhost", "5000", None),
        ("localhost/a", "localhost", "a", "latest", None),
        ("localhost:5000/a", "localhost:5000", "a", "latest", None),
        ("myhost:5000/a", "myhost:5000", "a", "latest", None),
        ("host:5000/x:tag", "host:5000", "x", "tag", None),
        ("HOST.example/a/b", "HOST.example", "a/b", "latest", None),
        ("Host/a", "Host", "a", "latest", None),
        ("a.b/c", "a.b", "c", "latest", None),
        ("a.b", "docker.io", "library/a.b", "latest", None),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000", "a/b/c", "latest", None),
        ("[::1]/a", "[::1]", "a", "latest", None),
        ("[2001:db8::1]:443/a:b", "[2001:db8::1]:443", "a", "b", None),
        (f"a@{SHA256}", "docker.io", "library/a", None, SHA256),
        (f"a@{SHA512}", "docker.io", "library/a", None, SHA512),
        (f"host:5000/a:tag@{SHA256}", "host:5000", "a", "tag", SHA256),
        ("a:_x", "docker.io", "library/a", "_x", None),
        ("a:TAG.1-2_3", "docker.io", "library/a", "TAG.1-2_3", None),
        (f"a:{'t' * 128}", "docker.io", "library/a", "t" * 128, None),
        ("a__b", "docker.io", "library/a__b", "latest", None),
        ("a---b", "docker.io", "library/a---b", "latest", None),
        (f"q.io/{'a' * 255}", "q.io", "a" * 255, "latest", None),
        (f"{'a' * 247}", "docker.io", f"library/{'a' * 247}", "latest", None),
        (f"a/{'a' * 64}", "docker.io", f"a/{'a' * 64}", "latest", None),
        (f"{'a' * 64}:tag", "docker.io", f"library/{'a' * 64}", "tag", None),
        (
            "docker://quay.io/kubevirt/fedora-cloud-registry-disk-demo:latest",
            "quay.io",
            "kubevirt/fedora-cloud-registry-disk-demo",
            "latest",
            None,
        ),
    ],
)
def test_parse(text, registry, repository, tag, digest):
    assert Reference.parse(text) == Reference(registry, repository, tag, digest)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "no repository"),
        ("docker://", "no repository"),
        ("docker:///a", "no image reference"),
        ("http://a/b", "no image reference"),
        ("docker://docker://a", "no image reference"),
        ("Fedora", "must be lower case"),
        ("host/Upper", "must be lower case"),
        ("quay.io/a/B:tag", "must be lower case"),
        ("/a", "repository"),
        ("a/", "repository 'a/'"),
        ("a//b", "repository"),
        ("a..b", "repository"),
        ("a___b", "repository"),
        ("-a", "repository"),
        (" a", "repository"),
        ("a b", "repository"),
        ("a\n", "repository"),
        ("é", "repository"),
        ("a%20b", "repository"),
        ("[::1]", "repository"),
        ("[::g]/a", "registry '[::g]'"),
        ("host:/a", "registry 'host:'"),
        ("host:port/a", "registry 'host:port'"),
        ("-host.x/a", "registry '-host.x'"),
        ("a..b/c", "registry 'a..b'"),
        ("\uff41.io/a", "registry"),
        ("host.io:\uff15000/a", "registry"),
        ("a:", "tag ''"),
        ("a:-x", "tag '-x'"),
        ("a:.x", "tag '.x'"),
        (f"a:{'t' * 129}", "tag"),
        ("a:b:c", "repository 'library/a:b'"),
        ("a@", "digest ''"),
        ("a@latest", "digest 'latest'"),
        ("a@sha256:abc", "digest"),
        (f"a@sha256:{'A' * 64}", "lower case"),
        (f"a@md5:{'a' * 32}", "digest"),
        (f"a@{SHA256}@{SHA256}", "digest"),
        (f"q.io/{'a' * 256}", "more than 255"),
        ("a" * 248, "more than 255"),
        ("a" * 64, "image id"),
    ],
)
def test_what_is_no_reference_is_refused_with_the_part_that_is_wrong(text, names):
    with pytest.raises(InvalidReferenceError) as caught:
        Reference.parse(text)
    assert names in caught.value.message
    assert "docker://registry/repository:tag" in caught.value.hint


def test_a_long_text_is_not_repeated_in_full():
    with pytest.raises(InvalidReferenceError) as caught:
        Reference.parse("A" * 100_000)
    assert len(str(caught.value)) < 1000


_component = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}", fullmatch=True)
_registry = st.one_of(
    st.sampled_from(["docker.io", "localhost", "localhost:5000", "[::1]:5000", "[2001:db8::1]", "10.0.0.1:80"]),
    st.from_regex(r"[a-z0-9]{1,8}\.[a-z]{2,4}(:[0-9]{1,5})?", fullmatch=True),
)
_tag = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)


@given(
    _registry, st.lists(_component, min_size=2, max_size=4), st.none() | _tag, st.sampled_from([None, SHA256, SHA512])
)
def test_the_canonical_text_reads_as_itself(registry, components, tag, digest):
    if not tag and not digest:
        tag = "latest"
    reference = Reference(registry, "/".join(components), tag, digest)

    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(f"docker://{reference}") == reference
    assert str(Reference.parse(str(reference))) == str(reference)


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_an_invalid_reference(text):
    try:
        reference = Reference.parse(text)
    except InvalidReferenceError:
        return
    assert Reference.parse(str(reference)) == reference


def test_a_url_pinned_already_stays_right():
    pinned = Reference.parse(f"docker://quay.io/a/b@{SHA256}")

    assert str(pinned) == f"quay.io/a/b@{SHA256}"
    assert pinned.with_digest(SHA256) == pinned
    assert pinned.target == SHA256


def test_with_digest_drops_the_tag():
    reference = Reference.parse("host:5000/x:8.4")

    assert reference.target == "8.4"
    assert str(reference.with_digest(SHA256)) == f"host:5000/x@{SHA256}"
    assert reference.name == "host:5000/x"


def test_a_digest_outranks_the_tag():
    assert Reference.parse(f"a:tag@{SHA256}").target == SHA256


@pytest.mark.parametrize("digest", ["", "latest", "sha256:", f"{SHA256} ", f"{SHA256}\n", f"sha256:{'a' * 63}"])
def test_what_is_no_digest_is_refused(digest):
    assert not is_digest(digest)
    with pytest.raises(InvalidReferenceError):
        Reference.parse("a").with_digest(digest)
