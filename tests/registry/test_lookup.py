"""Digests, manifests and configs, from a real registry; what no real one does, from the fault registry."""

import hashlib
import json

import pytest

from dataimportcron.errors import (
    DigestMismatchError,
    ImageNotFoundError,
    InvalidImageError,
    InvalidObjectError,
    NotARegistryError,
    PlatformNotFoundError,
)
from dataimportcron.oci.manifest import INDEX_TYPES, Descriptor, Platform, choose
from dataimportcron.oci.registry import Access, Registry, Resolved
from dataimportcron.reference import Reference
from demo.push import OCI_INDEX, OCI_MANIFEST, Image, delete_tag, push, push_index, sha256
from tests.support.fault_registry import Reply, document
from tests.support.stocked import AMD64

MANIFEST = {
    "schemaVersion": 2,
    "mediaType": OCI_MANIFEST,
    "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(b"{}"), "size": 2},
    "layers": [],
}
PATH = "/v2/disk/manifests/latest"


def digest_of(content):
    return sha256(json.dumps(content).encode())


@pytest.fixture
def registry(secure):
    with Registry(secure.access()) as client:
        yield client


@pytest.fixture
def lying(faults):
    with Registry(Access(insecure_registries=frozenset({faults.host}))) as client:
        yield client


@pytest.fixture
def reference(faults):
    return Reference.parse(f"{faults.host}/disk")


# -- a real registry ---------------------------------------------------------------------------------------------------


def test_an_image_has_one_digest(registry, secure):
    resolved = registry.resolve(secure.reference(":amd64"), AMD64)
    assert resolved == Resolved(digest=secure.amd64, manifest_digest=secure.amd64)


def test_an_index_has_its_own_digest_and_the_platforms(registry, secure):
    for name, manifest_digest in (("amd64", secure.amd64), ("arm64", secure.arm64)):
        resolved = registry.resolve(secure.reference(), Platform(architecture=name))
        assert resolved == Resolved(digest=secure.index, manifest_digest=manifest_digest)


@pytest.mark.parametrize("rest", ["@{index}", ":latest@{index}", ":gone@{index}"])
def test_a_pinned_reference_keeps_its_digest(registry, secure, rest):
    resolved = registry.resolve(secure.reference(rest.format(index=secure.index)), AMD64)
    assert resolved == Resolved(digest=secure.index, manifest_digest=secure.amd64)


def test_no_image_for_the_architecture_in_words_of_cdi(registry, secure):
    with pytest.raises(PlatformNotFoundError) as caught:
        registry.resolve(secure.reference(), Platform(architecture="absent"))
    assert 'no image found in image index for architecture "absent", variant "", OS "linux"' in caught.value.message
    assert caught.value.hint == "the index has linux/amd64, linux/arm64"


def test_a_single_image_is_checked_only_where_the_architecture_was_asked_for(registry, secure):
    arm64 = Platform(architecture="arm64")

    assert registry.resolve(secure.reference(":amd64"), arm64).digest == secure.amd64
    assert registry.resolve(secure.reference(":amd64"), AMD64, strict=True).digest == secure.amd64
    with pytest.raises(PlatformNotFoundError) as caught:
        registry.resolve(secure.reference(":amd64"), arm64, strict=True)
    assert "manifest image architecture: amd64 doesn't match requested architecture: arm64" in caught.value.message


def test_an_index_that_changed_for_others_only_keeps_the_platforms_manifest(secure, tmp_path, registry):
    (tmp_path / "layer").write_bytes(b"x")
    before = registry.resolve(secure.reference(), AMD64)
    other = push(secure.http, "disk", "other", Image(layers=(secure.layer,), architecture="arm64", env=("A=new",)))
    assert other not in {secure.arm64, secure.amd64}
    push_index(secure.http, "disk", "changed", {"amd64": secure.amd64, "arm64": other})

    after = registry.resolve(secure.reference(":changed"), AMD64)

    assert after.digest != before.digest
    assert after.manifest_digest == before.manifest_digest == secure.amd64


def test_a_manifest_and_its_config(registry, secure):
    manifest = registry.manifest(secure.reference(), AMD64)
    layer = secure.layer

    assert manifest.digest == secure.amd64
    assert [(part.digest, part.size) for part in manifest.layers] == [(layer.blob.digest, layer.blob.size)]
    assert registry.config(secure.reference(), manifest)["rootfs"]["diff_ids"] == [layer.diff_id]


def test_what_is_not_there_is_named(registry, secure):
    host = secure.running.host
    with pytest.raises(ImageNotFoundError) as tag:
        registry.resolve(secure.reference(":nope"), AMD64)
    with pytest.raises(ImageNotFoundError) as repository:
        registry.resolve(Reference.parse(f"{host}/nowhere/disk:latest"), AMD64)
    with pytest.raises(ImageNotFoundError) as digest:
        registry.resolve(secure.reference(f"@sha256:{'0' * 64}"), AMD64)

    assert tag.value.message == f"{host} does not have the tag nope in the repository disk"
    # docker-registry says the same of a repository that it does not have.
    assert repository.value.message == f"{host} does not have the tag latest in the repository nowhere/disk"
    assert digest.value.message == f"{host} does not have the digest sha256:{'0' * 64} in the repository disk"


def test_a_registry_that_tells_of_a_missing_repository_is_quoted(lying, faults, reference):
    body = b'{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}'
    faults.answer(PATH, Reply(status=404, body=body, headers={"Content-Type": "application/json"}))
    with pytest.raises(ImageNotFoundError) as caught:
        lying.resolve(reference, AMD64)
    assert caught.value.message.startswith(f"{faults.host} has no repository disk")


def test_a_deleted_tag_is_not_found(secure, registry):
    push(secure.http, "disk", "short-lived", Image(layers=(secure.layer,), env=("A=1",)))
    reference = secure.reference(":short-lived")
    registry.resolve(reference, AMD64)
    delete_tag(secure.http, "disk", "short-lived")
    with pytest.raises(ImageNotFoundError):
        registry.resolve(reference, AMD64)


# -- what it costs -----------------------------------------------------------------------------------------------------


def test_a_lookup_is_one_head(lying, faults, reference):
    faults.answer(PATH, document(MANIFEST, OCI_MANIFEST, **{"Docker-Content-Digest": digest_of(MANIFEST)}))

    for _ in range(3):
        assert lying.resolve(reference, AMD64).digest == digest_of(MANIFEST)

    assert [request.method for request in faults.requests] == ["HEAD"] * 3
    assert set(INDEX_TYPES) < set(faults.requests[0].headers["Accept"].split(", "))


def test_without_the_digest_header_the_body_is_hashed(lying, faults, reference):
    faults.answer(PATH, document(MANIFEST, OCI_MANIFEST))

    assert lying.resolve(reference, AMD64).digest == digest_of(MANIFEST)
    assert [request.method for request in faults.requests] == ["HEAD", "GET"]


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_registry_without_head_is_asked_by_get(lying, faults, reference, status):
    faults.answer(PATH, Reply(status=status), document(MANIFEST, OCI_MANIFEST))
    assert lying.resolve(reference, AMD64).digest == digest_of(MANIFEST)


def test_index_and_manifest_are_of_one_moment(lying, faults, reference):
    """The tag moves between the two requests."""
    old, new = ({"manifests": [entry("amd64", sha256(name))]} for name in (b"old", b"new"))
    faults.answer(PATH, document(old, OCI_INDEX, **{"Docker-Content-Digest": digest_of(old)}), document(new, OCI_INDEX))
    faults.answer(f"/v2/disk/manifests/{digest_of(old)}", document(old, OCI_INDEX))
    assert lying.resolve(reference, AMD64) == Resolved(digest=digest_of(old), manifest_digest=sha256(b"old"))


# -- what must not be believed -----------------------------------------------------------------------------------------


def test_a_manifest_with_another_digest_is_refused(lying, faults, reference):
    wanted = f"sha256:{'1' * 64}"
    faults.answer(f"/v2/disk/manifests/{wanted}", document(MANIFEST, OCI_MANIFEST))
    with pytest.raises(DigestMismatchError) as caught:
        lying.manifest(reference.with_digest(wanted), AMD64)
    assert digest_of(MANIFEST) in caught.value.message
    assert wanted in caught.value.message


def test_a_body_that_is_not_what_the_header_says_is_refused(lying, faults, reference):
    faults.answer(PATH, document(MANIFEST, OCI_MANIFEST, **{"Docker-Content-Digest": f"sha256:{'1' * 64}"}))
    with pytest.raises(DigestMismatchError):
        lying.manifest(reference, AMD64)


def test_a_head_for_another_digest_is_refused(lying, faults, reference):
    wanted, other = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
    faults.answer(f"/v2/disk/manifests/{wanted}", document(MANIFEST, OCI_MANIFEST, **{"Docker-Content-Digest": other}))
    with pytest.raises(DigestMismatchError):
        lying.resolve(reference.with_digest(wanted), AMD64)


def test_a_config_with_another_digest_is_refused(lying, faults, reference):
    faults.answer(PATH, document(MANIFEST, OCI_MANIFEST))
    faults.answer(f"/v2/disk/blobs/{sha256(b'{}')}", Reply(body=b"[]"))
    manifest = lying.manifest(reference, AMD64)
    with pytest.raises(DigestMismatchError):
        lying.config(reference, manifest)


def test_sha512_is_verified_too(lying, faults, reference):
    body = json.dumps(MANIFEST).encode()
    digest = f"sha512:{hashlib.sha512(body).hexdigest()}"
    faults.answer(f"/v2/disk/manifests/{digest}", Reply(body=body, headers={"Content-Type": OCI_MANIFEST}))
    assert lying.manifest(reference.with_digest(digest), AMD64).digest == digest

    faults.answer(f"/v2/disk/manifests/{digest}", Reply(body=body + b" ", headers={"Content-Type": OCI_MANIFEST}))
    with pytest.raises(DigestMismatchError):
        lying.manifest(reference.with_digest(digest), AMD64)


def test_an_endless_manifest_is_not_read_to_its_end(lying, faults, reference):
    faults.answer(PATH, Reply(body=b" " * (20 << 20), headers={"Content-Type": OCI_MANIFEST}))
    with pytest.raises(NotARegistryError, match="more than 4194304 bytes"):
        lying.manifest(reference, AMD64)


def test_an_endless_config_is_not_asked_for(lying, faults, reference):
    huge = MANIFEST | {"config": MANIFEST["config"] | {"size": 1 << 40}}
    faults.answer(PATH, document(huge, OCI_MANIFEST))
    manifest = lying.manifest(reference, AMD64)
    with pytest.raises(NotARegistryError, match="more than any config"):
        lying.config(reference, manifest)
    assert not faults.seen(path=sha256(b"{}"))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (document({}, OCI_MANIFEST), NotARegistryError),
        (document({"layers": "many"}, OCI_MANIFEST), NotARegistryError),
        (document({"layers": [], "config": None}, OCI_MANIFEST), NotARegistryError),
        (document({"layers": [], "config": {"digest": "sha256:zz", "size": 1}}, OCI_MANIFEST), NotARegistryError),
        (document({"layers": [], "config": {"digest": sha256(b""), "size": -1}}, OCI_MANIFEST), NotARegistryError),
        (document({"layers": [], "config": {"digest": sha256(b""), "size": True}}, OCI_MANIFEST), NotARegistryError),
        (document({"layers": [{"digest": sha256(b"")}] * 1001, "config": {}}, OCI_MANIFEST), NotARegistryError),
        (document({"fsLayers": []}, "application/vnd.docker.distribution.manifest.v1+json"), NotARegistryError),
        (document({"manifests": [], "layers": []}, OCI_INDEX), InvalidImageError),
        (document({"manifests": [], "config": {}}, OCI_MANIFEST), InvalidImageError),
        (document({"manifests": 5}, OCI_INDEX), PlatformNotFoundError),
        (document({"manifests": [3, {"platform": "amd64"}, {"platform": None}, {}]}, OCI_INDEX), PlatformNotFoundError),
        (
            document({"manifests": [{"platform": {"architecture": "amd64"}, "digest": "../x"}]}, OCI_INDEX),
            NotARegistryError,
        ),
        (document([], OCI_MANIFEST), NotARegistryError),
        (document("words", "text/plain"), NotARegistryError),
    ],
)
def test_hostile_documents(lying, faults, reference, answer, error):
    faults.answer(PATH, answer)
    with pytest.raises(error):
        lying.manifest(reference, AMD64)
    with pytest.raises(error):
        lying.resolve(reference, AMD64)


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"", b"\xff\xfe", b"[" * 100_000, b"9" * 5000])
def test_what_is_no_json_is_no_registry(lying, faults, reference, body):
    faults.answer(PATH, Reply(body=body, headers={"Content-Type": "text/html"}))
    with pytest.raises(NotARegistryError) as caught:
        lying.resolve(reference, AMD64)
    assert faults.host in caught.value.message
    assert len(str(caught.value)) < 1000


# -- platforms ---------------------------------------------------------------------------------------------------------


def entry(architecture, digest, **platform):
    return {"digest": digest, "size": 1, "platform": {"architecture": architecture, "os": "linux"} | platform}


def test_a_variant_is_matched_where_one_is_wanted():
    index = {"manifests": [entry("arm", sha256(b"6"), variant="v6"), entry("arm", sha256(b"7"), variant="v7")]}

    assert choose(index, Platform.parse("arm"), "x").digest == sha256(b"6")
    assert choose(index, Platform.parse("linux/arm/v7"), "x").digest == sha256(b"7")
    with pytest.raises(PlatformNotFoundError, match='architecture "arm", variant "v8"'):
        choose(index, Platform.parse("linux/arm/v8"), "x")


def test_attestations_and_other_systems_are_passed_over():
    manifests = [
        entry("unknown", sha256(b"a"), os="unknown"),
        entry("amd64", sha256(b"w"), os="windows"),
        entry("amd64", sha256(b"l")),
    ]
    assert choose({"manifests": manifests}, AMD64, "x") == Descriptor(media_type="", digest=sha256(b"l"), size=1)


@pytest.mark.parametrize("text", ["", "/", "linux/", "/amd64", "linux/arm/", "linux/arm/v7/x"])
def test_what_is_no_platform_is_refused(text):
    with pytest.raises(InvalidObjectError, match="is no platform"):
        Platform.parse(text)


def test_the_default_platform_is_this_machines():
    import platform  # noqa: PLC0415 -- the standard library's, here alone

    expected = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
    assert Platform.default() == Platform(architecture=expected, os="linux", variant="")
