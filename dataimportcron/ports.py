"""What the engine needs from a home, as Protocols.

A home (`host`, `cluster`) implements them; `worker.build` alone knows which. Activities know only this page. Each
Protocol is held by one contract suite that the fakes and the real adapters pass alike. Every method may raise
`errors.TransientError` (try again) or `errors.PermanentError` (do not); what else it raises stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from dataimportcron.api.types import Resource

R = TypeVar("R", bound=Resource)


class Objects(Protocol):
    """The API objects of the home.

    What is read is shared by all who read it, because there may be thousands: nobody changes what is in it. What shall
    be written is a changed copy (`manifests.with_*`).
    """

    async def get(self, kind: type[R], namespace: str, name: str) -> R:
        """Read one object.

        Raises:
            ObjectNotFoundError: there surely is no such object; no other trouble is ever reported so.
        """
        ...

    async def list(self, kind: type[R], namespace: str | None = None) -> Sequence[R]:
        """Read all objects of a kind, of one namespace or of all, ordered by namespace and name.

        A home whose list of a namespace is the very one of before says that nothing in it has changed: what was made
        of it still holds. A look of one of a thousand crons is cheap by that.
        """
        ...

    async def create(self, resource: R) -> R:
        """Store a new object; returns it with uid and resourceVersion.

        Raises:
            AlreadyExistsError: one of that kind, namespace and name exists.
        """
        ...

    async def patch(self, before: R, after: R) -> R:
        """Write what differs between the object as it was read and as it shall be; nothing differs: nothing is written.

        Covers labels, annotations, spec and status.

        Raises:
            ObjectNotFoundError: it is gone.
            ConflictError: its uid or resourceVersion is no longer that of `before`.
        """
        ...

    async def delete(self, resource: Resource, *, unchanged: bool = False) -> None:
        """Delete the object with this uid; it is no error if it is gone, or if another of that name lives now.

        Args:
            resource: as it was read.
            unchanged: only if it still has the resourceVersion that was read.

        Raises:
            ConflictError: it shall be unchanged, and is not.
        """
        ...


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


class Source(Protocol):
    """Where container disks come from."""

    async def resolve(self, image: ImageSource, *, fresh: bool = False) -> ResolvedImage:
        """Look up the digest of a reference; downloads no layer.

        Args:
            image: what is looked up.
            fresh: the answer is of now. Otherwise it may be of a lookup that was made for somebody else moments ago.
        """
        ...

    def close(self) -> None:
        """Give connections back; nothing is looked up any more."""
        ...


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
        size: of the disk, in bytes.
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
    """

    namespace: str
    name: str
    size: int
    digest: str = ""
    location: str = ""
    format: str = "raw"


class Volumes(Protocol):
    """The volumes themselves."""

    async def find(self, namespace: str, name: str) -> Volume | None:
        """The complete volume of that name, None if there is none or it is half-written."""
        ...

    async def delete(self, namespace: str, name: str) -> None:
        """Remove the volume and every trace of a half-written one; it is no error if there is none."""
        ...

    async def notice(self, volume: VolumeSpec) -> str:
        """What a person should know of where the volume will be, in one sentence; "" when it is as asked for."""
        ...

    async def in_use(self, namespace: str, name: str) -> str:
        """Who uses the volume, in one sentence; "" when surely nobody does.

        It is used while somebody has it open, and while another disk, known to us or not, is an overlay on it. Where
        nobody can say, the sentence says why.
        """
        ...


class Importer(Protocol):
    """Fills volumes from container disks."""

    async def run(
        self, image: ImageSource, digest: str, volume: VolumeSpec, report: Callable[[Transfer], None]
    ) -> Transfer:
        """Import until done; the same call after a crash ends with the same volume, and a complete one is a no-op.

        Cancelling the awaiting task stops the import before the cancellation is passed on.

        Args:
            image: the source; `digest` pins it.
            digest: of the reference or of the manifest.
            volume: the target.
            report: called a few times per second, in the caller's event loop.
        """
        ...


class Cloner(Protocol):
    """Fills volumes from volumes, or with nothing."""

    async def run(self, source: tuple[str, str], volume: VolumeSpec, report: Callable[[Transfer], None]) -> Transfer:
        """Clone the volume `source` (namespace, name); same rules as `Importer.run`.

        An overlay reads its source as long as it lives; `Volumes.in_use` tells of it.

        Raises:
            VolumeTooSmallError: the target is smaller than the source.
            CloneWithoutSourceError: the source is not there, or not whole; a clone that is complete needs none.
        """
        ...

    async def blank(self, volume: VolumeSpec) -> None:
        """Make an empty volume of zeros; a complete one is left alone."""
        ...


class Events(Protocol):
    """Events, as `describe` shows them."""

    async def emit(self, regarding: Resource, event_type: str, reason: str, message: str) -> None:
        """Record that something happened; the same (reason, message) again only raises the count.

        Args:
            regarding: the object.
            event_type: Normal or Warning.
            reason: CamelCase.
            message: one sentence.
        """
        ...
