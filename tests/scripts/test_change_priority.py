"""change_priority: another priority, and another place in line."""

from __future__ import annotations

from typing import Any

import pytest

from engine.connection import Link
from engine.errors import JobNotFound
from engine.model.keys import Keys
from engine.scripts.change_priority import change_priority
from tests.support.keyspace import census, dump, job
from tests.support.seeding import Held, seed

LINE: dict[str, Any] = {"wait": ["w", "x", "y"], "prioritized": {"p": 2, "q": 2}}


@pytest.mark.parametrize(
    ("id", "priority", "lifo", "wait", "prioritized"),
    [
        ("x", 2, False, "wy", "pqx"),
        ("x", 2, True, "wy", "xpq"),
        ("x", 1, False, "wy", "xpq"),
        ("x", 0, False, "wyx", "pq"),
        ("x", 0, True, "xwy", "pq"),
        ("p", 0, False, "wxyp", "q"),
        ("p", 0, True, "pwxy", "q"),
        ("p", 2, False, "wxy", "qp"),
        ("q", 2, True, "wxy", "qp"),
        ("p", 3, False, "wxy", "qp"),
    ],
)
async def test_a_waiting_job_takes_its_new_place(
    link: Link, keys: Keys, id: str, priority: int, lifo: bool, wait: str, prioritized: str
) -> None:
    await seed(link, keys, **LINE)
    await change_priority(link, keys, id=id, priority=priority, lifo=lifo, now=7)
    found = await census(link, keys)
    assert ("".join(found["wait"]), "".join(found["prioritized"])) == (wait, prioritized)
    assert (await job(link, keys, id))["priority"] == str(priority)
    assert await link.call("EXISTS", keys.events) == 0, "BullMQ tells nobody"


async def test_in_a_paused_queue_both_lists_are_searched(link: Link, keys: Keys) -> None:
    await seed(link, keys, paused=["a", "b"], wait=["c"], prioritized={"p": 1}, meta={"paused": 1})
    for id in ("a", "c", "p"):
        await change_priority(link, keys, id=id, priority=0, now=7)
    found = await census(link, keys)
    assert (found["paused"], found["wait"], found["prioritized"]) == (["b", "a", "c", "p"], [], [])
    assert await link.call("EXISTS", keys.marker) == 0


async def test_a_job_that_does_not_wait_keeps_it_for_later(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, delayed={"d": 9}, failed={"f": 1})
    before = await census(link, keys)
    for id in "adf":
        await change_priority(link, keys, id=id, priority=4, now=7)
        assert (await job(link, keys, id))["priority"] == "4"
    assert await census(link, keys) == before


async def test_what_is_no_job_is_not_found_and_not_touched(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w"], meta={"opts.maxLenEvents": 5})
    before = await dump(link)
    for id in ("gone", "meta", "wait"):
        with pytest.raises(JobNotFound):
            await change_priority(link, keys, id=id, priority=1, now=7)
    assert await dump(link) == before
