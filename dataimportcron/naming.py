"""Names, labels, annotations and identifiers: every string that must be spelt the same in two places.

Kubernetes names are CDI's, because users, dashboards and KubeVirt read them (`cdi.kubevirt.io/*`); what CDI has no word
for is `dataimportcron.io/*`. Temporal names start with the site, so that hosts and clusters that share a Temporal
namespace never meet.
"""

from __future__ import annotations

import re
from typing import Final

from dataimportcron.errors import InvalidReferenceError

_IMPORT: Final = "cdi.kubevirt.io/storage.import"

LABEL_CRON: Final = "cdi.kubevirt.io/dataImportCron"
LABEL_CLEANUP: Final = "cdi.kubevirt.io/dataImportCron.cleanup"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
MANAGED_BY: Final = "dataimportcron"
COMPONENT: Final = "storage"
MACHINE_LABELS: Final = tuple(
    f"instancetype.kubevirt.io/default-{what}{kind}"
    for what in ("instancetype", "preference")
    for kind in ("", "-kind")
)
"""Which instance type and preference suit a disk: on a clone as on what it is cloned from (K-20)."""

ANNOTATION_DESIRED_DIGEST: Final = f"{_IMPORT}.sourceDesiredDigest"
"""On a cron: the digest of its source at the last poll. With an empty schedule it is an input: set it to import."""
ANNOTATION_IMAGE_STREAM_REF: Final = f"{_IMPORT}.imageStreamDockerRef"
"""On a cron that follows an ImageStream: the image behind the desired digest."""
ANNOTATION_NEXT_CRON_TIME: Final = f"{_IMPORT}.nextCronTime"
"""On a cron: an input; a time in the past forces a poll, and the annotation is removed after use."""
ANNOTATION_LAST_USE_TIME: Final = f"{_IMPORT}.lastUseTime"
"""On an import: RFC 3339 in UTC with nine digits; retention keeps the most recently used."""
ANNOTATION_BIND_IMMEDIATE: Final = "cdi.kubevirt.io/storage.bind.immediate.requested"
"""On a DataVolume: an input; its claim is bound at once, whoever will mount it first."""
ANNOTATION_STORAGE_CLASS: Final = f"{_IMPORT}.storageClass"
"""On a cron: the storage class of its current import (S-01)."""
ANNOTATION_SOURCE_VOLUME_MODE: Final = f"{_IMPORT}.sourceVolumeMode"
"""On an import's snapshot: Filesystem or Block, as its volume was."""
ANNOTATION_ADVISED_RESTORE_SIZE: Final = f"{_IMPORT}.advisedRestoreSize"
"""On an import's snapshot: the size of a volume that is restored from it, a quantity."""
ANNOTATION_ALLOW_ADOPTION: Final = "cdi.kubevirt.io/allowClaimAdoption"
"""On a DataVolume: an input; with "true" a claim of its name is its volume, with "false" never."""
ANNOTATION_PRE_POPULATED: Final = "cdi.kubevirt.io/storage.prePopulated"
"""On a DataVolume: an input; somebody else fills its claim and says so there."""
ANNOTATION_STATIC_VOLUME: Final = "cdi.kubevirt.io/storage.checkStaticVolume"
"""On a DataVolume: an input; a PersistentVolume that is reserved for its claim is its volume."""
ANNOTATION_POPULATED_FOR: Final = "cdi.kubevirt.io/storage.populatedFor"
"""On a claim: the name of the DataVolume that it is whole for, from whoever has filled it."""
ANNOTATION_CLONE_TYPE: Final = "cdi.kubevirt.io/cloneType"
"""On a clone and its claim: how it is made, in CDI's words: csi-clone, snapshot or copy."""
ANNOTATION_CLONE_FALLBACK: Final = "cdi.kubevirt.io/cloneFallbackReason"
"""On the claim of a clone that a pod copies: why its class's own way was not gone, in CDI's words."""
ANNOTATION_POLL_REQUESTED: Final = "dataimportcron.io/poll-requested-at"
"""On a cron: an input; any new value forces a poll."""
ANNOTATION_SUSPEND: Final = "dataimportcron.io/suspend"
"""On a cron: an input; with "true" it is polled only when somebody asks for it. What runs goes on."""
ANNOTATION_MOVING: Final = "dataimportcron.io/moving"
"""On a cron, while a migration hands its images over: nothing is done for it."""
ANNOTATION_DIGEST: Final = "dataimportcron.io/digest"
"""On an import: the digest of the reference, an index's digest where the reference names an index."""
ANNOTATION_MANIFEST_DIGEST: Final = "dataimportcron.io/manifest-digest"
"""On an import: the digest of the platform's manifest; equal bytes are recognised by it."""
ANNOTATION_PLACED_IN: Final = "dataimportcron.io/storage-class"
"""On an import: the storage class that it went into; "" where there was no default class."""
ANNOTATION_SOURCE: Final = "dataimportcron.io/source"
"""On a cron: what the desired digest was read from; another source voids the digest."""
ANNOTATION_DESIRED_MANIFEST: Final = "dataimportcron.io/desired-manifest"
"""On a cron: desired digest, a space, and the digest of the platform's manifest behind it."""
ANNOTATION_POLL_SEEN: Final = "dataimportcron.io/poll-requested-seen"
"""On a cron: the value of `poll-requested-at` that the last forced poll answered."""
ANNOTATION_PROMOTED: Final = "dataimportcron.io/promoted-at"
"""On a DataSource: when an import was last promoted, even if it was the same; so a late promotion finds a conflict."""
ANNOTATION_DROPPED: Final = "dataimportcron.io/dropped"
"""On an import that its cron deletes to make place for another of that name: what filled it has ended already."""

ANNOTATION_CLONE_SOURCE: Final = "dataimportcron.io/clone-source"
"""On a clone: namespace/name of the volume that it reads; while the clone is unfinished that volume is not pruned."""
ANNOTATION_CLONE: Final = "dataimportcron.io/clone"
"""On a clone on a host: an input; "overlay" makes it a qcow2 file that holds what differs from its source."""
CLONE_OVERLAY: Final = "overlay"

SEARCH_OBJECT: Final = "DicObject"
SEARCH_DIGEST: Final = "DicDigest"
SEARCH_PHASE: Final = "DicPhase"
SEARCH_ATTRIBUTES: Final = (SEARCH_OBJECT, SEARCH_DIGEST, SEARCH_PHASE)
"""All are of type Keyword."""

MEMO_MACHINE: Final = "machine"
"""The uid of the machine or cluster that an execution belongs to."""

_DIGEST_PREFIXES: Final = ("sha256:", "uid:")
_DIGEST_CHARACTERS: Final = 12
_TAIL: Final = re.compile(r"[0-9a-f]{12}|[0-9a-f]{8}-[0-9a-f]{3}")
"""Of a digest, or of a uid."""


def import_name(data_source: str, digest: str) -> str:
    """Name of the DataVolume that holds `digest`: the DataSource's name and the digest's first 12 characters.

    Raises:
        InvalidReferenceError: `digest` has no supported prefix or fewer than 12 characters.
    """
    prefix = next((p for p in _DIGEST_PREFIXES if digest.startswith(p)), None)
    if prefix is None:
        raise InvalidReferenceError(
            f"Digest has no supported prefix: {digest!r}", hint=f"one of {', '.join(_DIGEST_PREFIXES)} is understood"
        )
    tail = digest.removeprefix(prefix)
    if len(tail) < _DIGEST_CHARACTERS:
        raise InvalidReferenceError(f"Digest is too short: {digest!r} has {len(tail)} characters, 12 are needed")
    return f"{data_source}-{tail[:_DIGEST_CHARACTERS]}"


def is_import_name(data_source: str, name: str) -> bool:
    """Whether `name` is that of an import for this very DataSource, and not for one whose name begins alike."""
    tail = name.removeprefix(f"{data_source}-")
    return tail != name and _TAIL.fullmatch(tail) is not None


def cron_workflow_id(site: str, namespace: str, name: str) -> str:
    """Workflow id of a DataImportCron."""
    return f"{site}/dataimportcron/{namespace}/{name}"


def volume_workflow_id(site: str, namespace: str, name: str) -> str:
    """Workflow id of a DataVolume's population."""
    return f"{site}/datavolume/{namespace}/{name}"


def task_queue(site: str) -> str:
    """Task queue of workflows and of the short activities."""
    return f"dataimportcron-{site}"


def import_task_queue(site: str) -> str:
    """Task queue of imports and clones: a hundred of them waiting for volumes starve no poll."""
    return f"{task_queue(site)}-import"


def object_key(namespace: str, name: str) -> str:
    """Value of the search attribute `DicObject`."""
    return f"{namespace}/{name}"
