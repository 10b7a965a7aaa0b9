"""recover_stalled: jobs of dead workers go back to the front."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model import wire
from engine.model.keys import Keys
from engine.scripts.recover_stalled import Recovery, check_stalled, recover_stalled
from engine.scripts.renew import renew
from tests.support.invariants import check_invariants
from tests.support.keyspace import census, dump, events, job, snapshot
from tests.support.seeding import Held, claimed, seed

DEAD = Held("t0", lock_ms=None)


async def swept(link: Link, keys: Keys, *, now: int = 7, max_stalls: int = 1, count: int = 1_000) -> list[str]:
    return await recover_stalled(link, keys, interval_ms=9_000, max_stalls=max_stalls, count=count, now=now)


async def swept_by(link: Link, keys: Keys, *, interval_ms: int) -> list[str]:
    return await recover_stalled(link, keys, interval_ms=interval_ms, max_stalls=1, now=7)


async def test_a_stalled_job_is_first_and_used_no_attempt(link: Link, keys: Keys) -> None:
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


async def test_one_recovery_an_interval_by_any_worker(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": DEAD})
    await link.call("SET", keys.stalled_check, "1", "PX", 60_000)
    before = await dump(link)
    assert await swept(link, keys) == []
    assert await dump(link) == before | {keys.watch: "7 0 0"}, "but for the look"
    await link.call("DEL", keys.stalled_check)
    assert await swept(link, keys) == ["a"]


@pytest.mark.parametrize("swept", ["1", "99999999", "foreign"])
async def test_the_interval_that_counts_is_ones_own(link: Link, keys: Keys, swept: str) -> None:
    """Whoever swept before may have a longer one, or a clock that is ahead."""
    await seed(link, keys, active={"a": DEAD})
    await link.call("SET", keys.stalled_check, swept, "PX", 60_000)
    assert await swept_by(link, keys, interval_ms=5) == ["a"]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 1_000])
async def test_pages_together_read_all(link: Link, keys: Keys, count: int) -> None:
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


async def test_an_id_without_a_job_is_dropped_with_an_event(link: Link, keys: Keys) -> None:
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


async def looks(link: Link, keys: Keys, *times: int) -> list[int]:
    """At which of these times a look swept a job. A gap of 60 without a look begins a grace of 40."""
    return [now for now in times if (await checked(link, keys, now)).back]


async def checked(link: Link, keys: Keys, now: int, *, interval_ms: int = 5) -> Recovery:
    return await check_stalled(link, keys, interval_ms=interval_ms, max_stalls=1, gap_ms=60, grace_ms=40, now=now)


async def test_while_a_worker_checks_an_expired_lock_is_a_death(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()})
    assert await looks(link, keys, 0, 20, 50, 100, 160) == []
    await link.call("DEL", keys.lock("a"))
    assert await looks(link, keys, 220) == [220]


async def test_after_a_gap_the_living_get_time_to_renew(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"dead": DEAD, "a": Held()})
    assert await looks(link, keys, 0, 39) == [], "nobody had ever looked"
    assert (await checked(link, keys, 40)).back == ["dead"]
    await link.call("DEL", keys.lock("a"))
    assert await looks(link, keys, 101, 140, 141) == [141]


async def test_the_clock_of_another_server_is_a_gap_too(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()})
    assert await looks(link, keys, 500, 540) == []
    await link.call("DEL", keys.lock("a"))
    assert await looks(link, keys, 300, 339, 340) == [340]


async def test_a_grace_counts_checks_across_restarts(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": DEAD})
    assert await looks(link, keys, 0, 15, 100, 115, 200, 206, 300, 303, 304) == [304]


async def test_who_renews_after_an_outage_gets_the_whole_grace_at_the_next(link: Link, keys: Keys) -> None:
    """A server that goes down again and again: the looks before count against nobody who came back in between."""
    await seed(link, keys, active={"dead": DEAD, "a": Held(lock_ms=None)})
    assert await looks(link, keys, 0, 30) == []
    assert await renew(link, keys, [claimed("a")], lock_ms=500_000, now=31) == {}
    await link.call("DEL", keys.lock("a"))
    assert await looks(link, keys, 100, 139, 140) == [140]


async def test_a_late_renewal_outside_a_grace_delays_nothing(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(), "b": Held()})
    assert await looks(link, keys, 0, 40) == []
    await link.call("DEL", keys.lock("a"), keys.lock("b"))
    assert await renew(link, keys, [claimed("a")], lock_ms=500_000, now=41) == {}
    assert await looks(link, keys, 46) == [46]


async def test_a_queue_without_running_jobs_needs_no_grace(link: Link, keys: Keys) -> None:
    assert await looks(link, keys, 0) == []
    await seed(link, keys, active={"a": DEAD})
    assert await looks(link, keys, 5) == [5]


async def test_the_next_recovery_is_due_where_a_lock_ends(link: Link, keys: Keys) -> None:
    """So the jobs of a dead worker wait for no interval beside their lock."""
    await seed(link, keys, active={"a": Held(lock_ms=50_000), "b": Held(lock_ms=30_000)})
    await checked(link, keys, 0)
    soon = (await checked(link, keys, 40, interval_ms=100_000)).next_ms
    assert 20_000 <= soon <= 30_001
    late = await checked(link, keys, 50, interval_ms=1_000_000)
    assert late.next_ms == soon - 10, "whoever looks is answered the same"
    await link.call("DEL", keys.lock("b"))
    assert await checked(link, keys, 90, interval_ms=100_000) == Recovery([], soon - 50)
    at = 40 + soon
    assert (await check_stalled(link, keys, interval_ms=100_000, max_stalls=1, gap_ms=at, grace_ms=1, now=at)).back == [
        "b"
    ]


async def test_many_locks_cause_five_recoveries_an_interval(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(lock_ms=20_000)})
    assert await recover_stalled(link, keys, interval_ms=500_000, max_stalls=1, now=0) == []
    assert (await link.call("GET", keys.watch)).split()[2] == b"100000"
