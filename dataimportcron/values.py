"""What ports take and give: of an image, of a volume, of a claim, of a clone. Plain values, the same in every home."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from dataimportcron.errors import CloneWithoutSourceError


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSource:
    """A container disk, and in whose name it is read.

    Attributes:
        namespace: where `secret` and `cert_config_map` are.
        url: `docker://…`, `oci-archive:…` or `file:///…`, as in `spec.source.registry.url`; "" with an ImageStream.
        architecture: wanted, "" for the home's default.
        secret: name of the Secret with credentials, "" for none.
        cert_config_map: name of the ConfigMap with CA certificates, "" for none.
        pull_method: pod, or node where a node's container runtime pulls it, with what that knows of the registry.
        image_stream: name[:tag] of an OpenShift ImageStream, "" for none.
    """

    namespace: str
    url: str
    architecture: str = ""
    secret: str = ""
    cert_config_map: str = ""
    pull_method: str = "pod"
    image_stream: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedImage:
    """What a reference means now: its own digest (an index's, for an index) and that of the platform's manifest.

    `image` is what is imported, where the source only leads to it: the image that an ImageStream names.
    """

    digest: str
    manifest_digest: str
    image: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Progress of an import or a clone, in bytes; totals are 0 while unknown.

    Attributes:
        phase: a word for a person, such as Downloading.
        done: of `total`.
        total: what there is to do.
        written: to the volume so far.
        waits_for: what must come before it can begin, a CamelCase word such as Unschedulable; "" while it works.
        message: why it waits, in one sentence; "" where that is only a matter of time.
    """

    phase: str
    done: int = 0
    total: int = 0
    written: int = 0
    waits_for: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """A volume to be made.

    Attributes:
        namespace: of its DataVolume.
        name: of its DataVolume.
        uid: of its DataVolume.
        size: of the disk, in bytes; of a clone 0 where it shall have its source's.
        storage_class: "" for the default.
        overlay: a clone shall hold only what differs from its source, which it needs for as long as it lives.
    """

    namespace: str
    name: str
    uid: str
    size: int
    storage_class: str = ""
    overlay: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume that is complete.

    Attributes:
        namespace: of its DataVolume.
        name: of its DataVolume.
        size: of the disk, in bytes.
        digest: "" where it was not imported.
        location: where it is, for a person.
        format: raw, or qcow2 for an overlay.
        storage_class: "" where the home has none.
        mode: Filesystem or Block; "" on a host.
        requested: bytes of the claim; 0 on a host.
        uid: of what stands for the volume; another one of that name has another.
    """

    namespace: str
    name: str
    size: int
    digest: str = ""
    location: str = ""
    format: str = "raw"
    storage_class: str = ""
    mode: str = ""
    requested: int = 0
    uid: str = ""


class SourceKind(StrEnum):
    """What a volume can be cloned from."""

    PVC = "pvc"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneSource:
    """A volume, or a snapshot of one, that another is cloned from."""

    namespace: str
    name: str
    kind: SourceKind = SourceKind.PVC

    def __str__(self) -> str:
        """As an annotation has it: `namespace/name`, and `snapshot/namespace/name`."""
        place = f"{self.namespace}/{self.name}"
        return place if self.kind is SourceKind.PVC else f"{self.kind}/{place}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What `str` has written; None where it is nothing of that kind."""
        *kind, namespace, name = text.split("/") if text.count("/") in {1, 2} else ("", "", "")
        if not namespace or not name or kind not in ([], [SourceKind.SNAPSHOT]):
            return None
        return cls(namespace=namespace, name=name, kind=SourceKind(kind[0]) if kind else SourceKind.PVC)

    def missing(self) -> CloneWithoutSourceError:
        """The error where it is not there."""
        return CloneWithoutSourceError(f"The source {self.kind} {self.namespace}/{self.name} doesn't exist")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where imports go, and what they are kept as there.

    Attributes:
        storage_class: "" where there is no default class.
        form: what they are kept as.
        snapshot_class: of the snapshots; "" where they are kept as volumes.
    """

    storage_class: str = ""
    form: SourceKind = SourceKind.PVC
    snapshot_class: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimState:
    """A claim as it stands, whoever has made it.

    Attributes:
        uid: of the claim.
        owner: uid of the DataVolume whose volume it is, "" for none.
        labels: of the claim, as far as they flow on to what is made of it.
        whole: whether it holds a disk that can be cloned.
        state: how far it is, in a word that changes when somebody who waits for it should look again.
    """

    uid: str
    owner: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clonable:
    """Whether something can be cloned now.

    Attributes:
        size: of the disk in it, in bytes; 0 while nobody can say.
        reason: why not, a CamelCase word such as CloneWithoutSource; "" if it can.
        message: the same in one sentence.
    """

    size: int = 0
    reason: str = ""
    message: str = ""

    @classmethod
    def missing(cls, source: CloneSource) -> Self:
        """Of a source that is not there, in CDI's words."""
        message = f"The source {source.kind} {source.name} doesn't exist"
        return cls(reason=CloneWithoutSourceError.reason, message=message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What a volume waits for before anything is written to it.

    Attributes:
        reason: a CamelCase word such as ErrExceededQuota; "" if it waits for nothing.
        message: the same in one sentence.
        phase: of its DataVolume meanwhile, where it is another than Pending.
    """

    reason: str = ""
    message: str = ""
    phase: str = ""
