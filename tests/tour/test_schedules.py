"""Schedules: jobs at the times of a cron pattern, or at intervals. docs/schedules.md explains all options."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from engine import Job, Queue, Worker, errors
from tests.support.running import running, until


async def test_a_report_every_morning_by_the_clock_in_berlin(redis_url: str) -> None:
    async with Queue("reports", redis=redis_url) as queue:
        schedule = await queue.schedules.upsert(
            "daily-report", "report", {"kind": "daily"}, cron="0 9 * * *", tz="Europe/Berlin", attempts=3
        )
        assert schedule.next_run is not None
        assert schedule.next_run > datetime.now(UTC)
        assert schedule.next_run.astimezone(ZoneInfo("Europe/Berlin")).hour == 9
        # Its next run is a job like any other, that waits until then.
        assert (await queue.counts()).delayed == 1


async def test_a_check_every_few_seconds(redis_url: str) -> None:
    ran: list[Job[Any]] = []

    async def check(job: Job[Any]) -> None:
        ran.append(job)

    async with Queue("checks", redis=redis_url) as queue, running(Worker("checks", check, redis=redis_url)):
        await queue.schedules.upsert("check", "check", {"host": "a"}, every=timedelta(milliseconds=50))
        await until(lambda: len(ran) >= 5, "five runs")
        await queue.schedules.remove("check")
    assert all(job.data == {"host": "a"} for job in ran)
    due = [int(job.id.rpartition(":")[2]) for job in ran]
    assert all((after - before) % 50 == 0 and after > before for before, after in itertools.pairwise(due))


async def test_schedules_are_listed_changed_and_removed(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await queue.schedules.upsert("nightly", "report", cron="@daily")
        await queue.schedules.upsert("pulse", "ping", every=3_600_000, offset=0, limit=10)
        assert {schedule.id for schedule in await queue.schedules.list()} == {"nightly", "pulse"}

        # A change holds at once: the run that waits by the old times is replaced.
        await queue.schedules.upsert("nightly", "report", {"long": True}, cron="0 3 * * MON")
        changed = await queue.schedules.get("nightly")
        assert changed is not None
        assert (changed.cron, changed.tz, changed.data) == ("0 3 * * MON", "UTC", {"long": True})
        assert (await queue.counts()).delayed == 2

        assert await queue.schedules.remove("nightly")
        assert not await queue.schedules.remove("nightly")
        assert await queue.schedules.get("nightly") is None
        assert (await queue.counts()).delayed == 1


async def test_a_schedule_ends_after_so_many_runs(redis_url: str) -> None:
    ran: list[str] = []

    async def work(job: Job[Any]) -> None:
        ran.append(job.id)

    async with Queue("q", redis=redis_url) as queue, running(Worker("q", work, redis=redis_url)):
        await queue.schedules.upsert("three", "work", every=10, limit=3)
        await until(lambda: len(ran) == 3, "three runs")

        async def ended() -> bool:
            schedule = await queue.schedules.get("three")
            return schedule is not None and schedule.next_run is None

        await until(ended, "it has ended")
        assert (await queue.counts()).delayed == 0


async def test_one_run_now_leaves_the_schedule_as_it_is(redis_url: str) -> None:
    async def work(job: Job[Any]) -> Any:
        return job.data

    async with Queue("q", redis=redis_url) as queue, running(Worker("q", work, redis=redis_url)):
        schedule = await queue.schedules.upsert("yearly", "work", [1, 2], cron="@yearly", priority=3)
        job = await queue.schedules.run_now("yearly")
        assert await job.result(timeout=10_000) == [1, 2]
        assert job.priority == 3
        assert await queue.schedules.get("yearly") == schedule
        with pytest.raises(errors.ScheduleNotFound):
            await queue.schedules.run_now("never")


async def test_immediately_adds_a_run_now(redis_url: str) -> None:
    ran = asyncio.Event()

    async def work(job: Job[Any]) -> None:
        ran.set()

    async with Queue("q", redis=redis_url) as queue, running(Worker("q", work, redis=redis_url)):
        await queue.schedules.upsert("yearly", "work", cron="@yearly", immediately=True)
        await asyncio.wait_for(ran.wait(), 10)

        async def advanced() -> bool:
            schedule = await queue.schedules.get("yearly")
            return schedule is not None and schedule.runs == 2

        await until(advanced, "the next run is on New Year's Day")


async def test_what_cannot_be_is_refused_when_it_is_set(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        for wrong, named in (
            ({"cron": "nonsense"}, "cron"),
            ({"cron": "@daily", "tz": "Berlin"}, "tz"),
            ({"cron": "@daily", "every": 5}, "cron, every"),
            ({"every": 0}, "every"),
            ({"every": 1_000, "end": yesterday}, "end"),
            ({"every": 1_000, "delay": 5}, "delay"),
            ({"every": 1_000, "job_id": "mine"}, "job_id"),
            ({"every": 1_000, "deduplication": {"id": "d"}}, "deduplication"),
            ({"every": 1_000, "parent": {"id": "p", "queue": "q"}}, "parent"),
            ({"every": 1_000, "attempts": -1}, "attempts"),
            ({"every": 1_000, "colour": "red"}, "colour"),
            ({"every": 1_000, "immediately": True, "start": datetime.now(UTC)}, "immediately"),
        ):
            with pytest.raises(errors.InvalidOption, match=f"^{named}: "):
                await queue.schedules.upsert("s", "work", **wrong)
        for id in ("", "a:b", "lock", "x" * 200):
            with pytest.raises(errors.InvalidName, match=r"^schedule id: "):
                await queue.schedules.upsert(id, "work", every=5)
        with pytest.raises(errors.PayloadTooLarge):
            await queue.schedules.upsert("s", "work", "x" * 2_000_000, every=5)
        assert await queue.schedules.list() == []
        assert (await queue.counts()).delayed == 0


async def test_the_next_run_is_removed_with_its_schedule(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        await queue.schedules.upsert("s", "work", cron="@yearly")
        (run,) = await queue.jobs("delayed")
        with pytest.raises(errors.WrongState, match="remove the schedule"):
            await queue.remove(run.id)
        await queue.drain(delayed=True)
        await queue.clean("delayed")
        assert await run.state() == "delayed"
