"""Manifests and indexes of any JSON, and what a registry may ask for in WWW-Authenticate."""

import json
import time

from hypothesis import given
from hypothesis import strategies as st

from dataimportcron.oci.auth import Challenge, parse_challenges
from tests.fuzz.checks import check_challenge, check_manifest, check_reference
from tests.fuzz.examples import examples

DIGEST = f"sha256:{'a' * 64}"
_KEYS = [
    "schemaVersion", "mediaType", "config", "layers", "manifests", "digest", "size", "platform", "architecture", "os",
    "variant", "rootfs", "diff_ids", "Labels", "Env", "containers.bootc", "annotations",
]  # fmt: skip
_leaf = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([DIGEST, "linux", "amd64", "true", 1 << 63, -1, "A=b"]),
)
_json = st.recursive(
    _leaf,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=5), inner),
    max_leaves=20,
)
_descriptor = st.fixed_dictionaries({"digest": st.just(DIGEST) | _leaf, "size": st.just(5) | _leaf})
_platform = st.fixed_dictionaries({"architecture": st.just("amd64") | _leaf, "os": st.just("linux") | _leaf}) | _json
_document = st.one_of(
    _json,
    st.fixed_dictionaries({"config": _descriptor | _json, "layers": st.lists(_descriptor | _json, max_size=3) | _json}),
    st.fixed_dictionaries(
        {"manifests": st.lists(st.builds(lambda d, p: d | {"platform": p}, _descriptor, _platform), max_size=3) | _json}
    ),
    st.fixed_dictionaries({"rootfs": st.fixed_dictionaries({"diff_ids": st.just([DIGEST]) | _json}), "config": _json}),
)


@examples(400)
@given(_document)
def test_any_json_is_a_document_or_refused(document):
    check_manifest(json.dumps(document).encode())


def nested(depth):
    """Documents with so deep a value at each place that is looked at."""
    deep = "[" * depth + "]" * depth
    descriptor = f'{{"digest":"{DIGEST}","size":1,"mediaType":{deep}}}'
    platform = f'{{"platform":{{"os":{deep},"architecture":{deep},"variant":{deep}}}}}'
    labels = f'{{"Labels":{{"containers.bootc":{deep}}},"Env":{deep}}}'
    for members in (
        f'"layers":[{deep}],"config":{deep}',
        f'"layers":[],"config":{descriptor}',
        f'"mediaType":{deep},"manifests":[{platform}]',
        f'"config":{labels},"rootfs":{{"diff_ids":["{DIGEST}"]}}',
        f'"rootfs":{{"diff_ids":[{deep}]}}',
        f'"rootfs":{deep}',
    ):
        yield f"{{{members}}}".encode()


def test_any_depth_is_read_or_refused():
    """Most of all where the parser just about takes it: whoever shows or walks the value has no more room than that."""
    for depth in (*range(1, 700, 97), *range(700, 1010), 3000, 60_000):
        for document in nested(depth):
            check_manifest(document)


@examples(150)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_document_or_refused(data):
    check_manifest(data)
    check_reference(data)


# -- challenges ----------------------------------------------------------------------------------------------------

_token = st.from_regex(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)
_quoted = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
_parameters = st.dictionaries(_token.map(str.lower), _quoted, max_size=4)


@st.composite
def challenges(draw):
    return [
        Challenge(scheme=draw(_token).lower(), parameters=draw(_parameters)) for _ in range(draw(st.integers(0, 3)))
    ]


def written(challenge, gap):
    texts = []
    for name, value in challenge.parameters.items():
        escaped = value.replace("\\", r"\\").replace('"', r"\"")
        texts.append(f'{name}{gap}={gap}"{escaped}"')
    return f"{challenge.scheme.upper()} " + f"{gap},{gap}".join(texts)


@examples(200)
@given(challenges(), st.sampled_from(["", " ", "  ", "\t"]), st.booleans())
def test_challenges_are_read_as_they_were_written(made, gap, one_header):
    texts = [written(challenge, gap) for challenge in made]
    assert parse_challenges([", ".join(texts)] if one_header else texts) == made


@examples(300)
@given(
    st.text(st.characters(max_codepoint=255), max_size=60)
    | st.lists(st.sampled_from(["Bearer", " ", ",", "=", '"', "\\", "realm", "a", "\t", "x=1", 'y="'])).map("".join)
)
def test_any_header_is_read(text):
    check_challenge(text.encode("latin-1"))


SLOW = ["a ", "a,", "a=b,", 'a="', '"', " ", ",", "\\", 'a="\\', "a =", 'a="b" ', 'a="b",', "a\t", "= ", "a=b "]


def test_reading_a_challenge_takes_linear_time():
    for unit in SLOW:
        text = "Bearer " + unit * (200_000 // len(unit))
        began = time.process_time()
        parse_challenges([text])
        # Some 0.1 s where it is linear; a square would take minutes.
        assert time.process_time() - began < 5, unit
