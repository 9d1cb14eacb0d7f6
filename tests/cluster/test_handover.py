"""Volumes with bytes in them become another namespace's, whenever the worker is killed on the way."""

import asyncio
import json
import signal
import sys
from itertools import product

import pytest

from dataimportcron.cluster.clones.handover import reference
from tests.cluster.handing_over import STEPS, hand_over
from tests.cluster.objects import claim, pod, run_pod

CASES = {
    f"{policy.lower()}-{step.replace(' ', '-')}": (policy, step)
    for policy, step in product(("Delete", "Retain"), STEPS)
}
"""By the name of the claims: the volume's reclaim policy, and where the worker is killed."""


@pytest.fixture
def tenant(cluster, namespace):
    """Another namespace."""
    name = f"{namespace}-tenant"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    cluster.delete("namespace", name)


def volumes(cluster):
    """The volumes of the cases' claims, by the claim that had them first."""
    return [it for it in cluster.get("pv")["items"] if it["spec"]["claimRef"]["name"] in CASES]


@pytest.fixture
def filled(cluster, namespace, tenant):
    """A claim with bytes for each case, and one in the other namespace that waits for its volume."""
    # Those that wait for a consumer get their volume without one.
    cluster.apply(
        *(claim(name, namespace, "csi") for name in CASES),
        *(
            claim(name, tenant, "csi-wait" if step == "after patch" else "csi", dataSourceRef=reference(name))
            for name, (_, step) in CASES.items()
        ),
    )
    paths = {f"/{name}": name for name in CASES}
    script = "\n".join(f"echo bytes of {name} > /{name}/disk.img" for name in CASES) + "\nsync"
    run_pod(cluster, pod(cluster, "writer", namespace, script, volumes=paths))
    cluster.kubectl("delete", "pod", "writer", "-n", namespace, "--wait")
    for volume in volumes(cluster):
        policy, _ = CASES[volume["spec"]["claimRef"]["name"]]
        reclaim(cluster, volume, policy)
    yield
    for volume in volumes(cluster):
        reclaim(cluster, volume, "Delete")
    cluster.kubectl("delete", "pvc", "--all", "-n", tenant, "--wait=false")


def reclaim(cluster, volume, policy):
    patch = json.dumps({"spec": {"persistentVolumeReclaimPolicy": policy}})
    cluster.kubectl("patch", "pv", volume["metadata"]["name"], "--type=merge", "-p", patch)


async def killed(cluster, name, namespace, tenant, step):
    command = [sys.executable, "-m", "tests.cluster.handing_over", str(cluster.kubeconfig), name, namespace, tenant]
    worker = await asyncio.create_subprocess_exec(*command, "--kill", step)
    return await worker.wait()


@pytest.mark.usefixtures("filled")
async def test_a_worker_killed_at_each_step_loses_and_doubles_nothing(cluster, connection, namespace, tenant):
    before = {it["metadata"]["name"]: it["spec"]["csi"]["volumeHandle"] for it in volumes(cluster)}
    assert len(before) == len(CASES)

    ends = await asyncio.gather(*(killed(cluster, name, namespace, tenant, step) for name, (_, step) in CASES.items()))
    assert ends == [-signal.SIGKILL] * len(CASES)
    # The next one has nothing in its head.
    await asyncio.gather(*(hand_over(connection, name, namespace, tenant) for name in CASES))

    cluster.kubectl("wait", "--for=delete", "pvc", "--all", "-n", namespace, "--timeout=180s")
    found = volumes(cluster)
    assert {it["metadata"]["name"]: it["spec"]["csi"]["volumeHandle"] for it in found} == before
    for volume in found:
        its = volume["spec"]["claimRef"]
        policy, _ = CASES[its["name"]]
        state = (its["namespace"], volume["status"]["phase"], volume["spec"]["persistentVolumeReclaimPolicy"])
        assert state == (tenant, "Bound", policy)

    paths = {f"/{name}": name for name in CASES}
    printed = run_pod(cluster, pod(cluster, "reader", tenant, "cat /*/disk.img", volumes=paths))
    assert sorted(printed.splitlines()) == sorted(f"bytes of {name}" for name in CASES)

    # With its claim it goes, or stays, as its policy says: nothing else holds it.
    cluster.kubectl("delete", "pod", "reader", "-n", tenant, "--wait")
    cluster.kubectl("delete", "pvc", "--all", "-n", tenant, "--wait")
    deleted = [it["metadata"]["name"] for it in found if it["spec"]["persistentVolumeReclaimPolicy"] == "Delete"]
    cluster.kubectl("wait", "--for=delete", "--timeout=180s", *(f"pv/{name}" for name in deleted))
    assert {it["status"]["phase"] for it in volumes(cluster)} == {"Released"}
