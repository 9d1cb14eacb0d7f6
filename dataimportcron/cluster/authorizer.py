"""The port `Authorizer` in a cluster: what is in another namespace is cloned for those who may, by CDI's rules.

The worker may read all volumes, so it asks the API server for whoever wants the clone: the user whom the API server
has written on a DataVolume, or the service account of a cron.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from dataimportcron import naming
from dataimportcron.api.types import CDI_GROUP, DataImportCron, DataSource, Resource
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import SELF_SUBJECT_REVIEWS, SUBJECT_ACCESS_REVIEWS, Json
from dataimportcron.cluster.clones.requester import REQUESTER, SETTLED, Requester, belief
from dataimportcron.errors import ForbiddenError, ObjectNotFoundError
from dataimportcron.ports import Objects
from dataimportcron.values import CloneSource, SourceKind

_DEFAULT_ACCOUNT: Final = "default"


class ClusterAuthorizer:
    """`ports.Authorizer`.

    Args:
        connection: to the API server.
        objects: the crons.
        beside: whether CDI is there. Then all that is cloned here is what crons import; the rest is CDI's to refuse.
        settled: how long after it was made the admission policy is in force for sure.
    """

    def __init__(self, connection: Connection, objects: Objects, *, beside: bool, settled: timedelta = SETTLED) -> None:
        self._connection = connection
        self._objects = objects
        self._beside = beside
        self._settled = settled
        self._own_name = ""

    async def refusal(self, wanted: Resource, source: CloneSource) -> str:
        """See the port."""
        if wanted.metadata.namespace == source.namespace:
            return ""
        requester = await self._requester(wanted)
        if isinstance(requester, str):
            return f"Nothing is cloned from namespace {source.namespace}: {requester}"
        try:
            allowed = await self._may(requester, source)
        except ForbiddenError as error:  # an install for one namespace
            return f"Nothing is cloned from namespace {source.namespace}: {error}"
        if allowed:
            return ""
        return f"User {requester.name} has insufficient permissions in clone source namespace {source.namespace}"

    async def _requester(self, wanted: Resource) -> Requester | str:
        """Who wants the clone; or in one sentence why nobody knows."""
        if isinstance(wanted, DataImportCron):
            return _account_of(wanted)
        if self._beside or isinstance(wanted, DataSource):
            return await self._account_for(wanted)
        doubt = (await belief(self._connection, settled=self._settled)).doubt(wanted.metadata.creation_timestamp)
        if doubt:
            return doubt
        requester = Requester.parse(wanted.metadata.annotations.get(REQUESTER, ""))
        if requester is None:
            return f"Annotation {REQUESTER} does not say who has made this DataVolume (delete it and make it again)"
        # What a cron imports we have made ourselves, in its name.
        return await self._account_for(wanted) if requester.name == await self._own() else requester

    async def _account_for(self, wanted: Resource) -> Requester:
        """The service account of the cron whose import it is; the namespace's default where it is none's."""
        namespace, name = wanted.metadata.namespace, wanted.metadata.labels.get(naming.LABEL_CRON, "")
        try:
            if name:
                return _account_of(await self._objects.get(DataImportCron, namespace, name))
        except ObjectNotFoundError:
            pass
        return Requester.of_account(namespace, _DEFAULT_ACCOUNT)

    async def _own(self) -> str:
        """Our own name to the API server."""
        if not self._own_name:
            review = await self._connection.create(SELF_SUBJECT_REVIEWS, {"metadata": {}})
            self._own_name = str(review["status"]["userInfo"]["username"])
        return self._own_name

    async def _may(self, requester: Requester, source: CloneSource) -> bool:
        for way in ways_to_clone(source):
            for attributes in way:
                if not await self._is_granted(requester, attributes):
                    break
            else:
                return True
        return False

    async def _is_granted(self, requester: Requester, attributes: Json) -> bool:
        user = {"user": requester.name, "uid": requester.uid, "groups": list(requester.groups)}
        review = {"metadata": {}, "spec": user | {"resourceAttributes": attributes}}
        answer = await self._connection.create(SUBJECT_ACCESS_REVIEWS, review)
        return bool(answer["status"]["allowed"])


def ways_to_clone(source: CloneSource) -> tuple[tuple[Json, ...], ...]:
    """The rights by which something may be cloned: all of any one way suffice (A-02, A-03).

    Who may run pods beside a volume can read it anyway; who may make claims there too can restore a snapshot. `pvcs` is
    how CDI spells that right.
    """
    source_right = {"group": CDI_GROUP, "resource": "datavolumes", "subresource": "source", "name": source.name}
    pods: Json = {"resource": "pods"}
    by_pod = (pods,) if source.kind is SourceKind.PVC else (pods, {"resource": "pvcs"})
    return tuple(
        tuple({"namespace": source.namespace, "verb": "create"} | right for right in way)
        for way in ((source_right,), by_pod)
    )


def _account_of(cron: DataImportCron) -> Requester:
    return Requester.of_account(cron.metadata.namespace, cron.spec.service_account_name or _DEFAULT_ACCOUNT)
