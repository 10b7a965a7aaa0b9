"""rate_limit: a job that met a rate limit goes back, and no job starts until it is over."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.records import Limited
from engine.scripting.rows import Refusal
from engine.scripts.claim import ClaimReply, claim
from engine.scripts.get_rate_limit_ttl import get_rate_limit_ttl
from engine.scripts.rate_limit import rate_limit
from tests.support.keyspace import census, dump, job, snapshot
from tests.support.seeding import Held, claimed, seed

FULL = "9007199254740991"


async def take(link: Link, keys: Keys, *, now: int, count: int = 9) -> ClaimReply:
    return await claim(link, keys, token="t2", lock_ms=9_000, worker="w", count=count, now=now)


async def test_the_job_is_first_and_has_used_no_attempt(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w"], active={"a": Held(fence=3)}, stalled=["a"], jobs={"a": {"atm": 2}})
    assert await rate_limit(link, keys, [(claimed("a", fence=3), Limited(50_000))], now=7) == {}
    found = await snapshot(link, keys)
    assert found["job:a"] == {
        "name": "n", "data": "{}", "opts": "{}", "timestamp": "0", "delay": "0", "priority": "0",
        "processedOn": "1", "ats": "3", "pb": "w", "atm": "2",
    }  # fmt: skip
    assert {name: value for name, value in found.items() if not name.startswith("job:")} == {
        "wait": ["a", "w"],
        "meta": {"hold": "50007"},
        "limiter": FULL,
        "marker": {"0": 0},
        "events": ["waiting a prev=active"],
    }
    assert 49_000 < await link.call("PTTL", keys.limiter) <= 50_000


async def test_nothing_starts_until_the_time_is_over_though_the_queue_has_no_limit(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w"], active={"a": Held()})
    await rate_limit(link, keys, [(claimed("a"), Limited(50))], now=7)
    assert await take(link, keys, now=56) == ClaimReply([], None, False, 1)
    assert await get_rate_limit_ttl(link, keys, now=27) == 30
    assert [job.id for job in (await take(link, keys, now=57)).jobs] == ["a", "w"]
    assert await get_rate_limit_ttl(link, keys, now=57) == 0


async def test_the_longest_time_counts_in_one_call_and_over_several(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(), "b": Held(), "c": Held()})
    await rate_limit(link, keys, [(claimed("a"), Limited(50_000)), (claimed("b"), Limited(20_000))], now=7)
    await rate_limit(link, keys, [(claimed("c"), Limited(10_000))], now=9)
    assert (await snapshot(link, keys))["meta"] == {"hold": "50007"}
    assert await link.call("PTTL", keys.limiter) > 40_000
    assert (await census(link, keys))["wait"] == ["c", "a", "b"]


async def test_a_slot_left_under_a_global_concurrency_wakes_a_worker(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w"], active={"a": Held()}, meta={"concurrency": 1})
    await rate_limit(link, keys, [(claimed("a"), Limited(50))], now=7)
    assert (await snapshot(link, keys))["marker"] == {"0": 0}


async def test_a_job_with_a_priority_is_the_first_of_it(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, prioritized={"p": 3, "q": 3}, jobs={"a": {"priority": 3}})
    await rate_limit(link, keys, [(claimed("a"), Limited(50))], now=7)
    assert (await census(link, keys))["prioritized"][0] == "a"


async def test_a_paused_queue_takes_it_into_paused_and_wakes_nobody(link: Link, keys: Keys) -> None:
    await seed(link, keys, paused=["x"], active={"a": Held()}, meta={"paused": 1})
    await rate_limit(link, keys, [(claimed("a"), Limited(50))], now=7)
    assert (await census(link, keys))["paused"] == ["a", "x"]
    assert "marker" not in await snapshot(link, keys)


async def test_sent_again_it_holds_the_queue_no_longer(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()})
    await rate_limit(link, keys, [(claimed("a"), Limited(50_000))], now=7)
    before = await dump(link)
    assert await rate_limit(link, keys, [(claimed("a"), Limited(50_000))], now=900) == {0: Refusal.LOST}
    assert await dump(link) == before


async def test_a_thousand_jobs_go_back_in_their_order(link: Link, keys: Keys) -> None:
    ids = [f"j{n}" for n in range(1_000)]
    await seed(link, keys, active={id: Held() for id in ids}, wait=["w"])
    await rate_limit(link, keys, [(claimed(id), Limited(50)) for id in ids], now=7)
    assert (await census(link, keys))["wait"] == [*ids, "w"]
    assert (await job(link, keys, "j0"))["ats"] == "1"
