"""Our objects as they are spelt on a cluster."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataimportcron import naming
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume, ObjectMeta
from dataimportcron.cluster.client.resources import PVCS
from dataimportcron.cluster.documents.dialect import OWN_LABEL_CLEANUP, OWN_LABEL_CRON, StatusPlace, beside, standalone
from dataimportcron.cluster.documents.differences import merge_patch
from dataimportcron.cluster.documents.plain_volumes import as_data_volume, claim_metadata, is_plain_volume
from dataimportcron.manifests import managed_labels

BESIDE, ALONE = beside(frozenset()), standalone(frozenset())
SPECIAL = (naming.LABEL_CRON, naming.LABEL_CLEANUP, OWN_LABEL_CRON, OWN_LABEL_CLEANUP)
KEYS = st.sampled_from(SPECIAL) | st.text("abc/.", min_size=1, max_size=6)
LABELS = st.dictionaries(KEYS, st.text(max_size=4))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(
    st.text("ab", min_size=1, max_size=2), VALUES.filter(lambda value: value is not None), max_size=4
)


@given(LABELS)
def test_the_exchange_of_labels_loses_nothing_and_undoes_itself(labels):
    document = {"metadata": {"name": "a", "labels": labels}, "spec": {"x": 1}}
    there = BESIDE.exchanged(document)
    assert BESIDE.exchanged(there) == document
    assert sorted(there["metadata"]["labels"].values()) == sorted(labels.values())
    assert ALONE.exchanged(document) == document


def test_what_a_cron_manages_carries_no_label_of_cdis_beside_it():
    cron = DataImportCron.model_validate({"metadata": {"name": "fedora"}, "spec": {"retentionPolicy": "None"}})
    labels = BESIDE.exchanged({"metadata": {"labels": managed_labels(cron)}})["metadata"]["labels"]
    assert labels[OWN_LABEL_CRON] == "fedora"
    assert labels[OWN_LABEL_CLEANUP] == "true"
    assert not any(label.startswith(naming.LABEL_CRON) for label in labels)


@given(LABELS)
def test_labels_of_cdis_are_never_written_beside_it(labels):
    volume = DataVolume(metadata=ObjectMeta(name="a", namespace="b", labels=labels)).document()
    assert not any(label.startswith(naming.LABEL_CRON) for label in claim_metadata(volume, BESIDE)["labels"])


def test_a_cron_label_of_cdis_is_nothing_that_we_manage():
    theirs = {"metadata": {"name": "fedora", "labels": {naming.LABEL_CRON: "their-cron"}}}
    assert naming.LABEL_CRON not in BESIDE.exchanged(theirs)["metadata"]["labels"]
    assert BESIDE.foreign_owner(theirs) == "their-cron"
    assert ALONE.foreign_owner(theirs) == ""


def test_groups_and_places_of_statuses():
    assert ALONE.resource(DataImportCron).group == "cdi.kubevirt.io"
    assert BESIDE.resource(DataImportCron).group == "dataimportcron.io"
    assert BESIDE.resource(DataSource).group == "cdi.kubevirt.io"
    assert BESIDE.resource(DataVolume) == PVCS
    assert ALONE.status_of(DataImportCron) is StatusPlace.MAIN
    served = standalone(frozenset({"dataimportcrons/status", "datavolumes/status"}))
    assert served.status_of(DataImportCron) is StatusPlace.SUBRESOURCE
    assert served.status_of(DataSource) is StatusPlace.MAIN
    assert BESIDE.status_of(DataSource) is StatusPlace.NOWHERE


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_makes_one_of_the_other(before, after):
    before, after = without_nulls(before), without_nulls(after)
    assert applied(before, merge_patch(before, after)) == after


@given(OBJECTS)
def test_equal_documents_need_no_patch(document):
    assert merge_patch(document, document) == {}


def applied(target, patch):
    """RFC 7386, as its text has it."""
    if not isinstance(patch, dict):
        return patch
    made = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = applied(made.get(key), value)
    return made


def without_nulls(value):
    """In a merge patch a null is a removal, so that no document that it makes holds one, save in lists."""
    if not isinstance(value, dict):
        return value
    return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}


TEXT = st.text(min_size=1, max_size=8)


@given(LABELS, st.dictionaries(st.text("abc/", min_size=1, max_size=4), TEXT), TEXT, TEXT, OBJECTS)
def test_a_claim_shows_the_data_volume_that_it_was_made_for(labels, annotations, phase, progress, spec):
    labels = {BESIDE.label(key): value for key, value in labels.items() if BESIDE.may_write(key)}
    volume = {
        "metadata": {"name": "fedora-1", "namespace": "golden", "labels": labels, "annotations": annotations},
        "spec": spec,
        "status": {"phase": phase, "progress": progress, "restartCount": 2, "conditions": [{"type": "Ready"}]},
    }
    metadata = {"name": "fedora-1", "namespace": "golden", **claim_metadata(volume, BESIDE)}
    claim = {"metadata": metadata}
    assert is_plain_volume(claim)
    shown = as_data_volume(claim, BESIDE)
    assert {part: shown[part] for part in volume} == volume


def test_a_claim_that_goes_or_is_not_ours_is_no_volume():
    ours = {"labels": {"dataimportcron.io/volume": "true"}}
    assert not is_plain_volume({"metadata": {"labels": {}}})
    assert not is_plain_volume({"metadata": ours | {"deletionTimestamp": "2026-01-01T00:00:00Z"}})


def test_no_annotation_that_starts_a_controller_of_cdis_reaches_a_claim():
    annotations = {
        "cdi.kubevirt.io/storage.import.endpoint": "docker://quay.io/x",
        "cdi.kubevirt.io/storage.import.source": "registry",
        naming.ANNOTATION_LAST_USE_TIME: "2026-01-01T00:00:00.000000000Z",
        "note": "mine",
    }
    volume = {"metadata": {"name": "a", "annotations": annotations}, "spec": {}}
    written = claim_metadata(volume, BESIDE)["annotations"]
    assert set(written) == {naming.ANNOTATION_LAST_USE_TIME, "note", "dataimportcron.io/spec"}


CDI_CRON = {
    "apiVersion": "cdi.kubevirt.io/v1beta1",
    "kind": "DataImportCron",
    "metadata": {
        "name": "fedora",
        "namespace": "golden",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "resourceVersion": "7",
        "uid": "u",
        "annotations": {"cdi.kubevirt.io/storage.import.nextCronTime": "2026-01-01T00:00:00Z"},
    },
    "spec": {
        "garbageCollect": "Outdated",
        "importsToKeep": 2,
        "managedDataSource": "fedora",
        "schedule": "30 1 * * 1",
        "template": {
            "metadata": {},
            "spec": {
                "source": {"registry": {"url": "docker://quay.io/x", "pullMethod": "node", "imageStream": "s"}},
                "storage": {"resources": {"requests": {"storage": "5Gi"}}, "accessModes": ["ReadWriteMany"]},
                "newField": {"deep": [1]},
            },
            "status": {},
        },
    },
    "status": {
        "conditions": [
            {
                "lastHeartbeatTime": "2026-01-01T00:00:00Z",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
                "message": "Import is up to date",
                "reason": "UpToDate",
                "status": "True",
                "type": "UpToDate",
            }
        ],
        "currentImports": [{"DataVolumeName": "fedora-1", "Digest": "sha256:1"}],
        "lastExecutionTimestamp": "2026-01-01T00:00:00Z",
        "lastImportTimestamp": "2026-01-01T00:00:00Z",
        "lastImportedPVC": {"name": "fedora-1", "namespace": "golden"},
        "sourceFormat": "pvc",
        "unknown": {"later": True},
    },
}


def test_what_cdis_types_write_is_read_without_loss():
    assert DataImportCron.model_validate(CDI_CRON).document() == CDI_CRON
