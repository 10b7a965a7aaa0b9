"""The pytest plugin `corral`: a server for the session, an empty queue for each test.

It needs no plugin for async tests, and has nothing against one: `corral_queue` is opened by the test itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from engine.connection.embedded import EmbeddedServer
    from engine.testing import TestQueue


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "corral_queue(name, *, prefix): which queue the fixture corral_queue is")


@pytest.fixture(scope="session")
def corral_server() -> Iterator[EmbeddedServer]:
    """A server of the test session's own; `corral_server.url` is its address. Every xdist worker has one."""
    from engine.connection.embedded import EmbeddedServer

    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def corral_queue(request: pytest.FixtureRequest, corral_server: EmbeddedServer) -> TestQueue:
    """A `TestQueue` on an emptied server, to be opened: `async with corral_queue as kit`."""
    from redis import Redis

    from engine.testing import TestQueue

    with Redis.from_url(corral_server.unix_url) as client:
        client.flushall()
    said = request.node.get_closest_marker("corral_queue")
    args, options = (said.args, said.kwargs) if said else ((), {})
    return TestQueue(*args, redis=corral_server.unix_url, **options)
