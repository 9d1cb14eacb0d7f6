"""Whether CDI is on a cluster, and when it comes."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.client.resources import CDIS, CRDS, LEASES
from dataimportcron.cluster.watching.detection import CDI_LEASE, CdiWatch, detect, is_of_cdi
from tests.api_server.objects.conftest import now, until
from tests.support.running import running


@pytest.fixture
async def cdi(with_cdi):
    async with connected(kubeconfig=str(with_cdi.kubeconfig)) as made:
        yield made
        await made.delete(CDIS, "cdi")
        await made.delete(LEASES, CDI_LEASE, "one")


def lease(renewed):
    spec = {"holderIdentity": "cdi-deployment-1", "leaseDurationSeconds": 15, "renewTime": moment(renewed)}
    return {"metadata": {"name": CDI_LEASE, "namespace": "one"}, "spec": spec}


async def renewing(cdi):
    """Renew it as its holder does, every two seconds."""
    while True:
        await asyncio.sleep(2)
        await cdi.patch(LEASES, CDI_LEASE, "one", {"spec": {"renewTime": moment(now())}})


def moment(when):
    return f"{when:%Y-%m-%dT%H:%M:%S.%fZ}"


async def test_no_cdi_where_there_is_none(connection):
    assert not await detect(connection, now)
    assert not any(is_of_cdi(it) for it in await connection.list(CRDS))


async def test_the_crds_of_cdis_operator_are_told_from_ours(cdi):
    assert sorted(it["metadata"]["name"] for it in await cdi.list(CRDS) if is_of_cdi(it)) == [
        f"{plural}.cdi.kubevirt.io" for plural in ("cdis", "dataimportcrons", "datasources", "datavolumes")
    ]


async def test_cdi_is_known_by_its_object(cdi):
    assert not await detect(cdi, now)
    await cdi.create(CDIS, {"metadata": {"name": "cdi"}, "spec": {}})
    assert "CDI cdi" in (await detect(cdi, now)).why


async def test_cdi_is_known_by_a_lease_that_is_renewed(cdi):
    await cdi.create(LEASES, lease(now()))
    async with running(renewing(cdi)):
        assert f"one/{CDI_LEASE}" in (await detect(cdi, now)).why


async def test_a_lease_that_was_renewed_just_now_and_never_again_is_of_a_cdi_that_has_left(cdi):
    await cdi.create(LEASES, lease(now()))
    moments = (now() + timedelta(seconds=later) for later in (0, 61))
    assert not await detect(cdi, lambda: next(moments))
    assert next(moments, None) is None, "it was looked at twice"


async def test_cdi_is_noticed_when_it_comes_and_when_it_goes(cdi):
    found = []
    await cdi.create(LEASES, lease(now() - timedelta(hours=1)))
    async with running(CdiWatch(cdi, now=now, tell=found.append).run()):
        await until(lambda: found)
        assert not found[-1], "a Lease that nobody renews is of a CDI that is gone"
        await cdi.patch(LEASES, CDI_LEASE, "one", {"spec": {"renewTime": moment(now() - timedelta(minutes=5))}})
        await until(lambda: found[-1], 10)
        assert CDI_LEASE in found[-1].why, "it is renewed before our eyes, whatever its clock says"
        await cdi.create(CDIS, {"metadata": {"name": "cdi"}, "spec": {}})
        await until(lambda: "CDI cdi" in found[-1].why, 10)
        await cdi.patch(LEASES, CDI_LEASE, "one", {"spec": {"holderIdentity": None}})
        await cdi.delete(CDIS, "cdi")
        await until(lambda: not found[-1], 10)
