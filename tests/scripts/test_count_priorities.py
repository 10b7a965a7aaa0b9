"""count_priorities: waiting jobs of each priority."""

from __future__ import annotations

from engine.connection import Link
from engine.model import wire
from engine.model.keys import Keys
from engine.scripts.count_priorities import count_priorities
from tests.support.keyspace import dump
from tests.support.seeding import seed


async def test_it_counts_those_asked_about_or_all_that_are_there(link: Link, keys: Keys) -> None:
    top = wire.MAX_PRIORITY
    await seed(
        link, keys, wait=["a"], paused=["b", "c"], prioritized={"p": 1, "q": 7, "r": 7, "s": top}, meta={"paused": 1}
    )
    # The last place of one priority is next to the first of the following.
    await link.call("ZADD", keys.prioritized, 7 * 2**32 + 2**32 - 1, "r", 8 * 2**32, "t")
    await link.call("HSET", keys.job("t"), "name", "n", "data", "{}", "opts", "{}", "timestamp", 0, "priority", 8)
    before = await dump(link)
    assert await count_priorities(link, keys) == {0: 3, 1: 1, 7: 2, 8: 1, top: 1}
    assert await count_priorities(link, keys, [7, 2, 0]) == {7: 2, 2: 0, 0: 3}
    assert await dump(link) == before


async def test_an_empty_queue_has_none(link: Link, keys: Keys) -> None:
    assert await count_priorities(link, keys) == {}


async def test_the_first_of_very_many_are_enough_for_one_call(link: Link, keys: Keys) -> None:
    await seed(link, keys, prioritized={f"j{n}": n for n in range(1, 1_011)})
    assert await count_priorities(link, keys) == dict.fromkeys(range(1, 251), 1)
