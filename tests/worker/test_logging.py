"""What a worker logs about failures, cancelled jobs and outages, for people and as fields."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from engine import Job, Queue, Worker, processor
from engine.connection.embedded import EmbeddedServer
from engine.worker.process.logs import JsonLines, PlainLines
from tests.support.running import until


@processor("elsewhere", run_in="process")
def fails_in_a_child(job: Job[Any]) -> None:
    raise LookupError("not in the child")


def _of_jobs(caplog: pytest.LogCaptureFixture, *levels: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "engine.jobs" and record.levelname in levels]


async def test_a_failure_has_class_trace_and_worker(
    queue: Queue, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def send(job: Job[Any]) -> None:
        raise ConnectionError("no\x1b[2J route\n❌ forged")

    with caplog.at_level(logging.INFO, "engine.jobs"):
        async with Worker("q", send, redis=redis_url, name="w1") as worker:
            await queue.add("sms", {}, attempts=2)
            await until(lambda: worker.counters.failed == 1, "the last attempt has failed")
    first, last = (json.loads(JsonLines().format(record)) for record in _of_jobs(caplog, "WARNING", "ERROR"))
    assert (first["level"], first["attempt"], first["retry"]) == ("warning", 1, True)
    assert (last["level"], last["attempt"], last["retry"]) == ("error", 2, False)
    assert (last["error_type"], last["worker"], last["job_type"]) == ("ConnectionError", "w1", "sms")
    assert "in send\n" in last["trace"]
    assert "ConnectionError: no\\x1b[2J route" in last["trace"]
    head, *rest = PlainLines().format(_of_jobs(caplog, "ERROR")[0]).split("\n")
    assert "❌ sms job 1 failed: no\\x1b[2J route\\n❌ forged" in head
    assert rest
    assert all(line.startswith("  ") for line in rest)


async def test_a_failure_in_a_child_has_its_own_trace(
    queue: Queue, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Worker("q", fails_in_a_child, redis=redis_url) as worker:
        await queue.add("elsewhere", {})
        await until(lambda: worker.counters.failed == 1, "it has failed")
    line = json.loads(JsonLines().format(_of_jobs(caplog, "ERROR")[0]))
    assert line["error_type"] == "LookupError"
    assert "in fails_in_a_child\n" in line["trace"]
    assert "children.py" not in line["trace"]


async def test_a_cancelled_job_is_no_error(queue: Queue, redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    started = asyncio.Event()

    async def run(job: Job[Any]) -> None:
        started.set()
        await asyncio.Event().wait()

    with caplog.at_level(logging.INFO, "engine.jobs"):
        async with Worker("q", run, redis=redis_url, name="w1") as worker:
            job = await queue.add("sms", {}, job_id="a")
            await started.wait()
            await queue.cancel(job.id, "not needed")
            await until(lambda: worker.counters.failed == 1, "it is cancelled")
    assert _of_jobs(caplog, "WARNING", "ERROR") == []
    line = json.loads(JsonLines().format(_of_jobs(caplog, "INFO")[-1]))
    assert line["message"] == "🚫 sms job a cancelled: not needed"
    assert (line["status"], line["worker"]) == ("cancelled", "w1")


async def test_a_reconnect_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def run(job: Job[Any]) -> None: ...

    def reconnects() -> list[str]:
        return [record.message for record in caplog.records if "reconnected" in record.message]

    with EmbeddedServer() as server, caplog.at_level(logging.INFO, "engine.worker"):
        async with (
            Queue("q", redis=server.unix_url) as queue,
            Worker("q", run, redis=server.unix_url, name="w1", drain_delay=50) as worker,
        ):
            assert reconnects() == []
            await asyncio.to_thread(server.restart)
            await until(reconnects, "the worker is connected again")
            await queue.add("x", {})
            await until(lambda: worker.counters.completed == 1, "it works")
    assert reconnects() == ["w1: reconnected to Redis"]
