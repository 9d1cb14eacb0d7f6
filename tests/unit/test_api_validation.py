import json
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataimportcron.api.documents import load_documents
from dataimportcron.api.types import ConfigMap, DataImportCron, DataSource, DataVolume, Secret
from dataimportcron.api.validation import parse, read, validate
from dataimportcron.errors import InvalidObjectError
from tests.support.documents import CDI, config_map, data_source, lines, secret

SAMPLES = sorted((Path(__file__).parents[2] / "deploy" / "samples").glob("*.yaml"))


CONDITION = {
    "type": "UpToDate",
    "status": "True",
    "reason": "UpToDate",
    "message": "Latest import is up to date",
    "lastTransitionTime": "2026-03-01T12:00:00Z",
    "lastHeartbeatTime": "2026-03-01T12:00:00Z",
}
STORED_CRON = {
    "apiVersion": CDI,
    "kind": "DataImportCron",
    "metadata": {
        "name": "fedora",
        "namespace": "golden",
        "uid": "5f0b1c6e",
        "resourceVersion": "17",
        "generation": 3,
        "creationTimestamp": "2026-03-01T12:00:00Z",
        "deletionTimestamp": "2026-03-02T12:00:00Z",
        "labels": {"a.b/c": "d"},
        "annotations": {"cdi.kubevirt.io/storage.import.nextCronTime": "2026-03-01T12:00:00Z"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "y", "controller": True}],
        "finalizers": ["x/y"],
        "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
    },
    "spec": {
        "template": {
            "metadata": {"labels": {"x": "y"}, "creationTimestamp": "2026-03-01T12:00:00Z", "pruned": {"by": ["CDI"]}},
            "spec": {
                "source": {
                    "registry": {"url": "docker://a/b", "platform": {"architecture": "amd64"}, "secretRef": "s"}
                },
                "storage": {
                    "resources": {"requests": {"storage": "5Gi"}, "limits": {"storage": 6442450944}},
                    "selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
                },
                "preallocation": False,
            },
            "status": {},
        },
        "schedule": "",
        "managedDataSource": "fedora",
        "retentionPolicy": "None",
        "serviceAccountName": "default",
    },
    "status": {
        "currentImports": [{"DataVolumeName": "fedora-0123456789ab", "Digest": "sha256:00"}],
        "lastImportedPVC": {"namespace": "golden", "name": "fedora-0123456789ab"},
        "lastExecutionTimestamp": "2026-03-01T12:00:00Z",
        "lastImportTimestamp": "2026-03-01T12:00:00Z",
        "sourceFormat": "pvc",
        "conditions": [CONDITION],
        "ofANewerVersion": {"x": [1, 2.5]},
    },
}
STORED_VOLUME = {
    "apiVersion": CDI,
    "kind": "DataVolume",
    "metadata": {"name": "v", "namespace": "golden", "creationTimestamp": "2026-03-01T12:00:00Z"},
    "spec": {
        "source": {
            "vddk": {
                "url": "https://v.example.org",
                "uuid": "u",
                "backingFile": "f",
                "thumbprint": "t",
                "secretRef": "s",
                "initImageURL": "quay.io/a/b",
                "extraArgs": "x",
            }
        },
        "pvc": {
            "accessModes": ["ReadWriteOnce"],
            "volumeMode": "Block",
            "volumeName": "pv-1",
            "storageClassName": "fast",
            "volumeAttributesClassName": "gold",
            "resources": {"requests": {"storage": "5Gi"}},
        },
        "contentType": "kubevirt",
        "priorityClassName": "high",
        "serviceAccountName": "importer",
        "checkpoints": [{"previous": "", "current": "c1"}],
        "finalCheckpoint": True,
    },
    "status": {
        "claimName": "v",
        "phase": "Succeeded",
        "progress": "100.0%",
        "restartCount": 2,
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}
STORED = {
    "cron": STORED_CRON,
    "volume": STORED_VOLUME,
    "data-source": data_source(source={"pvc": {"namespace": "golden", "name": "v"}})
    | {"status": {"source": {"pvc": {"namespace": "golden", "name": "v"}}, "conditions": [CONDITION]}},
    "pointer": data_source(source={"dataSource": {"name": "fedora-amd64"}}),
    "config-map": config_map(data={"ca.pem": "x\n"}, binaryData={"b": "eA=="}, immutable=True),
    "secret": secret(data={"accessKeyId": "eA=="}, stringData={"secretKey": "y"}, type="Opaque"),
} | {path.stem: load_documents(path.read_text())[0] for path in SAMPLES}


@pytest.mark.parametrize("name", STORED)
def test_a_document_is_valid_and_comes_back_unchanged(name):
    document = deepcopy(STORED[name])
    assert lines(document) == []
    resource = parse(document)
    assert resource.model_dump(mode="json", by_alias=True, exclude_unset=True) == document
    assert resource.document() == document
    assert read(document) == resource
    assert document == STORED[name]


def test_the_samples_are_what_they_seem():
    assert [type(parse(STORED[name])) for name in ("fedora", "rhel8-imagestream", "fedora-ref")] == [
        DataImportCron,
        DataImportCron,
        DataVolume,
    ]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (None, "must be an object with apiVersion and kind: found nothing"),
        ([], "must be an object with apiVersion and kind: found a list"),
        ("x", 'must be an object with apiVersion and kind: found the string "x"'),
        ({}, "kind: is required; known are ConfigMap, DataImportCron, DataSource, DataVolume, Secret"),
        ({"kind": "dataimportcron"}, 'kind: unknown kind: found "dataimportcron"; did you mean DataImportCron?'),
        ({"kind": "DataVolumes"}, 'kind: unknown kind: found "DataVolumes"; did you mean DataVolume?'),
        ({"kind": 5}, "kind: unknown kind: found 5; known are"),
        ({"kind": "Namespace"}, 'kind: unknown kind: found "Namespace"; known are ConfigMap'),
    ],
)
def test_what_is_no_object_of_ours_is_refused(document, expected):
    (line,) = lines(document)
    assert line.startswith(expected)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (CDI, []),
        (
            "cdi.kubevirt.io/v1alpha1",
            [f'apiVersion: unknown apiVersion of DataSource: found "cdi.kubevirt.io/v1alpha1"; write {CDI}'],
        ),
        (
            "dataimportcron.io/v1beta1",
            [f'apiVersion: unknown apiVersion of DataSource: found "dataimportcron.io/v1beta1"; write {CDI}'],
        ),
        (None, [f"apiVersion: is required; write {CDI}"]),
        (1, ["apiVersion: must be a string: found the number 1; quote it"]),
    ],
)
def test_the_group_and_version_are_checked(version, expected):
    assert lines(data_source(source={}) | {"apiVersion": version}) == expected


@pytest.mark.parametrize(
    ("metadata", "path", "message"),
    [
        ({}, "metadata.name", "is required"),
        (None, "metadata.name", "is required"),
        ({"name": ""}, "metadata.name", "is required"),
        ({"generateName": "x-"}, "metadata.name", "is required"),
        ({"name": "A"}, "metadata.name", "is no object name"),
        ({"name": "a_b"}, "metadata.name", "is no object name"),
        ({"name": "a..b"}, "metadata.name", "is no object name"),
        ({"name": "-a"}, "metadata.name", "is no object name"),
        ({"name": "a\n"}, "metadata.name", "is no object name"),
        ({"name": "../a"}, "metadata.name", "is no object name"),
        ({"name": "\u0661"}, "metadata.name", "is no object name"),
        ({"name": "a" * 254}, "metadata.name", "is no object name"),
        ({"name": "a", "namespace": "a.b"}, "metadata.namespace", "is no namespace"),
        ({"name": "a", "namespace": "../b"}, "metadata.namespace", "is no namespace"),
        ({"name": "a", "namespace": "a" * 64}, "metadata.namespace", "is no namespace"),
        ({"name": "a", "labels": {"x": "y z"}}, "metadata.labels.x", "is no label value"),
        ({"name": "a", "labels": {"x": "y" * 64}}, "metadata.labels.x", "is no label value"),
        ({"name": "a", "labels": {"-x": "y"}}, "metadata.labels.-x", "is no qualified name"),
        ({"name": "a", "labels": {"a/b/c": "y"}}, 'metadata.labels["a/b/c"]', "is no qualified name"),
        ({"name": "a", "labels": {"/c": "y"}}, 'metadata.labels["/c"]', "is no qualified name"),
        ({"name": "a", "labels": ["x"]}, "metadata.labels", "must be an object"),
        ({"name": "a", "labels": {"x": True}}, "metadata.labels.x", "must be a string"),
        ({"name": "a", "labels": {"x": None}}, "metadata.labels.x", "must be a string"),
        ({"name": "a", "labels": {8080: "x"}}, "metadata.labels", "keys must be strings"),
        ({"name": "a", "annotations": {"x": 5}}, "metadata.annotations.x", "must be a string"),
        ({"name": "a", "annotations": {"a b": "y"}}, 'metadata.annotations["a b"]', "is no qualified name"),
        ({"name": "a", "annotations": {"x": "y" * (256 << 10)}}, "metadata.annotations", "are too large"),
        ({"name": "a", "lables": {}}, "metadata.lables", "unknown field"),
        (
            {"name": "a", "creationTimestamp": "yesterday"},
            "metadata.creationTimestamp",
            "must be a time such as 2026-01-31T12:00:00Z",
        ),
        (
            {"name": "a", "creationTimestamp": "2026-02-30T12:00:00Z"},
            "metadata.creationTimestamp",
            "must be a time such as 2026-01-31T12:00:00Z",
        ),
        ({"name": "a", "generation": True}, "metadata.generation", "must be a whole number"),
        ({"name": "a", "ownerReferences": [{"kind": "x"}, 3]}, "metadata.ownerReferences[1]", "must be an object"),
        ("a", "metadata", "must be an object"),
    ],
)
def test_metadata_that_kubernetes_refuses_is_refused(metadata, path, message):
    faults = validate(data_source(source={}) | {"metadata": metadata})
    assert (path, message) in [(fault.path, fault.message) for fault in faults]
    assert {fault.path for fault in faults} <= {
        path,
        *(f"metadata.ownerReferences[0].{n}" for n in ("name", "uid", "apiVersion")),
    }


@pytest.mark.parametrize(
    "metadata",
    [
        {"name": "a" * 253},
        {"name": "1.a-b.c", "namespace": "0" * 63},
        {"name": "a", "labels": {"Example.com/A_b.c-1": "A_b.c-1", "x": ""}},
        {
            "name": "a",
            "annotations": {"x": "any \u2713\n" * 99, "cdi.kubevirt.io/storage.bind.immediate.requested": ""},
        },
        {"name": "a", "creationTimestamp": None, "labels": None, "annotations": None, "namespace": ""},
        {"name": "a", "creationTimestamp": "2026-03-01T12:00:00.123456789+02:00", "selfLink": "/x"},
    ],
)
def test_metadata_that_kubernetes_takes_is_admitted(metadata):
    document = data_source(source={}) | {"metadata": metadata}
    assert lines(document) == []
    assert isinstance(parse(document), DataSource)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("schedule", 5, "spec.schedule: must be a string: found the number 5; quote it"),
        (
            "schedule",
            True,
            "spec.schedule: must be a string: found the boolean true; quote it; YAML reads yes, no, on, off,",
        ),
        ("schedule", ["x"], "spec.schedule: must be a string: found a list"),
        (
            "importsToKeep",
            "3",
            'spec.importsToKeep: must be a whole number: found the string "3"; write it without quotes',
        ),
        ("importsToKeep", 2.0, "spec.importsToKeep: must be a whole number: found the number 2.0"),
        ("importsToKeep", True, "spec.importsToKeep: must be a whole number: found the boolean true"),
        ("template", "x", 'spec.template: must be an object: found the string "x"'),
        ("shedule", "x", "spec.shedule: unknown field; did you mean schedule?"),
        ("managed_data_source", "x", "spec.managed_data_source: unknown field; did you mean managedDataSource?"),
        ("zzz", 1, "spec.zzz: unknown field; known are garbageCollect, importsToKeep, managedDataSource, "),
        ("a\nb", 1, 'spec["a\\nb"]: unknown field'),
    ],
)
def test_a_wrong_type_or_an_unknown_field_is_named_with_a_cure(field, value, expected):
    (line,) = lines(STORED_CRON | {"spec": STORED_CRON["spec"] | {field: value}})
    assert line.startswith(expected)


def test_a_fault_is_one_line_of_readable_length():
    document = STORED_CRON | {"spec": STORED_CRON["spec"] | {"garbageCollect": "\x1b[31m\u2028\n" + "x" * 10_000}}
    (line,) = lines(document)
    assert line.isprintable()
    assert len(line) < 300


def test_an_unknown_top_level_field_is_refused():
    assert lines(config_map(date={"x": "y"})) == ["date: unknown field; did you mean data?"]


def test_parse_says_all_faults_with_the_object_and_the_file():
    document = data_source(source={"pvc": {}}, soruce={})
    document["metadata"]["namespace"] = "golden"
    with pytest.raises(InvalidObjectError) as refused:
        parse(document, source="x.yaml")
    assert refused.value.faults == (
        "spec.soruce: unknown field; did you mean source?",
        "spec.source.pvc.name: is required",
    )
    assert str(refused.value).startswith("DataSource golden/fedora in x.yaml: spec.soruce: unknown field")
    assert [fault.source for fault in validate(document, source="x.yaml")] == ["x.yaml", "x.yaml"]


@pytest.mark.parametrize("document", [None, 5, [], {}, {"kind": []}, {"kind": {}, "metadata": 5}])
def test_parse_and_read_refuse_what_is_no_object(document):
    with pytest.raises(InvalidObjectError):
        parse(document)
    with pytest.raises(InvalidObjectError):
        read(document)


def test_read_takes_what_a_newer_server_sends_and_parse_does_not():
    document = data_source(source={}, newer={"x": 1}) | {"apiVersion": "cdi.kubevirt.io/v1"}
    assert read(document).document() == document
    with pytest.raises(InvalidObjectError, match="newer"):
        parse(document)


def test_read_refuses_a_wrong_type():
    with pytest.raises(InvalidObjectError, match=r"spec\.source: must be an object"):
        read(data_source(source="x"))


def test_kinds_are_models_of_their_own():
    assert isinstance(parse(config_map()), ConfigMap)
    assert isinstance(parse(secret()), Secret)


def places(value, path=()):
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def with_value(value, path, new):
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = with_value(value[path[0]], path[1:], new)
    return copy


TEXT = st.text("a0.-/:@ \n\x1b\u00e9\u2028", max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=2) | st.dictionaries(TEXT, v, max_size=2))


@given(st.sampled_from(sorted(STORED)), st.data())
def test_any_value_anywhere_is_admitted_or_refused_in_words(name, data):
    path = data.draw(st.sampled_from(list(places(STORED[name]))))
    document = with_value(STORED[name], path, data.draw(VALUES))
    faults = validate(document)
    assert all(str(fault).isprintable() for fault in faults)
    if faults:
        with pytest.raises(InvalidObjectError):
            parse(document)
    else:
        json.dumps(parse(document).document())
