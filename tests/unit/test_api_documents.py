from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dataimportcron.api.documents import load_documents
from dataimportcron.errors import InvalidObjectError

BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{new}: &{new} {{<<: [{','.join([f'*{old}'] * 10)}]}}\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
TOWER = "".join(f"k{n}: &a{n} [{f'*a{n - 1}' if n else ''}]\n" for n in range(100))


def test_documents_come_in_order_and_empty_ones_are_left_out():
    text = "---\n# nothing\n---\nkind: A\n---\n---\nnull\n---\nkind: B\n...\n"
    assert load_documents(text) == [{"kind": "A"}, {"kind": "B"}]


@pytest.mark.parametrize("text", ["", "\n", "# a comment\n", "---\n---\n", "\ufeff"])
def test_a_text_without_documents_has_none(text):
    assert load_documents(text) == []


@pytest.mark.parametrize("kind", ["List", "DataImportCronList"])
def test_a_list_stands_for_its_items(kind):
    text = f"apiVersion: v1\nkind: {kind}\nitems:\n- kind: A\n- kind: List\n  items: [{{kind: B}}]\n- null\n"
    assert load_documents(text) == [{"kind": "A"}, {"kind": "B"}]


def test_json_is_yaml():
    assert load_documents('{"kind": "A", "n": [1, 2.5, true, null, "x"]}') == [
        {"kind": "A", "n": [1, 2.5, True, None, "x"]}
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[("yes", True), ("on", True), ("True", True), ("no", False), ("off", False), ("~", None), ("", None)],
        *[("y", "y"), ("n", "n"), ("nullable", "nullable"), ("=", "="), ("! x", "x"), ("!!str 5", "5")],
        *[("0", 0), ("-5", -5), ("+5", 5), ("0x1F", 31), ("017", 15), ("0b11", 3), ("1_000", 1000), ("08", "08")],
        *[
            ("1.5", 1.5),
            ("-.5", -0.5),
            ("1.e+3", 1000.0),
            ("1e3", "1e3"),
            (".inf", float("inf")),
            ("-.INF", -float("inf")),
        ],
        *[("2026-01-31", "2026-01-31"), ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"), ("12:30", "12:30")],
        *[("5Gi", "5Gi"), ("docker://a/b:c", "docker://a/b:c"), ("'61'", "61"), ("|\n  x\n", "x\n")],
    ],
)
def test_a_scalar_is_what_json_would_hold(text, expected):
    (document,) = load_documents(f"a: {text}")
    assert document == {"a": expected}
    assert type(document["a"]) is type(expected)


def test_anchors_and_merge_keys_work_and_share_nothing():
    text = "x: &x {a: 1, b: {c: 1}}\ny: *x\nz: {<<: [{a: 5}, *x], d: 2}\n"
    (document,) = load_documents(text)
    assert document["y"] == document["x"]
    assert document["y"]["b"] is not document["x"]["b"]
    assert document["z"] == {"a": 5, "b": {"c": 1}, "d": 2}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3", 3, "key 'a' stands here and in line 1 (remove one of them)"),
        ("x:\n  y: {p: 1, p: 2}", 2, "key 'p' stands here"),
        ("a: 1\n8080: x", 2, "a key must be a string, found 8080 (quote it)"),
        ("yes: x", 1, "a key must be a string, found True"),
        ("? [a]\n: x", 1, "a key must be a string"),
        ("a: !!binary eA==", 1, "tag tag:yaml.org,2002:binary is not allowed"),
        ("a: !!set {b}", 1, "is not allowed"),
        ("a: !!python/object/apply:os.system [ls]", 1, "is not allowed"),
        ("a: !mine x", 1, "tag !mine is not allowed"),
        ("a: !!int x", 1, "is not allowed"),
        ("a: !!bool maybe", 1, "is not allowed"),
        ("a: {<<: 3}", 1, "<< takes an object"),
        ("schedule: @daily", 1, "quote the value"),
        ("schedule: * * * * *", 1, "quote a value that starts with *"),
        ("a: b: c", 1, "check the indentation"),
        ("a: 1\n\tb: 2", 2, "indent with spaces"),
        ("a: 1\nb", 2, "could not find expected ':'"),
        ("a: 'x", 1, "not YAML"),
        ("a: *x", 1, "undefined alias"),
        ("ok: 1\nb: \x00", 2, "character U+0000 is not allowed"),
        ('a: 1\nb: "\\UFFFFFFFF"', 2, "not YAML"),
        ('a: "\\uD800"', 1, "cannot be read"),
        ("a: " + "9" * 5000, 1, "cannot be read"),
        ("---\na: 1\n---\n- b", 4, "expected an object with apiVersion and kind, found a list"),
        ("just words", 1, "found a string"),
        ("kind: List\nitems: x", 1, "items of a List must be a list, found a string"),
        ("kind: List\nitems: [x]", 1, "expected an object"),
        (BOMB, 5, "more than 100000 values"),
        (MERGE_BOMB, 6, "more than 100000 values"),
        (TOWER, 65, "more than 64 levels of nesting"),
        ("a: &a [*a]", 1, "an anchor contains itself"),
        ("a: &a {<<: *a}", 1, "an anchor contains itself"),
        ("\n" + "[" * 5000, 2, "more than 64 levels of nesting"),
    ],
)
def test_what_no_object_can_hold_is_refused_with_its_line(text, line, words):
    with pytest.raises(InvalidObjectError) as refused:
        load_documents(text, source="f.yaml")
    assert str(refused.value).startswith(f"f.yaml, line {line}: ")
    assert words in str(refused.value)


def test_the_samples_are_read_as_any_yaml_reader_reads_them():
    samples = sorted((Path(__file__).parents[2] / "deploy" / "samples").glob("*.yaml"))
    assert len(samples) == 3
    for sample in samples:
        text = sample.read_text()
        assert load_documents(text, source=sample.name) == list(yaml.safe_load_all(text))


TEXT = st.text("abyn0159.:-+_eExX=~<>#&*!|'\"%@`?{}[], \n\t\u00e9\u2028\u2713\U0001f600\ufeff", max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["yes", "1", "1:30", "<<", "=", "0o7", "2026-01-31"]) | TEXT, JSON, max_size=5))
def test_what_pyyaml_writes_comes_back(document):
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    assert load_documents(text) == [document]


@given(st.text("{}[]:,-&*!|>'\"%@`#?~<=\\ \n\tabc019.x", max_size=40))
def test_any_text_is_read_or_refused(text):
    message, documents = "f.yaml, line ", []
    try:
        documents = load_documents(text, source="f.yaml")
    except InvalidObjectError as error:
        message = str(error)
    assert message.startswith("f.yaml, line ")
    assert all(isinstance(document, dict) for document in documents)
