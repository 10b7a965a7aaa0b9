"""Whatever stands in a queue: a worker lives, every good job completes, every bad one ends with a reason or is let be, and
all of it can be read. Seeds of keyspaces that once did not do so are tried each time, and others by chance."""

from __future__ import annotations

import asyncio
import random
import zlib
from collections import Counter
from typing import Any

import pytest

from engine import Job, Queue, Worker
from engine.connection import Link
from engine.model.keys import Keys
from tests.support.damage import Damage
from tests.support.keyspace import census
from tests.support.operating import operate
from tests.support.reading import read_everything
from tests.support.running import running, until
from tests.support.seeding import seed

pytestmark = [pytest.mark.asyncio(loop_factories=["uvloop"]), pytest.mark.usefixtures("damaged")]

ONCE_FOUND = (1, 3, 7, 8, 10, 11, 887620077, 2796237299)
"""A start count that fitted no claim, an id that is no text, a score that is no time, a date beyond the calendar, a dead letter
without one, a deduplication and sets of finished jobs of a foreign type."""
BY_CHANCE = 3
GOOD = [f"good-{number}" for number in range(20)]


@pytest.mark.timeout(120)
async def test_random_damage_never_stops_good_jobs(redis_url: str, link: Link, keys: Keys) -> None:
    for number in (*ONCE_FOUND, *(random.randrange(2**32) for _ in range(BY_CHANCE))):
        await link.call("FLUSHALL")
        damage = Damage(keys, number)
        await damage.write(link)
        await seed(link, keys, wait=GOOD[:8], prioritized={id: 1 + n for n, id in enumerate(GOOD[8:14])})
        await seed(link, keys, delayed=dict.fromkeys(GOOD[14:], 5))
        try:
            await _live_through(redis_url, link, keys, damage)
        except Exception as error:
            raise AssertionError(f"Damage(keys, {number}): {error}") from error


async def test_random_damage_can_be_read_and_removed(redis_url: str, link: Link, keys: Keys) -> None:
    for number in (*ONCE_FOUND, *(random.randrange(2**32) for _ in range(BY_CHANCE))):
        await link.call("FLUSHALL")
        await Damage(keys, number).write(link)
        try:
            async with Queue("q", redis=redis_url) as queue:
                await operate(queue, redis_url)
        except Exception as error:
            raise AssertionError(f"Damage(keys, {number}): {error}") from error
        assert not any((await census(link, keys)).values())


async def _live_through(url: str, link: Link, keys: Keys, damage: Damage) -> None:
    ran: Counter[str] = Counter()
    lost: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: lost.append(context))

    async def run(job: Job[Any]) -> Any:
        ran[job.id] += 1
        if not job.id.startswith("good") and zlib.crc32(job.id.encode()) % 3 == 0:
            raise ValueError("bad luck")
        return job.data

    async with Queue("q", redis=url) as queue:
        await read_everything(queue, url)
        worker = Worker("q", run, redis=url, concurrency=3, name="w", drain_delay=20, metrics=10, **SHORT)
        async with running(worker):
            await until(lambda: all(ran[id] for id in GOOD), "every good job has run", timeout=20)
            await until(lambda: _is_quiet(link, keys), "nothing is in line, or held by this worker", timeout=20)
        assert await read_everything(queue, url) >= len(GOOD)
    assert {ran[id] for id in GOOD} == {1}
    # Each place in line is a run, and so is each attempt and each recovery from a stall; an endless cycle is many more.
    assert max(ran.values()) <= 12, ran.most_common(3)
    assert await link.call("XREVRANGE", keys.events, "+", "-", "COUNT", 1)
    assert not lost, lost
    for id in GOOD:
        assert await link.call("ZSCORE", keys.completed, id) is not None
    for bad in damage.bad:
        await _has_ended_or_was_let_be(link, keys, damage.key(bad), bad)


SHORT: dict[str, Any] = {"lock_duration": 300, "lock_renew": 100, "stalled_interval": 100}


async def _is_quiet(link: Link, keys: Keys) -> bool:
    """Nothing to be claimed; what is active is held by nobody who lives: its lock never ends."""
    waiting, ranked, due, active = await link.call_many(
        [["LLEN", keys.wait], ["ZCARD", keys.prioritized], ["ZCOUNT", keys.delayed, "-inf", 10**12], ["LRANGE", keys.active, 0, -1]]
    )  # fmt: skip
    locks = await link.call_many([["PTTL", f"{keys.jobs}".encode() + id + b":lock"] for id in active])
    return not (waiting or ranked or due) and all(left == -1 for left in locks)


async def _has_ended_or_was_let_be(link: Link, keys: Keys, key: bytes, id: bytes) -> None:
    kind = await link.call("TYPE", key)
    if kind != b"hash":
        return  # a foreign key, or none: its id was dropped, and it was not touched
    failed, completed, reason, ended, started = await link.call_many(
        [["ZSCORE", keys.failed, id], ["ZSCORE", keys.completed, id], ["HGET", key, "failedReason"], ["HGET", key, "finishedOn"], ["HGET", key, "pb"]]
    )  # fmt: skip
    if started == b"w" and ended is not None and completed is None:
        assert failed is not None, f"{id!r} was run, has ended and is nowhere"
        assert reason, f"{id!r} failed without a reason"
