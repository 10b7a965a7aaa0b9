"""check_dead_letters: one caller gets the count, once each time that the letters exceed the threshold."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.check_dead_letters import check_dead_letters
from engine.scripts.purge import purge
from tests.support.dead_letters import Death, fail_jobs
from tests.support.keyspace import dump


async def test_each_crossing_is_reported_once(link: Link, keys: Keys) -> None:
    told: list[int | None] = []

    async def look(threshold: int = 1) -> None:
        told.append(await check_dead_letters(link, keys, threshold=threshold, now=7))

    await fail_jobs(link, keys, {"a": Death(1)})
    await look()
    await fail_jobs(link, keys, {"b": Death(2), "c": Death(3)})
    await look()
    await look()
    await look(threshold=2)
    await purge(link, keys, [("a", None), ("b", None)], now=4)
    await look()
    await fail_jobs(link, keys, {"d": Death(5)})
    await look()
    assert told == [None, 3, None, 3, None, 2]


async def test_without_letters_nothing_is_reported_or_written(link: Link, keys: Keys) -> None:
    assert await check_dead_letters(link, keys, threshold=0, now=7) is None
    assert await dump(link) == {}
