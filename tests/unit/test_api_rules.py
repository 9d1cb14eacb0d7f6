import pytest

from dataimportcron.api.validation import validate
from tests.support.documents import config_map, data_source, lines, secret


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"source": {}}, []),
        ({"source": {"pvc": {"name": "x"}}}, []),
        ({"source": {"pvc": {"name": "x", "namespace": ""}}}, []),
        ({"source": {"pvc": {"name": "x"}, "snapshot": {"name": "y"}}}, []),
        ({}, ["spec.source: is required; {} is no source yet"]),
        ({"source": {"pvc": {"namespace": "x"}}}, ["spec.source.pvc.name: is required"]),
        ({"source": {"snapshot": {}}}, ["spec.source.snapshot.name: is required"]),
        ({"source": {"dataSource": {"name": ""}}}, ["spec.source.dataSource.name: is required"]),
    ],
)
def test_a_data_source_needs_a_source_that_may_be_empty(spec, expected):
    assert lines(data_source(**spec)) == expected


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"data": {"a/b": "x"}}, 'data["a/b"]', "is no file name"),
        ({"data": {"..": "x"}}, 'data[".."]', "is no file name"),
        ({"data": {"..x": "x"}}, 'data["..x"]', "is no file name"),
        ({"data": {"a" * 254: "x"}}, f"data.{'a' * 254}", "is no file name"),
        ({"data": {"a": 5}}, "data.a", "must be a string"),
        ({"binaryData": {"a": "\u00e9"}}, "binaryData.a", "is no base64"),
        ({"data": {"a": "x"}, "binaryData": {"a": "eA=="}}, "binaryData.a", "stands in data too"),
        ({"data": {"a": "x" * (1 << 20) + "y"}}, "data", "ConfigMap is too large"),
    ],
)
def test_a_config_map_that_kubernetes_refuses_is_refused(fields, path, message):
    assert [(fault.path, fault.message) for fault in validate(config_map(**fields))] == [(path, message)]


@pytest.mark.parametrize("key", [".hidden", "ca.crt", "a_b-c.D"])
def test_a_key_that_is_a_file_name_is_admitted(key):
    assert lines(config_map(data={key: "x"})) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"data": {"k": "hunter2!"}}, "data.k: is no base64; put plain text into stringData"),
        ({"data": {"k": 4711_0815}}, "data.k: must be a string: found a number; quote it"),
        ({"stringData": {"k": 4711_0815}}, "stringData.k: must be a string: found a number; quote it"),
        ({"stringData": "hunter2!"}, "stringData: must be an object: found a string"),
        (
            {"type": "kubernetes.io/dockerconfigjson"},
            'data[".dockerconfigjson"]: is required by type kubernetes.io/docker',
        ),
    ],
)
def test_a_faulty_secret_is_refused_and_its_values_stay_unsaid(fields, expected):
    (line,) = lines(secret(**fields))
    assert line.startswith(expected)
    assert "hunter2" not in line
    assert "4711" not in line


def test_base64_may_be_folded():
    assert lines(secret(data={"k": "aHVu\ndGVyMg==\n"})) == []
