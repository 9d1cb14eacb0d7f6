"""What a Temporal namespace must have, and what is said where it has not."""

from datetime import timedelta

import pytest
import temporalio.api.workflowservice.v1 as service
from temporalio.testing import WorkflowEnvironment

from dataimportcron.errors import MissingDependencyError
from tests.support.temporal import program
from worker.temporal import Endpoint, TemporalUnavailableError, connect, keep_history, require_search_attributes


async def test_closed_executions_are_kept_for_ninety_days(dev):
    for _ in range(2):
        await keep_history(dev.client)
    described = await dev.client.workflow_service.describe_namespace(
        service.DescribeNamespaceRequest(namespace=dev.client.namespace)
    )
    assert described.config.workflow_execution_retention_ttl.ToTimedelta() == timedelta(days=90)


async def test_missing_search_attributes_are_named_with_the_command(dev):
    await require_search_attributes(dev.client)
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=program("temporal")) as bare:
        with pytest.raises(MissingDependencyError, match="DicObject, DicDigest, DicPhase") as raised:
            await require_search_attributes(bare.client)
    assert raised.value.hint == (
        "temporal operator search-attribute create --namespace default "
        "--name DicObject --type Keyword --name DicDigest --type Keyword --name DicPhase --type Keyword"
    )


async def test_no_server_is_said_in_a_sentence():
    with pytest.raises(TemporalUnavailableError, match=r"Temporal does not answer at 127\.0\.0\.1:1: ") as raised:
        await connect(Endpoint(address="127.0.0.1:1"))
    assert "dataimportcron up" in raised.value.hint
