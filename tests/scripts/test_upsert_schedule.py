"""upsert_schedule: a schedule is made or changed, and its next run with it, in one step."""

from __future__ import annotations

import asyncio
import json

import pytest

from engine.connection import Link
from engine.model.keys import Keys
from engine.scripts.upsert_schedule import NotUpserted
from tests.support.keyspace import dump, events, job, snapshot
from tests.support.schedules import HEAD, places, seed_schedule, upsert
from tests.support.seeding import seed


async def test_a_new_schedule_has_a_run_that_waits_as_bullmq_writes_it(link: Link, keys: Keys) -> None:
    assert await upsert(link, keys, None, 100, 200) == 100
    found = await snapshot(link, keys)
    opts = json.loads(found["job:repeat:s:100"].pop("opts"))
    assert opts == {
        **json.loads(HEAD + b'100"}'), "jobId": "repeat:s:100", "prevMillis": 100, "delay": 93, "timestamp": 7,
    }  # fmt: skip
    assert found == {
        "id": "1",
        "repeat": {"s": 100},
        "delayed": {"repeat:s:100": 100 * 4096},
        "marker": {"1": 100},
        "job:repeat:s": {"name": "n", "every": "100", "offset": "0", "data": '{"a":1}', "ic": "1", "before": "0"},
        "job:repeat:s:100": {
            "name": "n", "data": '{"a":1}', "timestamp": "7", "delay": "93", "priority": "0", "rjk": "s",
        },
        "events": ["added repeat:s:100 name=n", "delayed repeat:s:100 delay=100"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("priority", "paused", "place"), [(0, False, "wait"), (0, True, "paused"), (3, False, "prioritized")]
)
async def test_a_run_that_is_due_waits_and_wakes_a_worker(
    link: Link, keys: Keys, priority: int, paused: bool, place: str
) -> None:
    await seed(link, keys, meta={"paused": 1} if paused else {"version": "v"})
    assert await upsert(link, keys, None, 7, priority=priority) == 7
    assert await places(link, keys) == {place: ["repeat:s:7"], "repeat": {"s": 7}}
    assert await link.call("EXISTS", keys.marker) == (0 if paused else 1)
    assert (await job(link, keys, "repeat:s:7"))["delay"] == "0"


async def test_with_lifo_it_goes_to_the_front(link: Link, keys: Keys) -> None:
    await seed(link, keys, wait=["a"])
    await upsert(link, keys, None, 7, lifo=True)
    assert (await places(link, keys))["wait"] == ["repeat:s:7", "a"]


@pytest.mark.parametrize("place", ["delayed", "wait", "paused", "prioritized"])
@pytest.mark.parametrize("keep", [False, True])
async def test_a_run_that_waits_is_replaced_wherever_it_stands(link: Link, keys: Keys, place: str, keep: bool) -> None:
    was = await seed_schedule(link, keys, 100, place=place)
    await link.call("DEL", keys.events)
    assert await upsert(link, keys, 100, 300, keep=keep, data=b"2") == (100 if keep else 300)
    now = was if keep else "repeat:s:300"
    assert await places(link, keys) == {"delayed": [now], "repeat": {"s": 100 if keep else 300}}
    assert (await job(link, keys, now))["data"] == "2"
    said = await events(link, keys)
    assert (f"removed {was} prev={place}" in said) == (not keep)


async def test_a_run_that_has_begun_is_let_be_and_the_next_takes_another_time(link: Link, keys: Keys) -> None:
    was = await seed_schedule(link, keys, 5, place="active")
    assert await upsert(link, keys, 5, 5, 105, keep=True) == 105
    assert await places(link, keys) == {"active": [was], "delayed": ["repeat:s:105"], "repeat": {"s": 105}}


async def test_bullmqs_count_goes_on_and_a_limit_restarts(link: Link, keys: Keys) -> None:
    await seed_schedule(
        link, keys, 100, fields={"ended": 1, "running": "r", "limit": 5, "tz": "UTC", "overlap": "skip"}
    )
    await upsert(link, keys, 100, 300)
    found = await job(link, keys, "repeat:s")
    assert found == {
        "name": "n", "every": "100", "offset": "0", "data": '{"a":1}', "ic": "3", "before": "2", "running": "r",
    }  # fmt: skip


async def test_who_read_another_state_writes_nothing(link: Link, keys: Keys) -> None:
    await upsert(link, keys, None, 100)
    before = await dump(link)
    for due in (None, 99, 101):
        assert await upsert(link, keys, due, 300) is NotUpserted.CHANGED
    assert await dump(link) == before


async def test_sent_twice_it_leaves_one_run(link: Link, keys: Keys) -> None:
    for _ in range(2):
        assert await upsert(link, keys, None, 100) in (100, NotUpserted.CHANGED)
    for _ in range(3):
        assert await upsert(link, keys, 100, 100) == 100
    assert await places(link, keys) == {"delayed": ["repeat:s:100"], "repeat": {"s": 100}}


async def test_at_a_time_whose_job_has_run_none_is_made(link: Link, keys: Keys) -> None:
    await seed(link, keys, completed={"repeat:s:100": 1, "repeat:s:200": 2})
    before = await dump(link)
    assert await upsert(link, keys, None, 100, 200) is NotUpserted.TAKEN
    assert await dump(link) == before
    assert await upsert(link, keys, None, 100, 200, 300) == 300


async def test_a_run_that_bullmq_left_behind_is_replaced_too(link: Link, keys: Keys) -> None:
    await seed_schedule(link, keys, 100)
    await seed(link, keys, wait=["repeat:s:200"])
    assert await upsert(link, keys, 100, 200, data=b"2") == 200
    assert await places(link, keys) == {"delayed": ["repeat:s:200"], "repeat": {"s": 200}}
    assert (await job(link, keys, "repeat:s:200"))["data"] == "2"


async def test_bytes_of_any_kind_are_stored_as_they_are(link: Link, keys: Keys) -> None:
    data = '{"é":"\\u0000 🚀","big":12345678901234567890,"none":[]}'.encode()
    await upsert(link, keys, None, 100, data=data)
    for key in ("repeat:s", "repeat:s:100"):
        assert await link.call("HGET", keys.job(key), "data") == data


async def test_many_at_once_leave_one_run(link: Link, keys: Keys) -> None:
    await asyncio.gather(*(upsert(link, keys, due, 100 + n) for n in range(20) for due in (None, 100, 101)))
    found = await places(link, keys)
    assert len(found["delayed"]) == 1  # type: ignore[arg-type]
