"""get_rate_limit_ttl: how long no job starts. Its replies under each limit are tested with that limit."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import ServerError
from engine.model.keys import Keys
from engine.scripts.get_rate_limit_ttl import get_rate_limit_ttl
from tests.support.keyspace import dump
from tests.support.seeding import seed


@pytest.mark.parametrize(
    ("meta", "started", "own", "closed"),
    [
        ({}, 99, "", False),  # a counter of workers' own limits says nothing of those that have none
        ({}, 99, "99,5", True),
        ({}, 98, "99,5", False),
        ({"max": 5, "duration": 5}, 4, "", False),
        ({"max": 5, "duration": 5}, 5, "", True),
        ({"max": 5, "duration": 5}, 5, "9,5", True),
    ],
)
async def test_it_reads_what_claims_read(
    link: Link, keys: Keys, meta: dict[str, int], started: int, own: str, closed: bool
) -> None:
    await seed(link, keys, meta=meta)
    await link.call("SET", keys.limiter, started, "PX", 60_000)
    before = await dump(link)
    left = await get_rate_limit_ttl(link, keys, worker_limit=own, now=7)
    assert 50_000 < left <= 60_000 if closed else left == 0
    assert await dump(link) == before


@pytest.mark.usefixtures("damaged")
async def test_a_counter_that_is_none_is_an_error(link: Link, keys: Keys) -> None:
    await seed(link, keys, meta={"max": 5, "duration": 5})
    await link.call("SET", keys.limiter, "many")
    with pytest.raises(ServerError):
        await get_rate_limit_ttl(link, keys, now=7)
