from copy import deepcopy

import pytest

from dataimportcron.api.validation import validate

DIGEST = "sha256:68b44fc891f3fae6703d4b74bcc9b5f24df8d23f12e642805d1420cbe7a4be70"
TEMPLATE = "spec.template.spec"
REGISTRY = f"{TEMPLATE}.source.registry"
CRON = {
    "apiVersion": "cdi.kubevirt.io/v1beta1",
    "kind": "DataImportCron",
    "metadata": {"name": "test-cron", "namespace": "default"},
    "spec": {
        "template": {
            "spec": {
                "source": {"registry": {"url": "docker://quay.io/kubevirt/junk:12.34_56-7890"}},
                "pvc": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
            }
        },
        "schedule": "30 1 * * 1",
        "managedDataSource": "test-datasource",
    },
}


def cron(path="", value=None):
    """The valid cron with one field set, or removed where the value is `...`."""
    document = deepcopy(CRON)
    *parents, last = path.split(".") if path else [""]
    place = document
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is ...:
        del place[last]
    elif last:
        place[last] = value
    return document


def lines(document):
    return [str(fault) for fault in validate(document)]


def fault_of(document):
    (fault,) = validate(document)
    return fault


def registry(**fields):
    return cron(f"{TEMPLATE}.source", {"registry": fields})


def test_v01_a_registry_url_is_admitted():
    assert lines(CRON) == []


def test_v02_an_image_stream_with_node_pull_is_admitted():
    assert lines(registry(imageStream="rhel8-is", pullMethod="node")) == []
    assert lines(registry(imageStream="rhel8-is:latest", pullMethod="node")) == []


@pytest.mark.parametrize("length", [64, 253])
def test_v03_a_name_longer_than_63_is_refused(length):
    fault = fault_of(cron("metadata.name", "a" * length))
    assert (fault.path, fault.message) == ("metadata.name", "Name cannot be longer than 63 characters")


def test_v03_a_name_of_63_is_admitted():
    assert lines(cron("metadata.name", "a" * 63)) == []


@pytest.mark.parametrize("method", [{}, {"pullMethod": "pod"}, {"pullMethod": ""}, {"pullMethod": None}])
def test_v04_an_image_stream_needs_node_pull(method):
    fault = fault_of(registry(imageStream="is", **method))
    assert fault.path == f"{REGISTRY}.pullMethod"
    assert fault.message == "Source registry ImageStream is supported only with node pull import method"


@pytest.mark.parametrize("fields", [{}, {"url": ""}, {"url": None, "imageStream": ""}])
def test_v05_neither_url_nor_image_stream_is_refused(fields):
    fault = fault_of(registry(pullMethod="node", **fields))
    assert (fault.path, fault.message) == (REGISTRY, "Source registry should have either URL or ImageStream")
    assert fault.found == "neither"


def test_v06_both_url_and_image_stream_are_refused():
    fault = fault_of(registry(url="docker://quay.io/a/b", imageStream="is", pullMethod="node"))
    assert (fault.path, fault.message) == (REGISTRY, "Source registry should have either URL or ImageStream")
    assert fault.found == "both"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ({"http": {"url": "https://example.org/disk.img"}}, "http"),
        ({"s3": {"url": "https://example.org/disk.img"}}, "s3"),
        ({"blank": {}}, "blank"),
        ({}, ""),
        ({"registry": None}, ""),
    ],
)
def test_v07_a_source_that_cannot_be_polled_is_refused(source, found):
    fault = fault_of(cron(f"{TEMPLATE}.source", source))
    assert (fault.path, fault.message, fault.found) == (f"{TEMPLATE}.source", "Missing source", found)
    assert fault.allowed == "one of registry, pvc is needed"


@pytest.mark.parametrize("value", [..., None])
def test_v08_no_source_is_refused(value):
    fault = fault_of(cron(f"{TEMPLATE}.source", value))
    assert (fault.path, fault.message) == (f"{TEMPLATE}.source", "Missing source")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sourceRef", {"kind": "DataSource", "name": "x"}),
        ("contentType", "kubevirt"),
        ("checkpoints", [{"previous": "", "current": "x"}]),
        ("finalCheckpoint", True),
    ],
)
def test_v09_unsettable_fields_are_refused(field, value):
    fault = fault_of(cron(f"{TEMPLATE}.{field}", value))
    assert (fault.path, fault.found) == (TEMPLATE, field)
    assert fault.message == "Unsettable fields: SourceRef, ContentType, Checkpoints, FinalCheckpoint"


@pytest.mark.parametrize(("field", "value"), [("contentType", ""), ("checkpoints", []), ("finalCheckpoint", False)])
def test_v09_zero_values_are_no_settings(field, value):
    assert lines(cron(f"{TEMPLATE}.{field}", value)) == []


def test_v10_a_url_without_scheme_is_refused():
    fault = fault_of(registry(url="invalidurl"))
    assert (fault.path, fault.found) == (f"{REGISTRY}.url", '"invalidurl"')
    assert fault.message == "Illegal registry source URL scheme"
    assert "docker://" in fault.allowed
    assert "oci-archive:" in fault.allowed


@pytest.mark.parametrize("url", ["joker://quay.io/a/b", "https://quay.io/a/b", "docker:quay.io/a/b", "DOCKER://a/b"])
def test_v11_another_scheme_is_refused(url):
    assert fault_of(registry(url=url)).message == "Illegal registry source URL scheme"


@pytest.mark.parametrize(
    "url",
    [
        "docker://fedora",
        "docker://localhost:5000/a/b:c",
        f"docker://quay.io/kubevirt/junk@{DIGEST}",
        f"docker://quay.io/kubevirt/junk:12@{DIGEST}",
        f"docker://busybox@{DIGEST}",
        "oci-archive:/srv/images/fedora.tar",
        "oci-archive:relative.tar:tag",
    ],
)
def test_v11_docker_and_oci_archive_are_admitted(url):
    assert lines(registry(url=url)) == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("docker://", "repository"),
        ("docker://quay.io/Kubevirt/x", "lower case"),
        ("docker://quay.io/x:-", "tag"),
        ("docker://quay.io/x@sha256:12", "digest"),
        ("docker://quay.io/a b", "repository"),
        ("oci-archive:", "names no file"),
    ],
)
def test_v11_what_is_no_reference_is_refused(url, words):
    fault = fault_of(registry(url=url))
    assert (fault.path, fault.message) == (f"{REGISTRY}.url", "Illegal registry source URL")
    assert words in fault.allowed


def test_v11_credentials_in_a_url_are_refused_and_not_repeated():
    (line,) = lines(registry(url="docker://robot:hunter2@quay.io/a/b"))
    assert "hunter2" not in line
    assert "secretRef" in line


@pytest.mark.parametrize("method", ["Node", "docker", " "])
def test_v12_another_pull_method_is_refused(method):
    fault = fault_of(registry(url="docker://quay.io/a/b", pullMethod=method))
    assert fault.path == f"{REGISTRY}.pullMethod"
    assert fault.message == f'ImportMethod {method} is neither pod, node or ""'


@pytest.mark.parametrize("method", ["pod", "node", "", None])
def test_v12_pod_and_node_are_admitted(method):
    assert lines(registry(url="docker://quay.io/a/b", pullMethod=method)) == []


@pytest.mark.parametrize(
    "schedule", ["61 * * * *", "* * * *", "* * * * * *", "@sometimes", "@every soon", "* * * * 7", " "]
)
def test_v13_an_illegal_schedule_is_refused(schedule):
    fault = fault_of(cron("spec.schedule", schedule))
    assert (fault.path, fault.message, fault.found) == ("spec.schedule", "Illegal cron schedule", f'"{schedule}"')
    assert fault.allowed


@pytest.mark.parametrize("method", [[], {}, 5])
def test_v12_a_pull_method_of_another_type_is_one_fault(method):
    fault = fault_of(registry(imageStream="is", pullMethod=method))
    assert (fault.path, fault.message) == (f"{REGISTRY}.pullMethod", "must be a string")


def test_v13_the_line_says_what_is_wrong_and_what_is_allowed():
    (line,) = lines(cron("spec.schedule", "61 * * * *"))
    assert line.startswith('spec.schedule: Illegal cron schedule: found "61 * * * *"; minute')
    assert "0-59" in line


@pytest.mark.parametrize(
    "schedule", ["@hourly", "@every 6h", "TZ=Europe/Paris 0 4 * * *", "CRON_TZ=UTC 0 4 ? * MON-FRI"]
)
def test_v13_what_parse_standard_reads_is_admitted(schedule):
    assert lines(cron("spec.schedule", schedule)) == []


def test_v14_an_empty_schedule_is_admitted():
    assert lines(cron("spec.schedule", "")) == []


def test_v14_a_missing_schedule_is_refused():
    assert lines(cron("spec.schedule", ...)) == ['spec.schedule: is required; "" polls by request only']


@pytest.mark.parametrize("name", ["", "a" * 64, "../x", "A", "a_b", "a.", ..., None])
def test_v15_an_illegal_managed_data_source_is_refused(name):
    fault = fault_of(cron("spec.managedDataSource", name))
    assert (fault.path, fault.message) == ("spec.managedDataSource", "Illegal ManagedDataSource value")


def test_v15_a_managed_data_source_of_63_is_admitted():
    assert lines(cron("spec.managedDataSource", "a" * 63)) == []


@pytest.mark.parametrize("number", [-1, 2**31])
def test_v16_an_illegal_number_of_imports_is_refused(number):
    fault = fault_of(cron("spec.importsToKeep", number))
    assert (fault.path, fault.message, fault.found) == (
        "spec.importsToKeep",
        "Illegal ImportsToKeep value",
        str(number),
    )


@pytest.mark.parametrize("number", [0, 1, 2**31 - 1])
def test_v16_no_import_and_many_are_admitted(number):
    assert lines(cron("spec.importsToKeep", number)) == []


@pytest.mark.parametrize("value", ["outdated", "Always", ""])
def test_v17_another_garbage_collection_is_refused(value):
    fault = fault_of(cron("spec.garbageCollect", value))
    assert (fault.path, fault.message) == ("spec.garbageCollect", "Illegal GarbageCollect value")
    assert fault.allowed == "Outdated or Never"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("garbageCollect", "Never"),
        ("garbageCollect", "Outdated"),
        ("retentionPolicy", "None"),
        ("retentionPolicy", "Any"),
    ],
)
def test_v17_known_garbage_collections_and_any_retention_policy_are_admitted(field, value):
    assert lines(cron(f"spec.{field}", value)) == []


CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


@pytest.mark.parametrize(
    ("field", "value", "path", "message"),
    [
        ("pvc", ..., TEMPLATE, "Missing Data volume PVC"),
        ("storage", CLAIM, TEMPLATE, "Duplicate storage definition, both target storage and target pvc defined"),
        ("pvc", CLAIM | {"accessModes": []}, f"{TEMPLATE}.pvc.accessModes", "Required value: at least 1 access mode"),
        (
            "pvc.accessModes",
            ["ReadWriteOnce", "ReadWriteMany"],
            f"{TEMPLATE}.pvc.accessModes",
            "PVC multiple accessModes",
        ),
        ("pvc.accessModes", ["RWO"], f"{TEMPLATE}.pvc.accessModes[0]", "Unsupported value"),
        ("pvc.resources", {}, f"{TEMPLATE}.pvc.resources.requests.storage", "PVC size is missing"),
        ("pvc.storageClassName", "a" * 254, f"{TEMPLATE}.pvc.storageClassName", "is no storage class name"),
        ("source.snapshot", {"namespace": "a", "name": "b"}, f"{TEMPLATE}.source", "Multiple Data volume sources"),
        ("source", {"pvc": {"name": "a"}}, f"{TEMPLATE}.source.pvc.namespace", "is required"),
        ("source", {"pvc": {"namespace": "a"}}, f"{TEMPLATE}.source.pvc.name", "is required"),
        ("serviceAccountName", "", f"{TEMPLATE}.serviceAccountName", "must not be empty"),
        (
            "pvc.dataSource",
            {"kind": "X", "name": "x"},
            f"{TEMPLATE}.pvc.dataSource",
            "External population is incompatible",
        ),
    ],
)
def test_v21_the_template_passes_the_checks_of_a_data_volume(field, value, path, message):
    fault = fault_of(cron(f"{TEMPLATE}.{field}", value))
    assert fault.path == path
    assert fault.message.startswith(message)


@pytest.mark.parametrize(
    ("size", "admitted"), [("1Mi", True), (1 << 20, True), ("1048575", False), (0, False), ("-1Gi", False)]
)
def test_v21_a_size_is_at_least_1_mib(size, admitted):
    assert (lines(cron(f"{TEMPLATE}.pvc.resources.requests.storage", size)) == []) is admitted


def test_v21_a_pvc_source_with_storage_needs_no_size():
    document = cron(f"{TEMPLATE}.source", {"pvc": {"namespace": "golden", "name": "fedora"}})
    document["spec"]["template"]["spec"].pop("pvc")
    document["spec"]["template"]["spec"]["storage"] = {}
    assert lines(document) == []
    document["spec"]["template"]["spec"]["source"] = {"registry": {"url": "docker://a/b"}}
    assert lines(document) == [
        f"{TEMPLATE}.storage.resources.requests.storage: Storage size is missing; write a quantity such as 5Gi"
    ]


def test_v21_an_empty_service_account_is_refused():
    assert fault_of(cron("spec.serviceAccountName", "")).path == "spec.serviceAccountName"


@pytest.mark.parametrize("stream", ["is:", ":tag", "a:b:c", "A"])
def test_an_illegal_image_stream_name_is_refused(stream):
    assert fault_of(registry(imageStream=stream, pullMethod="node")).message == "Illegal ImageStream name"


@pytest.mark.parametrize("field", ["secretRef", "certConfigMap"])
@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", ".hidden", "UPPER", "a" * 254, "\uff41"])
def test_a_reference_that_could_leave_its_folder_is_refused(field, name):
    fault = fault_of(registry(url="docker://quay.io/a/b", **{field: name}))
    assert (fault.path, fault.message) == (f"{REGISTRY}.{field}", "is no object name")


def test_both_groups_are_taken_for_a_cron():
    assert lines(cron("apiVersion", "dataimportcron.io/v1beta1")) == []


@pytest.mark.parametrize("value", [..., None])
@pytest.mark.parametrize(("path", "expected"), [("spec", "spec"), ("spec.template", "spec.template.spec")])
def test_what_the_schema_requires_is_required(path, expected, value):
    assert lines(cron(path, value)) == [f"{expected}: is required"]


def test_all_faults_are_found_at_once():
    document = {
        "apiVersion": "cdi.kubevirt.io/v1",
        "kind": "DataImportCron",
        "metadata": {"name": 123, "namespace": True},
        "spec": {
            "template": {
                "spec": {
                    "source": {"registry": {"url": "x", "pullmethod": "node"}, "http": {"url": "ftp://x"}},
                    "storage": {"resources": {"requests": {"storage": "5GiB"}}, "accessModes": ["RWO"]},
                    "contentType": "archive",
                }
            },
            "shedule": "@daily",
            "schedule": 30,
            "importsToKeep": "3",
            "garbageCollect": "Some",
            "managedDataSource": "",
        },
    }
    assert sorted(fault.path for fault in validate(document)) == sorted(
        [
            "apiVersion",
            "metadata.name",
            "metadata.namespace",
            TEMPLATE,
            f"{TEMPLATE}.source",
            f"{REGISTRY}.url",
            f"{REGISTRY}.pullmethod",
            f"{TEMPLATE}.source.http.url",
            f"{TEMPLATE}.storage.resources.requests.storage",
            f"{TEMPLATE}.storage.accessModes[0]",
            "spec.shedule",
            "spec.schedule",
            "spec.importsToKeep",
            "spec.garbageCollect",
            "spec.managedDataSource",
        ]
    )


def test_a_disk_of_the_host_is_a_source():
    assert lines(registry(url="file:///srv/disks/fedora.qcow2")) == []


@pytest.mark.parametrize("url", ["file://", "file:///", "file://host/disk.img", "file://disk.img"])
def test_a_disk_of_the_host_has_an_absolute_path(url):
    assert fault_of(registry(url=url)).allowed == "write file:///path/of/a/disk"
