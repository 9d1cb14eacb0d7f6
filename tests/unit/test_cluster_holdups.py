"""What a pod waits for, told from what Kubernetes writes."""

from __future__ import annotations

import pytest

from dataimportcron.cluster.jobs.following import how_it_died
from dataimportcron.cluster.jobs.holdups import HoldUp, hold_up, is_pulling
from dataimportcron.cluster.jobs.node_pull import pull_error
from dataimportcron.cluster.jobs.waiting import Waiting
from dataimportcron.errors import ImageNotFoundError, RegistryUnavailableError, UnauthorizedError

CLAIM = {"metadata": {"name": "fedora-1", "namespace": "golden", "uid": "c"}, "status": {"phase": "Bound"}}
PENDING = {**CLAIM, "status": {"phase": "Pending"}}


def pod(*conditions, **waiting):
    statuses = [{"name": "importer", "image": "ours@sha256:0", "state": {"waiting": waiting}}] if waiting else []
    return {
        "metadata": {"name": "import-c-1-x", "namespace": "golden", "uid": "p"},
        "spec": {"volumes": [{"name": "image", "image": {"reference": "quay.io/fedora@sha256:1"}}]},
        "status": {"phase": "Pending", "conditions": list(conditions), "containerStatuses": statuses},
    }


def event(uid, reason, message, time="2026-01-01T00:00:00Z"):
    return {"involvedObject": {"uid": uid}, "reason": reason, "message": message, "lastTimestamp": time}


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}


def test_nothing_is_wrong():
    assert hold_up(None, [PENDING], []) is None
    assert hold_up(pod(reason="ContainerCreating"), [CLAIM], [event("p", "Scheduled", "to node")]) is None


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_an_image_cannot_be_pulled(reason):
    found = hold_up(pod(reason=reason, message="not found"), [CLAIM], [])
    assert found == HoldUp(reason="ImagePullFailed", message="failed to pull image ours@sha256:0: not found")


def test_the_image_of_a_volume_cannot_be_pulled():
    found = hold_up(pod(reason="ErrImagePull", message='"quay.io/fedora@sha256:1": not found'), [CLAIM], [])
    assert found.message.startswith("failed to pull image quay.io/fedora@sha256:1: ")


def test_a_quota_refuses_the_pod():
    found = hold_up(None, [PENDING], [event("j", "FailedCreate", 'pods "x" is forbidden: exceeded quota: q')])
    assert (found.reason, found.passing) == ("ErrExceededQuota", False)
    assert "exceeded quota: q" in found.message
    found = hold_up(None, [PENDING], [event("j", "FailedCreate", "violates PodSecurity")])
    assert found.reason == "FailedCreate"


def test_no_node_takes_the_pod():
    found = hold_up(pod(UNSCHEDULABLE), [CLAIM], [])
    assert found == HoldUp(reason="Unschedulable", message="Importer pod cannot be scheduled: 0/1 nodes", passing=True)


def test_a_claim_that_stays_pending_is_the_cause_of_a_pod_that_cannot_be_scheduled():
    events = [
        event("c", "ProvisioningFailed", 'storageclass "x" not found'),
        event("c", "ExternalProvisioning", "soon"),
    ]
    found = hold_up(pod(UNSCHEDULABLE), [PENDING], events)
    assert (found.reason, found.passing) == ("Pending", True)
    assert found.message == 'PersistentVolumeClaim golden/fedora-1 is pending: storageclass "x" not found'
    assert hold_up(pod(UNSCHEDULABLE), [CLAIM], events).reason == "Unschedulable"


def test_a_claim_that_is_to_be_read_is_the_cause_too():
    read = {"metadata": {"name": "restore-1", "namespace": "golden", "uid": "r"}, "status": {"phase": "Pending"}}
    events = [event("r", "ProvisioningFailed", "snapshot is gone")]
    found = hold_up(pod(UNSCHEDULABLE), [CLAIM, read], events)
    assert found.message == "PersistentVolumeClaim golden/restore-1 is pending: snapshot is gone"


def test_a_missing_config_map_and_the_newest_words():
    events = [
        event("p", "FailedMount", "old", "2026-01-01T00:00:00Z"),
        event("p", "FailedMount", 'configmap "certs" not found', "2026-01-01T00:00:09Z"),
        event("other", "FailedMount", "of another", "2026-01-01T00:00:10Z"),
    ]
    found = hold_up(pod(reason="ContainerCreating"), [CLAIM], events)
    assert found.message == 'The importer\'s pod cannot start: configmap "certs" not found'


def test_a_lost_volume():
    assert hold_up(pod(), [{**CLAIM, "status": {"phase": "Lost"}}], []).reason == "ClaimLost"


def test_what_passes_is_told_when_it_has_lasted():
    now, said = 100.0, []
    waiting = Waiting(said.append, clock=lambda: now)
    passing = HoldUp(reason="Unschedulable", message="no node", passing=True)
    waiting.tell(passing)
    assert said == []
    now += 2
    waiting.tell(passing)
    assert said == []
    now += 2
    waiting.tell(passing)
    assert [(it.waits_for, it.message) for it in said] == [("Unschedulable", "no node")]
    waiting.tell(None)
    assert (said[-1].waits_for, said[-1].message) == ("", "")
    waiting.tell(passing)
    assert len(said) == 2


def test_what_does_not_pass_is_told_at_once():
    said = []
    Waiting(said.append, clock=lambda: 0.0).tell(HoldUp(reason="ErrExceededQuota", message="quota"))
    assert [it.waits_for for it in said] == ["ErrExceededQuota"]


def test_how_a_pod_died():
    killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    died = pod()
    died["status"] = {"phase": "Failed", "containerStatuses": [{"name": "importer", "state": killed}]}
    assert "status 137 (OOMKilled)" in how_it_died(died, gone=False, last="")
    evicted = pod()
    evicted["status"] = {"phase": "Failed", "reason": "Evicted", "message": "low on disk"}
    assert how_it_died(evicted, gone=False, last="").endswith("has ended: Evicted: low on disk")
    assert "was deleted while it ran" in how_it_died(pod(), gone=True, last="")


def test_a_node_pulls():
    pulling = event("p", "Pulling", "Pulling image", "2026-01-01T00:00:01Z")
    assert is_pulling(pod(), [event("p", "Scheduled", "to node"), pulling])
    assert not is_pulling(pod(), [pulling, event("p", "Pulled", "done", "2026-01-01T00:00:02Z")])
    assert not is_pulling(pod(), [event("other", "Pulling", "another's")])


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("manifest unknown", ImageNotFoundError),
        ('"x:1": not found', ImageNotFoundError),
        ("pull access denied, may require authorization", UnauthorizedError),
        ("dial tcp: connection refused", RegistryUnavailableError),
    ],
)
def test_what_a_runtime_says_of_a_pull(words, kind):
    assert type(pull_error(f"failed to pull image x: {words}")) is kind


def test_who_took_a_pod_away():
    preempted = pod({"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "vm"})
    assert how_it_died(preempted, gone=True).endswith("was taken away: PreemptionByScheduler: vm")
