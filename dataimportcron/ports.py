"""What the engine needs from a home, as Protocols.

A home (`host`, `cluster`) implements them; `worker.build` alone knows which. Activities know only this page. Each
Protocol is held by one contract suite that the fakes and the real adapters pass alike. Every method may raise
`errors.TransientError` (try again) or `errors.PermanentError` (do not); what else it raises stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from dataimportcron.api.types import DataVolume, DataVolumeSpec, Resource
from dataimportcron.values import (
    ClaimState,
    Clonable,
    CloneSource,
    ImageSource,
    Placement,
    Reservation,
    ResolvedImage,
    SourceKind,
    Transfer,
    Volume,
    VolumeSpec,
)

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


class Volumes(Protocol):
    """The volumes themselves."""

    async def find(self, namespace: str, name: str) -> Volume | None:
        """The complete volume of that name, None if there is none or it is half-written."""
        ...

    async def claims(self) -> Mapping[tuple[str, str], ClaimState] | None:
        """All claims by namespace and name, as they stand now; None where only DataVolumes stand for volumes."""
        ...

    async def clonable(self, source: CloneSource) -> Clonable:
        """Whether a volume or a snapshot can be cloned now, and how large it is.

        It cannot while it does not exist, is not whole, or is written by somebody.
        """
        ...

    async def adopt(self, volume: DataVolume) -> bool:
        """Whether what stands in the place of a DataVolume is its volume, whole.

        It is where we have filled it and could not say so any more, whatever has become of its source since; and where
        somebody else has filled it, and asks that it becomes the DataVolume's.
        """
        ...

    async def reserve(self, volume: DataVolume, source: CloneSource | None = None) -> Reservation:
        """Take the place of a volume, as far as the home has places to be taken, and say what it waits for.

        It can be called again at any time, and takes nothing twice. Nothing is written to the volume.

        Args:
            volume: whose place it is.
            source: what it will be cloned from; None for an import, and for an empty volume.
        """
        ...

    async def delete(self, namespace: str, name: str) -> None:
        """Remove the volume and every trace of a half-written one; it is no error if there is none."""
        ...

    async def notice(self, volume: VolumeSpec) -> str:
        """What a person should know of where the volume will be, in one sentence; "" when it is as asked for."""
        ...

    async def in_use(self, namespace: str, name: str, kind: SourceKind = SourceKind.PVC) -> str:
        """Who uses the volume, or a snapshot, in one sentence; "" when surely nobody does.

        A volume is used while somebody has it open, and while another disk, known to us or not, is an overlay on it; a
        snapshot while a volume is being restored from it. Where nobody can say, the sentence says why.
        """
        ...

    async def placement(self, spec: DataVolumeSpec) -> Placement | None:
        """Where a volume of that spec goes, and what an import is kept as there; the same object until that changes.

        None in a home that keeps all imports as volumes, wherever they are.
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

    async def run(self, source: CloneSource, volume: VolumeSpec, report: Callable[[Transfer], None]) -> Transfer:
        """Clone `source`; same rules as `Importer.run`.

        An overlay reads its source as long as it lives; `Volumes.in_use` tells of it.

        Raises:
            VolumeTooSmallError: the target is smaller than the source.
            CloneWithoutSourceError: the source is not there, or not whole; a clone that is complete needs none.
        """
        ...

    async def blank(self, volume: VolumeSpec) -> None:
        """Make an empty volume of zeros; a complete one is left alone."""
        ...


class Authorizer(Protocol):
    """Who may clone what. The one who asks is not the one who clones, so it must be asked for him."""

    async def refusal(self, wanted: Resource, source: CloneSource) -> str:
        """Why an object may not be cloned from a source, in one sentence; "" if it may.

        Args:
            wanted: a DataVolume, asked for whoever has made it; or a DataImportCron, asked for its service account; or
                a DataSource, of which nobody knows who has made it, asked for its namespace's default one.
            source: as it was resolved from specs alone: a status can be forged.
        """
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
