"""The testing kit: a real queue, a real worker, and a clock that is moved instead of waited for."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine import Backoff, Job, NewJob, Queue, SmsJobData, errors, processor
from engine.errors import InvalidInput, InvalidOption, WrongState
from engine.testing import TestQueue, assert_enqueued, assert_not_enqueued, enqueued


@pytest.fixture
async def kit(redis_url: str) -> AsyncIterator[TestQueue]:
    """In a project of one's own this is `async with corral_queue as kit`, or `async with TestQueue() as kit`."""
    async with TestQueue("sms-queue", redis=redis_url) as opened:
        yield opened


sent: list[str] = []


@processor("sms", attempts=3, backoff=Backoff("fixed", 60_000))
async def send_sms(job: Job[SmsJobData]) -> int:
    if "engaged" in job.data.message and job.attempts_made < 2:
        raise ConnectionError("line engaged")
    if "never" in job.data.message:
        raise errors.UnrecoverableError("no such number")
    sent.append(job.data.message)
    return len(job.data.message)


@pytest.fixture(autouse=True)
def nothing_sent() -> None:
    sent.clear()


async def invite(queue: Queue, number: str, text: str = "hello", **options: Any) -> None:
    """The code under test."""
    await queue.add("sms", SmsJobData(sub_account_id="1", phone_numbers=[number], message=text), **options)


# --- what was put into the queue --------------------------------------------------------------------------------------


async def test_what_code_has_enqueued_is_asserted(kit: TestQueue) -> None:
    await assert_not_enqueued(kit.queue)
    await invite(kit.queue, "+491")
    await invite(kit.queue, "+492", delay=60_000)
    await invite(kit.queue, "+493", priority=7)

    (job,) = await assert_enqueued(kit.queue, "sms", data={"phoneNumbers": ["+491"]}, times=1)
    assert job.data["message"] == "hello"
    await assert_enqueued(kit.queue, "sms", times=3)
    await assert_enqueued(kit.queue, delay=60_000, times=1)
    await assert_enqueued(kit.queue, data={"phoneNumbers": ["+493"]}, priority=7)
    whole = SmsJobData(sub_account_id="1", phone_numbers=["+492"], message="hello")
    assert [found.opts.delay for found in await enqueued(kit.queue, "sms", whole)] == [60_000]
    await assert_not_enqueued(kit.queue, "email")
    await assert_not_enqueued(kit.queue, data={"phoneNumbers": ["+491", "+492"]})
    await assert_not_enqueued(kit.queue, data={"phoneNumbers": ["+491"], "subAccountId": 1})


async def test_a_failed_assertion_says_what_is_there(kit: TestQueue) -> None:
    with pytest.raises(
        AssertionError, match=r"at least one job named 'email' expected, 0 found; no job waits in queue"
    ):
        await assert_enqueued(kit.queue, "email")
    await invite(kit.queue, "+491")
    with pytest.raises(AssertionError, match=r"2 jobs named 'sms' with data .* expected, 1 found; .*\n  sms 1: {.*491"):
        await assert_enqueued(kit.queue, "sms", {"message": "hello"}, times=2)
    with pytest.raises(AssertionError, match=r"no job named 'sms' delay=0 expected; .*\n  sms 1"):
        await assert_not_enqueued(kit.queue, "sms", delay=0)
    with pytest.raises(InvalidOption, match="dely: unknown option; did you mean 'delay'"):
        await assert_enqueued(kit.queue, "sms", dely=5)  # type: ignore[call-arg]  # refused by type checkers too


async def test_the_assertions_see_every_job_of_a_long_line(kit: TestQueue) -> None:
    await kit.queue.add_many([NewJob("sms", n) for n in range(1_205)])
    await assert_enqueued(kit.queue, "sms", times=1_205)
    await assert_enqueued(kit.queue, data=1_204, times=1)
    with pytest.raises(AssertionError, match="and 1195 more"):
        await assert_not_enqueued(kit.queue, "sms")


# --- running it -------------------------------------------------------------------------------------------------------


async def test_a_real_worker_runs_what_waits(kit: TestQueue) -> None:
    await invite(kit.queue, "+491", "one")
    await invite(kit.queue, "+491", "later", delay=300_000)
    run = await kit.run_until_drained(send_sms)
    assert [(job.data.message, job.return_value) for job in run.completed] == [("one", 3)]
    await assert_enqueued(kit.queue, delay=300_000)


async def test_a_clock_is_moved_instead_of_waited_for(kit: TestQueue) -> None:
    await invite(kit.queue, "+491", "later", delay=timedelta(minutes=5))
    kit.clock.advance(minutes=4, seconds=59)
    assert (await kit.run_until_drained(send_sms)).completed == []
    kit.clock.advance(seconds=1)
    assert len((await kit.run_until_drained(send_sms)).completed) == 1

    (job,) = await kit.queue.jobs("completed")
    assert job.finished_on
    assert job.timestamp
    assert timedelta(minutes=5) <= job.finished_on - job.timestamp < timedelta(minutes=6)
    # What is added now is added by the moved clock.
    await invite(kit.queue, "+491", "still later", delay=timedelta(hours=1))
    await kit.run_until_drained(send_sms)
    kit.clock.move_to(kit.clock.now + timedelta(hours=1))
    await kit.run_until_drained(send_sms)
    assert sent == ["later", "still later"]


async def test_retries_are_seen_through(kit: TestQueue) -> None:
    await invite(kit.queue, "+491", "engaged")
    first = await kit.run_until_drained(send_sms)
    assert (first.completed, first.failed, first.attempts) == ([], [], 1)
    began = datetime.now(UTC)
    rest = await kit.run_until_drained(send_sms, delayed=True)
    assert ([job.return_value for job in rest.completed], rest.attempts) == ([7], 2)
    assert kit.clock.ahead > timedelta(seconds=80), "two minutes of backoff, less a quarter that is drawn by chance"
    assert datetime.now(UTC) - began < timedelta(seconds=10)


async def test_a_job_that_fails_for_good_fails_the_test(kit: TestQueue) -> None:
    await invite(kit.queue, "+491", "never")
    await invite(kit.queue, "+491", "fine")
    with pytest.raises(ExceptionGroup, match="1 of 'sms-queue' failed for good") as caught:
        await kit.run_until_drained(send_sms)
    (error,) = caught.value.exceptions
    assert isinstance(error, errors.UnrecoverableError)
    assert error.__notes__[0].startswith("in sms job 1: ")
    assert sent == ["fine"]

    await invite(kit.queue, "+491", "never", remove_on_fail=True)
    run = await kit.run_until_drained(send_sms, failures_ok=True)
    assert [str(failure.error) for failure in run.failed] == ["no such number"]


async def test_jobs_added_by_jobs_run_too(kit: TestQueue) -> None:
    @processor("split")
    async def split(job: Job[list[int]]) -> None:
        for n in job.data:
            await kit.queue.add("sum", n)

    @processor("sum")
    def double(job: Job[int]) -> int:
        job.update_progress(50)  # type: ignore[unused-coroutine]
        return 2 * job.data

    await kit.queue.add("split", [1, 2, 3])
    run = await kit.run_until_drained(split, double, concurrency=4)
    assert sorted(job.return_value or 0 for job in run.completed if job.name == "sum") == [2, 4, 6]


async def test_what_hangs_and_what_is_paused_is_told(kit: TestQueue) -> None:
    async def hang(job: Job[Any]) -> None:
        await asyncio.Event().wait()

    await kit.queue.add("hang")
    with pytest.raises(AssertionError, match=r"after 200 ms 'sms-queue' is not drained: .*active=1.*; running: hang 1"):
        await kit.run_until_drained(hang, timeout=200)
    await kit.queue.pause()
    with pytest.raises(WrongState, match="'sms-queue' is paused with 1 waiting jobs; resume it first"):
        await kit.run_until_drained(hang)


async def test_a_retry_without_end_is_noticed(kit: TestQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.testing.kit._MOST_JUMPS", 5)

    @processor("poll", attempts=1_000, backoff=1_000)
    async def poll(job: Job[None]) -> None:
        raise errors.Retry

    await kit.queue.add("poll")
    with pytest.raises(AssertionError, match="still has delayed jobs after 5 due times"):
        await kit.run_until_drained(poll, delayed=True)


# --- inline -----------------------------------------------------------------------------------------------------------

request_id = contextvars.ContextVar("request_id", default="none")


async def test_inline_a_job_is_run_by_who_adds_it(kit: TestQueue) -> None:
    tasks = []

    @processor("note")
    async def note(job: Job[str]) -> str:
        tasks.append(asyncio.current_task())
        if job.data:
            await kit.queue.add("note", job.data[1:])
        return f"{request_id.get()} {job.data}"

    with kit.inline(note):
        request_id.set("r-7")
        job = await kit.queue.add("note", "ab", delay=60_000)
        assert (job.return_value, await job.state()) == ("r-7 ab", "completed")
        assert tasks == [asyncio.current_task()] * 3
        gone = await kit.queue.add("note", "", remove_on_complete=True)
        assert gone.return_value == "r-7 "
        many = await kit.queue.add_many([NewJob("note", "", job_id="same"), NewJob("note", "", job_id="same")])
        assert [each.return_value for each in many] == ["r-7 ", None]
    await assert_not_enqueued(kit.queue)
    await kit.queue.add("note", "c")
    await assert_enqueued(kit.queue, "note", times=1)


async def test_inline_errors_are_raised_by_add(kit: TestQueue) -> None:
    with kit.inline(send_sms):
        with pytest.raises(ConnectionError, match="line engaged"):
            await invite(kit.queue, "+491", "engaged")
        (job,) = await kit.queue.jobs("failed")
        assert job.failed_reason == "line engaged"
        with pytest.raises(errors.JobFailed, match="data: Object missing required field `subAccountId`"):
            await kit.queue.add("sms", {})
        await kit.queue.pause()
        with pytest.raises(WrongState, match="cannot run inline: the queue is paused"):
            await invite(kit.queue, "+491")


# --- the kit itself ---------------------------------------------------------------------------------------------------


async def test_alone_it_starts_a_server_and_takes_it_down() -> None:
    async with TestQueue() as kit:
        await kit.queue.add("anything")
        await assert_enqueued(kit.queue, times=1)
        where = str(kit.redis)
        async with Queue("test-queue", redis=where) as other:
            assert (await other.counts()).waiting == 1
    with pytest.raises(errors.ConnectFailed):
        await Queue("test-queue", redis=where).open()
    with pytest.raises(InvalidInput, match="not open; use `async with TestQueue"):
        _ = kit.queue


async def test_two_queues_may_share_a_clock(kit: TestQueue) -> None:
    async with TestQueue("email-queue", redis=kit.redis, clock=kit.clock) as other:
        await other.queue.add("mail", delay=60_000)
        kit.clock.advance(minutes=1)

        async def mail(job: Job[None]) -> None: ...

        assert len((await other.run_until_drained(mail)).completed) == 1


async def test_a_running_worker_notices_a_moved_clock(kit: TestQueue) -> None:
    job = await kit.queue.add(
        "sms", SmsJobData(sub_account_id="1", phone_numbers=["+491"], message="x"), delay=3_600_000
    )
    async with kit.worker(send_sms):
        waiting = asyncio.create_task(job.result(timeout=10_000))
        await asyncio.sleep(0)
        kit.clock.advance(timedelta(hours=1))
        assert await waiting == 1


async def test_a_clock_does_not_go_back(kit: TestQueue) -> None:
    with pytest.raises(InvalidOption, match="is negative; the clock of a queue only moves forward"):
        kit.clock.advance(seconds=-1)
    with pytest.raises(InvalidOption, match="is not a duration; write advance"):
        kit.clock.advance(fortnights=1)
    before = kit.clock.ahead
    kit.clock.move_to(kit.clock.now - timedelta(days=1))
    assert kit.clock.ahead == before
