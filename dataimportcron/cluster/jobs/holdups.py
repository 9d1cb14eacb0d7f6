"""What a pod waits for, in words that a person can act on. Pure.

The cause is looked for where Kubernetes writes it, from the most telling place to the least: the container's own state,
the claim's events, the scheduler's condition, the pod's events; where there is no pod, the Job's. That a pod waits a
moment is no trouble; `passing` says so, and who asks gives it some seconds before it is told to a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dataimportcron.cluster.client.resources import Json
from dataimportcron.cluster.documents.records import is_bound, is_lost

PULL_FAILURES = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
"""Why a container waits, where its image cannot be had (N-04)."""
_OTHER_FAILURES = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_CLAIM_TROUBLES = frozenset({"ProvisioningFailed", "FailedBinding", "VolumeMismatch"})
_POD_TROUBLES = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox"})
_QUOTA = "exceeded quota"
_BOUND_TO_NODES = ("PersistentVolume's node affinity", "volume node affinity conflict")
"""Words of the scheduler, of Kubernetes 1.33 and later, and of those before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldUp:
    """What a pod waits for.

    Attributes:
        reason: a CamelCase word; CDI's where it has one: ImagePullFailed, Unschedulable, ErrExceededQuota.
        message: one sentence, with Kubernetes' own words.
        passing: it may well be over in a moment.
    """

    reason: str
    message: str
    passing: bool = False


def hold_up(pod: Json | None, claims: Sequence[Json], events: Iterable[Json]) -> HoldUp | None:
    """What the pod of a Job waits for; None where it does not wait, or only for what takes its time.

    Args:
        pod: of the Job, None while there is none.
        claims: that it mounts.
        events: of Job, pod and claims, of now and before.
    """
    found = list(_candidates(pod, claims, sorted(events, key=_time, reverse=True)))
    return next((it for it in found if not it.passing), found[0] if found else None)


def _candidates(pod: Json | None, claims: Sequence[Json], events: Sequence[Json]) -> Iterator[HoldUp]:
    if pod is not None:
        yield from _of_containers(pod)
    for claim in claims:
        yield from _of_claim(claim, events)
    if pod is None:
        yield from _of_creation(events)
        return
    yield from _of_scheduling(pod)
    if (pod.get("status") or {}).get("phase") == "Pending":
        yield from (
            HoldUp(reason=event["reason"], message=f"The importer's pod cannot start: {event['message']}", passing=True)
            for event in _about(events, pod)
            if event.get("reason") in _POD_TROUBLES
        )


def is_pulling(pod: Json, events: Iterable[Json]) -> bool:
    """Whether a node is pulling an image for a pod, which may take many minutes."""
    pulls = [event for event in _about(events, pod) if event.get("reason") in {"Pulling", "Pulled"}]
    return bool(pulls) and max(pulls, key=_time)["reason"] == "Pulling"


def container_statuses(pod: Json) -> list[Json]:
    """The statuses of all containers of a pod, init containers first."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _of_claim(claim: Json, events: Sequence[Json]) -> Iterator[HoldUp]:
    if is_lost(claim):
        yield HoldUp(reason="ClaimLost", message=f"PersistentVolumeClaim {_name(claim)} has lost its volume")
    if is_bound(claim):
        return
    for event in _about(events, claim):
        if event.get("reason") in _CLAIM_TROUBLES:
            message = f"PersistentVolumeClaim {_name(claim)} is pending: {event['message']}"
            yield HoldUp(reason="Pending", message=message, passing=True)


def _of_containers(pod: Json) -> Iterator[HoldUp]:
    for status in container_statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, message = waiting.get("reason", ""), waiting.get("message") or waiting.get("reason", "")
        if reason in PULL_FAILURES:
            image = _image_of(pod, status, message)
            yield HoldUp(reason="ImagePullFailed", message=f"failed to pull image {image}: {message}")
        elif reason in _OTHER_FAILURES:
            yield HoldUp(
                reason=reason, message=f"The container {status['name']} of the importer's pod cannot start: {message}"
            )


def _image_of(pod: Json, status: Json, message: str) -> str:
    """The image that a container waits for: its own, or that of an image volume that the message names."""
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        reference = str((volume.get("image") or {}).get("reference") or "")
        if reference and reference in message:
            return reference
    return str(status.get("image") or "")


def _of_creation(events: Sequence[Json]) -> Iterator[HoldUp]:
    """Why the Job has no pod."""
    for event in events:
        if event.get("reason") == "FailedCreate":
            message = f"The importer's pod cannot be created: {event['message']}"
            yield HoldUp(reason="ErrExceededQuota" if _QUOTA in message else "FailedCreate", message=message)


def _of_scheduling(pod: Json) -> Iterator[HoldUp]:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            words = str(condition.get("message") or condition.get("reason"))
            message = f"Importer pod cannot be scheduled: {words}"
            claims = claims_of(pod["spec"])
            if len(claims) > 1 and any(mark in words for mark in _BOUND_TO_NODES):
                message = (
                    f"No node can mount both PersistentVolumeClaim {' and '.join(claims)}: their volumes are bound to "
                    f"different nodes, or to one that is gone; clone into a storage class that all nodes reach: {words}"
                )
            yield HoldUp(reason="Unschedulable", message=message, passing=True)


def claims_of(pod: Json) -> list[str]:
    """The names of the claims that a pod with this spec mounts."""
    claims = [it.get("persistentVolumeClaim") or {} for it in pod.get("volumes") or ()]
    return [str(it["claimName"]) for it in claims if it]


def _about(events: Iterable[Json], thing: Json) -> Iterator[Json]:
    uid = thing["metadata"].get("uid")
    return (event for event in events if (event.get("involvedObject") or {}).get("uid") == uid)


def _time(event: Json) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")


def _name(thing: Json) -> str:
    return f"{thing['metadata'].get('namespace', '')}/{thing['metadata']['name']}"
