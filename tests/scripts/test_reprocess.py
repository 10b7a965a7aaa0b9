"""reprocess: failed or completed jobs run again."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.errors import JobNotFound, WrongState
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Failed
from engine.scripting.rows import Refusal
from engine.scripts.claim import claim
from engine.scripts.fail import fail
from engine.scripts.finish import finish
from engine.scripts.progress import progress
from engine.scripts.recover_stalled import recover_stalled
from engine.scripts.reprocess import NotReprocessed, reprocess
from tests.support.keyspace import census, dump, events, job
from tests.support.seeding import Held, claimed, seed


@pytest.mark.parametrize(("place", "field"), [("failed", "failedReason"), ("completed", "returnvalue")])
async def test_a_job_waits_as_if_it_had_not_ended(link: Link, keys: Keys, place: str, field: str) -> None:
    await seed(link, keys, **{place: {"a": 5}}, wait=["w"], jobs={"a": {"stacktrace": '["s"]', "stc": 1}})  # type: ignore[arg-type]
    assert field in await job(link, keys, "a")
    assert await reprocess(link, keys, [("a", False)], now=7) == {}
    assert await job(link, keys, "a") == {
        "name": "n", "data": "{}", "opts": "{}", "timestamp": "0", "delay": "0", "priority": "0",
        "atm": "1", "ats": "1", "stc": "1", "stacktrace": '["s"]',
    }  # fmt: skip
    assert {name: ids for name, ids in (await census(link, keys)).items() if ids} == {"wait": ["w", "a"]}
    assert await events(link, keys) == [f"waiting a prev={place}"]
    assert await link.call("ZSCORE", keys.marker, "0") == b"0"


async def test_priority_and_lifo_are_kept(link: Link, keys: Keys) -> None:
    await seed(
        link, keys, wait=["w"], prioritized={"p": 2}, failed=dict.fromkeys(["a", "b", "c", "d"], 1),
        jobs={"c": {"priority": 2}, "d": {"priority": 2}},
    )  # fmt: skip
    assert await reprocess(link, keys, [("a", False), ("b", True), ("c", False), ("d", True)], now=7) == {}
    found = await census(link, keys)
    assert (found["wait"], found["prioritized"]) == (["b", "w", "a"], ["d", "p", "c"])


@pytest.mark.parametrize("lock_ended", [False, True])
async def test_a_reset_counts_from_0_and_old_claims_stay_lost(link: Link, keys: Keys, lock_ended: bool) -> None:
    await seed(link, keys, wait=["a"])
    [old] = (await claim(link, keys, token="t1", lock_ms=9_000, worker="w", count=1, now=1)).jobs
    await link.call("DEL", keys.lock("a"))
    assert await recover_stalled(link, keys, interval_ms=60_000, max_stalls=5, now=2) == ["a"]
    [doomed] = (await claim(link, keys, token="t2", lock_ms=9_000, worker="w", count=1, now=3)).jobs
    assert await fail(link, keys, [(doomed, Failed("stalled"), Keep(), 1)], now=4) == {}
    assert await reprocess(link, keys, [("a", False)], reset=True, now=5) == {}
    assert {"atm", "ats", "stc"} & (await job(link, keys, "a")).keys() == set()
    [again] = (await claim(link, keys, token="t3", lock_ms=9_000, worker="w", count=1, now=6)).jobs
    assert (again.fence, again.attempts_made, again.stalls) == (old.fence, 0, 0)
    if lock_ended:
        await link.call("DEL", keys.lock("a"))
    before = await dump(link)
    for stale in (old, doomed):
        assert await finish(link, keys, [(stale, b"1", Keep())], now=7) == {0: Refusal.LOST}
        assert await progress(link, keys, [("a", stale, b"1")], now=7) == {0: Refusal.LOST}
    assert await dump(link) == before
    assert await finish(link, keys, [(again, b"2", Keep())], now=8) == {}


async def test_the_claim_that_ended_the_job_is_not_taken_for_the_new_one(link: Link, keys: Keys) -> None:
    await seed(link, keys, completed={"a": 5})
    assert await reprocess(link, keys, [("a", False)], now=7) == {}
    before = await dump(link)
    assert await finish(link, keys, [(claimed("a", "done"), b"2", Keep())], now=8) == {0: Refusal.LOST}
    assert await dump(link) == before


async def test_sent_twice_it_does_nothing_more(link: Link, keys: Keys) -> None:
    await seed(link, keys, failed={"a": 5})
    assert await reprocess(link, keys, [("a", False), ("a", False)], now=7) == {"a": NotReprocessed.WRONG_STATE}
    before = await dump(link)
    assert await reprocess(link, keys, [("a", False)], now=8) == {"a": NotReprocessed.WRONG_STATE}
    assert await dump(link) == before


async def test_other_jobs_are_refused_and_hold_up_no_other(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held()}, delayed={"d": 9}, failed={"f": 1})
    wrong, missing = NotReprocessed.WRONG_STATE, NotReprocessed.MISSING
    rows = [("a", False), ("d", False), ("gone", False), ("failed", False), ("f", False)]
    assert await reprocess(link, keys, rows, now=7) == {"a": wrong, "d": wrong, "gone": missing, "failed": missing}
    assert (await census(link, keys))["wait"] == ["f"]
    assert isinstance(wrong.error("a"), WrongState)
    assert isinstance(missing.error("a"), JobNotFound)


@pytest.mark.parametrize("meta", [{"paused": 1}, {"concurrency": 1}])
async def test_nobody_is_woken_where_nothing_can_be_claimed(link: Link, keys: Keys, meta: dict[str, int]) -> None:
    await seed(link, keys, failed={"a": 1}, active={"x": Held()}, meta=meta)
    assert await reprocess(link, keys, [("a", False)], now=7) == {}
    assert (await census(link, keys))["paused" if "paused" in meta else "wait"] == ["a"]
    assert await link.call("EXISTS", keys.marker) == 0


async def test_many_jobs_go_in_their_order_and_each_refusal_names_its_job(link: Link, keys: Keys) -> None:
    ids = [f"j{n:03}" for n in range(600)]
    await seed(link, keys, failed=dict.fromkeys(ids, 1))
    rows = [(id, False) for id in (*ids[:300], "gone", *ids[300:], "gone2")]
    missing = NotReprocessed.MISSING
    assert await reprocess(link, keys, rows, now=7) == {"gone": missing, "gone2": missing}
    assert (await census(link, keys))["wait"] == ids
