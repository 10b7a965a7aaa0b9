"""The events of every transition of a job: the same fields, whichever side makes it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import pytest

from engine import FlowJob, FlowProducer, Queue, QueueEvents, Worker
from tests.interop.acting import act
from tests.interop.side import PATIENCE, NodeSide
from tests.interop.stream import told
from tests.support.running import until

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

Told = tuple[str, str | None, str | None, Any]
"""An event, its job, where that came from; and its progress, result or reason."""


class Side(Protocol):
    """What moves jobs; options in BullMQ's words."""

    async def add(self, data: dict[str, Any], **options: Any) -> str: ...

    async def do(self, what: str, job_id: str) -> None: ...

    async def to_all(self, what: str) -> None: ...

    async def add_tree(self, parent: str, child: str) -> None: ...


class Us:
    def __init__(self, queue: Queue, flows: FlowProducer) -> None:
        self._queue = queue
        self._flows = flows

    async def add(self, data: dict[str, Any], **options: Any) -> str:
        said = {re.sub("([A-Z])", r"_\1", name).lower(): value for name, value in options.items()}
        return (await self._queue.add("n", data, **said)).id

    async def do(self, what: str, job_id: str) -> None:
        await getattr(self._queue, what)(job_id)

    async def to_all(self, what: str) -> None:
        await (self._queue.clean("failed", limit=10) if what == "clean" else getattr(self._queue, what)())

    async def add_tree(self, parent: str, child: str) -> None:
        name = self._queue.name
        await self._flows.add(FlowJob("n", name, {}, job_id=parent, children=[FlowJob("n", name, {}, job_id=child)]))


class Node:
    def __init__(self, node: NodeSide, queue: str) -> None:
        self._node = node
        self._queue = queue

    async def add(self, data: dict[str, Any], **options: Any) -> str:
        added: str = (await self._node.call(self._queue, "add", "n", data, options))["id"]
        return added

    async def do(self, what: str, job_id: str) -> None:
        await self._node.call(self._queue, what, job=job_id)

    async def to_all(self, what: str) -> None:
        await self._node.call(self._queue, what, *([0, 10, "failed"] if what == "clean" else []))

    async def add_tree(self, parent: str, child: str) -> None:
        one: dict[str, Any] = {"name": "n", "queueName": self._queue, "data": {}}
        tree = {**one, "opts": {"jobId": parent}, "children": [{**one, "opts": {"jobId": child}}]}
        await self._node.call("flows", "add", tree)


async def _all_moves(side: Side, queue: Queue, start_work: Callable[[], Awaitable[None]]) -> None:
    """Every move that a job can make, one after the other."""

    async def until_in(state: str, job_id: str) -> None:
        await until(lambda: _is(queue, job_id, state), f"{job_id} is {state}", timeout=PATIENCE)

    await side.to_all("pause")
    await side.to_all("resume")
    gone = await side.add({}, delay=60_000)
    await side.do("remove", gone)
    await side.add({}, jobId="same")
    await side.add({}, jobId="same")
    await side.do("remove", "same")
    await start_work()
    for data in ({}, {"do": "progress", "value": 42}):
        await until_in("completed", await side.add(data))
    await until_in("completed", await side.add({}, priority=2))
    for backoff in (0, {"type": "fixed", "delay": 1, "jitter": 0}):
        later = {"do": "succeed later", "after": 1, "value": 1}
        await until_in("completed", await side.add(later, attempts=2, backoff=backoff))
    delayed = await side.add({}, delay=60_000)
    await side.do("promote", delayed)
    await until_in("completed", delayed)
    failing = await side.add({"do": "succeed later", "after": 2, "value": 1}, attempts=2)
    await until_in("failed", failing)
    await side.do("retry", failing)
    await until_in("completed", failing)
    await until_in("failed", await side.add({"do": "throw"}))
    await side.to_all("clean")
    await side.add_tree("parent", "child")
    await until_in("completed", "parent")
    for name in ("child", "parent"):
        await side.do("remove", name)


async def test_every_transition_has_the_same_events_on_both_sides(redis_url: str, node: NodeSide) -> None:
    await node.make("Queue", "theirs", "theirs")
    await node.make("FlowProducer", "flows")
    await node.make("QueueEvents", "events", "ours", lastEventId="0")
    async with (
        Queue("ours", redis=redis_url) as ours,
        Queue("theirs", redis=redis_url) as theirs,
        FlowProducer(redis=redis_url) as flows,
    ):
        worker = Worker("ours", act, redis=redis_url, concurrency=1)
        task: list[asyncio.Task[None]] = []

        async def we_start() -> None:
            task.append(asyncio.create_task(worker.run()))

        async def node_starts() -> None:
            await node.make("Worker", "worker", "theirs")

        await _all_moves(Us(ours, flows), ours, we_start)
        await worker.close()
        await task[0]
        await _all_moves(Node(node, "theirs"), theirs, node_starts)

        assert [_timeless(entry) for entry in await told(ours)] == [_timeless(entry) for entry in await told(theirs)]
        by_us, by_node = [_line(entry) for entry in await told(ours)], [_line(entry) for entry in await told(theirs)]
        await node.until(lambda: len(_heard_by_node(node)) >= len(by_us))
        assert _heard_by_node(node) == by_us
        assert await _heard_by_us(redis_url, len(by_node)) == by_node


def _timeless(entry: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in entry.items() if name not in ("at", "delay")}


def _line(entry: dict[str, str]) -> Told:
    encoded = entry.get("data") or entry.get("returnvalue")
    value = json.loads(encoded) if encoded else entry.get("failedReason")
    return entry["event"], entry.get("jobId"), entry.get("prev"), value


def _heard_by_node(node: NodeSide) -> list[Told]:
    heard = []
    for said in node.told:
        if said["from"] == "events":
            fields = said["args"][0] if isinstance(said["args"][0], dict) else {}
            values = (fields.get(name) for name in ("data", "returnvalue", "failedReason"))
            value = next((value for value in values if value is not None), None)
            heard.append((said["event"], fields.get("jobId"), fields.get("prev"), value))
    return heard


async def _heard_by_us(redis_url: str, count: int) -> list[Told]:
    heard: list[Told] = []
    async with asyncio.timeout(PATIENCE), QueueEvents("theirs", redis=redis_url) as events:
        async for event in events.events(after="0"):
            name = re.sub("(?<=.)([A-Z])", r"-\1", type(event).__name__).lower()
            value = next(
                (getattr(event, field) for field in ("data", "result", "reason") if hasattr(event, field)), None
            )
            heard.append((name, event.job_id, getattr(event, "prev", None), value))
            if len(heard) == count:
                break
    return heard


async def _is(queue: Queue, job_id: str, state: str) -> bool:
    job = await queue.get_job(job_id)
    return job is not None and await job.state() == state
