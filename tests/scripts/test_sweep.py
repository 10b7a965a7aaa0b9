"""sweep: from the hands of dead workers to the front of the line."""

from __future__ import annotations

import pytest

from engine import wire
from engine.keys import Keys
from engine.link import Link
from engine.scripts.sweep import sweep
from tests.support.queues import Held, census, check_invariants, dump, events, job, seed, snapshot

DEAD = Held("t0", lock_ms=None)


async def swept(link: Link, keys: Keys, *, now: int = 7, max_stalls: int = 1, count: int = 1_000) -> list[str]:
    return await sweep(link, keys, interval_ms=9_000, max_stalls=max_stalls, count=count, now=now)


async def swept_by(link: Link, keys: Keys, *, interval_ms: int) -> list[str]:
    return await sweep(link, keys, interval_ms=interval_ms, max_stalls=1, now=7)


async def test_a_job_whose_lock_has_ended_is_first_in_line_and_used_no_attempt(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w"], active={"a": DEAD, "b": Held(), "c": DEAD}, stalled=["a", "b"])
    assert await swept(link, keys) == ["a", "c"]
    found = await snapshot(link, keys)
    assert (found["wait"], found["active"], found["stalled"]) == (["a", "c", "w"], ["b"], ["b"])
    assert (found["stalled-check"], found["marker"]) == ("7", {"0": 0})
    assert found["events"] == ["waiting a prev=active", "stalled a", "waiting c prev=active", "stalled c"]
    assert found["job:a"] == {
        "name": "n", "data": "{}", "opts": "{}", "timestamp": "0", "delay": "0", "priority": "0",
        "processedOn": "1", "ats": "1", "pb": "w", "stc": "1",
    }  # fmt: skip
    assert 8_000 < await link.call("PTTL", keys.stalled_check) <= 9_000


async def test_one_sweep_an_interval_whoever_made_it(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": DEAD})
    await link.call("SET", keys.stalled_check, "1", "PX", 60_000)
    before = await dump(link)
    assert await swept(link, keys) == []
    assert await dump(link) == before
    await link.call("DEL", keys.stalled_check)
    assert await swept(link, keys) == ["a"]


@pytest.mark.parametrize("swept", ["1", "99999999", "foreign"])
async def test_the_interval_that_counts_is_ones_own(link: Link, keys: Keys, swept: str) -> None:
    """Whoever swept before may have a longer one, or a clock that is ahead."""
    await seed(link, keys, active={"a": DEAD})
    await link.call("SET", keys.stalled_check, swept, "PX", 60_000)
    assert await swept_by(link, keys, interval_ms=5) == ["a"]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 1_000])
async def test_slices_together_look_at_all(link: Link, keys: Keys, count: int) -> None:
    held = {f"j{n}": DEAD if n in (0, 1, 2, 5, 8) else Held() for n in range(9)}
    await seed(link, keys, active=held)
    assert sorted(await swept(link, keys, count=count)) == ["j0", "j1", "j2", "j5", "j8"]
    assert (await census(link, keys))["active"] == ["j3", "j4", "j6", "j7"]


async def test_priorities_are_kept_and_go_before_their_equals(link: Link, keys: Keys) -> None:
    jobs = {"b": {"priority": 2}, "a": {"priority": 2}}
    await seed(
        link, keys, prioritized={"x": 1, "y": 2, "z": 3}, active={"b": DEAD, "a": DEAD, "plain": DEAD}, jobs=jobs
    )
    assert await swept(link, keys) == ["b", "a", "plain"]
    found = await census(link, keys)
    assert found["wait"] == ["plain"]
    assert found["prioritized"][0] == "x"
    assert set(found["prioritized"][1:3]) == {"a", "b"}
    assert found["prioritized"][3:] == ["y", "z"]


async def test_a_job_that_stalls_too_often_comes_back_to_be_failed(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": DEAD, "b": DEAD}, jobs={"a": {"stc": 1}})
    await swept(link, keys, max_stalls=1)
    first, second = await job(link, keys, "a"), await job(link, keys, "b")
    assert (first["stc"], first["defa"]) == ("2", wire.STALLED_REASON)
    assert (second["stc"], second.get("defa")) == ("1", None)
    await check_invariants(link, keys, max_stalls=1)


async def test_a_run_of_a_living_schedule_is_never_failed_for_stalls(link: Link, keys: Keys) -> None:
    await seed(
        link, keys, active={"a": DEAD, "b": DEAD}, jobs={"a": {"stc": 5, "rjk": "daily"}, "b": {"stc": 5, "rjk": "old"}}
    )
    await link.call("ZADD", keys.repeat, 99, "daily")
    await swept(link, keys)
    assert ("defa" in await job(link, keys, "a"), "defa" in await job(link, keys, "b")) == (False, True)


async def test_an_id_without_a_job_is_dropped_and_told(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, stalled=["gone"])
    await link.call("LPUSH", keys.active, "gone")
    assert await swept(link, keys) == []
    assert (await census(link, keys))["active"] == ["a"]
    assert await events(link, keys) == ["missing gone"]


async def test_a_job_that_was_never_counted_as_started_is_not_dropped(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": DEAD})
    await link.call("HDEL", keys.job("a"), "ats")
    assert await swept(link, keys) == ["a"]


@pytest.mark.parametrize(
    ("meta", "list_", "woken"), [({"paused": 1}, "paused", False), ({"concurrency": 1}, "wait", True)]
)
async def test_it_wakes_a_worker_if_one_may_claim(
    link: Link, keys: Keys, meta: dict[str, int], list_: str, woken: bool
) -> None:
    await seed(link, keys, active={"a": DEAD}, meta=meta)
    await swept(link, keys)
    assert (await census(link, keys))[list_] == ["a"]
    assert ("marker" in await snapshot(link, keys)) is woken
