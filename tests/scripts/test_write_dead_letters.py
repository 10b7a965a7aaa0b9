"""write_dead_letters: a failed job without a dead letter gets one."""

from __future__ import annotations

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.write_dead_letters import write_dead_letters
from tests.support.dead_letters import ALL, Death, fail_jobs, stored_dead_letters
from tests.support.keyspace import dump
from tests.support.seeding import Held, seed


async def test_a_failed_job_gets_a_letter_from_its_hash(link: Link, keys: Keys) -> None:
    await seed(link, keys, failed={"f": 3}, jobs={"f": {"name": "sms", "data": '{"a":1}', "failedReason": "no", "stacktrace": '["x"]', "pb": "w9"}})  # fmt: skip
    assert await write_dead_letters(link, keys, [("f", "TypeError", "t1")], now=7) == 1
    assert await stored_dead_letters(link, keys) == {
        "letter:f:record": {
            "name": "sms", "data": '{"a":1}', "opts": "{}", "timestamp": "0", "priority": "0", "ats": "1", "pb": "w9",
            "processedOn": "0", "finishedOn": "3", "failedReason": "no", "stacktrace": '["x"]', "atm": "1",
            "error": "TypeError", "tenant": "t1", "times": "1",
        },
        "open": {"f": 3}, "type:3:sms:ids": {"f": 3}, "error:9:TypeError:ids": {"f": 3}, "tenant:2:t1:ids": {"f": 3},
        "type+error:3:sms:9:TypeError:ids": {"f": 3}, "type+tenant:3:sms:2:t1:ids": {"f": 3},
        "error+tenant:9:TypeError:2:t1:ids": {"f": 3}, "type+error+tenant:3:sms:9:TypeError:2:t1:ids": {"f": 3},
        "types": {"sms": 1}, "errors": {"TypeError": 1}, "tenants": {"t1": 1},
    }  # fmt: skip


async def test_sent_twice_or_by_two_it_writes_once(link: Link, keys: Keys) -> None:
    await seed(link, keys, failed={"f": 3, "g": 4})
    assert await write_dead_letters(link, keys, [("f", "E", ""), ("g", "E", ""), ("f", "E", "")], now=7) == 2
    before = await dump(link)
    assert await write_dead_letters(link, keys, [("f", "Other", ""), ("g", "E", "")], now=8) == 0
    assert await dump(link) == before


async def test_only_failed_jobs_get_one(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["w"], active={"a": Held()}, completed={"c": 1})
    before = await dump(link)
    assert (
        await write_dead_letters(link, keys, [("w", "", ""), ("a", "", ""), ("c", "", ""), ("gone", "", "")], now=7)
        == 0
    )
    assert await dump(link) == before


async def test_a_later_failure_overwrites_the_letter(link: Link, keys: Keys) -> None:
    await fail_jobs(link, keys, {"f": Death(3, error="Old", tenant="t1")}, keep=ALL)
    await link.call("HSET", keys.job("f"), "finishedOn", 9)
    await link.call("ZADD", keys.failed, 9, "f")
    assert await write_dead_letters(link, keys, [("f", "New", "")], now=10) == 1
    found = await stored_dead_letters(link, keys)
    assert (found["errors"], found["open"], found.get("tenants")) == ({"New": 1}, {"f": 9}, None)
    assert found["letter:f:record"]["times"] == "2"


async def test_a_time_that_no_index_can_hold_is_skipped(link: Link, keys: Keys) -> None:
    times = {"a": " 7 ", "b": "0x10", "c": "soon", "d": "1e300", "good": "8"}
    jobs = {id: {"finishedOn": at} for id, at in times.items()}
    await seed(link, keys, failed=dict.fromkeys(times, 3), jobs=jobs)
    assert await write_dead_letters(link, keys, [(id, "E", "") for id in times], now=9) == 1
    assert (await stored_dead_letters(link, keys))["open"] == {"good": 8}
