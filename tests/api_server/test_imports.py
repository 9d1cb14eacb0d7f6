"""Imports against a real API server, scheduler and Job controller; the kubelet's part is played by the tests.

So everything here is about objects: claims, Jobs, attempts, who may write, and what is said while nothing moves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace

import pytest

from dataimportcron.api.types import DataVolume
from dataimportcron.cluster.claims.claims import Claims
from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.client.resources import CONFIG_MAPS, EVENTS, JOBS, NAMESPACES, PODS, PVCS
from dataimportcron.cluster.documents.dialect import standalone
from dataimportcron.cluster.documents.records import ATTEMPT, COMPLETE, attempt_of, record_of
from dataimportcron.cluster.jobs.attempt_job import LABEL_VOLUME, Attempt
from dataimportcron.cluster.jobs.attempts import Attempts
from dataimportcron.cluster.jobs.filling import Filling
from dataimportcron.cluster.objects import ClusterObjects
from dataimportcron.cluster.volumes import ClusterVolumes
from dataimportcron.errors import (
    ConflictError,
    ForeignVolumeError,
    ImageNotFoundError,
    ImporterDiedError,
)
from dataimportcron.importer.report import FAILED, Result
from tests.api_server.import_stand import DIGEST, DONE, LATE_BINDING, RESOURCE_QUOTA, SETTINGS, Cluster
from tests.cluster.access import USER
from tests.support.running import all_closed, running


@pytest.fixture
async def connection(api):
    async with connected(kubeconfig=str(api.kubeconfig)) as made:
        yield made
    await all_closed()


@pytest.fixture
async def namespace(connection, request):
    name = f"n-{abs(hash(request.node.nodeid)):x}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await connection.create(NAMESPACES, {"metadata": {"name": name, "labels": labels}})
    yield name
    await connection.delete(NAMESPACES, name)  # or its claims without a class would take the volumes of other tests


@pytest.fixture
async def cluster(connection, namespace):
    objects = ClusterObjects(connection, standalone(await connection.resources_of("cdi.kubevirt.io", "v1beta1")))
    made = Cluster(connection, objects, namespace)
    async with running(objects.run()):
        yield made
        made.importer._filling._hands_over = lambda: True
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)


async def test_an_import_from_nothing_to_its_record(cluster):
    spec = await cluster.volume()
    task = cluster.start(spec)
    pod = await cluster.pod()
    claim = await cluster.claim()
    assert claim["spec"]["resources"]["requests"]["storage"] == "71135396"
    assert claim["metadata"]["ownerReferences"][0]["uid"] == spec.uid
    assert await cluster.volumes.find(cluster.namespace, "fedora-1") is None
    [files] = await cluster.connection.list(CONFIG_MAPS, cluster.namespace, label_selector=LABEL_VOLUME)
    assert list(files["data"].values()) == list(SETTINGS.mirrors.values())
    [job] = await cluster.jobs()
    assert job["metadata"]["name"] == f"import-{claim['metadata']['uid']}-1"
    await cluster.ends(pod, DONE)
    done = await task
    assert (done.done, done.written) == (5, 4)
    found = await cluster.volumes.find(cluster.namespace, "fedora-1")
    assert (found.size, found.digest) == (64 << 20, DIGEST)
    labels = (await cluster.claim())["metadata"]["labels"]
    assert labels["instancetype.kubevirt.io/default-preference"] == "fedora"

    async def tidy():
        files = await cluster.connection.list(CONFIG_MAPS, cluster.namespace, label_selector=LABEL_VOLUME)
        return not await cluster.jobs() and not await cluster.pods() and not files

    await cluster.until(tidy)
    assert (await cluster.importer.run(cluster.image, DIGEST, spec, cluster.said.append)).phase == "Complete"
    assert await cluster.jobs() == []


async def test_labels_of_the_volume_outrank_the_images(cluster):
    spec = await cluster.volume(**{"instancetype.kubevirt.io/default-preference": "mine"})
    task = cluster.start(spec)
    await cluster.ends(await cluster.pod(), DONE)
    await task
    assert (await cluster.claim())["metadata"]["labels"]["instancetype.kubevirt.io/default-preference"] == "mine"


async def test_a_failure_is_the_importers_own_and_the_next_attempt_has_the_next_number(cluster):
    spec = await cluster.volume()
    task = cluster.start(spec)
    first = await cluster.pod()
    await cluster.ends(first, Result(phase=FAILED, reason="ImageNotFound", message="no such tag", permanent=True))
    with pytest.raises(ImageNotFoundError, match="no such tag"):
        await task
    task = cluster.start(spec)

    async def second():
        return [it for it in await cluster.pods() if it["metadata"]["uid"] != first["metadata"]["uid"]]

    [pod] = await cluster.until(second)
    assert [it["metadata"]["uid"] for it in await cluster.pods()] == [pod["metadata"]["uid"]]
    assert attempt_of(await cluster.claim()) == 2
    await cluster.ends(pod, "")
    with pytest.raises(ImporterDiedError, match=r"status 137 .* it said nothing"):
        await task


async def test_a_call_after_a_crash_follows_the_job_that_runs(cluster):
    spec = await cluster.volume()
    crashed = cluster.start(spec)
    pod = await cluster.pod()
    cluster.importer._filling._hands_over = lambda: True
    crashed.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await crashed
    task = cluster.start(spec)
    await cluster.ends(pod, DONE)
    await task
    assert attempt_of(await cluster.claim()) == 1


async def test_a_cancelled_import_is_gone(cluster):
    task = cluster.start(await cluster.volume())
    await cluster.pod()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert await cluster.jobs() == []
    assert await cluster.connection.list(PODS, cluster.namespace) == []
    assert record_of(await cluster.claim()) is None


async def test_a_pod_that_is_deleted_is_a_failure_that_passes(cluster):
    task = cluster.start(await cluster.volume())
    pod = await cluster.pod()
    await cluster.connection.delete(PODS, pod["metadata"]["name"], cluster.namespace)
    with pytest.raises(ImporterDiedError, match="was deleted while it ran"):
        await task


async def test_a_claim_of_somebody_else_is_left_alone(cluster):
    body = {
        "metadata": {"name": "fedora-1", "namespace": cluster.namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    await cluster.connection.create(PVCS, body)
    with pytest.raises(ForeignVolumeError, match="exists already"):
        await cluster.importer.run(cluster.image, DIGEST, await cluster.volume(), cluster.said.append)
    assert await cluster.jobs() == []


def plan_of(claim):
    metadata = claim["metadata"]
    return Attempt(
        namespace=metadata["namespace"],
        claim=metadata["name"],
        claim_uid=metadata["uid"],
        number=0,
        url=f"docker://quay.io/fedora@{DIGEST}",
        size=1 << 20,
    )


class Frozen:
    """A connection whose owner is stopped before the n-th call of a method, and goes on when told."""

    def __init__(self, connection, method, resource):
        self._connection, self._method, self._resource = connection, method, resource
        self.reached, self.thawed = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name):
        real = getattr(self._connection, name)
        if name != self._method:
            return real

        async def call(resource, *args, **options):
            if resource is self._resource:
                self.reached.set()
                await self.thawed.wait()
            return await real(resource, *args, **options)

        return call


@pytest.mark.parametrize(("method", "resource"), [("create", JOBS), ("get", PVCS), ("patch", JOBS), ("patch", PVCS)])
async def test_a_worker_that_was_frozen_starts_no_second_writer(cluster, method, resource):
    spec = await cluster.volume()
    claim = await cluster.claims.ensure(await cluster.objects.get(DataVolume, spec.namespace, spec.name), print)
    frozen = Frozen(cluster.connection, method, resource)
    late = asyncio.create_task(Attempts(frozen).begin(plan_of(claim), SETTINGS, claim, print))
    await frozen.reached.wait()
    now = await cluster.claim()
    job = await Attempts(cluster.connection).begin(plan_of(now), SETTINGS, now, print)
    frozen.thawed.set()
    with pytest.raises(ConflictError):
        await late
    await cluster.pod()
    running = [it["metadata"]["name"] for it in await cluster.jobs() if not it["spec"].get("suspend")]
    assert running == [job["metadata"]["name"]]
    [pod] = await cluster.pods()
    assert pod["metadata"]["labels"]["job-name"] == job["metadata"]["name"]


async def test_no_node_takes_the_pod(cluster, api):
    api.apply(LATE_BINDING)
    task = cluster.start(await cluster.volume(storage_class="late"))
    told = await cluster.told("Unschedulable")
    assert "no nodes available" in told.message
    await cluster.ends(await cluster.pod(), DONE)
    await task


async def test_a_claim_that_is_read_and_cannot_be_made_is_named(cluster, api):
    api.apply(LATE_BINDING)
    spec = await cluster.volume(storage_class="late")
    claim = await cluster.claims.ensure(await cluster.objects.get(DataVolume, spec.namespace, spec.name), print)
    place = {"name": "restored", "namespace": cluster.namespace}
    read = await cluster.connection.create(PVCS, {"metadata": place, "spec": claim["spec"]})
    about = {"kind": "PersistentVolumeClaim", **place, "uid": read["metadata"]["uid"]}
    said = {"reason": "ProvisioningFailed", "message": "its snapshot is gone", "type": "Warning"}
    await cluster.connection.create(EVENTS, {"metadata": place, "involvedObject": about, **said})

    async def plan():
        return replace(plan_of(claim), source_claim="restored"), SETTINGS

    task = asyncio.create_task(Filling(cluster.connection).run(claim, plan, cluster.said.append))
    told = await cluster.told("Pending")
    assert told.message == f"PersistentVolumeClaim {cluster.namespace}/restored is pending: its snapshot is gone"
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_quota_holds_the_pod_up_until_it_is_raised(cluster, api):
    quota = {**RESOURCE_QUOTA, "metadata": {"name": "tight", "namespace": cluster.namespace}}
    api.apply({**quota, "spec": {"hard": {"pods": "0"}}})
    task = cluster.start(await cluster.volume())
    assert "exceeded quota: tight" in (await cluster.told("ErrExceededQuota")).message
    assert await cluster.pods() == []
    api.apply({**quota, "spec": {"hard": {"pods": "9"}}})
    await cluster.ends(await cluster.pod(), DONE)
    await task


async def test_a_quota_holds_the_claim_up_until_it_is_raised(cluster, api):
    quota = {**RESOURCE_QUOTA, "metadata": {"name": "tight", "namespace": cluster.namespace}}
    api.apply({**quota, "spec": {"hard": {"persistentvolumeclaims": "0"}}})

    async def enforced():
        return (api.get("resourcequota", "tight", "-n", cluster.namespace).get("status") or {}).get("hard")

    await cluster.until(enforced)
    task = cluster.start(await cluster.volume())
    assert "exceeded quota: tight" in (await cluster.told("ErrExceededQuota")).message
    api.apply({**quota, "spec": {"hard": {"persistentvolumeclaims": "1"}}})
    await cluster.ends(await cluster.pod(), DONE)
    await task


async def test_a_quota_holds_the_job_up_until_it_is_raised(cluster, api):
    quota = {**RESOURCE_QUOTA, "metadata": {"name": "tight", "namespace": cluster.namespace}}
    api.apply({**quota, "spec": {"hard": {"count/jobs.batch": "0"}}})

    async def enforced():
        return (api.get("resourcequota", "tight", "-n", cluster.namespace).get("status") or {}).get("hard")

    await cluster.until(enforced)
    task = cluster.start(await cluster.volume())
    assert "exceeded quota: tight" in (await cluster.told("ErrExceededQuota")).message
    api.apply({**quota, "spec": {"hard": {"count/jobs.batch": "1"}}})
    await cluster.ends(await cluster.pod(), DONE)
    await task


async def test_a_claim_that_no_storage_class_serves(cluster):
    task = cluster.start(await cluster.volume())
    told = await cluster.told("Pending")
    assert f"PersistentVolumeClaim {cluster.namespace}/fedora-1 is pending: " in told.message
    assert "no storage class is set" in told.message
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_volume_is_deleted_with_its_import(cluster):
    task = cluster.start(await cluster.volume())
    await cluster.pod()
    await cluster.volumes.delete(cluster.namespace, "fedora-1")

    async def gone():
        return await cluster.claims.find(cluster.namespace, "fedora-1") is None

    await cluster.until(gone)
    with pytest.raises(ImporterDiedError):
        await task
    await cluster.volumes.delete(cluster.namespace, "fedora-1")


async def test_who_uses_a_volume(cluster):
    spec = await cluster.volume()
    assert await cluster.volumes.in_use(cluster.namespace, "fedora-1") == ""
    wanted = await cluster.objects.get(DataVolume, spec.namespace, spec.name)
    await cluster.claims.ensure(wanted, print)
    assert await cluster.volumes.in_use(cluster.namespace, "fedora-1") == ""
    clone = {
        "metadata": {"name": "vm", "namespace": cluster.namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "dataSource": {"kind": "PersistentVolumeClaim", "name": "fedora-1"},
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    await cluster.connection.create(PVCS, clone)
    assert await cluster.volumes.in_use(cluster.namespace, "fedora-1") == (
        f"PersistentVolumeClaim {cluster.namespace}/vm is being cloned from it"
    )


async def test_a_worker_that_may_not_read_what_is_the_clusters(cluster, api):
    api.kubectl("create", "rolebinding", "alice", "--clusterrole=admin", f"--user={USER}", "-n", cluster.namespace)
    spec = await cluster.volume()
    async with connected(kubeconfig=str(api.user_kubeconfig)) as connection:
        claims = Claims(connection, owned=True)
        made = await claims.ensure(await cluster.objects.get(DataVolume, spec.namespace, spec.name), print)
        assert "storageClassName" not in made["spec"]
        assert made["spec"]["accessModes"] == ["ReadWriteOnce"]
        volumes = ClusterVolumes(connection, cluster.objects, claims)
        assert "no default storage class" in await volumes.notice(spec)


async def test_a_notice_of_storage_that_nobody_knows(cluster):
    spec = await cluster.volume()
    assert "no default storage class" in await cluster.volumes.notice(spec)
    assert await cluster.volumes.notice(replace(spec, name="absent")) == ""


async def test_a_volume_that_an_earlier_object_left_is_adopted_by_its_digest(cluster):
    spec = await cluster.volume()
    claim = await cluster.claims.ensure(await cluster.objects.get(DataVolume, spec.namespace, spec.name), print)
    record = {"uid": "earlier", "size": spec.size, "digest": DIGEST}
    patch = {"metadata": {"annotations": {COMPLETE: json.dumps(record), ATTEMPT: "1"}}}
    await cluster.connection.patch(PVCS, "fedora-1", cluster.namespace, patch)
    assert (await cluster.importer.run(cluster.image, DIGEST, spec, cluster.said.append)).phase == "Complete"
    assert await cluster.jobs() == []
    assert claim["metadata"]["uid"]
