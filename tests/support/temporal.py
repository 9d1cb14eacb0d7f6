"""Temporal's own servers for tests, from Python packages: nothing is downloaded when they start."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.common import SearchAttributeKey
from temporalio.testing import WorkflowEnvironment

from dataimportcron.naming import SEARCH_ATTRIBUTES


def program(name: str) -> str:
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise RuntimeError(f"{path} is not installed: make test installs it")
    return str(path)


@asynccontextmanager
async def time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    env = await WorkflowEnvironment.start_time_skipping(test_server_existing_path=program("temporal-test-server"))
    async with env:
        keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
        await env.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=env.client.namespace, search_attributes=dict.fromkeys(SEARCH_ATTRIBUTES, keyword)
            )
        )
        yield env


@asynccontextmanager
async def dev_server(*options: str) -> AsyncIterator[WorkflowEnvironment]:
    env = await WorkflowEnvironment.start_local(
        dev_server_existing_path=program("temporal"),
        search_attributes=[SearchAttributeKey.for_keyword(name) for name in SEARCH_ATTRIBUTES],
        dev_server_extra_args=["--ui-disable-news-fetch", *options],
    )
    async with env:
        yield env


async def eventually(look: Callable[[], object | Awaitable[object]], seconds: float = 20.0) -> object:
    """Look until it is true; the last exception or value is the failure."""
    deadline = asyncio.get_running_loop().time() + seconds
    last: object = None
    while asyncio.get_running_loop().time() < deadline:
        try:
            found = look()
            last = await found if isinstance(found, Awaitable) else found
        except Exception as error:  # noqa: BLE001 -- it is shown if it stays
            last = error
        else:
            if last:
                return last
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {seconds} s, last: {last!r}")
