"""A PersistentVolumeClaim as the DataVolume that it stands for: beside CDI an import is a plain claim.

CDI's controllers take every DataVolume for theirs, so there is none; what a DataVolume says is on the claim, in
annotations of ours. The activities see a DataVolume with the claim's uid and resourceVersion, and need not know.
"""

from __future__ import annotations

import json
from typing import Final

from dataimportcron import naming
from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.client.resources import Json
from dataimportcron.cluster.documents.dialect import Dialect

LABEL: Final = "dataimportcron.io/volume"
"""On every such claim, "true": a watch sees these and no other, also those whose cron is gone."""
ANNOTATION_SPEC: Final = "dataimportcron.io/spec"
ANNOTATION_PHASE: Final = "dataimportcron.io/phase"
ANNOTATION_PROGRESS: Final = "dataimportcron.io/progress"
ANNOTATION_STATUS: Final = "dataimportcron.io/status"
"""What is in the status besides phase and progress, as JSON."""

_OURS: Final = frozenset({ANNOTATION_SPEC, ANNOTATION_PHASE, ANNOTATION_PROGRESS, ANNOTATION_STATUS})
_ALLOWED: Final = frozenset({naming.ANNOTATION_LAST_USE_TIME, naming.ANNOTATION_BIND_IMMEDIATE})
_CDI: Final = "cdi.kubevirt.io/"
"""Annotations of CDI's on a claim start its importer, its cloner or its populators, save those that are allowed."""


def is_plain_volume(claim: Json) -> bool:
    """Whether a claim stands for a DataVolume of ours, and is not being removed.

    A claim that is removed while a pod uses it stays until the pod ends; to us it is gone.
    """
    metadata = claim["metadata"]
    return (metadata.get("labels") or {}).get(LABEL) == "true" and "deletionTimestamp" not in metadata


def as_data_volume(claim: Json, dialect: Dialect) -> Json:
    """The DataVolume that a claim stands for, in the models' spelling.

    Raises:
        ValueError: an annotation of ours is not JSON.
    """
    metadata = claim["metadata"]
    annotations = metadata.get("annotations") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != LABEL}
    shown = {key: value for key, value in annotations.items() if key not in _OURS}
    status = json.loads(annotations.get(ANNOTATION_STATUS, "{}"))
    for field, annotation in (("phase", ANNOTATION_PHASE), ("progress", ANNOTATION_PROGRESS)):
        if annotation in annotations:
            status[field] = annotations[annotation]
    return dialect.exchanged(
        {
            "apiVersion": DataVolume.model_fields["api_version"].default,
            "kind": "DataVolume",
            "metadata": metadata | {"labels": labels, "annotations": shown},
            "spec": json.loads(annotations.get(ANNOTATION_SPEC, "{}")),
            "status": status,
        }
    )


def claim_metadata(volume: Json, dialect: Dialect) -> Json:
    """Labels and annotations of the claim that stands for a DataVolume of the models' spelling."""
    metadata = dialect.exchanged(volume)["metadata"]
    status = dict(volume.get("status") or {})
    ours = {
        ANNOTATION_SPEC: _text(volume.get("spec") or {}),
        ANNOTATION_PHASE: status.pop("phase", ""),
        ANNOTATION_PROGRESS: status.pop("progress", ""),
        ANNOTATION_STATUS: _text(status) if status else "",
    }
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key in _ALLOWED or not key.startswith(_CDI)
    }
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if dialect.may_write(key)}
    return {
        "labels": labels | {LABEL: "true"},
        "annotations": annotations | {key: value for key, value in ours.items() if value},
    }


def _text(value: Json) -> str:
    """The same value is always the same text, or each poll would write."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
