"""cancel: what waits has failed at once; what runs is asked to end, and ends whoever takes it next."""

from __future__ import annotations

import itertools

import pytest

from engine.connection import Link
from engine.errors import WrongState
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Failed, Retrying
from engine.scripts.cancel import Cancellation, cancel
from engine.scripts.claim import claim
from engine.scripts.fail import fail
from engine.scripts.finish import finish
from engine.scripts.recover_stalled import recover_stalled
from engine.scripts.release import release
from engine.scripts.reprocess import reprocess
from engine.scripts.retry import retry
from tests.support.keyspace import census, dump, events, job, snapshot
from tests.support.seeding import Held, claimed, seed

ALL = Keep()


async def ask(link: Link, keys: Keys, id: str, keep: Keep = ALL, now: int = 7) -> Cancellation:
    return await cancel(link, keys, id=id, reason="cancelled: why", keep=keep, now=now)


@pytest.mark.parametrize(
    ("id", "prev"),
    [("w", "waiting"), ("held", "waiting"), ("p", "prioritized"), ("d", "delayed"), ("c", "waiting-children")],
)
async def test_a_job_that_waits_has_failed_at_once(link: Link, keys: Keys, id: str, prev: str) -> None:
    await seed(
        link, keys, wait=["w", "w2"], paused=["held"], prioritized={"p": 3}, delayed={"d": 500},
        waiting_children={"c": 1}, jobs={id: {"defa": "old"}},
    )  # fmt: skip
    assert await ask(link, keys, id) is Cancellation.CANCELLED
    found = await census(link, keys)
    assert found["failed"] == [id]
    assert sum(len(ids) for ids in found.values()) == 6
    stored = await job(link, keys, id)
    assert (stored["failedReason"], stored["finishedOn"]) == ("cancelled: why", "7")
    assert not stored.keys() & {"defa", "atm", "ats"}
    assert await events(link, keys) == [f"failed {id} failedReason=cancelled: why prev={prev}"]
    before = await dump(link)
    assert await ask(link, keys, id, now=8) is Cancellation.ENDED
    assert await dump(link) == before


async def test_retention_is_that_of_failed_jobs(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a", "b"], failed={"f1": 1, "f2": 2})
    await link.call("RPUSH", keys.logs("a"), "row")
    await ask(link, keys, "a", Keep(count=2))
    assert (await census(link, keys))["failed"] == ["f2", "a"]
    await ask(link, keys, "b", Keep(count=0))
    assert {*await snapshot(link, keys)} == {"failed", "job:f2", "job:a", "logs:a", "events"}
    assert (await census(link, keys))["failed"] == ["f2", "a"]
    assert await ask(link, keys, "b") is Cancellation.MISSING


@pytest.mark.parametrize("lock_ms", [60_000, None], ids=["held", "its worker is dead"])
async def test_a_job_that_runs_is_asked_and_stays_where_it_is(link: Link, keys: Keys, lock_ms: int | None) -> None:
    await seed(link, keys, active={"a": Held(lock_ms=lock_ms), "b": Held()})
    for now in (7, 8):
        assert await ask(link, keys, "a", now=now) is Cancellation.ASKED
        assert (await census(link, keys))["active"] == ["a", "b"]
        assert (await job(link, keys, "a"))["defa"] == "cancelled: why"
        assert (await snapshot(link, keys))["corral:cancelling"] == {"a": now}
    assert 0 < int(await link.call("PTTL", keys.cancelling)) <= 3_600_000
    assert await events(link, keys) == []


@pytest.mark.parametrize("way", ["retried", "released", "swept"])
async def test_who_takes_an_asked_job_next_learns_that_it_is_to_fail(link: Link, keys: Keys, way: str) -> None:
    await seed(link, keys, active={"a": Held(lock_ms=None if way == "swept" else 60_000)})
    await ask(link, keys, "a")
    match way:
        case "retried":
            await retry(link, keys, [(claimed("a"), Retrying(0, "no"), False)], now=8)
        case "released":
            await release(link, keys, [claimed("a")], now=8)
        case "swept":
            await recover_stalled(link, keys, interval_ms=9_000, max_stalls=1, now=8)
    jobs = (await claim(link, keys, token="t2", lock_ms=60_000, worker="w", count=1, now=9)).jobs
    assert [job.deferred_failure for job in jobs] == ["cancelled: why"]
    await fail(link, keys, [(jobs[0], Failed("cancelled: why"), ALL, 1)], now=10)
    assert "defa" not in await job(link, keys, "a")


async def test_what_ended_is_forgotten_some_at_a_time_and_after_an_hour(link: Link, keys: Keys) -> None:
    ids = [f"j{n}" for n in range(40)]
    await seed(link, keys, active={id: Held() for id in [*ids, "last", "later"]})
    for id in ids:
        await ask(link, keys, id)
        await fail(link, keys, [(claimed(id), Failed("cancelled: why"), ALL, 1)], now=8)
    await ask(link, keys, "last")
    left = (await snapshot(link, keys))["corral:cancelling"]
    assert "last" in left
    assert len(left) <= 2
    await ask(link, keys, "later", now=7 + 3_600_000)
    assert list((await snapshot(link, keys))["corral:cancelling"]) == ["later"]


async def test_a_job_that_ended_before_the_request_may_run_again(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()})
    await ask(link, keys, "a")
    assert await finish(link, keys, [(claimed("a"), b"1", ALL)], now=8) == {}
    assert await ask(link, keys, "a", now=9) is Cancellation.ENDED
    await reprocess(link, keys, [("a", False)], now=10)
    jobs = (await claim(link, keys, token="t2", lock_ms=60_000, worker="w", count=1, now=11)).jobs
    assert [job.deferred_failure for job in jobs] == [None]


@pytest.mark.parametrize("order", list(itertools.permutations(["cancel", "cancel", "claim", "finish"])))
async def test_in_no_order_does_a_job_end_twice(link: Link, keys: Keys, order: list[str]) -> None:
    """`finish` is what a worker sends that has claimed and, unless the claim says otherwise, run the job."""
    await seed(link, keys, wait=["a"])
    hands = []
    for step in order:
        match step:
            case "cancel":
                await ask(link, keys, "a")
            case "claim":
                hands = (await claim(link, keys, token="t1", lock_ms=60_000, worker="w", count=1, now=8)).jobs
            case "finish":
                for held in hands:
                    if held.deferred_failure:
                        await fail(link, keys, [(held, Failed(held.deferred_failure), ALL, 1)], now=9)
                    else:
                        await finish(link, keys, [(held, b"1", ALL)], now=9)
    said = [line.split()[0] for line in await events(link, keys)]
    ended = [word for word in said if word in ("failed", "completed")]
    assert len(ended) == (0 if hands and order.index("finish") < order.index("claim") else 1)
    if ended:
        assert (await census(link, keys))[ended[0]] == ["a"]


@pytest.mark.parametrize("place", ["wait", "delayed", "waiting_children"])
async def test_a_child_is_failed_by_a_worker_for_its_parent(link: Link, keys: Keys, place: str) -> None:
    fields = {"child": {"parentKey": "bull:other:p"}}
    await seed(link, keys, wait=["child", "w"] if place == "wait" else ["w"], jobs=fields if place == "wait" else None)
    if place == "delayed":
        await seed(link, keys, delayed={"child": 500}, jobs=fields)
    elif place == "waiting_children":
        await seed(link, keys, waiting_children={"child": 1}, jobs=fields)
    for now in (7, 8):
        assert await ask(link, keys, "child", now=now) is Cancellation.ASKED
        assert (await census(link, keys))["wait"] == ["child", "w"]
    said = {"wait": [], "delayed": ["delayed"], "waiting_children": ["waiting-children"]}[place]
    assert await events(link, keys) == [f"waiting child prev={prev}" for prev in said]
    jobs = (await claim(link, keys, token="t1", lock_ms=60_000, worker="w", count=1, now=9)).jobs
    assert [(job.id, job.deferred_failure) for job in jobs] == [("child", "cancelled: why")]


async def test_the_pending_run_of_a_schedule_is_left_alone(link: Link, keys: Keys) -> None:
    await seed(link, keys, delayed={"repeat:daily:500": 500}, jobs={"repeat:daily:500": {"rjk": "daily"}})
    await link.call("ZADD", keys.repeat, 500, "daily")
    before = await dump(link)
    with pytest.raises(WrongState, match="remove the schedule"):
        await ask(link, keys, "repeat:daily:500")
    assert await dump(link) == before


@pytest.mark.usefixtures("damaged")
async def test_what_is_no_job_is_missing(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["list"])
    await link.call("DEL", keys.job("list"))
    await link.call("LPUSH", keys.job("list"), "not a hash")
    before = await dump(link)
    for id in ("gone", "wait", "list"):
        assert await ask(link, keys, id) is Cancellation.MISSING
    assert await dump(link) == before


@pytest.mark.parametrize(("ttl", "stays"), [(None, False), (60_000, True)])
async def test_the_end_of_a_job_ends_its_deduplication(link: Link, keys: Keys, ttl: int | None, stays: bool) -> None:
    await seed(link, keys, wait=["a"], jobs={"a": {"deid": "one"}})
    await link.call("SET", keys.jobs + "de:one", "a", *(("PX", ttl) if ttl else ()))
    await ask(link, keys, "a")
    assert await link.call("EXISTS", keys.jobs + "de:one") == int(stays)


async def test_what_was_kept_for_the_end_of_a_job_follows_it(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"], jobs={"a": {"deid": "one"}})
    await link.call("SET", keys.jobs + "de:one", "a")
    await link.call("HSET", keys.jobs + "dn:one", "name", "n", "data", "{}", "opts", "{}", "jid", "b")
    await ask(link, keys, "a")
    found = await census(link, keys)
    assert (found["failed"], found["wait"]) == (["a"], ["b"])
    assert await link.call("GET", keys.jobs + "de:one") == b"b"
    assert await link.call("EXISTS", keys.jobs + "dn:one") == 0


@pytest.mark.parametrize("id", ["w", "a"])
async def test_a_full_server_lets_jobs_be_cancelled(link: Link, keys: Keys, id: str) -> None:
    await seed(link, keys, wait=["w"], active={"a": Held()})
    await link.call("CONFIG", "SET", "maxmemory", 1)
    try:
        await ask(link, keys, id)
    finally:
        await link.call("CONFIG", "SET", "maxmemory", 0)
