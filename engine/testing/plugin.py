"""The pytest plugin `corral`: a server for the test session, an empty queue for each test.

It works with and without a plugin for async tests, because the test itself opens `corral_queue`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from engine.connection.embedded import EmbeddedServer
    from engine.testing import TestQueue


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "corral_queue(name, *, prefix): name and prefix of the queue of the fixture corral_queue"
    )


@pytest.fixture(scope="session")
def corral_server() -> Iterator[EmbeddedServer]:
    """A server for the test session; `corral_server.url` is its address. Every xdist worker has its own."""
    from engine.connection.embedded import EmbeddedServer

    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def corral_queue(request: pytest.FixtureRequest, corral_server: EmbeddedServer) -> TestQueue:
    """A `TestQueue` on an empty server; the test opens it: `async with corral_queue as kit`."""
    from redis import Redis

    from engine.testing import TestQueue

    with Redis.from_url(corral_server.unix_url) as client:
        client.flushall()
    marker = request.node.get_closest_marker("corral_queue")
    args, options = (marker.args, marker.kwargs) if marker else ((), {})
    return TestQueue(*args, redis=corral_server.unix_url, **options)
