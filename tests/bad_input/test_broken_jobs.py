"""What becomes of each kind of broken job, one by one: failed with a reason that names field and problem, dropped and told,
or run all the same where what is broken is not needed to run it."""

from __future__ import annotations

from typing import Any

import pytest

from engine import Job, Queue, Worker
from engine.connection import Argument, Link
from engine.model.keys import Keys
from tests.support.keyspace import events
from tests.support.running import running, until

pytestmark = [pytest.mark.asyncio(loop_factories=["uvloop"]), pytest.mark.usefixtures("damaged")]

Fields = dict[str, Argument | None]

FAILS: dict[str, tuple[Fields, str]] = {
    "data cut off": ({"data": '{"to":'}, "data: Input data was truncated"),
    "data no JSON": ({"data": "nonsense"}, "data: JSON is malformed"),
    "data too deep": ({"data": "[" * 50_000}, "data: nested too deeply"),
    "data no text": ({"data": b"\xff\xfe"}, "data: "),
    "opts cut off": ({"opts": "[1"}, "options cannot be read"),
    "opts a list": ({"opts": "[]"}, "options cannot be read: Expected `object`, got `array`"),
    "opts a number": ({"opts": "5"}, "options cannot be read: Expected `object`, got `int`"),
    "no name": ({"name": None}, "name: the job has none"),
    "told to fail": ({"defa": "its parent is gone"}, "its parent is gone"),
    "an id that is no text": ({}, "id: b'caf\\xe9' is not UTF-8 text"),
    "a child of such": ({"parentKey": b"bull:q:\xff", "parent": "x", "data": "{"}, "data: "),
}
"""These fail at once, without a run and without a retry."""

RUNS: dict[str, Fields] = {
    "no data": {"data": None},
    "no options": {"opts": None},
    "no time": {"timestamp": None},
    "times that are none": {"timestamp": "abc", "delay": "abc", "processedOn": "1e300", "finishedOn": "x"},
    "a time beyond the calendar": {"timestamp": "9" * 18},
    "a priority that is none": {"priority": "abc"},
    "starts that are none": {"ats": "abc"},
    "starts without end": {"ats": "inf"},
    "starts that a double cannot count": {"ats": "1e300"},
    "half a start": {"ats": "1.5"},
    "attempts that are none": {"atm": "nan", "stc": "x"},
    "a parent that is no JSON": {"parent": "x", "parentKey": "bull:q:gone"},
    "a parent that is no key": {"parent": "[]", "parentKey": "x"},
    "a parent that is a structure": {"parent": "{}", "parentKey": "bull:q:wait"},
    "a run of no schedule": {"rjk": "gone", "opts": '{"repeat":{"every":5,"count":1}}'},
    "options of other kinds": {"opts": '{"attempts":"x","backoff":[],"removeOnComplete":{"count":"x"},"de":5,"kl":-1}'},
    "fields that nobody knows": {"unknown": b"\xff", "": "", "state": "done"},
    "a:lock": {},
    "repeat:gone:99": {},
    "wait": {},
    "x" * 20_000: {},
    "stack traces and progress that are none": {"stacktrace": "x", "progress": "{", "returnvalue": "{"},
}
"""These run once: what is broken counts as not said."""


async def test_each_kind_has_its_end(redis_url: str, link: Link, keys: Keys) -> None:
    ran: list[str] = []

    async def run(job: Job[Any]) -> None:
        ran.append(job.id)

    # The id "wait" names a structure: a list stands at its place, and there is no job.
    broken: dict[str, Fields] = {kind: fields for kind, (fields, _) in FAILS.items()}
    for kind, fields in (broken | RUNS).items():
        await _put(link, keys, _id(kind), fields)
    await link.call("LPUSH", keys.wait, "dangling")
    await link.call("RPUSH", keys.job("foreign"), "a list")
    await link.call("LPUSH", keys.wait, "foreign")
    async with running(Worker("q", run, redis=redis_url, drain_delay=20)), Queue("q", redis=redis_url) as queue:
        await until(lambda: _over(queue), "nothing is in line", timeout=20)
    for kind, (_, reason) in FAILS.items():
        found, made = await link.call("HMGET", keys.jobs.encode() + _id(kind), "failedReason", "atm")
        assert reason in (found or b"").decode(), kind
        assert made == b"1", kind
        assert await link.call("ZSCORE", keys.failed, _id(kind)), kind
    assert sorted(ran) == sorted(kind for kind in RUNS if kind != "wait")
    told = await events(link, keys)
    assert [line for line in told if line.startswith("missing")] == [
        "missing wait",
        "missing dangling",
        "missing foreign",
    ]


async def test_an_unreadable_count_does_not_loop_forever(redis_url: str, link: Link, keys: Keys) -> None:
    runs: list[str] = []

    async def fail(job: Job[Any]) -> None:
        runs.append(job.id)
        raise ValueError("no")

    numbers: tuple[Argument, ...] = ("abc", "-1e15", "1.5", "1e300", "inf", "nan", "-inf", b"\xff", "9" * 40)
    for n, number in enumerate(numbers):
        for field in ("atm", "ats"):
            for backoff in ("", ',"backoff":1'):
                opts = f'{{"attempts":3{backoff}}}'
                await _put(link, keys, f"{field}-{n}{backoff[:2]}".encode(), {field: number, "opts": opts})
    wanted = len(numbers) * 4
    async with running(Worker("q", fail, redis=redis_url, drain_delay=20)) as worker:
        await until(lambda: worker.counters.failed == wanted, "each has failed for good", timeout=20)
    assert {runs.count(id) for id in runs} == {3}


async def test_a_lock_without_expiry_keeps_its_job_active(redis_url: str, link: Link, keys: Keys) -> None:
    """Some program holds it. It is not run beside that one, and goes on once the lock is gone."""
    await link.call("HSET", keys.job("held"), "name", "n", "data", "{}", "timestamp", 1)
    await link.call("LPUSH", keys.active, "held")
    await link.call("SET", keys.lock("held"), "foreign")

    async def run(job: Job[Any]) -> str:
        return "done"

    worker = Worker("q", run, redis=redis_url, drain_delay=20, stalled_interval=100, lock_duration=300)
    async with running(worker), Queue("q", redis=redis_url) as queue:
        await until(lambda: link.call("EXISTS", keys.stalled_check), "a sweep has looked")
        assert await (await queue.add("n")).result(timeout=20_000) == "done"
        assert (await queue.counts()).active == 1
        await link.call("DEL", keys.lock("held"))
        await until(lambda: link.call("ZSCORE", keys.completed, "held"), "it has run", timeout=20)


def _id(kind: str) -> bytes:
    return b"caf\xe9" if kind == "an id that is no text" else kind.encode()


async def _put(link: Link, keys: Keys, id: bytes, fields: Fields) -> None:
    usual: Fields = {"name": "n", "data": "{}", "opts": "{}", "timestamp": 1, "delay": 0, "priority": 0}
    said = {field: value for field, value in {**usual, **fields}.items() if value is not None}
    if id != b"wait":
        flat: list[Argument] = [item for pair in said.items() for item in pair]
        await link.call("HSET", keys.jobs.encode() + id, *flat)
    await link.call("LPUSH", keys.wait, id)


async def _over(queue: Queue) -> bool:
    counts = await queue.counts()
    return not (counts.waiting or counts.prioritized or counts.active)
