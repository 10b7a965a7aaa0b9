"""Job options written by one side are read, and obeyed, by the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from engine import Backoff, Job, Queue, Worker
from engine.model.options import Keep
from tests.interop.side import PATIENCE, NodeSide
from tests.interop.stream import stored
from tests.support.running import running, until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

PARENT = {"id": "parent", "queue": "bull:parents"}
ALIKE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"attempts": 3}, {"attempts": 3}),
    (
        {"backoff": {"type": "exponential", "delay": 1_000, "jitter": 0.5}},
        {"backoff": {"type": "exponential", "delay": 1_000, "jitter": 0.5}},
    ),
    ({"backoff": {"type": "steps", "delay": 100}}, {"backoff": {"type": "steps", "delay": 100}}),
    ({"delay": 60_000, "priority": 3}, {"delay": 60_000, "priority": 3}),
    ({"lifo": True}, {"lifo": True}),
    ({"timestamp": 1_700_000_000_000}, {"timestamp": 1_700_000_000_000}),
    ({"remove_on_complete": True, "remove_on_fail": False}, {"removeOnComplete": True, "removeOnFail": False}),
    ({"remove_on_complete": 1_000, "remove_on_fail": 5}, {"removeOnComplete": 1_000, "removeOnFail": 5}),
    (
        {"remove_on_complete": {"count": 5, "age": 60}, "remove_on_fail": {"age": 3_600}},
        {"removeOnComplete": {"count": 5, "age": 60}, "removeOnFail": {"age": 3_600}},
    ),
    ({"keep_logs": 3, "stack_trace_limit": 2}, {"keepLogs": 3, "stackTraceLimit": 2}),
    ({"size_limit": 1_000}, {"sizeLimit": 1_000}),
    ({"telemetry": "00-abc"}, {"telemetry": {"metadata": "00-abc"}}),
    ({"deduplication": {"id": "a", "ttl": 1}}, {"deduplication": {"id": "a", "ttl": 1}}),
    (
        {"delay": 60_000, "deduplication": {"id": "b", "ttl": 60_000, "extend": True, "replace": True}},
        {"delay": 60_000, "deduplication": {"id": "b", "ttl": 60_000, "extend": True, "replace": True}},
    ),
    *(
        ({"parent": {"id": "parent", "queue": "parents"}, **ours}, {"parent": PARENT, **theirs})
        for ours, theirs in (
            ({}, {}),
            ({"fail_parent_on_failure": True}, {"failParentOnFailure": True}),
            ({"continue_parent_on_failure": True}, {"continueParentOnFailure": True}),
            ({"ignore_dependency_on_failure": True}, {"ignoreDependencyOnFailure": True}),
            ({"remove_dependency_on_failure": True}, {"removeDependencyOnFailure": True}),
        )
    ),
]
"""The same in the words of both."""


async def test_the_same_options_are_stored_alike_and_read_alike(redis_url: str, node: NodeSide) -> None:
    await node.make("Queue", "parents", "parents")
    await node.call("parents", "add", "n", {}, {"jobId": "parent"})
    await node.make("Queue", "theirs", "theirs")
    async with Queue("ours", redis=redis_url) as ours, Queue("theirs", redis=redis_url) as theirs:
        await node.make("Queue", "ours", "ours")
        for ours_said, theirs_said in ALIKE:
            job = await ours.add("n", {}, **ours_said)
            added = await node.call("theirs", "add", "n", {}, theirs_said)
            ours_stored, theirs_stored = await stored(ours, job.id), await stored(theirs, added["id"])
            assert json.loads(ours_stored["opts"]) == json.loads(theirs_stored["opts"]), ours_said
            for field in ("delay", "priority", "parentKey", "deid"):
                assert ours_stored.get(field) == theirs_stored.get(field)
            assert json.loads(ours_stored.get("parent", "{}")) == json.loads(theirs_stored.get("parent", "{}"))

            shown = await node.call("ours", "getJob", job.id)
            assert shown["opts"] == (await node.call("theirs", "getJob", added["id"]))["opts"]
            assert theirs_said.items() <= shown["opts"].items()
            read = await theirs.get_job(added["id"])
            assert read is not None
            assert read.opts == (await job.refresh()).opts


async def test_options_of_node_alone_are_understood_or_kept(redis_url: str, node: NodeSide) -> None:
    await node.make("Queue", "queue", "q")
    said: dict[str, Any] = {
        "backoff": 500,
        "removeOnComplete": {"age": 60, "count": 10, "limit": 100},
        "colour": {"of": ["its", "own"]},
    }
    if node.major == 5:
        said["debounce"] = {"id": "save", "ttl": 1_000}
    added = await node.call("queue", "add", "n", {}, {**said, "attempts": 2})
    before = await node.call("queue", "getJob", added["id"])

    async def fail_once(job: Job[Any]) -> None:
        assert job.opts.backoff == Backoff("fixed", 500, 0)
        assert job.opts.remove_on_complete == Keep(count=10, age=60_000, limit=100)
        assert job.deduplication_id == ("save" if node.major == 5 else None)
        if not job.attempts_made:
            raise ValueError("once")

    async with Queue("q", redis=redis_url) as queue, running(Worker("q", fail_once, redis=redis_url)):
        await until(lambda: _in(queue, added["id"], "delayed"), "it failed once")
        await queue.promote(added["id"])
        await until(lambda: _in(queue, added["id"], "completed"), "it was done")
    after = await node.call("queue", "getJob", added["id"])
    assert after["opts"] == before["opts"]
    assert after["opts"]["colour"] == {"of": ["its", "own"]}


MINUTE = 60_000
WAITS: list[tuple[dict[str, Any], list[tuple[int, int]]]] = [
    ({"type": "fixed", "delay": MINUTE, "jitter": 0}, [(MINUTE, MINUTE)] * 3),
    ({"type": "fixed", "delay": MINUTE, "jitter": 0.5}, [(MINUTE // 2, MINUTE)] * 3),
    ({"type": "exponential", "delay": MINUTE, "jitter": 0}, [(MINUTE * n, MINUTE * n) for n in (1, 2, 4)]),
    ({"type": "exponential", "delay": MINUTE, "jitter": 0.25}, [(MINUTE * n * 3 // 4, MINUTE * n) for n in (1, 2, 4)]),
    ({"type": "steps"}, [(MINUTE * n, MINUTE * n) for n in (1, 2, 3)]),
]
"""Backoffs, and the least and the longest that each of three waits may be."""


async def test_failed_jobs_wait_as_the_other_side_said(redis_url: str, node: NodeSide) -> None:
    """By all types, a strategy of the worker's own among them. Nobody waits for them here: the other side promotes them."""

    async def fail(job: Job[Any]) -> None:
        raise ValueError("no good")

    await node.make("Queue", "ours", "ours")
    await node.make("Worker", "worker", "theirs", concurrency=5, backoffs={"steps": MINUTE})
    strategies = {"steps": lambda made, error: MINUTE * made}
    async with (
        Queue("theirs", redis=redis_url) as theirs,
        Queue("ours", redis=redis_url) as ours,
        running(Worker("ours", fail, redis=redis_url, backoffs=strategies)),
    ):

        async def theirs_waits(backoff: Any) -> list[int]:
            job = await theirs.add("n", {"do": "throw"}, attempts=4, backoff=backoff)
            return await _waits(theirs, job.id, theirs.promote)

        async def ours_waits(backoff: dict[str, Any]) -> list[int]:
            added = await node.call("ours", "add", "n", {}, {"attempts": 4, "backoff": backoff})
            return await _waits(ours, added["id"], lambda id: node.call("ours", "promote", job=id))

        for waits_of in (theirs_waits, ours_waits):
            found = await asyncio.gather(*(waits_of(backoff) for backoff, _ in WAITS))
            for (backoff, bounds), waits in zip(WAITS, found, strict=True):
                assert all(low <= wait <= high for wait, (low, high) in zip(waits, bounds, strict=True)), (
                    f"{backoff}: {waits}"
                )


async def test_log_and_stack_limits_of_the_other_side_hold(redis_url: str, node: NodeSide) -> None:
    async def fail(job: Job[Any]) -> None:
        raise ValueError(f"attempt {job.attempts_made + 1}")

    await node.make("Queue", "ours", "ours")
    await node.make("Worker", "worker", "theirs")
    async with Queue("theirs", redis=redis_url) as theirs, Queue("ours", redis=redis_url) as ours:
        await node.make("Queue", "theirs", "theirs")
        for limit in (0, 2):
            job = await theirs.add("n", {"do": "throw"}, attempts=4, keep_logs=2, stack_trace_limit=limit)
            await until(partial(_in, theirs, job.id, "failed"), "node gave up")
            traces = (await job.refresh()).stacktrace
            assert [trace.splitlines()[0] for trace in traces] == ["Error: boom"] * limit
            added = await node.call("ours", "add", "n", {}, {"attempts": 4, "keepLogs": 2, "stackTraceLimit": limit})
            async with running(Worker("ours", fail, redis=redis_url)):
                await until(partial(_in, ours, added["id"], "failed"), "we gave up")
            traces = (await node.call("ours", "getJob", added["id"]))["stacktrace"]
            assert [trace.splitlines()[-1] for trace in traces] == ["ValueError: attempt 3", "ValueError: attempt 4"][
                :limit
            ]
            read = await ours.get_job(added["id"])
            assert read is not None
            for row in ("a", "b", "c"):
                await read.log(row)
                await node.call("theirs", "log", row, job=job.id)
            assert await theirs.logs(job.id) == ["b", "c"]
            assert await node.call("ours", "getJobLogs", added["id"]) == {"logs": ["b", "c"], "count": 2}


async def _in(queue: Queue, job_id: str, state: str) -> bool:
    job = await queue.get_job(job_id)
    return job is not None and await job.state() == state


async def _waits(queue: Queue, job_id: str, promote: Callable[[str], Awaitable[Any]]) -> list[int]:
    """How long the job had to wait after each attempt but the last."""
    waits: list[int] = []
    while True:
        await until(lambda: _ended(queue, job_id, len(waits) + 1), "an attempt ended", timeout=PATIENCE)
        if await _in(queue, job_id, "failed"):
            return waits
        waits.append(int((await stored(queue, job_id))["delay"]))
        await promote(job_id)


async def _ended(queue: Queue, job_id: str, attempts: int) -> bool:
    """Whether so many attempts have ended, and what followed was written with the last of them."""
    return int((await stored(queue, job_id)).get("atm", 0)) == attempts
