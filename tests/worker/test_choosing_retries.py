"""Conditions of retries and snoozes, wherever a processor runs; deduplication under many hands."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from engine import Deduplication, Job, NewJob, Queue, Retry, Snooze, Worker, errors, processor
from engine.connection import Link
from engine.model.keys import Keys
from tests.support.keyspace import job as stored
from tests.support.keyspace import snapshot
from tests.support.running import until

KINDS = ("loop", "thread", "process")


def only_lines(error: BaseException, attempt: int) -> bool:
    return isinstance(error, OSError) and attempt < 3


def asked_wrong(error: BaseException, attempt: int) -> bool:
    raise ZeroDivisionError("the condition is broken")


def work(data: str, started: int) -> Any:
    match data:
        case "snooze" if started < 3:
            raise Snooze(10)
        case "snooze, returned" if started < 3:
            return Snooze(10)
        case "snooze for nothing" if started < 3:
            raise Snooze(0)
        case "line":
            raise ConnectionError("line")
        case "key":
            raise KeyError("key")
        case "retry":
            raise Retry(0, "once more")
    return data


async def _loop(job: Job[str]) -> Any:
    return work(job.data, job.attempts_started)


def _plain(job: Job[str]) -> Any:
    return work(job.data, job.attempts_started)


chooses_on_the_loop = processor("w", attempts=9, retry_if=only_lines, give_up_on=KeyError)(_loop)


@processor("w", attempts=9, retry_if=only_lines, give_up_on=KeyError)
def chooses_in_a_thread(job: Job[str]) -> Any:
    return _plain(job)


@processor("w", attempts=9, retry_if=only_lines, give_up_on=KeyError, run_in="process")
def chooses_in_a_process(job: Job[str]) -> Any:
    return _plain(job)


@processor("w", attempts=9, retry_if=asked_wrong)
async def broken_on_the_loop(job: Job[str]) -> Any:
    return work(job.data, job.attempts_started)


@processor("w", attempts=9, retry_if=asked_wrong, run_in="process")
def broken_in_a_process(job: Job[str]) -> Any:
    return _plain(job)


CHOOSES = {"loop": chooses_on_the_loop, "thread": chooses_in_a_thread, "process": chooses_in_a_process}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_snooze_uses_no_attempt_and_leaves_no_trace(redis_url: str, link: Link, keys: Keys, kind: str) -> None:
    async with Queue("q", redis=redis_url) as queue, Worker("q", CHOOSES[kind], redis=redis_url):
        for data in ("snooze", "snooze, returned", "snooze for nothing"):
            # On its last attempt, too.
            job = await queue.add("w", data, attempts=1)
            assert await job.result(timeout=20_000) == data
            found = await stored(link, keys, job.id)
            assert (found["ats"], found["atm"]) == ("3", "1")
            assert {"failedReason", "stacktrace"} & found.keys() == set()


async def test_a_snooze_of_0_lets_the_jobs_in_line_go_first(redis_url: str) -> None:
    runs: list[str] = []

    async def run(job: Job[str]) -> None:
        runs.append(job.data)
        if job.data == "polite" and job.attempts_started == 1:
            raise Snooze(0)

    async with Queue("q", redis=redis_url) as queue:
        jobs = await queue.add_many([NewJob("w", data) for data in ("polite", "second", "third")])
        async with Worker("q", run, redis=redis_url, concurrency=1):
            await jobs[0].result(timeout=10_000)
    assert runs == ["polite", "second", "third", "polite"]


@pytest.mark.parametrize(("data", "runs"), [("line", 3), ("key", 1), ("retry", 9)])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_conditions_hold_wherever_it_runs(redis_url: str, kind: str, data: str, runs: int) -> None:
    async with Queue("q", redis=redis_url) as queue, Worker("q", CHOOSES[kind], redis=redis_url):
        job = await queue.add("w", data)
        with pytest.raises(errors.JobFailed):
            await job.result(timeout=20_000)
        assert (await job.refresh()).attempts_made == runs


@pytest.mark.parametrize("processor", [broken_on_the_loop, broken_in_a_process], ids=["loop", "process"])
async def test_a_condition_that_raises_fails_the_job_and_says_both(redis_url: str, processor: Any) -> None:
    async with Queue("q", redis=redis_url) as queue, Worker("q", processor, redis=redis_url):
        job = await queue.add("w", "line")
        with pytest.raises(errors.JobFailed, match=r"line \(no retry: the condition is broken\)"):
            await job.result(timeout=20_000)
        assert (await job.refresh()).attempts_made == 1


async def test_each_run_has_newer_data_and_no_two_run_at_once(redis_url: str, link: Link, keys: Keys) -> None:
    seen: list[int] = []
    running = most = 0

    async def sync(job: Job[int]) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        seen.append(job.data)
        await asyncio.sleep(0)
        running -= 1

    same = Deduplication("sync", keep_last_if_active=True)
    async with (
        Queue("q", redis=redis_url) as one,
        Queue("q", redis=redis_url) as other,
        Worker("q", sync, redis=redis_url, concurrency=10),
        Worker("q", sync, redis=redis_url, concurrency=10),
    ):
        for version in range(400):
            await (one, other)[version % 2].add("sync", version, deduplication=same)

        async def quiet() -> bool:
            found = await snapshot(link, keys)
            return not {"wait", "active", "dn:sync", "de:sync"} & found.keys()

        await until(quiet, "all has run")
    assert most == 1
    assert seen == sorted(set(seen)), "older after newer, or one twice"
    # While the owner waits it stands for newer ones with its older data: that is the mode's rule. So not all are seen.
    assert len(seen) > 1


async def test_one_turn_ends_few_jobs_with_kept_duplicates(redis_url: str, link: Link) -> None:
    ended, runs = asyncio.Event(), 0

    async def wait(job: Job[int]) -> None:
        nonlocal runs
        runs += 1
        await ended.wait()

    same = [Deduplication(f"d{n}", keep_last_if_active=True) for n in range(200)]
    async with Queue("q", redis=redis_url) as queue, Worker("q", wait, redis=redis_url, concurrency=200):
        await queue.add_many([NewJob("w", n, deduplication=one) for n, one in enumerate(same)])
        await until(lambda: runs == 200, "all run", timeout=20)
        await queue.add_many([NewJob("w", n, deduplication=one) for n, one in enumerate(same)])
        (_, before) = await link.call("CONFIG", "GET", "slowlog-log-slower-than")
        await link.call("CONFIG", "SET", "slowlog-log-slower-than", 0, "slowlog-max-len", 100_000)
        try:
            await link.call("SLOWLOG", "RESET")
            ended.set()
            await until(lambda: runs == 400, "those that were kept have run", timeout=20)
            calls = [entry[3] for entry in await link.call("SLOWLOG", "GET", -1) if entry[3][0] == b"EVALSHA"]
        finally:
            await link.call("CONFIG", "SET", "slowlog-log-slower-than", before, "slowlog-max-len", 128)
    # Of a long call the log keeps 31 words and says how many more there were; a row of a turn has six.
    more = [int(found[1]) for call in calls if (found := re.search(rb"\((\d+) more", call[-1]))]
    assert 20 < (max(more) + 31 - 24) / 6 <= 50


async def test_of_a_thousand_adds_from_many_hands_one_makes_a_job(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as one, Queue("q", redis=redis_url) as other:
        adds = [(one, other)[n % 2].add("w", n, deduplication={"id": "d"}) for n in range(1_000)]
        jobs = await asyncio.gather(*adds)
        assert [job.deduplicated for job in jobs].count(False) == 1
        assert len({job.id for job in jobs}) == 1
        assert (await one.counts()).waiting == 1


async def test_a_lone_add_and_a_lot_tell_the_same(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        lot = [NewJob("w", n, deduplication={"id": f"d{n % 2}"}) for n in range(4)] + [NewJob("w"), NewJob("w")]
        jobs = await queue.add_many(lot)
        assert [job.deduplicated for job in jobs] == [False, False, True, True, False, False]
        assert [jobs[2].id, jobs[3].id] == [jobs[0].id, jobs[1].id]
