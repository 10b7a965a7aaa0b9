"""obliterate: nothing of the queue is left."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import WrongState
from engine.model.keys import Keys
from engine.scripts.check_dead_letters import check_dead_letters
from engine.scripts.obliterate import obliterate
from engine.scripts.pause import pause
from engine.scripts.replay import replay
from tests.support.dead_letters import Death, fail_jobs
from tests.support.keyspace import census, dump
from tests.support.seeding import Held, seed


async def seed_full(link: Link, keys: Keys, *, paused: bool = True, active: bool = True) -> None:
    ids = [f"j{n}" for n in range(700)]
    await seed(
        link, keys, wait=["w1", "w2"], paused=["v"], prioritized={"p": 3}, delayed={"d": 99}, waiting_children={"c": 1},
        active={"a": Held(), "dead": Held(lock_ms=None)} if active else {}, stalled=["dead"] if active else [],
        completed=dict.fromkeys(ids, 1), failed={"f": 2},
        meta={"opts.maxLenEvents": 9} | ({"paused": 1} if paused else {}),
        jobs={"w1": {"deid": "one"}, "f": {"parentKey": "bull:q:c"}},
    )  # fmt: skip
    for command in (
        ("SET", keys.jobs + "de:one", "w1"),
        ("HSET", keys.jobs + "dn:one", "name", "n"),
        ("RPUSH", keys.logs("w2"), "row"),
        ("SADD", keys.job("c") + ":dependencies", keys.job("f")),
        ("ZADD", keys.job("c") + ":unsuccessful", 1, "x"),
        ("ZADD", keys.repeat, 9, "daily", 10, "weekly"),
        ("HSET", keys.repeat + ":daily", "name", "n"),
        ("HSET", keys.repeat + ":weekly", "name", "n"),
        ("SET", keys.stalled_check, "1"),
        ("SET", keys.limiter, "1"),
        ("SET", keys.smoothed, "1"),
        ("SET", keys.id, "700"),
        ("ZADD", keys.marker, 0, "0"),
        ("XADD", keys.events, "*", "event", "drained"),
        ("HSET", keys.jobs + "metrics:completed", "count", 1),
        ("LPUSH", keys.jobs + "metrics:failed:data", 1),
    ):
        await link.call(*command)
    deaths = {f"d{n}": Death(n, type=f"t{n % 3}", tenant=f"t{n % 5}") for n in range(300)}
    await fail_jobs(link, keys, deaths)
    await replay(link, keys, [(f"d{n}", None, None) for n in range(100)], by="x", now=7)
    await check_dead_letters(link, keys, threshold=9, now=8)


async def test_nothing_of_the_queue_is_left_and_nothing_of_others_is_lost(link: Link, keys: Keys) -> None:
    await seed(link, Keys("q2"), wait=["a"])
    other = await dump(link)
    await seed_full(link, keys)
    await obliterate(link, keys, force=True, now=7)
    assert await dump(link) == other
    await obliterate(link, keys, now=8)
    assert await dump(link) == other


@pytest.mark.parametrize("count", [1, 3, 1_000])
async def test_it_takes_as_many_calls_as_it_needs(link: Link, keys: Keys, count: int) -> None:
    await seed(link, keys, wait=["a", "b", "c"], failed={"d": 1, "e": 2, "f": 3}, meta={"paused": 1})
    await link.call("ZADD", keys.repeat, 9, "daily", 10, "weekly", 11, "yearly")
    await obliterate(link, keys, count=count, now=7)
    assert await dump(link) == {}


async def test_a_queue_that_is_not_paused_is_left_alone(link: Link, keys: Keys) -> None:
    await seed_full(link, keys, paused=False)
    before = await dump(link)
    with pytest.raises(WrongState, match="not paused"):
        await obliterate(link, keys, force=True, now=7)
    assert await dump(link) == before


async def test_jobs_being_run_are_in_the_way_unless_forced(link: Link, keys: Keys) -> None:
    await seed_full(link, keys)
    before = await dump(link)
    with pytest.raises(WrongState, match="force=True"):
        await obliterate(link, keys, now=7)
    assert await dump(link) == before


async def test_a_queue_that_is_not_there_is_no_error(link: Link, keys: Keys) -> None:
    await obliterate(link, keys, now=7)
    assert await dump(link) == {}


async def test_a_queue_with_only_dead_letters_is_deleted_too(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, {f"d{n}": Death(n) for n in range(5)})
    await link.call("DEL", keys.events, keys.marker)
    await link.call("HSET", keys.meta, "paused", 1)
    await obliterate(link, keys, count=2, now=7)
    assert await dump(link) == {}


@pytest.mark.parametrize("count", [1, 1_000])
async def test_dead_letters_stay_if_they_are_kept(link: Link, keys: Keys, count: int) -> None:
    await seed(link, keys, wait=["a", "b"], failed={"d1": 1}, meta={"paused": 1})
    await fail_jobs(link, keys, {f"d{n}": Death(n) for n in range(5)})
    dead = {key: value for key, value in (await dump(link)).items() if ":corral:dead:" in key}
    await obliterate(link, keys, dead_letters=False, count=count, now=7)
    assert await dump(link) == dead
    await obliterate(link, keys, dead_letters=False, now=8)
    assert await dump(link) == dead
    assert await replay(link, keys, [(f"d{n}", None, None) for n in range(5)], by="x", now=9) == {}
    assert (await census(link, keys))["wait"] == [f"d{n}" for n in range(5)]
    await pause(link, keys)
    await obliterate(link, keys, now=10)
    assert await dump(link) == {}
