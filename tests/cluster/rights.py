"""Least privilege, measured: what the worker's roles grant against what the API server's audit log says it did.

Every API server of the tests writes down what service accounts ask for. A suite that runs the worker on a cluster ends
with `granted` against `audited`: what was granted and never used is too much, what was refused is missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [
        # The controller manager works by service accounts too.
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}
"""The audit policy of the tests' API servers."""


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one resource; a subresource stands behind a slash."""

    group: str
    resource: str
    verb: str


@dataclass(frozen=True, slots=True)
class Audited:
    """What a user asked the API server for."""

    allowed: frozenset[Right]
    refused: frozenset[Right]


def granted(documents: Iterable[Mapping[str, Any]], account: str) -> frozenset[Right]:
    """What roles grant to a service account, by the bindings among the same documents.

    Rights on `…/finalizers` are left out: they are asked for by admission, and in no request of their own.
    """
    found = list(documents)
    roles = {(one["kind"], one["metadata"]["name"]): one for one in found if one["kind"] in {"Role", "ClusterRole"}}
    bound = [
        roles[one["roleRef"]["kind"], one["roleRef"]["name"]]
        for one in found
        if one["kind"] in {"RoleBinding", "ClusterRoleBinding"}
        and any(subject["name"] == account for subject in one["subjects"])
    ]
    return frozenset(
        Right(group, resource, verb)
        for role in bound
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if not resource.endswith("/finalizers")
    )


def audited(log: Path, user: str, since: int = 0) -> Audited:
    """What the audit log says of a user, such as `system:serviceaccount:NAMESPACE:NAME`, from its line `since` on."""
    allowed, refused = set(), set()
    for line in log.read_text().splitlines()[since:]:
        event = json.loads(line)
        what = event.get("objectRef")
        if event["user"]["username"] != user or what is None:
            continue
        resource = "/".join(filter(None, (what.get("resource"), what.get("subresource"))))
        right = Right(what.get("apiGroup", ""), resource, event["verb"])
        forbidden = event["annotations"]["authorization.k8s.io/decision"] == "forbid"
        (refused if forbidden else allowed).add(right)
    return Audited(frozenset(allowed), frozenset(refused))
