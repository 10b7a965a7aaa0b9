"""fail: from the hands of a worker to the failed jobs, or out of the queue."""

from __future__ import annotations

from engine.job import Failed
from engine.keys import Keys
from engine.link import Link
from engine.options import Keep
from engine.scripts.fail import fail
from engine.scripts.rows import Refusal
from tests.support.queues import Held, census, claimed, dump, events, job, seed, snapshot

ALL = Keep()


async def test_a_failed_job_keeps_its_reason_and_traces_and_loses_its_deferred_failure(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, stalled=["a"], jobs={"a": {"defa": "stalled", "stacktrace": '["x"]'}})
    assert await fail(link, keys, [(claimed("a"), Failed("boom", b'["x","y"]'), ALL, 3)], now=7) == {}
    assert await snapshot(link, keys) == {
        "failed": {"a": 7},
        "events": ["failed a failedReason=boom prev=active", "drained"],
        "job:a": {
            "name": "n", "data": "{}", "opts": "{}", "timestamp": "0", "delay": "0", "priority": "0",
            "processedOn": "1", "ats": "1", "owner": "t1", "pb": "w",
            "failedReason": "boom", "stacktrace": '["x","y"]', "finishedOn": "7", "atm": "1",
        },
    }  # fmt: skip


async def test_only_a_job_without_attempts_left_says_that_they_are_exhausted(link: Link, keys: Keys) -> None:
    attempts = {"none": 0, "one": 1, "more": 3, "last": 2}
    jobs: dict[str, dict[str, int | str]] = {"last": {"atm": 1, "opts": '{"attempts":2}'}}
    await seed(link, keys, active={id: Held(fence=2) for id in attempts}, jobs=jobs)
    await fail(link, keys, [(claimed(id, fence=2), Failed("no"), ALL, n) for id, n in attempts.items()], now=7)
    said = [line for line in await events(link, keys) if line.startswith("retries-exhausted")]
    assert said == [
        "retries-exhausted none attemptsMade=1",
        "retries-exhausted one attemptsMade=1",
        "retries-exhausted last attemptsMade=2",
    ]


async def test_a_reply_that_was_lost_is_given_again(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, wait=["w"])
    failure = [(claimed("a"), Failed("boom"), ALL, 1)]
    assert await fail(link, keys, failure, now=7) == {}
    before = await dump(link)
    assert await fail(link, keys, failure, now=8) == {0: Refusal.DONE}
    assert await dump(link) == before


async def test_a_job_of_which_nothing_is_kept_leaves_nothing(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, failed={"old": 1})
    await link.call("RPUSH", keys.logs("a"), "line")
    await fail(link, keys, [(claimed("a"), Failed("boom"), Keep(count=0), 1)], now=7)
    found = await snapshot(link, keys)
    assert set(found) == {"failed", "job:old", "events"}
    assert found["events"] == [
        "failed a failedReason=boom prev=active",
        "retries-exhausted a attemptsMade=1",
        "drained",
    ]


async def test_retention_trims_failed_jobs_only(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, failed={"f1": 1, "f2": 2}, completed={"c": 1})
    await fail(link, keys, [(claimed("a"), Failed("boom"), Keep(count=2), 1)], now=7)
    found = await census(link, keys)
    assert (found["failed"], found["completed"]) == (["f2", "a"], ["c"])


async def test_a_slot_left_under_a_global_concurrency_wakes_a_worker(link: Link, keys: Keys) -> None:
    await seed(link, keys, prioritized={"p": 1}, active={"a": Held()}, meta={"concurrency": 1})
    await fail(link, keys, [(claimed("a"), Failed("boom"), ALL, 1)], now=7)
    assert (await snapshot(link, keys))["marker"] == {"0": 0}


async def test_a_reason_in_any_script_and_a_thousand_rows_are_kept(link: Link, keys: Keys) -> None:
    ids = [f"j{n}" for n in range(1_000)]
    await seed(link, keys, active={id: Held() for id in ids})
    reason = 'Fehler: „ä“ 🚀 \x1b[31m"\n'
    assert await fail(link, keys, [(claimed(id), Failed(reason), ALL, 1) for id in ids], now=7) == {}
    assert (await job(link, keys, "j999"))["failedReason"] == reason
    assert len((await census(link, keys))["failed"]) == 1_000
