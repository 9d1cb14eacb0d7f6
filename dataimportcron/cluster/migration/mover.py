"""Carries out the steps between CDI and us, one write at a time.

The facts are read anew before each step and each write is bound to what was read, so it makes no difference who else
writes meanwhile, or whether an earlier run was killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from time import monotonic
from typing import Final

from dataimportcron import naming
from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.claims.claims import Claims
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import (
    DATA_IMPORT_CRONS,
    DATA_SOURCES,
    DATA_VOLUMES,
    PVCS,
    Json,
)
from dataimportcron.cluster.client.verbs import find
from dataimportcron.cluster.documents import plain_volumes
from dataimportcron.cluster.documents.dialect import Dialect
from dataimportcron.cluster.documents.records import ATTEMPT, COMPLETE, Record
from dataimportcron.cluster.jobs.attempts import Attempts
from dataimportcron.cluster.migration.steps import ANNOTATION_MIGRATED, OWN_CRONS, Action, Facts, Step
from dataimportcron.errors import AlreadyExistsError, ConflictError, InUseError, ObjectNotFoundError

Plan = Callable[[Facts], tuple[Step, ...]]
"""The steps that are left: `steps.to_us` or `steps.to_cdi`."""

_PATIENCE: Final = 60.0
"""Seconds until an object must be gone that is being deleted: CDI's controller or the garbage collector ends it."""
_LOOK: Final = 0.2
"""Seconds between two looks at it."""
_CONFLICTS: Final = 10
"""So many in a row are no coincidence."""

_RELEASED: Final = (
    plain_volumes.ANNOTATION_SPEC,
    plain_volumes.ANNOTATION_PHASE,
    plain_volumes.ANNOTATION_PROGRESS,
    plain_volumes.ANNOTATION_STATUS,
    ATTEMPT,
    COMPLETE,
)
"""What a claim loses with us; its digest stays, for nothing of CDI's tells it."""


class Mover:
    """Moves crons between CDI and us.

    Args:
        connection: to the API server.
        dialect: of a cluster with CDI.
        patience: seconds until an object must be gone that is being deleted.
    """

    def __init__(self, connection: Connection, dialect: Dialect, *, patience: float = _PATIENCE) -> None:
        self._connection = connection
        self._dialect = dialect
        self._patience = patience
        self._claims = Claims(connection, owned=False)

    async def crons(self, namespace: str = "", *, undo: bool = False) -> list[tuple[str, str]]:
        """Namespace and name of all crons that can be moved, also of those whose move was interrupted.

        Args:
            namespace: "" for all.
            undo: those that came from CDI, else those that CDI has.
        """
        ours = [it["metadata"] for it in await self._connection.list(OWN_CRONS, namespace)]
        found = [it for it in ours if ANNOTATION_MIGRATED in (it.get("annotations") or {})]
        if not undo:
            found += [it["metadata"] for it in await self._connection.list(DATA_IMPORT_CRONS, namespace)]
        return sorted({(it["namespace"], it["name"]) for it in found})

    async def steps(self, namespace: str, name: str, plan: Plan) -> tuple[Step, ...]:
        """The steps that are left, none of them done.

        Raises:
            InvalidObjectError: the cron cannot be moved as it is; so for each error of the plan's.
        """
        return plan(await self._facts(namespace, name))

    async def move(self, namespace: str, name: str, plan: Plan) -> AsyncIterator[Step]:
        """Do step after step, and tell each that is done.

        Raises:
            InvalidObjectError: the cron cannot be moved as it is; so for each error of the plan's.
            InUseError: something that was deleted is held.
            ConflictError: somebody writes the same objects all the time.
        """
        conflicts = 0
        while steps := await self.steps(namespace, name, plan):
            try:
                await self._do(steps[0])
            except (ConflictError, AlreadyExistsError, ObjectNotFoundError):
                conflicts += 1
                if conflicts == _CONFLICTS:
                    raise
                await asyncio.sleep(_LOOK)
                continue
            conflicts = 0
            yield steps[0]

    async def _facts(self, namespace: str, name: str) -> Facts:
        theirs = await find(self._connection, DATA_IMPORT_CRONS, name, namespace)
        ours = await find(self._connection, OWN_CRONS, name, namespace)
        source = ((theirs or ours or {}).get("spec") or {}).get("managedDataSource")
        claims = await self._connection.list(PVCS, namespace)
        return Facts(
            namespace=namespace,
            name=name,
            theirs=theirs,
            ours=ours,
            data_source=await find(self._connection, DATA_SOURCES, source, namespace) if source else None,
            volumes=tuple(await self._connection.list(DATA_VOLUMES, namespace)),
            claims=tuple(it for it in claims if "deletionTimestamp" not in it["metadata"]),
        )

    async def _do(self, step: Step) -> None:
        match step.action:
            case Action.CREATE:
                await self._connection.create(step.resource, step.body)
            case Action.PATCH:
                await self._patch(step, step.body)
            case Action.DELETE:
                await self._delete(step, "Background")
            case Action.ORPHAN:
                await self._delete(step, "Orphan")
            case Action.ADOPT:
                await self._patch(step, await self._adoption(step))
            case Action.RELEASE:
                labels = step.body["metadata"]["labels"] | {plain_volumes.LABEL: None}
                await self._patch(step, {"metadata": {"labels": labels, "annotations": dict.fromkeys(_RELEASED)}})

    async def _patch(self, step: Step, patch: Json) -> None:
        bound = {"uid": step.uid, "resourceVersion": step.resource_version}
        patch = patch | {"metadata": patch.get("metadata", {}) | bound}
        await self._connection.patch(step.resource, step.name, step.namespace, patch)

    async def _adoption(self, step: Step) -> Json:
        """What makes a claim a complete import of ours: what it stands for, and the record of what it holds."""
        claim = await self._connection.get(PVCS, step.name, step.namespace)
        metadata = plain_volumes.claim_metadata(step.body, self._dialect)
        # As large as the claim that CDI has made, whatever the template says by now.
        volume = DataVolume.model_validate(
            {"metadata": {"name": step.name, "namespace": step.namespace}, "spec": {"pvc": claim["spec"]}}
        )
        record = Record(
            uid=step.uid,
            size=await self._claims.size_of(volume, claim),
            digest=step.body["metadata"]["annotations"][naming.ANNOTATION_DIGEST],
        )
        return {
            "metadata": {
                "labels": {naming.LABEL_CRON: None, naming.LABEL_CLEANUP: None} | metadata["labels"],
                "annotations": metadata["annotations"] | {COMPLETE: record.to_json()},
            }
        }

    async def _delete(self, step: Step, propagation: str) -> None:
        """Delete an object, and wait until it is gone: what comes next relies on that.

        Raises:
            InUseError: it is held for too long.
        """
        if step.resource == PVCS:  # a claim goes when no pod has it any more
            await Attempts(self._connection).remove(await self._connection.get(PVCS, step.name, step.namespace))
        left = await self._connection.delete(
            step.resource,
            step.name,
            step.namespace,
            uid=step.uid,
            resource_version="" if step.resource == PVCS else step.resource_version,
            propagation=propagation,
        )
        end = monotonic() + self._patience
        while left is not None and left["metadata"]["uid"] == step.uid:
            if monotonic() > end:
                raise InUseError(
                    f"{step.resource.kind} {step.namespace}/{step.name} of {step.resource} is still being deleted: "
                    f"held by {', '.join(left['metadata'].get('finalizers') or ['nothing'])}",
                    hint="see that CDI's controller and Kubernetes' garbage collector run, and run this again",
                )
            await asyncio.sleep(_LOOK)
            left = await find(self._connection, step.resource, step.name, step.namespace)
