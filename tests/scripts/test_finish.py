"""finish: from the hands of a worker to the completed jobs, or out of the queue."""

from __future__ import annotations

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import Keep, read_options
from engine.scripting.rows import Refusal
from engine.scripts.finish import finish
from tests.support.invariants import check_invariants
from tests.support.keyspace import census, dump, events, job, snapshot
from tests.support.seeding import Held, claimed, seed

ALL = Keep()


async def test_a_finished_job_is_completed_with_its_result(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w"], active={"a": Held()}, stalled=["a"])
    assert await finish(link, keys, [(claimed("a"), b'{"x":1}', ALL)], now=7) == {}
    assert await snapshot(link, keys) == {
        "wait": ["w"],
        "completed": {"a": 7},
        "events": ['completed a returnvalue={"x":1} prev=active'],
        "job:a": {
            "name": "n", "data": "{}", "opts": "{}", "timestamp": "0", "delay": "0", "priority": "0",
            "processedOn": "1", "ats": "1", "owner": "t1", "pb": "w",
            "returnvalue": '{"x":1}', "finishedOn": "7", "atm": "1",
        },
        "job:w": {"name": "n", "data": "{}", "opts": "{}", "timestamp": "0", "delay": "0", "priority": "0"},
    }  # fmt: skip


async def test_a_reply_that_was_lost_is_given_again(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(), "b": Held()})
    assert await finish(link, keys, [(claimed("a"), b"1", ALL)], now=7) == {}
    before = await dump(link)
    assert await finish(link, keys, [(claimed("a"), b"2", ALL)], now=8) == {0: Refusal.DONE}
    assert await dump(link) == before
    await finish(link, keys, [(claimed("b"), b"1", Keep(count=0))], now=9)
    assert await finish(link, keys, [(claimed("b"), b"1", Keep(count=0))], now=9) == {0: Refusal.MISSING}


async def test_rows_that_are_refused_hold_up_no_other(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held("t1"), "b": Held("t9"), "c": Held("t1", 2, None)}, completed={"d": 1})
    rows = [
        claimed("b"),
        claimed("a"),
        claimed("c"),
        claimed("a"),
        claimed("gone"),
        claimed("d"),
        claimed("c", fence=2),
    ]
    assert await finish(link, keys, [(claim, b"1", ALL) for claim in rows], now=7) == {
        0: Refusal.LOST, 2: Refusal.LOST, 3: Refusal.DONE, 4: Refusal.MISSING, 5: Refusal.LOST,
    }  # fmt: skip
    assert (await census(link, keys))["completed"] == ["d", "a", "c"]
    assert (await census(link, keys))["active"] == ["b"]


async def test_a_job_that_was_swept_and_taken_by_another_is_lost_to_the_first(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held("t2", fence=2)})
    before = await dump(link)
    assert await finish(link, keys, [(claimed("a", "t1", 1), b"1", ALL)], now=7) == {0: Refusal.LOST}
    assert await dump(link) == before


async def test_a_job_that_was_swept_and_waits_is_lost_to_the_first(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"], jobs={"a": {"ats": 1, "owner": "t1"}})
    before = await dump(link)
    assert await finish(link, keys, [(claimed("a"), b"1", ALL)], now=7) == {0: Refusal.LOST}
    assert await dump(link) == before


async def test_a_job_that_a_bullmq_worker_took_over_is_lost_to_the_first(link: Link, keys: Keys) -> None:
    # BullMQ raises `ats` and sets the lock; it does not know the owner.
    await seed(link, keys, active={"a": Held("t1", 2, None)})
    assert await finish(link, keys, [(claimed("a", "t1", 1), b"1", ALL)], now=7) == {0: Refusal.LOST}


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Keep(), ["old", "c1", "c2", "a", "b"]),
        (Keep(count=2), ["a", "b"]),
        (Keep(count=4), ["c1", "c2", "a", "b"]),
        (Keep(age=2_000), ["c2", "a", "b"]),
        (Keep(count=2, age=2_000), ["a", "b"]),
        (Keep(count=9, age=3_000), ["c1", "c2", "a", "b"]),
        (Keep(age=0), []),
        (Keep(count=0), ["old", "c1", "c2"]),
    ],
)
async def test_retention_keeps_the_newest_by_count_and_age(link: Link, keys: Keys, keep: Keep, left: list[str]) -> None:
    await seed(link, keys, active={"a": Held(), "b": Held()}, completed={"old": 1_000, "c1": 8_000, "c2": 9_000})
    await link.call("RPUSH", keys.logs("c1"), "line")
    await finish(link, keys, [(claimed("a"), b"1", keep), (claimed("b"), b"1", keep)], now=10_000)
    assert (await census(link, keys))["completed"] == left
    hashes = {name for name in await snapshot(link, keys) if name.startswith("job:")}
    assert hashes == {f"job:{id}" for id in left}, "what is trimmed leaves no hash behind"
    assert len([line for line in await events(link, keys) if line.startswith("completed")]) == 2
    if keep.count != 0:
        await check_invariants(link, keys, keep_completed=keep)


async def test_each_job_trims_by_its_own_rule(link: Link, keys: Keys) -> None:
    held = {id: Held() for id in "abcde"}
    await seed(link, keys, active=held, completed={"x": 1, "y": 2})
    rules = {"a": ALL, "b": Keep(count=2), "c": Keep(count=0), "d": Keep(count=3), "e": ALL}
    await finish(link, keys, [(claimed(id), b"1", keep) for id, keep in rules.items()], now=7)
    assert (await census(link, keys))["completed"] == ["a", "b", "d", "e"]


@pytest.mark.parametrize(("limit", "left"), [(1, 4), (2, 2), (9, 0), (5_000, 0)])
async def test_a_limit_is_what_one_job_deletes_by_age(link: Link, keys: Keys, limit: int, left: int) -> None:
    """Of each job: a call with many of them keeps up with what they add."""
    old = {f"c{n}": n for n in range(6)}
    await seed(link, keys, active={"a": Held(), "b": Held()}, completed=old)
    keep = read_options(f'{{"removeOnComplete":{{"age":5,"limit":{limit}}}}}'.encode()).remove_on_complete
    assert keep == Keep.check("remove_on_complete", {"age": 5, "limit": limit})
    await finish(link, keys, [(claimed("a"), b"1", keep), (claimed("b"), b"1", keep)], now=10_000)
    assert (await census(link, keys))["completed"] == [*list(old)[6 - left :], "a", "b"]


async def test_a_call_trims_at_most_500_jobs(link: Link, keys: Keys) -> None:
    await seed(link, keys, active={"a": Held(), "b": Held()}, completed={f"c{n:04}": n for n in range(900)})
    await finish(link, keys, [(claimed("a"), b"1", Keep(count=1))], now=2_000)
    assert await link.call("ZCARD", keys.completed) == 401
    await finish(link, keys, [(claimed("b"), b"1", Keep(count=1))], now=2_001)
    assert (await census(link, keys))["completed"] == ["b"]


async def test_all_rules_of_a_call_trim_500_together(link: Link, keys: Keys) -> None:
    old = {f"c{n:04}": n for n in range(2_000)}
    await seed(link, keys, active={"a": Held(), "b": Held()}, completed=old)
    rules = [Keep(count=1, age=5_000), Keep(count=2, age=5_000)]
    rows = [(claimed(id), b"1", rule) for id, rule in zip("ab", rules, strict=True)]
    assert await finish(link, keys, rows, now=8_000) == {}
    assert await link.call("ZCARD", keys.completed) == 1_502


async def test_a_thousand_jobs_finish_in_one_call(link: Link, keys: Keys) -> None:
    ids = [f"j{n:04}" for n in range(1_000)]
    await seed(link, keys, active={id: Held() for id in ids})
    assert await finish(link, keys, [(claimed(id), b"1", Keep(count=10)) for id in ids], now=7) == {}
    assert (await census(link, keys))["completed"] == ids[-10:]
    assert (await events(link, keys))[-1] == "drained"


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({}, True),
        ({"delayed": {"d": 9}}, True),
        ({"wait": ["w"]}, False),
        ({"prioritized": {"p": 1}}, False),
        ({"active": {"b": Held()}}, False),
    ],
)
async def test_the_last_job_says_that_the_queue_is_drained(
    link: Link, keys: Keys, places: dict[str, object], said: bool
) -> None:
    await seed(link, keys, **places)  # type: ignore[arg-type]
    await seed(link, keys, active={"a": Held()})
    await finish(link, keys, [(claimed("a"), b"1", ALL)], now=7)
    assert ("drained" in await events(link, keys)) is said


async def test_a_slot_left_under_a_global_concurrency_wakes_a_worker(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w"], active={"a": Held()}, meta={"concurrency": 1})
    await finish(link, keys, [(claimed("a"), b"1", ALL)], now=7)
    assert (await snapshot(link, keys))["marker"] == {"0": 0}


async def test_a_deduplication_ends_with_its_job_unless_its_window_runs(link: Link, keys: Keys) -> None:
    jobs = {"a": {"deid": "mine"}, "b": {"deid": "timed"}, "c": {"deid": "other"}}
    await seed(link, keys, active={id: Held() for id in "abc"}, wait=["w"], jobs=jobs)
    await link.call("SET", keys.jobs + "de:mine", "a")
    await link.call("SET", keys.jobs + "de:timed", "b", "PX", 60_000)
    await link.call("SET", keys.jobs + "de:other", "w")
    await finish(link, keys, [(claimed(id, opts=b'{"de":{}}'), b"1", ALL) for id in "abc"], now=7)
    found = await snapshot(link, keys)
    assert {name: value for name, value in found.items() if name.startswith("de:")} == {
        "de:timed": "b",
        "de:other": "w",
    }


async def test_results_and_attempts_of_other_writers_are_kept(link: Link, keys: Keys) -> None:
    value = '{"a":[],"n":12345678901234567,"u":"ä🚀"}'.encode()
    await seed(link, keys, active={"a": Held(fence=4)}, jobs={"a": {"atm": 2, "opts": '{"attempts":3}'}})
    await finish(link, keys, [(claimed("a", fence=4, made=2), value, ALL)], now=1_795_485_221_072)
    found = await job(link, keys, "a")
    assert (found["returnvalue"].encode(), found["atm"], found["finishedOn"]) == (value, "3", "1795485221072")
