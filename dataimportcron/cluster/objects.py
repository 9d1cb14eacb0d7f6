"""The port `Objects` over the API server: reads from copies that follow it, writes of just what differs.

A write names the uid and the resourceVersion that were read, so it never meets another life of the object and never
overwrites what somebody else has written since. It is a merge patch of the fields that differ: what our models do not
know stays as it is. Secrets and ConfigMaps are read where they are used; of them only versions are followed, because a
corrected one is a reason to look again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from pydantic import ValidationError

from dataimportcron.api.snapshots import VolumeSnapshot
from dataimportcron.api.types import DataImportCron, DataSource, DataVolume, Resource
from dataimportcron.cluster.classes.storage import Claim
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import PVCS, Json, ResourceType
from dataimportcron.cluster.client.verbs import patch_as_read
from dataimportcron.cluster.documents.dialect import Dialect, StatusPlace
from dataimportcron.cluster.documents.differences import merge_patch
from dataimportcron.cluster.documents.plain_volumes import LABEL, as_data_volume, claim_metadata, is_plain_volume
from dataimportcron.cluster.watching.references import REFERRED, References
from dataimportcron.cluster.watching.reflector import Change, Reflector
from dataimportcron.cluster.watching.streams import KindStream
from dataimportcron.errors import (
    AlreadyExistsError,
    ApiUnavailableError,
    ConflictError,
    ForbiddenError,
    ForeignVolumeError,
    InvalidObjectError,
    NotServedError,
    ObjectNotFoundError,
)

R = TypeVar("R", bound=Resource)

logger = logging.getLogger(__name__)

FOLLOWED: Final[tuple[type[Resource], ...]] = (DataImportCron, DataSource, DataVolume, VolumeSnapshot)
_OPTIONAL: Final[frozenset[type[Resource]]] = frozenset({VolumeSnapshot})
"""Kinds that a cluster may do without; it has no objects of them then."""
_FIRST_READ: Final = 30.0
"""Seconds that a list waits for the first read of all objects."""


class ClusterObjects:
    """`ports.Objects`.

    Args:
        connection: the API server.
        dialect: how our objects are spelt there.
        namespace: the only one that is served, "" for all.
        claim: makes the PersistentVolumeClaim for a DataVolume, where an import is a plain claim.
        watch_timeout: seconds after which the server ends a watch.
    """

    def __init__(
        self,
        connection: Connection,
        dialect: Dialect,
        *,
        namespace: str = "",
        claim: Callable[[DataVolume], Awaitable[Claim]] | None = None,
        watch_timeout: float = 290.0,
    ) -> None:
        self._connection = connection
        self._dialect = dialect
        self._claim = claim
        self._listeners: list[Callable[[Change[Resource]], None]] = []
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.refusal = ""
        """Why nothing is written, in one sentence; while it is "", all is."""

        def stream(kind: type[Resource]) -> KindStream:
            resource = dialect.resource(kind)
            return KindStream(
                connection=connection,
                resource=resource,
                namespace=namespace,
                label_selector=f"{LABEL}=true" if resource == PVCS else "",
                timeout=watch_timeout,
            )

        self._reflectors: dict[type[Resource], Reflector[Resource]] = {
            kind: Reflector(dialect.resource(kind).plural, stream(kind), self._parser(kind), self._tell)
            for kind in FOLLOWED
        }
        self._references = References(connection, self._reflectors[DataImportCron].list, self._tell)  # type: ignore[arg-type]  # the kind chooses the reflector

    # -- following ---------------------------------------------------------------------------------------------------

    def listen(self, listener: Callable[[Change[Resource]], None]) -> Callable[[], None]:
        """Call `listener` with each change, in order, from now on; it must not wait. Returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def wake(self) -> None:
        """Let listeners look again: something that is followed elsewhere has changed."""
        self._tell(Change(None, None))

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors.values():
                group.create_task(reflector.run())
            group.create_task(self._references.run())

    async def wait_synced(self) -> None:
        """Wait until all that is followed has been read once."""
        for kind in FOLLOWED:
            await self._wait_synced(kind)

    async def _wait_synced(self, kind: type[Resource]) -> None:
        reflector = self._reflectors[kind]
        await (reflector.wait_read() if kind in _OPTIONAL else reflector.wait_synced())

    def problems(self) -> list[str]:
        """What keeps objects from being followed just now, one sentence each."""
        required = [reflector for kind, reflector in self._reflectors.items() if kind not in _OPTIONAL]
        return [reflector.problem for reflector in required if reflector.problem]

    def unreadable(self) -> int:
        """Objects that are there and that we cannot read."""
        return sum(reflector.unreadable for reflector in self._reflectors.values())

    def lists(self) -> int:
        """How often a kind was listed, which is once each unless a watch could not go on."""
        return sum(reflector.lists for reflector in self._reflectors.values())

    # -- reading -----------------------------------------------------------------------------------------------------

    async def get(self, kind: type[R], namespace: str, name: str) -> R:
        """See the port; what is not in the copy is asked of the server."""
        if kind not in REFERRED:
            known = self._reflectors[kind].get(namespace, name)
            if known is not None:
                return known  # type: ignore[return-value]  # the kind chooses the reflector
        return await self._read(kind, namespace, name)

    async def list(self, kind: type[R], namespace: str | None = None) -> list[R]:
        """See the port; of Secrets and ConfigMaps those that crons name, without what is in them."""
        if kind in REFERRED:
            return self._references.list(kind, namespace)  # type: ignore[return-value]  # as in get
        reflector = self._reflectors[kind]
        if not reflector.is_synced:
            try:
                await asyncio.wait_for(self._wait_synced(kind), _FIRST_READ)
            except TimeoutError as error:
                why = reflector.problem or "the API server has not answered yet"
                raise ApiUnavailableError(f"{kind.__name__}s cannot be listed: {why}") from error
        return reflector.list(namespace)  # type: ignore[return-value]  # as in get

    async def _read(self, kind: type[R], namespace: str, name: str) -> R:
        resource = self._dialect.resource(kind)
        try:
            document = await self._connection.get(resource, name, namespace)
        except (ObjectNotFoundError, NotServedError) as error:
            if isinstance(error, NotServedError) and kind not in _OPTIONAL:
                raise
            raise ObjectNotFoundError(f"{kind.__name__} {namespace}/{name} does not exist") from error
        if resource == PVCS and not is_plain_volume(document):
            raise ObjectNotFoundError(f"{kind.__name__} {namespace}/{name} does not exist")
        return self._taken(kind, document)

    def _taken(self, kind: type[R], document: Json) -> R:
        """The object that the server has answered with; from now on it is in the copy.

        Raises:
            InvalidObjectError: it cannot be read.
        """
        metadata = document["metadata"]
        if kind not in REFERRED:
            reflector = self._reflectors[kind]
            reflector.saw(document)
            known = reflector.get(metadata.get("namespace", ""), metadata["name"])
            if known is not None and known.metadata.resource_version == metadata["resourceVersion"]:
                return known  # type: ignore[return-value]  # the same object for as long as it does not change
        try:
            return self._model(kind, document)
        except ValueError as error:
            where = f"{kind.__name__} {metadata.get('namespace', '')}/{metadata['name']}"
            raise InvalidObjectError(f"{where} cannot be read: {error}", faults=(str(error),)) from error

    def _model(self, kind: type[R], document: Json) -> R:
        """The object as its model; ValueError says what in it is odd, but not what stands there: it may be secret."""
        shown = self._shown(kind, document)
        metadata = {key: value for key, value in shown["metadata"].items() if key != "managedFields"}
        try:
            return kind.model_validate(shown | {"metadata": metadata})
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
            raise ValueError("; ".join(faults)) from None

    def _shown(self, kind: type[Resource], document: Json) -> Json:
        """The document in the models' spelling."""
        if self._dialect.resource(kind) == PVCS:
            return as_data_volume(document, self._dialect)
        return self._dialect.exchanged(document)

    def _parser(self, kind: type[Resource]) -> Callable[[Json], Resource | None]:
        def parse(document: Json) -> Resource | None:
            if self._dialect.resource(kind) == PVCS and not is_plain_volume(document):
                return None
            return self._model(kind, document)

        return parse

    def _tell(self, change: Change[Resource]) -> None:
        for listener in list(self._listeners):
            listener(change)

    # -- writing -----------------------------------------------------------------------------------------------------

    async def create(self, resource: R) -> R:
        """See the port; a status that has a place of its own is written right after."""
        self._require_writing()
        kind = type(resource)
        try:
            made = await self._connection.create(self._dialect.resource(kind), await self._new(resource))
        except AlreadyExistsError as error:
            raise await self._occupied(resource, error) from error
        status = resource.document().get("status")
        if status and self._dialect.status_of(kind) is StatusPlace.SUBRESOURCE:
            made = await self._patch(kind, made["metadata"], {"status": status}, "status")
        return self._taken(kind, made)

    async def _new(self, resource: Resource) -> Json:
        if isinstance(resource, DataVolume) and self._dialect.resource(DataVolume) == PVCS:
            return await self._new_claim(resource)
        document = self._dialect.exchanged(resource.document())
        document["apiVersion"] = self._dialect.resource(type(resource)).api_version
        labels = {
            key: value for key, value in document["metadata"].get("labels", {}).items() if self._dialect.may_write(key)
        }
        document["metadata"] = document["metadata"] | {"labels": labels}
        if self._dialect.status_of(type(resource)) is StatusPlace.NOWHERE:
            document.pop("status", None)
        return document

    async def _new_claim(self, volume: DataVolume) -> Json:
        if self._claim is None:
            raise InvalidObjectError(f"DataVolume {volume.metadata.name} has no claim: none can be made here")
        # Of its own metadata it has the DataVolume's, in the models' spelling: CDI's words, which must not stand there.
        spec = (await self._claim(volume)).body["spec"]
        place: Json = {"name": volume.metadata.name, "namespace": volume.metadata.namespace}
        return {"metadata": place | claim_metadata(volume.document(), self._dialect), "spec": spec}

    async def _occupied(self, resource: Resource, error: AlreadyExistsError) -> Exception:
        """Who has the name of an object that was to be made."""
        kind, metadata = type(resource), resource.metadata
        if self._dialect.resource(kind) != PVCS:
            return AlreadyExistsError(f"{resource.kind} {metadata.namespace}/{metadata.name} exists")
        try:
            there = await self._connection.get(PVCS, metadata.name, metadata.namespace)
        except ObjectNotFoundError:
            return ConflictError(error.message)
        claim = f"PersistentVolumeClaim {metadata.namespace}/{metadata.name}"
        if "deletionTimestamp" in there["metadata"]:
            return ConflictError(f"{claim} is still being deleted", hint="it goes when no pod uses it any more")
        if not is_plain_volume(there):
            return ForeignVolumeError(
                f"{claim} is not of our making, and has the name of an import",
                hint="dataimportcron migrate takes over imports of CDI's; any other must be renamed or removed",
            )
        return AlreadyExistsError(f"DataVolume {metadata.namespace}/{metadata.name} exists")

    async def patch(self, before: R, after: R) -> R:
        """See the port. Where a status has a place of its own, and more than it differs, that makes two writes."""
        main, status = self._differences(before, after)
        if not main and not status:
            return before
        self._require_writing()
        self._require_ours(before)
        kind, metadata = type(before), before.metadata
        what = f"{before.kind} {metadata.namespace}/{metadata.name}"
        try:
            async with self._turns.setdefault(metadata.uid, asyncio.Lock()):
                return self._taken(kind, await self._write(before, main, status))
        except ConflictError as error:
            if await self._look_again(kind, metadata.namespace, metadata.name) is None:
                raise ObjectNotFoundError(f"{what} does not exist") from error
            version = metadata.resource_version
            raise ConflictError(f"{what} changed since it was read at resourceVersion {version}") from error
        except ObjectNotFoundError as error:
            self._saw_deleted(before)
            raise ObjectNotFoundError(f"{what} does not exist") from error

    async def _write(self, before: Resource, main: Json, status: Json) -> Json:
        kind, metadata = type(before), before.metadata
        identity: Json = {
            "namespace": metadata.namespace,
            "name": metadata.name,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        }
        written: Json = {"metadata": identity}
        if main:
            written = await self._patch(kind, written["metadata"], main)
        if status:
            written = await self._patch(kind, written["metadata"], {"status": status}, "status")
        return written

    def _differences(self, before: Resource, after: Resource) -> tuple[Json, Json]:
        """What is to be written to the object, and to its status where that has a place of its own."""
        old, new = self._written(before), self._written(after)
        patch = merge_patch(old, new)
        main: Json = {part: patch[part] for part in ("spec", "data", "binaryData") if part in patch}
        changes = {
            field: changed
            for field in ("labels", "annotations")
            if (changed := merge_patch(old["metadata"].get(field) or {}, new["metadata"].get(field) or {}))
        }
        if "labels" in changes:
            changes["labels"] = {k: v for k, v in changes["labels"].items() if self._dialect.may_write(k)}
        if changes := {field: changed for field, changed in changes.items() if changed}:
            main["metadata"] = changes
        place, status = self._dialect.status_of(type(before)), patch.get("status") or {}
        if place is StatusPlace.MAIN and status:
            main["status"] = status
        if place is not StatusPlace.SUBRESOURCE:
            return main, {}
        seen, generation = (old.get("status") or {}).get("observedGeneration"), before.metadata.generation
        if generation is not None and seen != generation and (status or seen is not None):
            status = status | {"observedGeneration": generation}
        return main, status

    def _written(self, resource: Resource) -> Json:
        """The document as the cluster has it, as far as we write it."""
        document = resource.document()
        if self._dialect.resource(type(resource)) == PVCS:
            return {"metadata": claim_metadata(document, self._dialect)}
        return self._dialect.exchanged(document)

    async def _patch(self, kind: type[Resource], metadata: Json, patch: Json, subresource: str = "") -> Json:
        resource, read = self._dialect.resource(kind), {"metadata": metadata}
        return await patch_as_read(self._connection, resource, read, patch, subresource=subresource)

    async def delete(self, resource: Resource, *, unchanged: bool = False) -> None:
        """See the port; what it owns goes in the background."""
        self._require_writing()
        self._require_ours(resource)
        kind, metadata = type(resource), resource.metadata
        target: ResourceType = self._dialect.resource(kind)
        try:
            left = await self._connection.delete(
                target,
                metadata.name,
                metadata.namespace,
                uid=metadata.uid,
                resource_version=metadata.resource_version if unchanged else "",
            )
        except ConflictError as error:
            there = await self._look_again(kind, metadata.namespace, metadata.name)
            if not unchanged or there is None or there.metadata.uid != metadata.uid:
                return
            raise ConflictError(
                f"{resource.kind} {metadata.namespace}/{metadata.name} changed since it was read, and is kept"
            ) from error
        if left is not None and target != PVCS and kind not in REFERRED:
            self._reflectors[kind].saw(left)
        else:
            self._saw_deleted(resource)

    def _saw_deleted(self, resource: Resource) -> None:
        kind, metadata = type(resource), resource.metadata
        if kind not in REFERRED:
            self._reflectors[kind].saw_deleted(metadata.namespace, metadata.name, metadata.uid)

    async def _look_again(self, kind: type[R], namespace: str, name: str) -> R | None:
        """Read what is not as the copy has it, so that the next try starts from the truth; None where it is gone."""
        try:
            return await self._read(kind, namespace, name)
        except ObjectNotFoundError:
            return None

    def _require_writing(self) -> None:
        if self.refusal:
            raise ForbiddenError(self.refusal)

    def _require_ours(self, resource: Resource) -> None:
        """Beside CDI, what a cron of CDI's manages is CDI's."""
        owner = self._dialect.foreign_owner(self._dialect.exchanged(resource.document()))
        if owner:
            metadata = resource.metadata
            raise ForbiddenError(
                f"{resource.kind} {metadata.namespace}/{metadata.name} is managed by CDI's DataImportCron {owner}",
                hint=f"dataimportcron migrate {owner} moves it here; or let the cron here manage another DataSource",
            )
