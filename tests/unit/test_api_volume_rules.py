import pytest

from dataimportcron.api.validation import validate

STORAGE = {"resources": {"requests": {"storage": "5Gi"}}}
BLANK = {"blank": {}}
NAMED = {"namespace": "golden", "name": "fedora"}


def volume(**spec):
    return {
        "apiVersion": "cdi.kubevirt.io/v1beta1",
        "kind": "DataVolume",
        "metadata": {"name": "v", "namespace": "default"},
        "spec": spec,
    }


def faults(**spec):
    return [(fault.path, fault.message) for fault in validate(volume(**spec))]


def reference(**fields):
    return {"kind": "DataSource", "name": "fedora"} | fields


@pytest.mark.parametrize("namespace", [{}, {"namespace": None}, {"namespace": ""}, {"namespace": "golden"}])
def test_k01_a_source_ref_with_and_without_namespace_is_admitted(namespace):
    assert faults(sourceRef=reference(**namespace), storage={}) == []


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"kind": ""}, "spec.sourceRef.kind", "Missing sourceRef kind"),
        ({"kind": None}, "spec.sourceRef.kind", "Missing sourceRef kind"),
        (
            {"kind": "PVC"},
            "spec.sourceRef.kind",
            "Unsupported sourceRef kind PVC, currently only DataSource is supported",
        ),
        ({"name": ""}, "spec.sourceRef.name", "Missing sourceRef name"),
        ({"name": "../x"}, "spec.sourceRef.name", "is no object name"),
        ({"namespace": "a.b"}, "spec.sourceRef.namespace", "is no namespace"),
    ],
)
def test_k01_an_incomplete_source_ref_is_refused(fields, path, message):
    assert faults(sourceRef=reference(**fields), storage=STORAGE) == [(path, message)]


@pytest.mark.parametrize("spec", [{}, {"source": BLANK, "sourceRef": {"kind": "DataSource", "name": "x"}}])
def test_k02_both_or_neither_of_source_and_source_ref_are_refused(spec):
    message = "Data volume should have either Source or SourceRef, or be externally populated"
    assert faults(**spec, storage=STORAGE) == [("spec", message)]


@pytest.mark.parametrize("claim", ["pvc", "storage"])
@pytest.mark.parametrize("field", ["dataSource", "dataSourceRef"])
def test_k02_an_externally_populated_volume_needs_no_source(claim, field):
    spec = STORAGE | {"accessModes": ["ReadWriteOnce"], field: {"kind": "VolumeSnapshot", "name": "s"}}
    assert faults(**{claim: spec}) == []
    (refused,) = faults(**{claim: spec}, source=BLANK)
    assert refused == (f"spec.{claim}.{field}", "External population is incompatible with Source and SourceRef")


@pytest.mark.parametrize(
    "source",
    [
        {"registry": {"url": "docker://quay.io/a/b", "platform": {"architecture": "arm64"}}},
        {"pvc": NAMED},
        {"snapshot": NAMED},
        {"blank": {}},
        {"upload": {}},
        {"http": {"url": "https://example.org/d.img", "checksum": "sha256:x", "extraHeaders": ["A: b"]}},
        {"s3": {"url": "https://bucket.example.org/d.img", "secretRef": "s"}},
        {"gcs": {"url": "gs://bucket/d.img"}},
        {"imageio": {"url": "https://e.example.org/api", "diskId": "1", "secretRef": "s", "certConfigMap": "c"}},
        {
            "vddk": {
                "url": "https://v.example.org",
                "uuid": "u",
                "backingFile": "[x] y.vmdk",
                "thumbprint": "20:6C",
                "secretRef": "s",
                "initImageURL": "quay.io/a/vddk:8",
            }
        },
    ],
)
def test_each_source_of_cdi_is_admitted(source):
    assert faults(source=source, storage=STORAGE) == []


@pytest.mark.parametrize(
    ("source", "path", "message"),
    [
        ({}, "spec.source", "Missing Data volume source"),
        ({"registry": None}, "spec.source", "Missing Data volume source"),
        ({"blank": {}, "upload": {}}, "spec.source", "Multiple Data volume sources"),
        ({"pvc": {"name": "x"}}, "spec.source.pvc.namespace", "is required"),
        ({"snapshot": {"namespace": "x"}}, "spec.source.snapshot.name", "is required"),
        ({"pvc": {"name": "x/y", "namespace": "x"}}, "spec.source.pvc.name", "is no object name"),
        ({"http": {"url": ""}}, "spec.source.http.url", "source URL is empty"),
        ({"http": {}}, "spec.source.http.url", "source URL is empty"),
        ({"s3": {"url": "s3://b/d"}}, "spec.source.s3.url", "Invalid source URL scheme"),
        ({"http": {"url": "http://"}}, "spec.source.http.url", "Invalid source URL"),
        ({"http": {"url": "http://[x"}}, "spec.source.http.url", "Invalid source URL"),
        ({"gcs": {}}, "spec.source.gcs.url", "is required"),
        ({"imageio": {"url": "https://x", "diskId": "1"}}, "spec.source.imageio.secretRef", "is required"),
        (
            {"vddk": {"url": "https://x", "uuid": "u", "backingFile": "f", "secretRef": "s"}},
            "spec.source.vddk.thumbprint",
            "is required",
        ),
        ({"blank": {"size": "1Gi"}}, "spec.source.blank.size", "unknown field"),
    ],
)
def test_a_source_that_cannot_work_is_refused(source, path, message):
    assert faults(source=source, storage=STORAGE) == [(path, message)]


def test_a_refused_url_shows_no_credentials():
    (fault,) = validate(volume(source={"http": {"url": "ftp://me:hunter2@example.org/x"}}, storage=STORAGE))
    assert "hunter2" not in str(fault)
    assert "example.org" in str(fault)


@pytest.mark.parametrize(
    ("source", "content", "expected"),
    [
        (BLANK, "kubevirt", []),
        (BLANK, "", []),
        ({"upload": {}}, "archive", []),
        (BLANK, "archive", ["SourceType cannot be blank and the contentType be archive"]),
        ({"registry": {"url": "docker://a/b"}}, "archive", ["ContentType must be kubevirt when Source is Registry"]),
        (BLANK, "iso", ["ContentType not one of: kubevirt, archive"]),
    ],
)
def test_the_content_type_fits_the_source(source, content, expected):
    assert [m for _, m in faults(source=source, contentType=content, storage=STORAGE)] == expected


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("0", "PVC size can't be equal or less than zero"),
        ("-5Gi", "PVC size can't be equal or less than zero"),
        ("1Ki", "PVC size can't be less than 1MiB"),
        ("5GB", "is no quantity"),
        ("1_000Mi", "is no quantity"),
        ("\uff15Gi", "is no quantity"),
        (5.5, "must be a quantity such as 5Gi"),
        (True, "must be a quantity such as 5Gi"),
        ({}, "must be a quantity such as 5Gi"),
    ],
)
def test_a_size_that_is_none_is_refused(size, message):
    pvc = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": size}}}
    assert faults(source=BLANK, pvc=pvc) == [("spec.pvc.resources.requests.storage", message)]


@pytest.mark.parametrize(
    "source", [{"source": {"pvc": NAMED}}, {"source": {"snapshot": NAMED}}, {"sourceRef": reference()}]
)
def test_a_clone_needs_a_size_in_pvc_and_none_in_storage(source):
    assert faults(**source, storage={}) == []
    missing = [("spec.pvc.resources.requests.storage", "PVC size is missing")]
    assert faults(**source, pvc={"accessModes": ["ReadWriteOnce"]}) == missing


@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"])
def test_all_access_modes_are_admitted(mode):
    assert faults(source=BLANK, pvc=STORAGE | {"accessModes": [mode]}) == []


@pytest.mark.parametrize(
    ("field", "value", "path", "message"),
    [
        ("accessModes", ["ReadWriteOnce", "rwx"], "spec.storage.accessModes[1]", "Unsupported value"),
        ("accessModes", "ReadWriteOnce", "spec.storage.accessModes", "must be a list"),
        ("accessModes", [1], "spec.storage.accessModes[0]", "must be a string"),
        ("volumeMode", "block", "spec.storage.volumeMode", "Unsupported value"),
        ("storageClassName", "a" * 254, "spec.storage.storageClassName", "is no storage class name"),
        ("storageClassName", "My Class", "spec.storage.storageClassName", "is no storage class name"),
        (
            "selector",
            {"matchExpressions": [{"key": "a"}]},
            "spec.storage.selector.matchExpressions[0].operator",
            "is required",
        ),
        ("volumeAttributesClassName", "x", "spec.storage.volumeAttributesClassName", "unknown field"),
    ],
)
def test_a_claim_that_cannot_work_is_refused(field, value, path, message):
    assert faults(source=BLANK, storage=STORAGE | {field: value}) == [(path, message)]


@pytest.mark.parametrize("modes", [[], ["ReadWriteOnce", "ReadWriteMany"]])
def test_storage_takes_any_number_of_access_modes(modes):
    assert faults(source=BLANK, storage=STORAGE | {"accessModes": modes, "storageClassName": "a" * 253}) == []


def test_an_empty_storage_class_means_none():
    assert faults(source=BLANK, storage=STORAGE | {"storageClassName": ""}) == []


def test_limits_are_quantities_too():
    resources = {"requests": {"storage": "5Gi"}, "limits": {"storage": "x"}}
    assert faults(source=BLANK, storage={"resources": resources}) == [
        ("spec.storage.resources.limits.storage", "is no quantity")
    ]
