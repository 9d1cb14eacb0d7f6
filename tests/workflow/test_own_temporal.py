"""The user's own Temporal: profiles, TLS, keys; and one clear line for each thing that can be wrong with them."""

import asyncio
import logging
import os
import re

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.testing import WorkflowEnvironment

from dataimportcron.errors import MissingDependencyError
from dataimportcron.naming import SEARCH_ATTRIBUTES
from demo.registry import make_certificates
from tests.support.temporal import eventually, program
from tests.support.temporal_tls import refusing, tls_before
from worker.engine import await_engine
from worker.temporal import (
    Endpoint,
    TemporalSettingsError,
    TemporalUnavailableError,
    connect,
    require_search_attributes,
)

OWN = Endpoint(profile=True)
KEY = "sesame-open-up"


@pytest.fixture
def temporal(monkeypatch):
    """Sets the environment, and nothing else of Temporal's is in it."""
    for name in list(os.environ):
        if name.startswith("TEMPORAL_"):
            monkeypatch.delenv(name)

    def set_to(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"TEMPORAL_{name}", str(value))

    return set_to


class Certificates:
    def __init__(self, folder):
        folder.mkdir()
        self.certificate, self.key = make_certificates(folder)
        self.ca = folder / "ca.crt"


@pytest.fixture
def ours(tmp_path):
    return Certificates(tmp_path / "ours")


@pytest.fixture
def others(tmp_path):
    return Certificates(tmp_path / "others")


def plain(env):
    return env.client.service_client.config.target_host


async def test_a_profile_with_tls_a_client_certificate_and_a_key(dev, temporal, ours, others, tmp_path):
    async with tls_before(plain(dev), ours.certificate, ours.key, clients_ca=others.ca) as address:
        profile = tmp_path / "temporal.toml"
        profile.write_text(
            f'[profile.prod]\naddress = "{address}"\nnamespace = "default"\napi_key = "{KEY}"\n'
            f'[profile.prod.tls]\nserver_ca_cert_path = "{ours.ca}"\n'
            f'client_cert_path = "{others.certificate}"\nclient_key_path = "{others.key}"\n'
        )
        temporal(CONFIG_FILE=profile, PROFILE="prod")
        client = await connect(OWN)
        await require_search_attributes(client)
        assert client.service_client.config.api_key == KEY
        assert client.service_client.config.target_host == address
        # What `worker.sandbox` relies on: nothing that encodes or stores payloads knows contexts.
        assert (client.data_converter.payload_codec, client.data_converter.external_storage) == (None, None)


async def test_the_environment_alone(dev, temporal, ours):
    async with tls_before(plain(dev), ours.certificate, ours.key) as address:
        temporal(ADDRESS=address, TLS_SERVER_CA_CERT_PATH=ours.ca)
        await require_search_attributes(await connect(OWN))


async def words(kind):
    """What is said when nobody can connect, in one line, and without the key."""
    with pytest.raises(kind) as raised:
        await connect(OWN)
    said = str(raised.value)
    assert "\n" not in said
    assert KEY not in said
    return said


async def test_what_can_be_wrong_with_tls(dev, temporal, ours, others):
    async with (
        tls_before(plain(dev), ours.certificate, ours.key) as address,
        tls_before(plain(dev), ours.certificate, ours.key, clients_ca=others.ca) as strict,
    ):
        temporal(ADDRESS=address)
        assert "perhaps it wants TLS, or another client certificate" in await words(TemporalUnavailableError)
        temporal(TLS_SERVER_CA_CERT_PATH=others.ca)
        assert f"at {address}: its certificate is not signed by the CA" in await words(TemporalUnavailableError)
        temporal(TLS_SERVER_CA_CERT_PATH=ours.ca, TLS_SERVER_NAME="temporal.example")
        assert "is for another name" in await words(TemporalUnavailableError)
        temporal(TLS_SERVER_NAME="localhost", ADDRESS=strict)
        assert "perhaps it wants TLS, or another client certificate" in await words(TemporalUnavailableError)
        temporal(TLS_CLIENT_CERT_PATH=ours.certificate, TLS_CLIENT_KEY_PATH=ours.key)
        assert "perhaps it wants TLS, or another client certificate" in await words(TemporalUnavailableError)
        temporal(ADDRESS=plain(dev))
        assert "it does not speak TLS" in await words(TemporalUnavailableError)


async def test_a_key_that_is_refused(temporal, ours):
    async with refusing(ours.certificate, ours.key) as (address, calls):
        temporal(ADDRESS=address, TLS_SERVER_CA_CERT_PATH=ours.ca, API_KEY=KEY)
        said = await words(TemporalUnavailableError)
        assert calls
    assert f"at {address}: Request unauthorized" in said
    assert "TEMPORAL_API_KEY" in said


async def test_an_unknown_authority(temporal, ours):
    async with refusing(ours.certificate, ours.key) as (address, calls):
        temporal(ADDRESS=address, TLS="true")
        assert "no CA that is trusted" in await words(TemporalUnavailableError)
        assert calls == []


async def test_an_unknown_namespace(dev, temporal):
    temporal(ADDRESS=plain(dev), NAMESPACE="nobody")
    client = await connect(OWN)
    with pytest.raises(MissingDependencyError, match=r"no namespace nobody .*namespace create --namespace nobody"):
        await require_search_attributes(client)


@pytest.mark.parametrize(
    ("content", "values", "said"),
    [
        (None, {}, "temporal.toml: No such file"),
        (f'api_key = "{KEY}', {}, "TOML parse error at line 1"),
        ('[profile.prod]\naddress = "x:1"\n', {"PROFILE": "stage"}, "Profile 'stage' not found"),
        ('[profile.default.tls]\nserver_ca_cert_path = "/nowhere/ca.pem"\n', {}, "names /nowhere/ca.pem: No such file"),
        ("", {"ADDRESS": "not an address"}, "cannot be at 'not an address'"),
    ],
)
async def test_what_can_be_wrong_with_the_configuration(temporal, tmp_path, content, values, said):
    profile = tmp_path / "temporal.toml"
    if content is not None:
        profile.write_text(content)
    temporal(CONFIG_FILE=profile, **values)
    assert re.search(re.escape(said), await words(TemporalSettingsError))


async def test_nothing_is_polled_until_the_namespace_has_the_search_attributes(temporal, caplog):
    caplog.set_level(logging.INFO)
    stop = asyncio.Event()
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=program("temporal")) as bare:
        temporal(ADDRESS=plain(bare))
        waiting = asyncio.create_task(await_engine(OWN, stop))
        await eventually(lambda: "temporal operator search-attribute create --namespace default" in caplog.text)
        await asyncio.sleep(2.5)
        assert len([record for record in caplog.records if record.name == "worker.engine"]) == 1
        assert not waiting.done()
        keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
        await bare.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace="default", search_attributes=dict.fromkeys(SEARCH_ATTRIBUTES, keyword))
        )
        assert await asyncio.wait_for(waiting, 60) is not None


async def test_whoever_waits_for_temporal_can_be_stopped(temporal):
    temporal(ADDRESS="127.0.0.1:1")
    stop = asyncio.Event()
    waiting = asyncio.create_task(await_engine(OWN, stop))
    stop.set()
    assert await asyncio.wait_for(waiting, 10) is None
