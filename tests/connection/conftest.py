"""Redis servers on TCP for one test each, and links of both kinds, closed afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from engine.connection import Connection, Implementation, RedisPyLink, RedisSettings, open_link
from engine.connection.embedded import EmbeddedServer
from tests.support.proxy import Proxy

AnyLink = Connection | RedisPyLink
OpenLink = Callable[..., Awaitable[AnyLink]]


@pytest.fixture(params=["own", "redis-py"])
def implementation(request: pytest.FixtureRequest) -> Implementation:
    chosen: Implementation = request.param
    return chosen


@pytest.fixture
async def opened(implementation: Implementation) -> AsyncIterator[OpenLink]:
    """`await opened(where, **settings)` opens a link of the kind under test."""
    async with AsyncExitStack() as stack:

        async def open_one(where: str, *, wait: bool = False, prelude: Any = (), **settings: Any) -> AnyLink:
            wanted = RedisSettings.parse(where)
            fields = {name: getattr(wanted, name) for name in wanted.__struct_fields__} | settings
            link = await open_link(
                RedisSettings(**fields), name="a test", prelude=prelude, implementation=implementation, wait=wait
            )
            stack.push_async_callback(link.close)
            return link

        yield open_one


@pytest.fixture
async def link(opened: OpenLink, redis_url: str) -> AnyLink:
    """A link to the shared server."""
    return await opened(redis_url)


@pytest.fixture(scope="module")
def module_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tcp=True) as server:
        yield server


@pytest.fixture
def server(module_server: EmbeddedServer) -> EmbeddedServer:
    """A server over TCP that a test may stop, kill and start; it runs when the test begins. Its data is not cleaned."""
    module_server.start()
    return module_server


@pytest.fixture
async def proxy(server: EmbeddedServer) -> AsyncIterator[Proxy]:
    async with Proxy("127.0.0.1", server.port) as proxy:
        yield proxy


@pytest.fixture
def until() -> Callable[[Callable[[], bool], str], Awaitable[None]]:
    """`await until(condition, "what is waited for")`."""

    async def until_true(condition: Callable[[], bool], what: str) -> None:
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"waited 10 s in vain: {what}")

    return until_true
