"""clean: jobs that have been somewhere for long enough."""

from __future__ import annotations

from typing import Any

import pytest

from engine.connection import Link
from engine.errors import InvalidOption
from engine.model.keys import Keys
from engine.scripts.clean import clean
from tests.support.keyspace import census, dump, events
from tests.support.seeding import Held, seed

PLACES: dict[str, dict[str, Any]] = {
    "waiting": {"wait": ["a", "b", "c", "d"]},
    "paused": {"paused": ["a", "b", "c", "d"]},
    "prioritized": {"prioritized": dict.fromkeys("abcd", 2)},
    "delayed": {"delayed": dict.fromkeys("abcd", 900)},
}
TIMES = {"a": {"timestamp": 10}, "b": {"timestamp": 50}, "c": {"timestamp": 20}, "d": {"timestamp": 51}}


@pytest.mark.parametrize("count", [1, 2, 1_000])
@pytest.mark.parametrize("state", PLACES)
async def test_jobs_that_wait_go_by_the_time_they_were_added(link: Link, keys: Keys, state: str, count: int) -> None:
    await seed(link, keys, **PLACES[state], jobs=TIMES)
    place = "wait" if state == "waiting" else state
    assert await clean(link, keys, state=state, grace_ms=50, count=count, now=100) == ["a", "b", "c"]
    assert (await census(link, keys))[place] == ["d"]
    told = await events(link, keys)
    assert sum(int(line.removeprefix("cleaned count=")) for line in told) == 3
    before = await dump(link)
    assert await clean(link, keys, state=state, grace_ms=50, now=100) == []
    assert await dump(link) == before


@pytest.mark.parametrize("state", ["completed", "failed"])
async def test_finished_jobs_go_by_the_time_of_their_end_the_oldest_first(link: Link, keys: Keys, state: str) -> None:
    ended: Any = {"e": 90, "a": 10, "b": 20, "c": 30, "d": 40}
    await seed(link, keys, **{state: ended})
    await link.call("RPUSH", keys.logs("a"), "row")
    assert await clean(link, keys, state=state, grace_ms=60, limit=2, now=100) == ["a", "b"]
    assert await clean(link, keys, state=state, grace_ms=60, now=100) == ["c", "d"]
    assert await clean(link, keys, state=state, grace_ms=60, now=100) == []
    assert await events(link, keys) == ["cleaned count=2", "cleaned count=2"]
    assert set(await dump(link)) == {keys.jobs + state, keys.job("e"), keys.events}


async def test_active_jobs_go_only_if_no_worker_holds_them(link: Link, keys: Keys) -> None:
    await seed(
        link, keys, active={"dead": Held(lock_ms=None), "live": Held(), "young": Held(lock_ms=None)}, stalled=["dead"],
        jobs={"young": {"processedOn": 99}},
    )  # fmt: skip
    assert await clean(link, keys, state="active", grace_ms=50, now=100) == ["dead"]
    assert (await census(link, keys))["active"] == ["live", "young"]
    assert await link.call("EXISTS", keys.stalled) == 0


async def test_both_lists_of_waiting_jobs_are_cleaned_up_to_the_limit(link: Link, keys: Keys) -> None:
    await seed(link, keys, paused=["a", "b"], wait=["c", "d"])
    assert await clean(link, keys, state="waiting", limit=3, now=100) == ["a", "b", "c"]
    assert (await census(link, keys))["wait"] == ["d"]
    assert await clean(link, keys, state="waiting", limit=0, now=100) == []


async def test_the_pending_run_of_a_schedule_and_others_deduplication_stay(link: Link, keys: Keys) -> None:
    pending = "repeat:daily:1795485221080"
    await seed(link, keys, delayed={pending: 9, "a": 9}, jobs={pending: {"rjk": "daily"}, "a": {"deid": "x"}})
    await link.call("ZADD", keys.repeat, 1795485221080, "daily")
    await link.call("SET", keys.jobs + "de:x", pending)
    assert await clean(link, keys, state="delayed", now=100) == ["a"]
    assert await link.call("EXISTS", keys.jobs + "de:x") == 1


async def test_an_id_without_a_job_is_deleted_too(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"], jobs={"a": {"timestamp": 100}})
    await link.call("LPUSH", keys.wait, "ghost")
    assert await clean(link, keys, state="waiting", grace_ms=1, now=100) == ["ghost"]


async def test_a_state_that_cannot_be_cleaned_is_an_error(link: Link, keys: Keys) -> None:
    with pytest.raises(InvalidOption, match="'waiting-children' cannot be cleaned"):
        await clean(link, keys, state="waiting-children")


async def test_finished_jobs_that_are_too_young_are_not_read(link: Link, keys: Keys) -> None:
    await seed(link, keys, completed={f"j{n}": 90 for n in range(500)})
    await link.call("CONFIG", "RESETSTAT")
    assert await clean(link, keys, state="completed", grace_ms=60, now=100) == []
    stats = (await link.call("INFO", "commandstats")).decode()
    assert "cmdstat_hmget:calls=1," in stats, "that of the gate"


async def test_an_id_that_names_a_structure_takes_nothing_with_it(link: Link, keys: Keys) -> None:
    """Left by another program. To delete "its hash" would delete the line, the queue's settings, or a schedule."""
    await seed(link, keys, wait=["a", "b"], meta={"concurrency": 5})
    await link.call("HSET", keys.repeat + ":s", "ic", 1)
    await link.call("ZADD", keys.repeat, 9, "s")
    await link.call("LPUSH", keys.wait, "wait", "meta", "repeat:s")
    await link.call("HSET", keys.job("a"), "timestamp", 9_000)
    assert await clean(link, keys, state="waiting", now=7) == ["b", "wait", "meta", "repeat:s"]
    assert (await census(link, keys))["wait"] == ["a"]
    assert await link.call("HGET", keys.meta, "concurrency") == b"5"
    assert await link.call("HGET", keys.repeat + ":s", "ic") == b"1"


@pytest.mark.parametrize("is_paused", [False, True])
async def test_a_parent_released_into_the_same_list_stays(link: Link, keys: Keys, is_paused: bool) -> None:
    """It gets in front of the line whose old end is being cleaned."""
    await seed(
        link, keys, wait=["child", "b"], waiting_children={"p": 1}, meta={"paused": 1} if is_paused else {},
        jobs={"child": {"timestamp": 10, "parentKey": keys.job("p")}, "b": {"timestamp": 99}},
    )  # fmt: skip
    await link.call("SADD", keys.job("p") + ":dependencies", keys.job("child"))
    assert await clean(link, keys, state="waiting", grace_ms=50, now=100) == ["child"]
    found = await census(link, keys)
    assert found["wait"] + found["paused"] == ["p", "b"]
