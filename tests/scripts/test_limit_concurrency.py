"""limit_concurrency: how many run at once, and who is told when there is room."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.limit_concurrency import limit_concurrency
from tests.support.keyspace import dump, snapshot
from tests.support.seeding import Held, seed


async def test_it_is_written_as_bullmq_has_it_and_taken_away(link: Link, keys: Keys) -> None:
    assert await limit_concurrency(link, keys, 3, now=7) is False
    assert await snapshot(link, keys) == {"meta": {"concurrency": "3"}}
    before = await dump(link)
    assert await limit_concurrency(link, keys, 3, now=7) is True
    assert await dump(link) == before
    assert await limit_concurrency(link, keys, None, now=7) is True
    assert await dump(link) == {}
    assert await limit_concurrency(link, keys, None, now=7) is False


@pytest.mark.parametrize(
    ("concurrency", "meta", "woken"),
    [(1, {}, False), (2, {}, True), (None, {}, True), (2, {"paused": 1}, False)],
)
async def test_it_wakes_a_worker_if_one_could_claim(
    link: Link, keys: Keys, concurrency: int | None, meta: dict[str, int], woken: bool
) -> None:
    await seed(link, keys, wait=["w"], active={"a": Held()}, meta={"concurrency": 1, **meta})
    await limit_concurrency(link, keys, concurrency, now=7)
    assert ("marker" in await snapshot(link, keys)) is woken


async def test_an_empty_queue_wakes_no_worker(link: Link, keys: Keys) -> None:
    await limit_concurrency(link, keys, 5, now=7)
    assert "marker" not in await snapshot(link, keys)
