"""Events: QueueEvents yields what happens in a queue, from Corral and BullMQ alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from engine import Job, Queue, QueueEvents, Worker, events
from engine.errors import InvalidInput, InvalidOption, JobFailed
from tests.support.running import running


async def halve(job: Job[int]) -> float:
    await job.update_progress({"half": job.data / 2})
    if job.data < 0:
        raise ValueError("too small")
    return job.data / 2


async def test_each_step_of_a_job_is_an_event(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue, QueueEvents("q", redis=redis_url) as stream:
        job = await queue.add("halve", 4)
        async with running(Worker("q", halve, redis=redis_url)):
            told = []
            async for event in stream:
                told.append(event)
                if isinstance(event, events.Drained):
                    break
    assert [type(event).__name__ for event in told] == [
        "Added", "Waiting", "Active", "Progress", "Completed", "Drained",
    ]  # fmt: skip
    assert {event.job_id for event in told[:-1]} == {job.id}
    match told[3], told[4]:
        case events.Progress(data={"half": half}), events.Completed(result=result):
            assert (half, result) == (2, 2.0)
        case other:
            raise AssertionError(other)
    assert abs(told[4].at - datetime.now(UTC)) < timedelta(seconds=30)


async def test_a_queue_writes_only_the_events_of_results(redis_url: str) -> None:
    async with (
        Queue("q", redis=redis_url, events="results") as queue,
        QueueEvents("q", redis=redis_url) as stream,
        running(Worker("q", halve, redis=redis_url)),
    ):
        good, bad = await queue.add("halve", 4), await queue.add("halve", -4)
        gone = await queue.add("halve", 1, delay=60_000)
        assert await good.result(timeout=10_000) == 2.0
        with pytest.raises(JobFailed, match="too small"):
            await bad.result(timeout=10_000)
        await queue.remove(gone.id)
        reader = aiter(stream)
        told = [await anext(reader) for _ in range(3)]
    assert {(type(event).__name__, event.job_id) for event in told} == {
        ("Completed", good.id), ("Failed", bad.id), ("Removed", gone.id),
    }  # fmt: skip


async def test_the_choice_of_events_holds_until_another_is_made(redis_url: str) -> None:
    async def written(events: Literal["all", "results", "none"] | None) -> int:
        async with Queue("q", redis=redis_url, events=events, max_events=500) as queue:
            before = await queue.link.call("XLEN", queue.keys.events)
            await queue.add("n")
            return int(await queue.link.call("XLEN", queue.keys.events) - before)

    assert [await written(events) for events in ("none", None, "results", None, "all", None)] == [0, 0, 0, 0, 2, 2]


async def test_an_unknown_choice_of_events_is_refused() -> None:
    with pytest.raises(
        InvalidOption, match=r"""'result' is not "all", "results" or "none"; did you mean 'results'\?"""
    ):
        Queue("q", events="result")  # type: ignore[arg-type]  # what it is to refuse


async def test_only_some_events_may_be_asked_for(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue, QueueEvents("q", redis=redis_url) as stream:
        good, bad = await queue.add("halve", 2), await queue.add("halve", -2)
        ends: dict[str | None, events.Event] = {}
        async with running(Worker("q", halve, redis=redis_url)):
            async for event in stream.events(names=["completed", "failed"]):
                ends[event.job_id] = event
                if len(ends) == 2:
                    break
    assert isinstance(ends[good.id], events.Completed)
    assert isinstance(failed := ends[bad.id], events.Failed)
    assert failed.reason == "too small"


async def test_reading_continues_in_another_process(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue:
        async with QueueEvents("q", redis=redis_url) as stream:
            first = await queue.add("halve", 1)
            async for event in stream.events(names=["waiting"]):
                assert event.job_id == first.id
                break
            place = stream.place  # stored, say, in a file beside what was done with the event
        second = await queue.add("halve", 2)
        async with QueueEvents("q", redis=redis_url) as stream:
            assert [event.job_id async for event in up_to("waiting", stream, after=place)] == [second.id, second.id]
            assert [event.job_id async for event in up_to("waiting", stream, after=event.id)] == [second.id, second.id]
            everything = [event.job_id async for event in up_to("waiting", stream, after="0")]
            assert everything == [first.id, first.id]


async def up_to(name: str, stream: QueueEvents, *, after: str) -> AsyncIterator[events.Event]:
    async for event in stream.events(after):
        yield event
        if type(event).__name__.lower() == name:
            break


@pytest.mark.usefixtures("damaged")
async def test_what_somebody_else_wrote_is_given_too(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue, QueueEvents("q", redis=redis_url) as stream:
        for entry in (
            ("event", "invoice-sent", "jobId", "7", "amount", "12"),
            ("event", "completed", "jobId", "7", "returnvalue", "not JSON {"),
            ("event", "progress", "jobId", "7"),
            ("event", "delayed", "jobId", "7", "delay", "soon"),
            ("no-event", b"\xff"),
            ("event", "delayed", "jobId", "7", "delay", "1700000000000"),
        ):
            await queue.link.call("XADD", queue.keys.events, "*", *entry)
        told = []
        async for event in stream:
            told.append(event)
            if len(told) == 6:
                break
    ids = [event.id for event in told]
    assert told == [
        events.Unknown(id=ids[0], job_id="7", name="invoice-sent", fields={"jobId": "7", "amount": "12"}),
        events.Completed(id=ids[1], job_id="7", result="not JSON {"),
        events.Progress(id=ids[2], job_id="7", data=None),
        events.Delayed(id=ids[3], job_id="7", due=None),
        events.Unknown(id=ids[4], name="", fields={"no-event": "�"}),
        events.Delayed(id=ids[5], job_id="7", due=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
    ]


async def test_mistakes_are_told_when_they_are_made(redis_url: str) -> None:
    stream = QueueEvents("q", redis=redis_url)
    with pytest.raises(InvalidInput, match="not connected; use `async with QueueEvents"):
        stream.events()
    async with stream:
        with pytest.raises(InvalidOption, match="after: 'yesterday' is not a position; give \"\\$\""):
            stream.events(after="yesterday")
        with pytest.raises(InvalidOption, match="names: 'completed' is text; give a list"):
            stream.events(names="completed")
        with pytest.raises(InvalidOption, match="is larger than any stream id"):
            stream.events(after="99999999999999999999-0")
        waiting = asyncio.ensure_future(anext(stream.events()))
        await asyncio.sleep(0)
        with pytest.raises(InvalidInput, match="another task reads them; make another"):
            await anext(stream.events())
        await stream.close()
        with pytest.raises(StopAsyncIteration):
            await waiting


async def test_waiting_may_be_given_up_and_taken_up_again(redis_url: str) -> None:
    async with Queue("q", redis=redis_url) as queue, QueueEvents("q", redis=redis_url) as stream:
        reading = stream.events(names=["waiting"])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(reading), 0.05)
        job = await queue.add("halve", 4)
        assert (await asyncio.wait_for(anext(reading), 10)).job_id == job.id
