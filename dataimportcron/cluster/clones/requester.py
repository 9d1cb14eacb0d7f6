"""Who has made a DataVolume, and whether that can be believed.

No object says by itself who has made it. Without a webhook server the API server must be the one to write it down: the
admission policy of deploy/policies does, on each DataVolume, over whatever anybody writes there himself. It does so
only where it is in force; so it is compared with what it shall be, and no DataVolume is trusted that is older.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from dataimportcron.api.types import CDI_GROUP, VERSION
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import MUTATING_POLICIES, MUTATING_POLICY_BINDINGS, Json, ResourceType
from dataimportcron.errors import ForbiddenError, NotServedError, ObjectNotFoundError
from dataimportcron.manifests import parse_time

REQUESTER: Final = "dataimportcron.io/requester"
"""On a DataVolume: name, uid and groups of its user, a line each; written by the API server alone."""
NAME: Final = "dataimportcron-requester"
"""Of the policy, and of its binding. One of another content gets another name: what was altered is not believed."""
SETTLED: Final = timedelta(seconds=10)
"""Every API server has a policy in force so long after it was made; it takes them about a second."""

_KEPT: Final = f'oldObject.?metadata.?annotations[?"{REQUESTER}"].orValue("")'
POLICY: Final[Json] = {
    "failurePolicy": "Fail",
    "reinvocationPolicy": "IfNeeded",
    "matchConstraints": {
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "resourceRules": [
            {
                "apiGroups": [CDI_GROUP],
                "apiVersions": [VERSION],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["datavolumes"],
                "scope": "*",
            }
        ],
    },
    "variables": [
        {
            "name": "user",
            "expression": '[request.userInfo.username, request.userInfo.?uid.orValue("")]'
            " + request.userInfo.?groups.orValue([])",
        },
        {
            "name": "written",
            "expression": r'variables.user.exists(line, line.contains("\n")) ? "" : variables.user.join("\n")',
        },
        {"name": "kept", "expression": _KEPT},
        {
            "name": "requester",
            "expression": 'request.operation == "CREATE" || object.?spec != oldObject.?spec'
            " ? variables.written : variables.kept",
        },
    ],
    "mutations": [
        {
            "patchType": "ApplyConfiguration",
            "applyConfiguration": {
                "expression": f'Object{{metadata: Object.metadata{{annotations: {{"{REQUESTER}": '
                "variables.requester}}}"
            },
        }
    ],
}
"""The policy's spec as the API server gives it back; deploy/policies has the same, and a test compares the two."""
BINDING: Final[Json] = {"policyName": NAME}
"""The spec of its binding: for all namespaces and objects."""

_APPLY: Final = "kubectl apply --server-side -k deploy/policies"
_REPLACE: Final = f"kubectl delete -k deploy/policies, then {_APPLY}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """A user, as the API server knows him."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What the policy has written; None where that is nothing."""
        name, _, rest = text.partition("\n")
        uid, *groups = rest.split("\n")
        return cls(name=name, uid=uid, groups=tuple(groups)) if name else None

    @classmethod
    def of_account(cls, namespace: str, name: str) -> Self:
        """A service account, as it shows itself to the API server."""
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return cls(name=f"system:serviceaccount:{namespace}:{name}", groups=groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """Whether it can be believed who has made the DataVolumes of a cluster.

    Attributes:
        fault: why none is believed, in one sentence; "" if they are.
        hint: what to do about it.
        since: DataVolumes that are not younger are not believed either.
        is_served: whether the API server could have them believed at all.
    """

    fault: str = ""
    hint: str = ""
    since: datetime | None = None
    is_served: bool = True

    def doubt(self, made: datetime | None) -> str:
        """Why a DataVolume that was made at a time is not believed, with what to do; "" if it is."""
        if self.fault:
            return f"{self.fault} ({self.hint})"
        if made is None or self.since is None or made <= self.since:
            return (
                f"MutatingAdmissionPolicy {NAME} is not in force for longer than this DataVolume exists: since "
                f"{_text(self.since)}, and it was made at {_text(made)} (delete it and make it again)"
            )
        return ""


async def belief(connection: Connection, *, settled: timedelta = SETTLED) -> Belief:
    """Look whether the policy and its binding are there, and are what they shall be.

    Args:
        connection: to the API server.
        settled: how long after it was made a policy is in force for sure.
    """
    since = []
    for resource, spec in ((MUTATING_POLICIES, POLICY), (MUTATING_POLICY_BINDINGS, BINDING)):
        try:
            found = await connection.get(resource, NAME)
        except NotServedError:
            fault = "This API server has no MutatingAdmissionPolicy, so nothing says who has made a DataVolume"
            hint = "clone within the namespace, or move to Kubernetes 1.36 or newer"
            return Belief(fault=fault, hint=hint, is_served=False)
        except ObjectNotFoundError:
            return Belief(fault=f"{resource.kind} {NAME} does not exist", hint=_APPLY)
        except ForbiddenError as error:
            return Belief(fault=f"Nothing says who has made a DataVolume: {error.message}", hint=error.hint)
        if fault := _difference(resource, found, spec):
            return Belief(fault=fault, hint=_REPLACE)
        since += [made for made in (parse_time(found["metadata"]["creationTimestamp"]),) if made is not None]
    return Belief(since=max(since) + settled)


def _difference(resource: ResourceType, found: Json, spec: Json) -> str:
    """In what a policy or its binding is not what it shall be, or was not always, in one sentence.

    Its generation counts the changes of its spec: one that was altered and mended looks like new but for that.
    """
    has = found.get("spec") or {}
    fields = sorted(key for key in has.keys() | spec.keys() if has.get(key) != spec.get(key))
    if fields:
        return f"{resource.kind} {NAME} is not the one of this release: spec.{', spec.'.join(fields)}"
    return f"{resource.kind} {NAME} has been altered since it was made" if found["metadata"]["generation"] != 1 else ""


def _text(moment: datetime | None) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else "an unknown time"
