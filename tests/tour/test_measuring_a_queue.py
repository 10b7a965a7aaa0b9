"""Measuring a queue: jobs per minute, jobs per name and priority, and the job that has waited longest."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from engine import Job, NewJob, Queue, SyncQueue, Worker
from engine.errors import InvalidOption
from tests.support.running import running, until


async def work(job: Job[str]) -> None:
    if job.data == "bad":
        raise ValueError("bad")


async def test_a_worker_counts_finished_jobs_per_minute(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        assert (await queue.metrics("completed")).total == 0
        await queue.add_many([NewJob("work", "good") for _ in range(3)])
        await queue.add("work", "bad")
        async with running(Worker("q", work, redis=redis_url, metrics=60)):
            await until(lambda: _ended(queue, 4), "all are finished")
            completed, failed = await queue.metrics("completed"), await queue.metrics("failed")
        assert (completed.total, completed.current, failed.total) == (3, 3, 1)
        assert (completed.per_minute, completed.minutes, completed.newest) == ([], 0, None)

        # A minute is closed by the first job of a later one. Here the clock is put back by hand.
        key = f"{queue.keys.jobs}metrics:completed"
        began = int(await queue.link.call("HGET", key, "prevTS")) - 3 * 60_000
        await queue.link.call("HSET", key, "prevTS", began)
        await queue.add("work", "good")
        async with running(Worker("q", work, redis=redis_url, metrics=60)):
            await until(lambda: _ended(queue, 5), "all are finished")
        completed = await queue.metrics("completed")
        assert (completed.total, completed.current, completed.per_minute[-1]) == (4, 1, 3)
        assert set(completed.per_minute[:-1]) == {0}
        assert (await queue.metrics("completed", -1, -1)).per_minute == [3]
        oldest = completed.newest - timedelta(minutes=completed.minutes - 1) if completed.newest else None
        assert oldest == datetime.fromtimestamp(began // 60_000 * 60, UTC)


async def _ended(queue: Queue, count: int) -> bool:
    found = await queue.counts()
    return found.completed + found.failed == count


async def test_a_worker_that_is_not_told_to_counts_nothing(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue, running(Worker("q", work, redis=redis_url)):
        await (await queue.add("work", "good")).result(timeout=10_000)
        assert (await queue.metrics("completed")).total == 0


async def test_what_waits_is_counted_by_priority_and_by_name(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await queue.add_many(
            [NewJob("sms"), NewJob("sms"), NewJob("email"), NewJob("sms", priority=3), NewJob("email", priority=9)]
        )
        assert await queue.counts_per_priority() == {0: 3, 3: 1, 9: 1}
        assert await queue.counts_per_priority([0, 1, 3]) == {0: 3, 1: 0, 3: 1}
        assert sum((await queue.counts_per_priority(range(600))).values()) == 5

        waiting = await queue.counts_per_type("waiting")
        assert (waiting.counts, waiting.complete) == ({"sms": 2, "email": 1}, True)
        prioritized = await queue.counts_per_type("prioritized")
        assert prioritized.counts == {"sms": 1, "email": 1}

        # A walk may be cut short; then it is a sample of the jobs that come next.
        sample = await queue.counts_per_type("waiting", limit=2)
        assert (sample.counts, sample.scanned, sample.complete) == ({"sms": 2}, 2, False)


async def test_a_long_line_is_walked_in_pages(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await queue.add_many([NewJob("sms" if n % 3 else "email") for n in range(2_500)])
        found = await queue.counts_per_type()
        assert (found.counts, found.scanned, found.complete) == ({"sms": 1_666, "email": 834}, 2_500, True)
        assert (await queue.counts_per_type(limit=2_500)).complete
        assert not (await queue.counts_per_type(limit=2_000)).complete


async def test_oldest_waiting_says_how_long(redis_url: str) -> None:
    now = round(datetime.now(UTC).timestamp() * 1000)
    async with Queue("q", redis=redis_url) as queue:
        assert await queue.oldest_waiting() is None
        # Delayed for an hour until a minute ago: it has waited for a minute, not for an hour.
        await queue.add("reminder", timestamp=now - 3_660_000)
        await queue.link.call("HSET", queue.keys.job("1"), "opts", '{"delay":3600000}')
        await queue.add("sms", timestamp=now - 120_000)
        await queue.add("urgent", lifo=True)
        found = await queue.oldest_waiting()
        assert found is not None
        assert (found.id, found.name) == ("2", "sms")
        assert timedelta(minutes=2) <= found.age < timedelta(minutes=3)

        starved = await queue.add("report", timestamp=now - 600_000, priority=50)
        await queue.add("sms", priority=1)
        found = await queue.oldest_waiting()
        assert found is not None
        assert found.id == starved.id


async def test_the_blocking_queue_measures_too(redis_url: str) -> None:
    def ask() -> tuple[object, ...]:
        with SyncQueue("q", redis=redis_url) as queue:
            queue.add("sms")
            oldest = queue.oldest_waiting()
            return (
                queue.counts_per_priority(),
                queue.counts_per_type().counts,
                oldest and oldest.name,
                queue.metrics("failed").total,
            )

    assert await asyncio.to_thread(ask) == ({0: 1}, {"sms": 1}, "sms", 0)


async def test_what_cannot_be_asked_is_refused(redis_url: str) -> None:
    with pytest.raises(InvalidOption, match="metrics: 0 is not a whole number from 1 to 20,160"):
        Worker("q", work, metrics=0)
    async with Queue("q", redis=redis_url) as queue:
        with pytest.raises(InvalidOption, match="kind: 'stalled' is not counted; give 'completed' or 'failed'"):
            await queue.metrics("stalled")  # type: ignore[arg-type]
        with pytest.raises(InvalidOption, match="priorities: -1 is not a whole number from 0 to 2,097,151"):
            await queue.counts_per_priority([-1])
        with pytest.raises(InvalidOption, match="state: 'done' is not a state; states are active, "):
            await queue.counts_per_type("done")  # type: ignore[arg-type]
        with pytest.raises(InvalidOption, match="limit: 0 is not a whole number of 1 or more"):
            await queue.counts_per_type(limit=0)
