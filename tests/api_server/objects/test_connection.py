"""The way to a real API server: what it answers, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import stat
import sys

import pytest

from dataimportcron.cluster.client.kubeconfig import connected
from dataimportcron.cluster.client.resources import CONFIG_MAPS, DATA_SOURCES, NODES, PODS, SECRETS, ResourceType
from dataimportcron.errors import (
    AlreadyExistsError,
    ApiUnavailableError,
    ConflictError,
    ForbiddenError,
    InvalidObjectError,
    KubeconfigError,
    NotAuthenticatedError,
    NotServedError,
    ObjectNotFoundError,
    QuotaExceededError,
)

UNKNOWN = ResourceType("nobody.example", "v1", "things", "Thing")


def config_map(name, **data):
    return {"metadata": {"name": name, "namespace": "golden"}, "data": data}


async def test_what_is_not_there_is_told_from_a_kind_that_is_not_served(connection):
    with pytest.raises(ObjectNotFoundError, match="golden/absent"):
        await connection.get(CONFIG_MAPS, "absent", "golden")
    with pytest.raises(NotServedError, match="CustomResourceDefinition"):
        await connection.get(UNKNOWN, "absent", "golden")
    with pytest.raises(NotServedError):
        await connection.list(UNKNOWN)
    assert await connection.resources_of("nobody.example", "v1") == frozenset()
    assert {"datasources", "datasources/status"} <= await connection.resources_of("cdi.kubevirt.io", "v1beta1")


async def test_an_object_from_create_to_delete(connection):
    made = await connection.create(CONFIG_MAPS, config_map("a", x="1"))
    with pytest.raises(AlreadyExistsError):
        await connection.create(CONFIG_MAPS, config_map("a"))
    version = made["metadata"]["resourceVersion"]
    patched = await connection.patch(
        CONFIG_MAPS, "a", "golden", {"metadata": {"resourceVersion": version}, "data": {"x": None, "y": "2"}}
    )
    assert patched["data"] == {"y": "2"}
    for stale in ({"resourceVersion": version}, {"uid": "another"}):
        with pytest.raises(ConflictError):
            await connection.patch(CONFIG_MAPS, "a", "golden", {"metadata": stale, "data": {"z": "3"}})
        with pytest.raises(ConflictError):
            await connection.delete(
                CONFIG_MAPS, "a", "golden", uid=stale.get("uid", ""), resource_version=stale.get("resourceVersion", "")
            )
    applied = await connection.apply(CONFIG_MAPS, config_map("b", x="1"))
    assert applied["metadata"]["managedFields"][0]["manager"] == "dataimportcron"
    assert [item["metadata"]["name"] for item in await connection.list(CONFIG_MAPS, "golden")][:2] == ["a", "b"]
    await connection.delete(CONFIG_MAPS, "a", "golden", uid=made["metadata"]["uid"])
    await connection.delete(CONFIG_MAPS, "a", "golden")


async def test_a_long_list_comes_page_by_page(connection, monkeypatch):
    monkeypatch.setattr("dataimportcron.cluster.client.connection._PAGE", 3)
    await asyncio.gather(*(connection.create(DATA_SOURCES, thing(f"d{number}")) for number in range(10)))
    found = await connection.list(DATA_SOURCES, "golden")
    assert [item["metadata"]["name"] for item in found] == [f"d{number}" for number in range(10)]
    assert found[0]["kind"] == "DataSource"


def thing(name):
    return {"metadata": {"name": name, "namespace": "golden"}, "spec": {"source": {}}}


async def test_metadata_alone_brings_no_secret(connection):
    secret = {"metadata": {"name": "pull", "namespace": "golden"}, "stringData": {"secretKey": "hunter2"}}
    await connection.create(SECRETS, secret)
    found = await connection.get(SECRETS, "pull", "golden", metadata_only=True)
    assert found["metadata"]["name"] == "pull"
    assert "data" not in found


async def test_refusals_say_what_and_why(alone, connection):
    with pytest.raises(InvalidObjectError, match=r"metadata\.name") as refused:
        await connection.create(CONFIG_MAPS, config_map("No_Name"))
    assert refused.value.faults
    with pytest.raises(ObjectNotFoundError, match='namespaces "nowhere"'):
        await connection.create(CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "nowhere"}})
    async with connected(kubeconfig=str(alone.user_kubeconfig)) as user:
        with pytest.raises(ForbiddenError, match='cannot list resource "pods"'):
            await user.list(PODS, "golden")


async def test_a_used_up_quota_may_be_free_again(connection):
    quotas = ResourceType("", "v1", "resourcequotas", "ResourceQuota")
    hard = {"spec": {"hard": {"configmaps": "0"}}}
    await connection.create(quotas, {"metadata": {"name": "none", "namespace": "none"}} | hard)

    async def is_refused():
        try:
            await connection.create(CONFIG_MAPS, {"metadata": {"generateName": "c", "namespace": "none"}})
        except QuotaExceededError as error:
            return error
        except ForbiddenError:
            return None  # the quota has not been counted yet
        return None

    try:
        error = None
        while error is None:
            error = await is_refused()
        assert "exceeded quota: none" in error.message
    finally:
        await connection.delete(quotas, "none", "none")


async def test_a_server_that_does_not_answer_is_trouble_that_may_pass(tmp_path, unused_tcp_port_factory):
    path = kubeconfig(tmp_path, {}, f"http://127.0.0.1:{unused_tcp_port_factory()}")
    async with connected(kubeconfig=str(path)) as nobody:
        with pytest.raises(ApiUnavailableError, match="does not answer"):
            await nobody.list(NODES)


def kubeconfig(folder, user, server, **cluster):
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(document))
    return path


async def test_a_plugin_gives_the_credentials(alone, tmp_path):
    """The plugin answers with a token that the server does not know: it was asked, and the refusal is told."""
    plugin = tmp_path / "plugin"
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "t"}}
    plugin.write_text(f"#!{sys.executable}\nprint('''{json.dumps(credential)}''')\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    user = {"exec": {"apiVersion": credential["apiVersion"], "command": str(plugin), "interactiveMode": "Never"}}
    path = kubeconfig(tmp_path, user, alone.url, **{"certificate-authority": str(alone.authority.certificate)})
    async with connected(kubeconfig=str(path)) as connection:
        with pytest.raises(NotAuthenticatedError):
            await connection.list(NODES)


async def test_a_kubeconfig_that_is_not_there_or_wrong_is_named(tmp_path, monkeypatch):
    with pytest.raises(KubeconfigError, match="absent"):
        async with connected(kubeconfig=str(tmp_path / "absent")):
            pass
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "elsewhere"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(KubeconfigError, match="elsewhere"):
        async with connected():
            pass
    wrong = tmp_path / "wrong"
    wrong.write_text("clusters: [")
    with pytest.raises(KubeconfigError, match="wrong"):
        async with connected(kubeconfig=str(wrong)):
            pass
    path = kubeconfig(tmp_path, {}, "http://127.0.0.1:1")
    with pytest.raises(KubeconfigError, match="nowhere"):
        async with connected(kubeconfig=str(path), context="nowhere"):
            pass
