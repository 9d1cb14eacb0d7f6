"""What the worker may do, asked of the API server for its service account, against what it needs.

The table is what deploy/rbac and deploy/base grant; a test holds the two together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from dataimportcron.api.types import CDI_GROUP, OWN_GROUP
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import MUTATING_POLICIES, MUTATING_POLICY_BINDINGS, SUBJECT_ACCESS_REVIEWS
from dataimportcron.cluster.clones.requester import NAME
from dataimportcron.cluster.registries.settings import ClusterSettings
from dataimportcron.cluster.watching.detection import CDI_LEASE
from worker.doctor.finding import Finding, bad, good

_AT_ONCE: Final = 10
"""Questions that the API server has to answer at a time."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Verbs on one resource.

    Attributes:
        group: of the resource, "" for the core group.
        resource: its plural, and behind a slash a subresource.
        verbs: separated by spaces.
        name: the only object that is meant, "" for all.
    """

    group: str
    resource: str
    verbs: str
    name: str = ""

    def __str__(self) -> str:
        plural, _, subresource = self.resource.partition("/")
        called = f"{plural}.{self.group}" if self.group else plural
        return called + (f"/{subresource}" if subresource else "") + (f" {self.name}" if self.name else "")


_LOOK = "get list watch"
_KEEP = f"{_LOOK} create patch delete"

OBJECTS: Final = (
    Rule("", "persistentvolumeclaims", _KEEP),
    Rule("batch", "jobs", "get list create patch delete"),
    Rule("", "pods", "list watch"),
    Rule("", "pods/log", "get"),
    Rule("", "events", "get list create patch"),
    Rule("", "secrets", "get"),
    Rule("", "configmaps", "get create"),
    Rule(CDI_GROUP, "volumeclonesources", "list"),
    Rule("snapshot.storage.k8s.io", "volumesnapshots", _KEEP),
    Rule("image.openshift.io", "imagestreams", "get"),
)
"""In each namespace that is served."""
STANDALONE: Final = (
    Rule(CDI_GROUP, "dataimportcrons", f"{_LOOK} patch"),
    Rule(CDI_GROUP, "datasources", _KEEP),
    Rule(CDI_GROUP, "datavolumes", _KEEP),
    *(Rule(CDI_GROUP, f"{kind}/status", "patch") for kind in ("dataimportcrons", "datasources", "datavolumes")),
    *(Rule(CDI_GROUP, f"{kind}/finalizers", "update") for kind in ("dataimportcrons", "datasources", "datavolumes")),
    Rule("", "persistentvolumes", "list"),
)
"""On the kinds that are served without CDI."""
SETTINGS: Final = (
    Rule(CDI_GROUP, "storageprofiles", "create patch delete"),
    Rule(CDI_GROUP, "cdiconfigs", "list watch create patch"),
    Rule(CDI_GROUP, "storageprofiles/status", "patch"),
)
"""On CDI's settings, of the whole cluster, where there is no CDI."""
BESIDE: Final = (
    Rule(OWN_GROUP, "dataimportcrons", f"{_LOOK} patch"),
    Rule(OWN_GROUP, "dataimportcrons/status", "patch"),
    Rule(OWN_GROUP, "dataimportcrons/finalizers", "update"),
    Rule(CDI_GROUP, "datasources", _KEEP),
)
"""On the kinds that are served beside CDI."""
CLUSTER: Final = (
    Rule("", "namespaces", "get", "kube-system"),
    Rule("", "nodes", "list"),
    Rule("storage.k8s.io", "storageclasses", "list watch"),
    Rule("snapshot.storage.k8s.io", "volumesnapshotclasses", "list watch"),
    Rule(CDI_GROUP, "cdis", "list watch"),
    Rule(CDI_GROUP, "cdiconfigs", "get"),
    Rule(CDI_GROUP, "storageprofiles", _LOOK),
    Rule("coordination.k8s.io", "leases", "list watch", CDI_LEASE),
    Rule("authorization.k8s.io", "subjectaccessreviews", "create"),
)
"""Of the cluster itself, in no namespace or in any."""
HANDOVER: Final = (
    Rule("", "persistentvolumes", "get patch"),
    Rule("snapshot.storage.k8s.io", "volumesnapshotcontents", "get"),
    *(
        Rule("admissionregistration.k8s.io", it.plural, "get", NAME)
        for it in (MUTATING_POLICIES, MUTATING_POLICY_BINDINGS)
    ),
)
"""Of the cluster itself, where clones are made without CDI."""
LEADER: Final = (
    Rule("coordination.k8s.io", "leases", "create"),
    Rule("coordination.k8s.io", "leases", "get patch", "dataimportcron"),
)
"""In the worker's own namespace."""


@dataclass(frozen=True, slots=True)
class _Question:
    rule: Rule
    verb: str
    namespace: str


async def check(connection: Connection, settings: ClusterSettings, *, home: str, beside: bool) -> list[Finding]:
    """Ask for each verb that the worker needs.

    Args:
        connection: whoever asks must be allowed to create SubjectAccessReviews.
        settings: the worker's; one that is told mode and site need not find them out.
        home: the worker's namespace.
        beside: whether CDI is there.
    """
    user = f"system:serviceaccount:{home}:dataimportcron"
    groups = ["system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{home}"]
    kinds = BESIDE if beside else STANDALONE
    questions = [*_of((*OBJECTS, *kinds), settings.namespace), *_of(LEADER, home)]
    if not beside and not settings.namespace:
        questions += _of(HANDOVER, "")
    if not (settings.mode and settings.site):
        questions += _of(CLUSTER if beside else (*CLUSTER, *SETTINGS), "")
    turn = asyncio.Semaphore(_AT_ONCE)

    async def is_allowed(question: _Question) -> bool:
        spec = {"user": user, "groups": groups, "resourceAttributes": _attributes(question)}
        async with turn:
            answer = await connection.create(SUBJECT_ACCESS_REVIEWS, {"metadata": {}, "spec": spec})
        return bool(answer["status"]["allowed"])

    allowed = await asyncio.gather(*(is_allowed(question) for question in questions))
    missing = [question for question, may in zip(questions, allowed, strict=True) if not may]
    mode = "beside" if beside else "standalone"
    cure = f"apply your overlay again; it has deploy/rbac/objects, …/cluster and …/{mode}"
    if len(missing) == len(questions):
        return [bad("rights", f"{user} has none of those that the worker needs", cure)]
    if missing:
        return [bad("rights", f"{user} may not {_listed(missing)}", cure)]
    return [good("rights", f"{user} has all {len(questions)} that the worker needs")]


def _of(rules: Iterable[Rule], namespace: str) -> Iterator[_Question]:
    return (_Question(rule, verb, namespace) for rule in rules for verb in rule.verbs.split())


def _attributes(question: _Question) -> dict[str, str]:
    rule = question.rule
    plural, _, subresource = rule.resource.partition("/")
    known = {
        "group": rule.group,
        "resource": plural,
        "subresource": subresource,
        "name": rule.name,
        "verb": question.verb,
        "namespace": question.namespace,
    }
    return {key: value for key, value in known.items() if value}


def _listed(missing: Iterable[_Question]) -> str:
    """The verbs that are missing, by what they are for."""
    verbs: dict[str, list[str]] = {}
    for question in missing:
        where = f" in {question.namespace}" if question.namespace else ""
        verbs.setdefault(f"{question.rule}{where}", []).append(question.verb)
    return "; ".join(f"{', '.join(names)} {what}" for what, names in verbs.items())
