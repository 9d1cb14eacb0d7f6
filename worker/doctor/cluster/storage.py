"""Storage: the classes that crons use, and the claims that do not get a volume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from dataimportcron import naming
from dataimportcron.api.types import DataImportCron
from dataimportcron.cluster.classes.storage import StorageFacts, class_of, is_known, wanted_of
from dataimportcron.cluster.client.connection import Connection
from dataimportcron.cluster.client.resources import (
    DATA_SOURCES,
    EVENTS,
    PVCS,
    STORAGE_CLASSES,
    STORAGE_PROFILES,
    Json,
    ResourceType,
)
from dataimportcron.cluster.client.verbs import list_visible
from dataimportcron.cluster.documents.dialect import OWN_LABEL_CRON
from dataimportcron.manifests import parse_time
from worker.cli.text import span
from worker.doctor.finding import Finding, bad, good, note

_PATIENCE: Final = timedelta(minutes=5)
"""A claim may wait so long for its volume."""


async def check_classes(connection: Connection, crons: Sequence[DataImportCron]) -> list[Finding]:
    """The classes that there are, against those that crons need."""
    classes = await connection.list(STORAGE_CLASSES)
    profiles = {it["metadata"]["name"]: it for it in await list_visible(connection, STORAGE_PROFILES)}
    return list(_classes(StorageFacts(classes=classes, profiles=profiles), crons))


def _classes(facts: StorageFacts, crons: Sequence[DataImportCron]) -> Iterator[Finding]:
    default, there = class_of({}, facts.classes), {it["metadata"]["name"] for it in facts.classes}
    users: dict[str, list[str]] = {}
    for cron in crons:
        wanted = wanted_of(cron.spec.template.spec.document())
        users.setdefault(class_of(wanted, facts.classes), []).append(f"{cron.metadata.namespace}/{cron.metadata.name}")
    if default:
        yield good("storage classes", f"{', '.join(sorted(there))}; {default} is the default")
    elif not there:
        yield bad("storage classes", "there is none: no volume can be made", "install a CSI driver and a StorageClass")
    else:
        cure = (
            "kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true, "
            "or spec.template.spec.storage.storageClassName in crons"
        )
        found = f"{', '.join(sorted(there))}; none is the default"
        unserved = users.get("")
        if unserved:
            yield bad("storage classes", f"{found}, and {', '.join(unserved)} name none", cure)
        else:
            yield note("storage classes", found, cure)
    for name in sorted(set(users) - there - {""}):
        yield bad(
            f"storage class {name}",
            f"does not exist, and {', '.join(users[name])} name it",
            "make it, or name another in spec.template.spec.storage.storageClassName",
        )
    for name in sorted(set(users) & there):
        if not is_known(name, facts):
            yield note(
                f"storage class {name}",
                "nothing is known of its provisioner: ReadWriteOnce on a file system is assumed",
                "set accessModes and volumeMode in spec.storage, or in a StorageProfile, if that is wrong",
            )


async def check_claims(connection: Connection, namespace: str, now: datetime) -> list[Finding]:
    """Claims of ours that have waited for long, each with what is said about it."""
    findings = []
    selector = f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY}"
    claims = await connection.list(PVCS, namespace, label_selector=selector)
    for claim in claims:
        metadata = claim["metadata"]
        made = parse_time(metadata["creationTimestamp"])
        if (claim.get("status") or {}).get("phase") != "Pending" or made is None or now - made < _PATIENCE:
            continue
        place, name = metadata["namespace"], metadata["name"]
        said = await _last_words(connection, claim)
        found = f"its claim is pending for {span((now - made).total_seconds())}: {said}"
        findings.append(bad(f"volume {place}/{name}", found, f"mend that; kubectl describe pvc {name} -n {place}"))
    return findings or [good("claims", f"{len(claims)}, none waits for its volume")]


async def check_labels(connection: Connection, namespace: str) -> list[Finding]:
    """Objects of our crons that carry CDI's label of a cron too: CDI reconciles and deletes by it."""
    both = f"{naming.LABEL_CRON},{OWN_LABEL_CRON}"
    return [
        _labelled(resource, one["metadata"])
        for resource in (PVCS, DATA_SOURCES)
        for one in await connection.list(resource, namespace, label_selector=both)
    ]


def _labelled(resource: ResourceType, metadata: Json) -> Finding:
    place, name, cron = metadata["namespace"], metadata["name"], metadata["labels"][naming.LABEL_CRON]
    return bad(
        f"{resource.kind} {place}/{name}",
        f"carries CDI's label of its cron {cron} beside ours: CDI reconciles and deletes by that",
        f"kubectl label {resource} {name} -n {place} {naming.LABEL_CRON}-",
    )


async def _last_words(connection: Connection, claim: Json) -> str:
    """The message of the newest event about a claim."""
    selector = f"involvedObject.uid={claim['metadata']['uid']}"
    events = await connection.list(EVENTS, claim["metadata"]["namespace"], field_selector=selector)
    newest = max(events, key=_time, default=None)
    return str(newest["message"]) if newest else "no event says why"


def _time(event: Json) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")
