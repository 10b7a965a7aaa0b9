"""What a worker tells: listeners, log lines, what runs now; and what a failure looks like when it is stored."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest

from engine import BaseProcessor, Job, NewJob, Queue, Worker, errors, processor
from engine.model import error_text
from tests.support.running import until


async def test_listeners_hear_of_each_step(queue: Queue, redis_url: str) -> None:
    heard: list[tuple[Any, ...]] = []

    async def run(job: Job[str]) -> str:
        await job.update_progress(50)
        if job.data == "bad":
            raise ValueError("no good")
        return "fine"

    worker = Worker("q", run, redis=redis_url, concurrency=1)

    async def slowly(job: Job[Any], result: Any) -> None:
        await asyncio.sleep(0)
        heard.append(("completed", job.id, result))

    def broken(job: Job[Any]) -> None:
        raise RuntimeError("a listener's own trouble")

    worker.on("active", broken)
    worker.on("active", lambda job: heard.append(("active", job.id)))
    worker.on("progress", lambda job, value: heard.append(("progress", job.id, value)))
    worker.on("completed", slowly)
    worker.on("failed", lambda job, error: heard.append(("failed", job.id, str(error))))
    async with worker:
        good, bad = await queue.add("x", "good"), await queue.add("x", "bad", attempts=2)
        await until(lambda: worker.counters.failed == 1, "both are over")
    steps = [tuple(step) for step in heard]
    assert [step for step in steps if step[1] == good.id] == [
        ("active", good.id), ("progress", good.id, 50), ("completed", good.id, "fine")
    ]  # fmt: skip
    assert [step for step in steps if step[1] == bad.id] == [
        ("active", bad.id), ("progress", bad.id, 50), ("failed", bad.id, "no good")
    ] * 2  # fmt: skip
    with pytest.raises(errors.InvalidInput, match="'complete' does not exist; a worker has active, "):
        worker.on("complete", print)  # type: ignore[arg-type]


class Mail(msgspec.Struct):
    to: str


async def test_failed_has_the_data_of_a_job_that_never_ran(queue: Queue, redis_url: str) -> None:
    heard: dict[str, tuple[Any, str]] = {}

    @processor("mail")
    async def mail(job: Job[Mail]) -> None:
        raise AssertionError("it ran")

    @processor("other")
    async def other(job: Job[Any]) -> None: ...

    def failed(job: Job[Any], error: object) -> None:
        heard[job.id] = job.data, str(error)

    unknown = await queue.add("pigeon", {"to": "a"})
    bad = await queue.add("mail", {"to": 5})
    stalled = await queue.add("mail", Mail("b"))
    no_options = await queue.add("mail", {"to": "c"})
    no_json = await queue.add("mail", {"to": "d"})
    await queue.link.call("HSET", queue.keys.job(stalled.id), "defa", "job stalled more than allowable limit")
    await queue.link.call("HSET", queue.keys.job(no_options.id), "opts", "[1]")
    await queue.link.call("HSET", queue.keys.job(no_json.id), "data", "{to")
    worker = Worker("q", mail, other, redis=redis_url)
    worker.on("failed", failed)
    async with worker:
        await until(lambda: len(heard) == 5, "all have failed")
    assert {id: data for id, (data, _) in heard.items()} == {
        unknown.id: {"to": "a"}, bad.id: {"to": 5}, stalled.id: Mail("b"), no_options.id: Mail("c"), no_json.id: "{to"
    }  # fmt: skip
    assert "no processor takes 'pigeon'" in heard[unknown.id][1]
    assert heard[stalled.id][1] == "job stalled more than allowable limit"


@pytest.mark.parametrize("concurrency", [1, 10])
async def test_drained_is_told_when_no_job_is_in_line(queue: Queue, redis_url: str, concurrency: int) -> None:
    heard: list[str] = []

    async def run(job: Job[str]) -> None:
        if job.data == "bad":
            raise ValueError("no good")

    worker = Worker("q", run, redis=redis_url, concurrency=concurrency, drain_delay=100)
    worker.on("completed", lambda job, result: heard.append(job.data))
    worker.on("drained", lambda: heard.append("drained"))
    async with worker:
        for last in ("c", "bad", "c"):
            heard.clear()
            await queue.add_many([NewJob("x", data) for data in ("a", "b", last)])
            await until(lambda: "drained" in heard, "the event came")
            if concurrency == 1:
                assert heard[:2] == ["a", "b"]
                assert heard[-1] == "drained"
        await until(lambda: worker.counters.completed + worker.counters.failed == 9, "all have ended")
        await queue.pause()
        heard.clear()
        await queue.add("x", "a")
        turns = worker.counters.turns
        await until(lambda: worker.counters.turns > turns, "it has looked")
        assert heard == []
        await queue.resume()
        await until(lambda: "drained" in heard, "the last event came")
    # Told once: nothing was taken since.
    assert sorted(heard) == ["a", "drained"]


async def test_log_lines_follow_a_job(queue: Queue, redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async def run(job: Job[str]) -> None:
        if job.data == "bad":
            raise ValueError("Connection timeout")

    with caplog.at_level(logging.INFO, "engine.jobs"):
        async with Worker("q", run, redis=redis_url, concurrency=1):
            await (await queue.add("sms", "good", job_id="a")).result(timeout=5_000)
            bad = await queue.add("sms", "bad", job_id="b", attempts=2)
            with pytest.raises(errors.JobFailed):
                await bad.result(timeout=5_000)
    assert [(record.levelname, record.message) for record in caplog.records if record.name == "engine.jobs"] == [
        ("INFO", "🔄 Processing sms job a"),
        ("INFO", "✅ sms job a completed"),
        ("INFO", "🔄 Processing sms job b"),
        ("WARNING", "❌ sms job b failed: Connection timeout"),
        ("INFO", "🔄 Processing sms job b"),
        ("ERROR", "❌ sms job b failed: Connection timeout"),
    ]


async def test_a_class_form_processor_may_log_otherwise(queue: Queue, redis_url: str) -> None:
    said: list[str] = []

    class Sms(BaseProcessor[Any, str]):
        name = "sms"

        async def process(self, job: Job[Any]) -> str:
            return "sent"

        def log_success(self, job: Job[Any], result: Any = None) -> None:
            said.append(f"{job.id} {result}")
            raise RuntimeError("a log's own trouble")

        def log_start(self, job: Job[Any]) -> None:
            raise RuntimeError("a log's own trouble")

    async with Worker("q", Sms(), redis=redis_url):
        assert await (await queue.add("sms", {}, job_id="a")).result(timeout=5_000) == "sent"
    assert said == ["a sent"]


async def test_a_worker_knows_what_it_runs(queue: Queue, redis_url: str) -> None:
    go = asyncio.Event()

    async def run(job: Job[Any]) -> None:
        await go.wait()

    worker = Worker("q", run, redis=redis_url, concurrency=2)
    assert (repr(worker).split()[-1], worker.last_turn, worker.running_jobs()) == ("new>", None, [])
    async with worker:
        await queue.add("x", 1, job_id="a")
        await queue.add("y", 2, job_id="b")
        await until(lambda: len(worker.running_jobs()) == 2, "both run")
        assert [(job.id, job.name, job.run_in) for job in worker.running_jobs()] == [
            ("a", "x", "loop"),
            ("b", "y", "loop"),
        ]
        assert "running, 2 of 2 slots" in repr(worker)
        assert worker.last_turn is not None
        go.set()


def test_stored_failures_are_cut() -> None:
    deep: list[int] = []

    def fall() -> None:
        deep.append(0)
        fall()

    try:
        fall()
    except RecursionError as error:
        text = error_text.trace(error)
    assert text.count("in fall") <= error_text.MAX_FRAMES
    assert len(text.encode()) <= error_text.MAX_TEXT
    huge = error_text.message(ValueError("é\x1b[31m\ud800" * 1_000_000))
    assert len(huge.encode()) <= error_text.MAX_MESSAGE
    assert error_text.message(KeyError()) == "KeyError"


def test_stored_stack_traces_are_appended_whatever_was_there() -> None:
    def kept(stored: bytes, limit: int | None) -> Any:
        return msgspec.json.decode(error_text.appended(stored, "new", limit))

    assert kept(b"", None) == ["new"]
    assert kept(b'["a","b"]', None) == ["a", "b", "new"]
    assert kept(b'["a","b"]', 2) == ["b", "new"]
    assert kept(b'["a","b"]', 1) == ["new"]
    assert kept(b'["a","b"]', 0) == []
    assert kept(b"{nonsense", 5) == ["new"]
    assert len(kept(msgspec.json.encode(["x"] * 500), None)) == error_text.DEFAULT_KEPT
