"""delay: from the hands of a worker to the delayed set."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.records import Claimed, Delayed, Retrying
from engine.scripting.rows import Refusal
from engine.scripts.claim import claim
from engine.scripts.delay import delay
from tests.support.keyspace import census, dump, snapshot
from tests.support.seeding import Held, claimed, seed


async def test_a_delayed_job_waits_from_now_on_and_has_used_an_attempt(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, stalled=["a"], jobs={"a": {"opts": '{"attempts":2}'}})
    assert await delay(link, keys, [(claimed("a"), Retrying(50, "boom", b'["x"]'))], now=7) == {}
    assert await snapshot(link, keys) == {
        "delayed": {"a": 57 * 4096},
        "marker": {"1": 57},
        "events": ["delayed a delay=57"],
        "job:a": {
            "name": "n", "data": "{}", "opts": '{"attempts":2}', "timestamp": "0", "delay": "50", "priority": "0",
            "processedOn": "1", "ats": "1", "pb": "w", "failedReason": "boom", "stacktrace": '["x"]', "atm": "1",
        },
    }  # fmt: skip


async def test_a_run_that_asked_for_a_later_one_uses_no_attempt_and_leaves_no_reason(link: Link, keys: Keys) -> None:
    jobs: dict[str, dict[str, int | str]] = {
        id: {"atm": 1, "failedReason": "old", "stacktrace": '["x"]'} for id in "ab"
    }
    await seed(link, keys, active={"a": Held(fence=2), "b": Held(fence=2)}, jobs=jobs)
    later: list[tuple[Claimed, Retrying | Delayed]] = [
        (claimed("a", fence=2), Delayed(50)),
        (claimed("b", fence=2), Retrying(50, "new", b'["y"]')),
    ]
    assert await delay(link, keys, later, now=7) == {}
    found = await snapshot(link, keys)
    assert found["delayed"] == {"a": 57 * 4096, "b": 57 * 4096 + 1}
    fields = ("delay", "atm", "failedReason", "stacktrace")
    assert [found["job:a"][field] for field in fields] == ["50", "1", "old", '["x"]']
    assert [found["job:b"][field] for field in fields] == ["50", "2", "new", '["y"]']
    before = await dump(link)
    assert await delay(link, keys, later, now=8) == {0: Refusal.LOST, 1: Refusal.LOST}
    assert await dump(link) == before


async def test_it_comes_back_when_it_is_due_and_keeps_its_priority(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, jobs={"a": {"priority": 3, "opts": '{"attempts":2}'}})
    await delay(link, keys, [(claimed("a"), Retrying(50, "boom"))], now=7)
    early = await claim(link, keys, token="t2", lock_ms=9, worker="w", count=9, now=56)
    assert (early.jobs, early.next_due) == ([], 1)
    [job] = (await claim(link, keys, token="t2", lock_ms=9_000, worker="w", count=9, now=57)).jobs
    assert (job.id, job.priority, job.attempts_made, job.fence) == ("a", 3, 1, 2)


async def test_sent_again_the_claim_is_lost(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()})
    await delay(link, keys, [(claimed("a"), Retrying(50, "x"))], now=7)
    before = await dump(link)
    assert await delay(link, keys, [(claimed("a"), Retrying(50, "x"))], now=8) == {0: Refusal.LOST}
    assert await dump(link) == before


async def test_many_due_in_one_ms_stand_behind_those_that_were_there(link: Link, keys: Keys) -> None:
    ids = [f"j{n:04}" for n in range(1_000)]
    await seed(link, keys, active={id: Held() for id in ids}, delayed={"there": 57, "after": 58})
    assert await delay(link, keys, [(claimed(id), Retrying(50, "ä🚀")) for id in ids], now=7) == {}
    assert (await census(link, keys))["delayed"] == ["there", *ids, "after"]


async def test_a_slot_left_under_a_global_concurrency_wakes_a_worker(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w"], active={"a": Held()}, meta={"concurrency": 1})
    await delay(link, keys, [(claimed("a"), Retrying(50, "x"))], now=7)
    assert (await snapshot(link, keys))["marker"] == {"0": 0, "1": 57}
