"""release: from the hands of a worker back to where the jobs came from."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.records import NewRow
from engine.scripting.rows import Refusal
from engine.scripts.add import add
from engine.scripts.claim import claim
from engine.scripts.release import release
from tests.support.keyspace import census, dump, snapshot
from tests.support.seeding import Held, claimed, seed


async def test_a_released_job_is_first_and_used_no_attempt(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w"], active={"a": Held()}, stalled=["a"])
    assert await release(link, keys, [claimed("a")], now=7) == {}
    found = await snapshot(link, keys)
    assert found["job:a"] == {
        "name": "n", "data": "{}", "opts": "{}", "timestamp": "0", "delay": "0", "priority": "0",
        "processedOn": "1", "ats": "1", "pb": "w",
    }  # fmt: skip
    assert {name: value for name, value in found.items() if not name.startswith("job:")} == {
        "wait": ["a", "w"],
        "marker": {"0": 0},
        "events": ["waiting a prev=active"],
    }


@pytest.mark.parametrize("count", [1, 3, 7])
async def test_what_was_claimed_and_released_comes_again_in_the_same_order(link: Link, keys: Keys, count: int) -> None:
    # Names that do not sort as they stand in line.
    ranked = {"p9": 1, "p10": 1, "p1": 1, "z": 2, "y": 2}
    await seed(link, keys, wait=["b", "a"], prioritized=ranked)
    order = ["b", "a", "p9", "p10", "p1", "z", "y"]
    taken = (await claim(link, keys, token="t2", lock_ms=9_000, worker="w", count=count, now=7)).jobs
    await release(link, keys, taken, now=8)
    again = (await claim(link, keys, token="t3", lock_ms=9_000, worker="w", count=9, now=9)).jobs
    assert [job.id for job in again] == order


async def test_a_job_added_later_stays_behind_released_ones_of_its_priority(link: Link, keys: Keys) -> None:
    await seed(link, keys, prioritized={"p2": 1, "p1": 1})
    taken = (await claim(link, keys, token="t2", lock_ms=9_000, worker="w", count=9, now=7)).jobs
    await release(link, keys, taken, now=8)
    await add(link, keys, [NewRow("p0", "n", b"{}", b"{}", priority=1)], now=8)
    again = (await claim(link, keys, token="t3", lock_ms=9_000, worker="w", count=9, now=9)).jobs
    assert [job.id for job in again] == ["p2", "p1", "p0"]


async def test_sent_again_the_claim_is_lost(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()})
    await release(link, keys, [claimed("a")], now=7)
    before = await dump(link)
    assert await release(link, keys, [claimed("a")], now=8) == {0: Refusal.LOST}
    assert await dump(link) == before


async def test_a_paused_queue_takes_it_into_paused_and_wakes_nobody(link: Link, keys: Keys) -> None:
    await seed(link, keys, paused=["x"], active={"a": Held()}, meta={"paused": 1})
    await release(link, keys, [claimed("a")], now=7)
    assert (await census(link, keys))["paused"] == ["a", "x"]
    assert "marker" not in await snapshot(link, keys)


async def test_a_thousand_jobs_go_back_in_one_call(link: Link, keys: Keys) -> None:
    ids = [f"j{n}" for n in range(1_000)]
    await seed(link, keys, active={id: Held() for id in ids}, wait=["w"])
    await release(link, keys, [claimed(id) for id in ids], now=7)
    assert (await census(link, keys))["wait"] == [*ids, "w"]
