"""Schedules in workers: chains that go on through all that happens, runs that overlap, and runs that were missed."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

from engine import Job, Queue, Worker, processor
from engine.connection import Argument, Reply
from engine.errors import ConnectFailed
from engine.model.keys import Keys
from engine.model.records import Claimed
from engine.worker.loops.scheduling import Scheduling
from tests.support.invariants import check_invariants
from tests.support.running import running, until

LOOK = 100
"""The shortest interval of a worker's looks, ms."""


class Runs:
    """A processor that keeps a ledger of what ran."""

    def __init__(self) -> None:
        self.ids: Counter[str] = Counter()
        self.at_once = 0
        self.most = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, job: Job[Any]) -> None:
        self.ids[job.id] += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.go.wait()
        self.at_once -= 1

    def due(self) -> list[int]:
        return sorted(int(id.rpartition(":")[2]) for id in self.ids)


def worker(redis_url: str, runs: Runs, **options: Any) -> Worker:
    async def work(job: Job[Any]) -> None:
        await runs(job)

    return Worker("q", work, redis=redis_url, stalled_interval=LOOK, **options)


async def server_now(queue: Queue) -> int:
    seconds, micros = await queue.link.call("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


async def results(queue: Queue) -> list[Any]:
    return [job.return_value for job in await queue.jobs("completed", 0, 500)]


async def put_back(queue: Queue, id: str, due: int, then: int) -> None:
    """As if no worker had run since: the run that waits was due then."""
    keys, was, run = queue.keys, f"repeat:{id}:{due}", f"repeat:{id}:{then}"
    await queue.link.call("RENAME", keys.job(was), keys.job(run))
    await queue.link.call("DEL", keys.delayed, keys.events)
    await queue.link.call("ZADD", keys.delayed, then * 4096, run)
    await queue.link.call("ZADD", keys.repeat, then, id)


# --- the chain --------------------------------------------------------------------------------------------------------


async def test_ten_workers_run_each_time_once_and_leave_out_none(redis_url: str) -> None:
    runs = Runs()
    async with Queue("q", redis=redis_url) as queue, AsyncExitStack() as stack:
        await queue.schedules.upsert("fast", "work", every=20)
        for number in range(10):
            await stack.enter_async_context(running(worker(redis_url, runs, name=f"w{number}")))
        await until(lambda: len(runs.ids) >= 60, "sixty runs", timeout=30)
        await queue.schedules.remove("fast")
    assert set(runs.ids.values()) == {1}
    assert all(time % 20 == runs.due()[0] % 20 for time in runs.due())


async def test_upserts_at_once_leave_one_chain(redis_url: str) -> None:
    runs = Runs()
    async with AsyncExitStack() as stack:
        queues = [await stack.enter_async_context(Queue("q", redis=redis_url)) for _ in range(5)]
        await stack.enter_async_context(running(worker(redis_url, runs)))
        for every in (50, 70, 90):
            await asyncio.gather(
                *(queue.schedules.upsert("s", "work", every=every + n) for n, queue in enumerate(queues))
            )
            found = await queues[0].schedules.get("s")
            assert found is not None
            assert found.every is not None
            assert found.every in range(every, every + 5)
            step = found.every
        before = len(runs.ids)
        await until(lambda: len(runs.ids) >= before + 5, "five more runs")
        assert (await queues[0].counts()).delayed <= 1
        last = runs.due()[-4:]
        assert all((after - earlier) % step == 0 for earlier, after in itertools.pairwise(last))
        await queues[0].schedules.remove("s")


async def test_an_upsert_with_the_same_times_loses_no_run(redis_url: str) -> None:
    # As when a program starts that sets its schedules, while a run waits because no worker is there yet.
    async with Queue("q", redis=redis_url) as queue:
        await queue.schedules.upsert("s", "work", {"n": 1}, every=3_600_000)
        (run,) = await queue.jobs("waiting")
        await queue.schedules.upsert("s", "work", {"n": 2}, every=3_600_000)
        (kept,) = await queue.jobs("delayed") + await queue.jobs("waiting")
        assert (kept.id, kept.data) == (run.id, {"n": 2})


async def test_a_schedule_that_lost_its_record_is_upserted_again(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await queue.schedules.upsert("s", "work", every=3_600_000)
        await queue.link.call("DEL", queue.keys.job("repeat:s"))
        assert await queue.schedules.list() == []
        schedule = await queue.schedules.upsert("s", "work", {"n": 2}, every=3_600_000)
        assert await queue.schedules.list() == [schedule]
        counts = await queue.counts()
        assert counts.waiting + counts.delayed == 1


async def test_retries_and_stalls_of_a_run_do_not_make_further_ones(redis_url: str) -> None:
    tries: Counter[str] = Counter()

    async def fail(job: Job[Any]) -> None:
        tries[job.id] += 1
        raise ValueError("again")

    async with Queue("q", redis=redis_url) as queue, running(Worker("q", fail, redis=redis_url)):
        await queue.schedules.upsert("s", "work", every=3_600_000, attempts=3)

        async def failed() -> bool:
            return (await queue.counts()).failed == 1

        await until(failed, "all attempts are made")
        assert list(tries.values()) == [3]
        assert (await queue.counts()).delayed == 1
        schedule = await queue.schedules.get("s")
        assert schedule is not None
        assert schedule.runs == 2


async def test_a_run_that_no_processor_takes_makes_the_next_one_too(redis_url: str) -> None:
    @processor("other")
    async def other(job: Job[Any]) -> None: ...

    @processor("another")
    async def another(job: Job[Any]) -> None: ...

    async with Queue("q", redis=redis_url) as queue, running(Worker("q", other, another, redis=redis_url)):
        await queue.schedules.upsert("s", "work", every=20)

        async def failed() -> bool:
            return (await queue.counts()).failed >= 3

        await until(failed, "three runs failed")
        await queue.schedules.remove("s")


async def test_a_run_lost_before_its_time_runs_at_its_time(redis_url: str) -> None:
    runs = Runs()
    async with Queue("q", redis=redis_url) as queue, running(worker(redis_url, runs)):
        start = await server_now(queue) + 1_000
        await queue.schedules.upsert("s", "work", every=3_600_000, start=start, limit=1)
        await queue.link.call("DEL", queue.keys.job(f"repeat:s:{start}"), queue.keys.delayed)
        await until(lambda: runs.due() == [start], "the run that was lost")


class Broken:
    """A link on which nothing arrives."""

    async def call(self, *command: Argument) -> Reply:
        raise ConnectFailed("no line")


async def test_a_run_runs_also_where_the_next_cannot_be_made() -> None:
    told: list[BaseException] = []
    scheduling = Scheduling(Broken(), Keys("q"), interval_ms=LOOK, report=told.append)  # type: ignore[arg-type]
    claimed = Claimed("repeat:s:5", 1, "t", "n", b"{}", b'{"repeat":{"every":5,"count":1}}')
    assert await scheduling.admit(claimed) is None
    assert [type(error) for error in told] == [ConnectFailed]


async def test_a_job_that_only_looks_like_a_run_is_none() -> None:
    told: list[BaseException] = []
    scheduling = Scheduling(Broken(), Keys("q"), interval_ms=LOOK, report=told.append)  # type: ignore[arg-type]
    for id, opts in (("repeat:s:x", b'{"repeat":{}}'), ("repeat:", b'{"repeat":{}}'), ("repeat:s:5", b"{}")):
        assert await scheduling.admit(Claimed(id, 1, "t", "n", b"{}", opts)) is None
    assert told == []


async def test_a_missing_next_run_is_made_by_the_checker(redis_url: str) -> None:
    # A worker that ran the job and could not reach the server for the next one: it is in completed, and nothing waits.
    runs = Runs()
    async with Queue("q", redis=redis_url) as queue:
        await queue.schedules.upsert("s", "work", every=60)
        (run,) = await queue.jobs("delayed") + await queue.jobs("waiting")
        now = await server_now(queue)
        await queue.link.call("DEL", queue.keys.delayed, queue.keys.wait, queue.keys.events)
        await queue.link.call(
            "HSET",
            queue.keys.job(run.id),
            "processedOn",
            now - 5_000,
            "finishedOn",
            now,
            "returnvalue",
            "1",
            "ats",
            1,
            "atm",
            1,
        )
        await queue.link.call("ZADD", queue.keys.completed, now, run.id)
        async with running(worker(redis_url, runs)):
            await until(lambda: len(runs.ids) >= 2, "the chain goes on")
            await queue.schedules.remove("s")
        assert run.id not in runs.ids
        await check_invariants(queue.link, queue.keys)


# --- overlap ----------------------------------------------------------------------------------------------------------


async def test_by_default_runs_may_overlap(redis_url: str) -> None:
    runs = Runs()
    runs.go.clear()
    async with Queue("q", redis=redis_url) as queue, running(worker(redis_url, runs)):
        await queue.schedules.upsert("s", "work", every=20)
        await until(lambda: runs.at_once >= 3, "three at once")
        await queue.schedules.remove("s")
        runs.go.set()


async def test_overlap_skip_runs_one_at_a_time(redis_url: str) -> None:
    runs = Runs()
    runs.go.clear()
    async with Queue("q", redis=redis_url) as queue, running(worker(redis_url, runs)):
        await queue.schedules.upsert("s", "work", every=20, overlap="skip")

        async def skipped() -> bool:
            return (await results(queue)).count({"skipped": "overlap"}) >= 3

        await until(skipped, "three are left out")
        assert (len(runs.ids), runs.most) == (1, 1)
        runs.go.set()
        await until(lambda: len(runs.ids) >= 3, "it goes on")
        await queue.schedules.remove("s")
    assert runs.most == 1


async def test_overlap_queue_runs_the_next_afterwards(redis_url: str) -> None:
    runs = Runs()
    runs.go.clear()
    async with Queue("q", redis=redis_url) as queue, running(worker(redis_url, runs)):
        await queue.schedules.upsert("s", "work", every=20, overlap="queue")

        async def skipped() -> bool:
            return (await results(queue)).count({"skipped": "overlap"}) >= 3

        await until(skipped, "three are left out")
        assert (len(runs.ids), runs.most) == (1, 1)
        await queue.schedules.upsert(
            "s", "work", every=3_600_000, start=await server_now(queue) + 3_600_000, overlap="queue"
        )
        runs.go.set()
        await until(lambda: len(runs.ids) == 2, "the one that waited runs")
        left_out = [int(job.id.rpartition(":")[2]) for job in await queue.jobs("completed", 0, 500) if job.return_value]
        assert runs.due()[1] < min(left_out), "it is the first that came meanwhile"
        await queue.schedules.remove("s")
    assert runs.most == 1


# --- misfires ---------------------------------------------------------------------------------------------------------

HOUR = 3_600_000


async def missed(redis_url: str, misfire: Any, hours: int) -> tuple[list[int], list[Any]]:
    """Runs of an hourly schedule after so many hours without a worker, as hours before the last that was due; and their results."""
    runs = Runs()
    async with Queue("q", redis=redis_url) as queue:
        start = await server_now(queue) + HOUR // 2
        await queue.schedules.upsert("s", "work", every=HOUR, start=start, misfire=misfire)
        await put_back(queue, "s", start, start - (hours + 1) * HOUR)
        async with running(worker(redis_url, runs)):

            async def caught_up() -> bool:
                schedule, counts = await queue.schedules.get("s"), await queue.counts()
                assert schedule is not None
                at_rest = counts.waiting + counts.active == 0
                return at_rest and schedule.next_run is not None and schedule.next_run.timestamp() * 1000 == start

            await until(caught_up, "the next run is in the future")
        return [(start - due) // HOUR for due in runs.due()], await results(queue)


async def test_once_is_the_default(redis_url: str) -> None:
    assert await missed(redis_url, "once", 5) == ([6], [None])


async def test_skip_leaves_out_even_the_one_that_is_late(redis_url: str) -> None:
    assert await missed(redis_url, "skip", 5) == ([], [{"skipped": "late"}])


async def test_catching_up_is_bounded(redis_url: str) -> None:
    assert await missed(redis_url, 3, 5) == ([6, 2, 1], [None] * 3)


async def test_catching_up_makes_up_for_all_if_they_are_few(redis_url: str) -> None:
    assert await missed(redis_url, 100, 3) == ([4, 3, 2, 1], [None] * 4)
