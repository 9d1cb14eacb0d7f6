"""Documents that are refused, each with the sentence that says why; and odd ones that are not.

One table for both who refuse: `validate` on a host, the CEL rules in a cluster.
"""

from copy import deepcopy

CDI = "cdi.kubevirt.io/v1beta1"
OWN = "dataimportcron.io/v1beta1"
DIGEST = "sha256:68b44fc891f3fae6703d4b74bcc9b5f24df8d23f12e642805d1420cbe7a4be70"
URL = "docker://quay.io/kubevirt/junk:12.34_56-7890"
PVC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
STORAGE = {"resources": {"requests": {"storage": "5Gi"}}}
REMOVED = object()


def with_field(document, path, value):
    """The document with one field set, or removed where the value is REMOVED."""
    document = deepcopy(document)
    *parents, last = path.split(".")
    place = document
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is REMOVED:
        del place[last]
    else:
        place[last] = value
    return document


def as_list(documents):
    return {"apiVersion": "v1", "kind": "List", "items": list(documents)}


def _cron(path=None, value=None):
    base = {
        "apiVersion": CDI,
        "kind": "DataImportCron",
        "metadata": {"name": "case", "namespace": "default"},
        "spec": {
            "template": {"spec": {"source": {"registry": {"url": URL}}, "pvc": PVC}},
            "schedule": "30 1 * * 1",
            "managedDataSource": "test-datasource",
        },
    }
    return with_field(base, path, value) if path else base


def _template(path, value):
    return _cron(f"spec.template.spec.{path}", value)


def _registry(**fields):
    return _template("source.registry", fields)


def _volume(source=None, **spec):
    source = {"registry": {"url": URL}} if source is None else source
    spec = {"source": source, "storage": STORAGE} | spec
    return {
        "apiVersion": CDI,
        "kind": "DataVolume",
        "metadata": {"name": "case", "namespace": "default"},
        "spec": {key: value for key, value in spec.items() if value is not REMOVED},
    }


def _source_ref(**reference):
    return _volume(source=REMOVED, sourceRef={"kind": "DataSource", "name": "fedora"} | reference)


def _data_source(**source):
    return {
        "apiVersion": CDI,
        "kind": "DataSource",
        "metadata": {"name": "case", "namespace": "default"},
        "spec": {"source": source},
    }


def _sized(size):
    return {"resources": {"requests": {"storage": size}}}


_NAMED = {"namespace": "images", "name": "golden"}
_EXTERNAL = {"apiGroup": "example.org", "kind": "Filler", "name": "f"}
_VDDK = {"url": "https://vcenter", "uuid": "u", "backingFile": "b", "thumbprint": "t", "secretRef": "s"}
_IMAGEIO = {"url": "https://engine/api", "diskId": "d", "secretRef": "s"}
_STREAM_NEEDS_NODE = "Source registry ImageStream is supported only with node pull import method"
_URL_OR_STREAM = "Source registry should have either URL or ImageStream"
_UNSETTABLE = "Unsettable fields: SourceRef, ContentType, Checkpoints, FinalCheckpoint"
_EXTERNAL_AND_SOURCE = "External population is incompatible with Source and SourceRef"
_EITHER = "Data volume should have either Source or SourceRef, or be externally populated"

REFUSED = {
    "v03-name": (_cron("metadata.name", "a" * 64), "Name cannot be longer than 63 characters"),
    "v04-no-method": (_registry(imageStream="is"), _STREAM_NEEDS_NODE),
    "v04-pod": (_registry(imageStream="is", pullMethod="pod"), _STREAM_NEEDS_NODE),
    "v05-neither": (_registry(pullMethod="node"), _URL_OR_STREAM),
    "v05-empty": (_registry(url="", imageStream=""), _URL_OR_STREAM),
    "v06-both": (_registry(url=URL, imageStream="is", pullMethod="node"), _URL_OR_STREAM),
    "v07-http": (_template("source", {"http": {"url": "https://example.org/disk"}}), "Missing source"),
    "v07-empty": (_template("source", {}), "Missing source"),
    "v08-no-source": (_template("source", REMOVED), "Missing source"),
    "v09-source-ref": (_template("sourceRef", {"kind": "DataSource", "name": "x"}), _UNSETTABLE),
    "v09-content-type": (_template("contentType", "kubevirt"), _UNSETTABLE),
    "v09-checkpoints": (_template("checkpoints", [{"previous": "", "current": "x"}]), _UNSETTABLE),
    "v09-final-checkpoint": (_template("finalCheckpoint", True), _UNSETTABLE),
    "v10-no-scheme": (_registry(url="invalidurl"), "Illegal registry source URL scheme"),
    "v11-scheme": (_registry(url="joker://quay.io/a/b"), "Illegal registry source URL scheme"),
    "v12-method": (_registry(url=URL, pullMethod="joker"), 'ImportMethod joker is neither pod, node or ""'),
    "v13-minute": (_cron("spec.schedule", "61 * * * *"), "Illegal cron schedule"),
    "v13-fields": (_cron("spec.schedule", "* * * *"), "Illegal cron schedule"),
    "v13-word": (_cron("spec.schedule", "@sometimes"), "Illegal cron schedule"),
    "v15-empty": (_cron("spec.managedDataSource", ""), "Illegal ManagedDataSource value"),
    "v15-long": (_cron("spec.managedDataSource", "a" * 64), "Illegal ManagedDataSource value"),
    "v15-no-name": (_cron("spec.managedDataSource", "Fedora_1"), "Illegal ManagedDataSource value"),
    "v16-negative": (_cron("spec.importsToKeep", -1), "Illegal ImportsToKeep value"),
    "v17-collect": (_cron("spec.garbageCollect", "Sometimes"), "Illegal GarbageCollect value"),
    "v21-no-storage": (_template("pvc", REMOVED), "Missing Data volume PVC"),
    "v21-two-storages": (
        _template("storage", STORAGE),
        "Duplicate storage definition, both target storage and target pvc defined",
    ),
    "v21-no-mode": (_template("pvc.accessModes", REMOVED), "Required value: at least 1 access mode is required"),
    "v21-two-modes": (_template("pvc.accessModes", ["ReadWriteOnce", "ReadOnlyMany"]), "PVC multiple accessModes"),
    "v21-mode": (_template("pvc.accessModes", ["ReadSometimes"]), "Unsupported value"),
    "v21-volume-mode": (_template("pvc.volumeMode", "Tape"), "Unsupported value"),
    "v21-no-size": (_template("pvc.resources", {}), "PVC size is missing"),
    "v21-zero": (_template("pvc", PVC | _sized("0")), "PVC size can't be equal or less than zero"),
    "v21-negative": (_template("pvc", PVC | _sized("-1Gi")), "PVC size can't be equal or less than zero"),
    "v21-small": (_template("pvc", PVC | _sized("1023Ki")), "PVC size can't be less than 1MiB"),
    "v21-few-bytes": (_template("pvc", PVC | _sized(1048575)), "PVC size can't be less than 1MiB"),
    "v21-class": (_template("pvc.storageClassName", "a" * 254), "is no storage class name"),
    "v21-two-sources": (_template("source.pvc", _NAMED), "Multiple Data volume sources"),
    "v21-pvc-name": (_template("source", {"pvc": {"namespace": "n", "name": ""}}), "is required"),
    "v21-pvc-namespace": (_template("source", {"pvc": {"namespace": "", "name": "n"}}), "is required"),
    "v21-account": (_cron("spec.serviceAccountName", ""), "must not be empty"),
    "v21-account-name": (_cron("spec.serviceAccountName", "No_Name"), "is no object name"),
    "v21-external": (_template("pvc.dataSourceRef", _EXTERNAL), _EXTERNAL_AND_SOURCE),
    "stream-two-tags": (_registry(imageStream="a:b:c", pullMethod="node"), "Illegal ImageStream name"),
    "stream-no-tag": (_registry(imageStream="a:", pullMethod="node"), "Illegal ImageStream name"),
    "url-upper": (_registry(url="docker://quay.io/Upper/x"), "Illegal registry source URL"),
    "url-credentials": (_registry(url="docker://user:pw@quay.io/a/b"), "Illegal registry source URL"),
    "url-no-archive": (_registry(url="oci-archive:"), "Illegal registry source URL"),
    "secret-name": (_registry(url=URL, secretRef="No Name"), "is no object name"),
    "ca-name": (_registry(url=URL, certConfigMap="-"), "is no object name"),
    "k01-no-kind": (_source_ref(kind=""), "Missing sourceRef kind"),
    "k01-kind": (
        _source_ref(kind="PVC"),
        "Unsupported sourceRef kind PVC, currently only DataSource is supported",
    ),
    "k01-no-name": (_source_ref(name=""), "Missing sourceRef name"),
    "reference-namespace": (_source_ref(namespace="a.b"), "is no namespace"),
    "k02-both": (_volume(sourceRef={"kind": "DataSource", "name": "x"}), _EITHER),
    "k02-neither": (_volume(source=REMOVED), _EITHER),
    "volume-no-source": (_volume(source={}), "Missing Data volume source"),
    "volume-external": (_volume(storage=STORAGE | {"dataSource": _EXTERNAL}), _EXTERNAL_AND_SOURCE),
    "volume-no-size": (_volume(storage={}), "Storage size is missing"),
    "volume-zero": (_volume(storage=_sized(0)), "Storage size can't be equal or less than zero"),
    "volume-small": (_volume(storage=_sized("1k")), "Storage size can't be less than 1MiB"),
    "volume-content": (_volume(contentType="film"), "ContentType not one of: kubevirt, archive"),
    "volume-blank": (
        _volume(source={"blank": {}}, contentType="archive"),
        "SourceType cannot be blank and the contentType be archive",
    ),
    "volume-archive": (_volume(contentType="archive"), "ContentType must be kubevirt when Source is Registry"),
    "volume-priority": (_volume(priorityClassName="No Name"), "is no object name"),
    "http-no-url": (_volume(source={"http": {"url": ""}}), "source URL is empty"),
    "http-scheme": (_volume(source={"http": {"url": "ftp://example.org/x"}}), "Invalid source URL scheme"),
    "http-host": (_volume(source={"http": {"url": "https:///x"}}), "Invalid source URL"),
    "vddk-uuid": (_volume(source={"vddk": _VDDK | {"uuid": ""}}), "is required"),
    "vddk-url": (_volume(source={"vddk": {key: _VDDK[key] for key in _VDDK if key != "url"}}), "source URL is empty"),
    "imageio-disk": (_volume(source={"imageio": _IMAGEIO | {"diskId": ""}}), "is required"),
    "gcs-url": (_volume(source={"gcs": {"url": ""}}), "is required"),
    "pointer-name": (_data_source(dataSource={"namespace": "", "name": ""}), "is required"),
    "source-namespace": (_data_source(pvc={"namespace": "No Name", "name": "n"}), "is no namespace"),
}

ADMITTED = {
    "v01": _cron(),
    "v02": _registry(imageStream="rhel8-is", pullMethod="node"),
    "v02-tag": _registry(imageStream="rhel8-is:latest", pullMethod="node"),
    "v03-63": _cron("metadata.name", "a" * 63),
    "v09-zero-values": _cron(
        "spec.template.spec", _cron()["spec"]["template"]["spec"] | {"checkpoints": [], "finalCheckpoint": False}
    ),
    "v11-archive": _registry(url="oci-archive:/disks/fedora.tar"),
    "v12-empty": _registry(url=URL, pullMethod=""),
    "v14": _cron("spec.schedule", ""),
    "schedule-zone": _cron("spec.schedule", "CRON_TZ=Europe/Paris 30 1 * * MON-FRI"),
    "schedule-daily": _cron("spec.schedule", "@daily"),
    "schedule-every": _cron("spec.schedule", "@every 1h30m"),
    "schedule-odd": _cron("spec.schedule", "*/5,7 0-6/2 ? jan,DEC *-5"),
    "v15-63": _cron("spec.managedDataSource", "a" * 63),
    "v15-dots": _cron("spec.managedDataSource", "fedora-41.x"),
    "v16-zero": _cron("spec.importsToKeep", 0),
    "v16-largest": _cron("spec.importsToKeep", 2147483647),
    "v17-never": _cron("spec.garbageCollect", "Never"),
    "retention-any": _cron("spec.retentionPolicy", "Sometimes"),
    "v21-bytes": _template("pvc", PVC | _sized(1048576)),
    "v21-fraction": _template("pvc", PVC | _sized("1.5Gi")),
    "v21-exponent": _template("pvc", PVC | _sized("5e9")),
    "v21-no-class": _template("pvc.storageClassName", ""),
    "pvc-source": _template("source", {"pvc": _NAMED}),
    "url-digest": _registry(url=f"docker://quay.io/a/b@{DIGEST}"),
    "url-tag-digest": _registry(url=f"docker://quay.io/a/b:1@{DIGEST}"),
    "url-short": _registry(url="docker://fedora"),
    "url-port": _registry(url="docker://[::1]:5000/a/b__c"),
    "url-upper-host": _registry(url="docker://Registry/a"),
    "template-metadata": _cron("spec.template.metadata", {"labels": {"team": "images"}, "annotations": {"a": "b"}}),
    "k01": _source_ref(),
    "k01-namespace": _source_ref(namespace="images"),
    "k01-empty-namespace": _source_ref(namespace=""),
    "k08-no-size": _volume(source=REMOVED, sourceRef={"kind": "DataSource", "name": "x"}, storage={}),
    "clone-no-size": _volume(source={"pvc": _NAMED}, storage={}),
    "external": _volume(source=REMOVED, storage=STORAGE | {"dataSourceRef": _EXTERNAL}),
    "two-modes-in-storage": _volume(storage=STORAGE | {"accessModes": ["ReadWriteMany", "ReadWriteOnce"]}),
    "blank": _volume(source={"blank": {}}),
    "http": _volume(source={"http": {"url": "HTTPS://example.org/disk.qcow2"}}),
    "vddk": _volume(source={"vddk": _VDDK}),
    "imageio": _volume(source={"imageio": _IMAGEIO}),
    "no-source-yet": _data_source(),
    "own-namespace": _data_source(pvc={"namespace": "", "name": "n"}),
}
