"""Fixtures for tests that look into a queue's keyspace, and the check that runs after each test that had a server.

`tests/conftest.py` loads this and provides `redis_url`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from engine import Queue
from engine.connection import Link
from engine.connection.address import RedisSettings
from engine.connection.connection import Connection
from engine.model.keys import Keys
from tests.support.invariants import violations
from tests.support.keyspace import all_keyspaces


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[Link]:
    """A connection to the test's empty server."""
    connection = Connection(RedisSettings.parse(redis_url))
    await connection.connect()
    yield connection
    await connection.close()


@pytest.fixture
def keys() -> Keys:
    """The keys of a queue."""
    return Keys("q")


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    """The queue of those keys."""
    async with Queue("q", redis=redis_url) as queue:
        yield queue


@pytest.fixture
def damaged() -> None:
    """Asked for by a test that leaves a queue unsound on purpose: the check after it is left out."""


@pytest.fixture(autouse=True)
def sound_queues(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test that had a server: every queue found on it keeps the invariants."""
    if "redis_url" not in request.fixturenames or "damaged" in request.fixturenames:
        yield
        return
    # Fetched before the test's own fixtures, so that what follows the yield runs after they have ended.
    url: str = request.getfixturevalue("redis_url")
    yield
    # A loop given by its factory does not become the thread's loop, which is pytest-asyncio's to set.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        wrong = runner.run(_all_violations(url))
    assert not wrong, "the test left a queue unsound:\n  " + "\n  ".join(wrong)


async def _all_violations(url: str) -> list[str]:
    connection = Connection(RedisSettings.parse(url))
    await connection.connect()
    try:
        return [
            f"{keys!r}: {line}"
            for keys in await all_keyspaces(connection)
            for line in await violations(connection, keys)
        ]
    finally:
        await connection.close()
