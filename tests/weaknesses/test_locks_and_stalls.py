"""Rows 1 to 3 and 24: locks, stalled jobs, jobs that no worker can run."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import redis

from engine import Job, Queue, Worker, errors
from engine.connection import Link
from engine.model.keys import Keys
from engine.model.options import Keep
from engine.model.records import Claimed
from engine.scripting.rows import Refusal
from engine.scripts.finish import finish
from tests.support.keyspace import events, snapshot
from tests.support.keyspace import job as stored
from tests.support.running import running, until
from tests.support.seeding import Held, seed

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

SHORT: dict[str, Any] = {"lock_duration": 600, "lock_renew": 100, "stalled_interval": 200}


async def test_row_01_a_cpu_bound_processor_keeps_its_lock(
    queue: Queue, redis_url: str, link: Link, keys: Keys
) -> None:
    """Locks are renewed by a thread with a connection of its own. Only code that holds the interpreter stops that too."""

    async def block(job: Job[Any]) -> int:
        lowest, end = 10_000, time.monotonic() + 1.8
        with redis.Redis.from_url(redis_url) as other:
            while time.monotonic() < end:
                lowest = min(lowest, other.pttl(keys.lock(job.id)))
                time.sleep(0.01)  # noqa: ASYNC251
        return lowest

    async with Worker("q", block, redis=redis_url, concurrency=1, **SHORT):
        job = await queue.add("x", {})
        assert await job.result(timeout=20_000) > 0, (
            "at no time was it without a lock, for three times as long as that lasts"
        )
    assert (await stored(link, keys, job.id)).get("stc") is None
    assert not [line for line in await events(link, keys) if line.startswith("stalled")]


async def test_row_02_a_result_is_kept_without_its_lock(queue: Queue, redis_url: str, link: Link, keys: Keys) -> None:
    """The hash names the claim too: a lock that ended or was deleted costs no result as long as nobody took the job. What was
    recorded once is answered as done when it is sent again. Mostly: a job that another took over is lost to the first."""
    go = asyncio.Event()

    async def run(job: Job[Any]) -> str:
        await go.wait()
        return "done"

    async with Worker("q", run, redis=redis_url, lock_duration=60_000) as worker:
        job = await queue.add("x", {})
        await until(lambda: len(worker.running_jobs()) == 1, "it runs")
        await link.call("DEL", keys.lock(job.id))
        go.set()
        assert await job.result(timeout=20_000) == "done"
        assert worker.counters.lost == 0
    found = await stored(link, keys, job.id)
    again = Claimed(job.id, int(found["ats"]), found["owner"], "x", b"{}", b"{}")
    assert await finish(link, keys, [(again, b'"twice"', Keep())]) == {0: Refusal.DONE}
    assert (await stored(link, keys, job.id))["returnvalue"] == '"done"'


async def test_row_03_one_check_finds_a_dead_workers_jobs(redis_url: str, link: Link, keys: Keys) -> None:
    """BullMQ suspects a job at one look and moves it at the next, and the key that says that somebody has looked lives for the
    interval of whoever looked. Here locks are asked, and the age of the last look is measured with one's own interval."""
    await seed(link, keys, active={"a": Held("dead", lock_ms=None)})
    seconds, _ = await link.call("TIME")
    await link.call("SET", keys.stalled_check, int(seconds) * 1000, "PX", 60_000)

    async def run(job: Job[Any]) -> int:
        return job.stalls

    async with running(Worker("q", run, redis=redis_url, **SHORT)) as worker:
        await until(lambda: worker.counters.completed == 1, "it ran again", timeout=20)
    assert (await stored(link, keys, "a"))["returnvalue"] == "1"
    # And a worker that stops leaves nothing to be found: no lock, nobody's job.
    assert not {"active", "lock:a"} & (await snapshot(link, keys)).keys()


@pytest.mark.parametrize("broken", [["name", "n", "data", "{nonsense"], ["name", "n", "data", "{}", "opts", "{"]])
async def test_row_24_an_unreadable_job_fails_with_a_reason(
    queue: Queue, redis_url: str, link: Link, keys: Keys, broken: list[str]
) -> None:
    """All kinds of broken jobs are in tests/bad_input/."""
    await link.call("HSET", keys.job("pill"), *broken, "timestamp", 1)
    await link.call("LPUSH", keys.wait, "pill")

    async def run(job: Job[Any]) -> str:
        return "done"

    async with running(Worker("q", run, redis=redis_url, **SHORT)) as worker:
        await until(lambda: worker.counters.failed == 1, "it has failed")
        assert await (await queue.add("x", {})).result(timeout=20_000) == "done"
        failed = await queue.get_job("pill")
    assert failed is not None
    assert failed.failed_reason is not None
    assert failed.failed_reason.startswith(("data: ", "the job's options cannot be read: "))
    assert (failed.attempts_made, failed.attempts_started, await failed.state()) == (1, 1, "failed")
    with pytest.raises(errors.JobFailed):
        await failed.result(timeout=20_000)
