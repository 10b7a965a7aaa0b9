"""claim: from the line into the hands of a worker."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Failed
from engine.scripts.claim import ClaimReply, claim
from engine.scripts.fail import fail
from engine.scripts.renew import renew
from tests.support.keyspace import census, dump, events, job, snapshot
from tests.support.seeding import Held, seed


async def take(link: Link, keys: Keys, count: int = 10, *, token: str = "t1", now: int = 7) -> ClaimReply:
    return await claim(link, keys, token=token, lock_ms=30_000, worker="w", count=count, now=now)


async def test_a_claimed_job_is_active_locked_and_marked_with_its_claim(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a", "b"], jobs={"a": {"data": '{"x":1}', "opts": '{"attempts":3}', "timestamp": 5}})
    claims = await take(link, keys, 1)
    [first] = claims.jobs
    assert (first.id, first.token, first.fence, first.name, first.data) == ("a", "t1", 1, "n", b'{"x":1}')
    assert (first.opts, first.timestamp, first.attempts_made, first.deferred_failure) == (b'{"attempts":3}', 5, 0, None)
    assert (claims.next_due, claims.more) == (None, True)
    assert await snapshot(link, keys) == {
        "wait": ["b"],
        "active": ["a"],
        "lock:a": "t1",
        "marker": {"0": 0},
        "events": ["active a prev=waiting"],
        "job:a": {
            "name": "n", "data": '{"x":1}', "opts": '{"attempts":3}', "timestamp": "5", "delay": "0", "priority": "0",
            "processedOn": "7", "ats": "1", "owner": "t1", "pb": "w",
        },
        "job:b": {"name": "n", "data": "{}", "opts": "{}", "timestamp": "0", "delay": "0", "priority": "0"},
    }  # fmt: skip
    assert 29_000 < await link.call("PTTL", keys.lock("a")) <= 30_000


async def test_claims_follow_the_order_of_wait_then_priority(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a", "b"], prioritized={"p5": 5, "p1": 1, "p1b": 1})
    assert [job.id for job in (await take(link, keys)).jobs] == ["a", "b", "p1", "p1b", "p5"]
    assert (await census(link, keys))["active"] == ["a", "b", "p1", "p1b", "p5"]
    assert await link.call("EXISTS", keys.pc, keys.marker) == 0, "nothing was left behind: no counter and no wake-up"


async def test_a_thousand_jobs_come_in_one_call(link: Link, keys: Keys) -> None:
    ids = [f"j{n}" for n in range(1_000)]
    await seed(link, keys, wait=ids)
    assert [job.id for job in (await take(link, keys, 1_000)).jobs] == ids


async def test_large_jobs_come_a_megabyte_a_call(link: Link, keys: Keys) -> None:
    large = {"data": '"' + "x" * 600_000 + '"'}
    await seed(link, keys, wait=["a", "b", "c"], prioritized={"p": 1, "q": 2}, jobs=dict.fromkeys("abcpq", large))
    came = []
    for token in ("t1", "t2", "t3"):
        claims = await take(link, keys, token=token)
        came.append(([job.id for job in claims.jobs], claims.more))
    assert came == [(["a", "b"], True), (["c", "p"], True), (["q"], False)]
    assert (await census(link, keys))["active"] == ["a", "b", "c", "p", "q"]


async def test_a_job_is_never_claimed_twice(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"])
    assert len((await take(link, keys, token="t1")).jobs) == 1
    before = await dump(link)
    assert (await take(link, keys, token="t1")).jobs == []
    assert (await take(link, keys, token="t2")).jobs == []
    assert await dump(link) == before


async def test_an_id_that_is_queued_twice_is_claimed_once(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a", "b"])
    await link.call("LPUSH", keys.wait, "a")
    assert [job.id for job in (await take(link, keys)).jobs] == ["a", "b"]
    found = await census(link, keys)
    assert {state: ids for state, ids in found.items() if ids} == {"active": ["a", "b"]}


async def test_delayed_jobs_come_when_they_are_due_and_never_before(link: Link, keys: Keys) -> None:
    await seed(link, keys, delayed={"a": 100, "b": 101}, prioritized={"p": 1})
    claims = await take(link, keys, 1, now=99)
    assert ([job.id for job in claims.jobs], claims.next_due) == (["p"], 1)
    claims = await take(link, keys, now=100)
    assert ([job.id for job in claims.jobs], claims.next_due) == (["a"], 1)
    assert (await job(link, keys, "a"))["delay"] == "0"
    assert (await take(link, keys, now=101)).next_due is None
    assert await events(link, keys) == [
        "active p prev=waiting",
        "waiting a prev=delayed",
        "active a prev=waiting",
        "waiting b prev=delayed",
        "active b prev=waiting",
    ]


async def test_more_due_jobs_than_one_call_promotes_follow_in_the_next(link: Link, keys: Keys) -> None:
    ids = [f"j{n:04}" for n in range(400)]
    await seed(link, keys, delayed=dict.fromkeys(ids, 5))
    claims = await take(link, keys, 1_000)
    assert ([job.id for job in claims.jobs], claims.next_due) == (ids[:250], 0)
    assert [job.id for job in (await take(link, keys, 1_000)).jobs] == ids[250:]


@pytest.mark.parametrize("stray", ["", "0:1700000000000", "gone", "meta", "events"])
async def test_an_id_without_a_job_is_dropped_with_an_event(link: Link, keys: Keys, stray: str) -> None:
    await seed(link, keys, wait=["a"], meta={"opts.maxLenEvents": 100})
    await link.call("RPUSH", keys.wait, stray)
    await link.call("ZADD", keys.prioritized, 1, "away")
    assert [job.id for job in (await take(link, keys)).jobs] == ["a"]
    assert set(await events(link, keys)) >= {f"missing {stray}", "missing away"}
    assert (await census(link, keys))["wait"] == []


@pytest.mark.usefixtures("damaged")
async def test_a_foreign_key_at_a_jobs_place_does_not_stop_the_queue(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a", "b"], delayed={"c": 3, "d": 4})
    for id in ("a", "c"):
        await link.call("DEL", keys.job(id))
        await link.call("SET", keys.job(id), "not a hash")
    assert [job.id for job in (await take(link, keys)).jobs] == ["b", "d"]


async def test_a_hash_without_a_name_comes_with_what_is_wrong(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"])
    await link.call("HDEL", keys.job("a"), "name")
    [broken] = (await take(link, keys)).jobs
    assert broken.broken


async def test_a_recovered_job_is_claimed_with_its_stalls(link: Link, keys: Keys) -> None:
    await seed(
        link, keys, wait=["a"],
        jobs={"a": {"stc": 2, "atm": 1, "ats": 4, "defa": "stalled", "stacktrace": '["x"]', "progress": "50"}},
    )  # fmt: skip
    [job] = (await take(link, keys)).jobs
    assert (job.stalls, job.attempts_made, job.fence) == (2, 1, 5)
    assert (job.deferred_failure, job.stacktrace, job.progress) == ("stalled", b'["x"]', b"50")


async def test_bytes_that_are_no_text_come_untouched(link: Link, keys: Keys) -> None:
    data = bytes(range(256)) + "ä🚀".encode()
    await seed(link, keys, wait=["ä🚀"], jobs={"ä🚀": {"data": data}})
    [job] = (await take(link, keys)).jobs
    assert (job.id, job.data) == ("ä🚀", data)


@pytest.mark.parametrize("place", ["wait", "paused"])
async def test_a_paused_queue_gives_nothing_and_promotes_into_paused(link: Link, keys: Keys, place: str) -> None:
    await seed(link, keys, **{place: ["a"]}, prioritized={"p": 1}, delayed={"d": 3}, meta={"paused": 1})  # type: ignore[arg-type]
    claims = await take(link, keys)
    assert (claims.jobs, claims.more) == ([], False)
    found = await census(link, keys)
    assert (found["paused"], found["wait"]) == (["a", "d"], [])
    assert await link.call("EXISTS", keys.marker) == 0


async def test_a_global_concurrency_is_never_exceeded(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["b", "c", "d"], active={"a": Held()}, meta={"concurrency": 3})
    assert [job.id for job in (await take(link, keys)).jobs] == ["b", "c"]
    assert await link.call("EXISTS", keys.marker) == 0, "nobody is woken for a slot that is not there"
    claims = await take(link, keys, token="t2")
    assert (claims.jobs, claims.more) == ([], False)


async def test_nothing_wanted_takes_nothing(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"])
    claims = await take(link, keys, 0)
    assert (claims.jobs, claims.more) == ([], True)
    assert (await census(link, keys))["wait"] == ["a"]


async def test_the_stream_is_trimmed_to_the_length_that_meta_names(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=[f"j{n}" for n in range(900)], meta={"opts.maxLenEvents": 100})
    for _ in range(9):
        await take(link, keys, 100)
    assert await link.call("XLEN", keys.events) < 900


@pytest.mark.parametrize(
    ("starts", "fence"), [("3", 4), ("abc", 1), ("-5", 1), ("1.5", 1), ("1e300", 1), ("inf", 1), ("nan", 1)]
)
async def test_a_start_count_that_is_none_begins_anew(link: Link, keys: Keys, starts: str, fence: int) -> None:
    await seed(link, keys, wait=["a"], jobs={"a": {"ats": starts}})
    (held,) = (await claim(link, keys, token="t", lock_ms=9_000, worker="w", count=1, now=7)).jobs
    assert (held.fence, (await job(link, keys, "a"))["ats"]) == (fence, str(fence))
    assert await renew(link, keys, [held], lock_ms=9_000, now=7) == {}, "the claim holds"


async def test_an_id_that_is_no_text_comes_with_what_is_wrong_and_can_be_failed(link: Link, keys: Keys) -> None:
    raw = keys.jobs.encode() + b"caf\xe9"
    await link.call("HSET", raw, "name", "n", "data", "{}", "timestamp", 0)
    await link.call("LPUSH", keys.wait, b"caf\xe9")
    (held,) = (await claim(link, keys, token="t", lock_ms=9_000, worker="w", count=1, now=7)).jobs
    assert (held.id, held.raw) == ("caf\ufffd", b"caf\xe9")
    assert held.broken is not None
    assert await fail(link, keys, [(held, Failed(held.broken), Keep(), 1)], now=7) == {}
    assert await link.call("ZRANGE", keys.failed, 0, -1) == [b"caf\xe9"]
